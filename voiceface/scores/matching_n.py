"""Exact 1:N matching: a query chooses among an item of its own identity and one each of N - 1 other identities.

For a query and a relevant item let q_b and t_b be the fractions of identity b's items that the item beats and ties. The
N - 1 impostor identities are drawn without replacement, one item each; ties share the win. Then

    P(win) = integral over x in [0, 1] of e_{N-1}({q_b + t_b x}) / C(M, N - 1),

with M the number of available impostor identities and e_k the elementary symmetric polynomial: x is the position of the
query's own item in a random order of the tied ones. The integrand is a polynomial of degree min(N - 1, identities that
tie), so a Gauss-Legendre rule with half as many nodes is exact; without ties one node is enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from voiceface.scores.confidence import student_interval
from voiceface.scores.kernels.blocks import Rows
from voiceface.scores.kernels.jit import compiled
from voiceface.scores.kernels.rank_counts import Placed, Score, run_pass
from voiceface.scores.ranking import jackknife_influence

CANDIDATES = (*range(2, 11), 20, 50, 100)
INTERVAL_PAIRS = 30_000  # pairs of a query and an item used to estimate the impostors' part of the interval


@dataclass(frozen=True)
class ManyScore:
    """1:N accuracy of one stratum.

    Attributes:
        accuracy: In [0, 1]; None if no identity has N - 1 impostors.
        influence: float64: effect of each identity that takes part, as probe or as impostor, for `student_interval`;
            empty if more than a tenth of the weight is on identities with exactly N - 1 impostors.
        identities: Identities with at least N - 1 impostors.
        pairs: Their pairs of a query and a relevant item; each is scored against all draws of impostors.
        ties: The pairs that tie with some impostor's item.
    """

    accuracy: float | None
    influence: NDArray[np.float64]
    identities: int
    pairs: int
    ties: int

    def interval(self, level: float) -> tuple[float, float] | None:
        """Interval of the accuracy when people are the sampling unit; None with fewer than 3 people."""
        return None if self.accuracy is None else student_interval(self.accuracy, self.influence, level)


def match_many(
    similarity_rows: Rows,
    query_identity: NDArray[np.int64],
    gallery_sizes: NDArray[np.int64],
    masks: NDArray[np.bool_],
    candidates: Sequence[int],
    threads: int | None = None,
) -> list[list[ManyScore]]:
    """Exact 1:N accuracy of several strata, all N in one pass.

    An identity's queries are weighted by its number of impostor identities: in U all weights are equal, and N = 2 is
    the mean of W under any mask. Within an identity all pairs of a query and a relevant item have the same weight.
    Cost: pairs x identities x the largest N, times half of N if everything ties.

    The influence is that of the delete-one-identity jackknife, except that the probability that an impostor c is drawn
    given a win is approximated by z q_c / (1 + z q_c) with z = e_{N-2} / e_{N-1}; the exact value would cost another
    recurrence per person.

    Args:
        similarity_rows: See `voiceface.scores.kernels.rank_counts.run_pass`.
        query_identity: int64 (Q,), ascending: each query's identity; all of 0 .. I - 1 occur.
        gallery_sizes: int64 (J,), J >= I: items of each identity, at least 1 for the first I; the rest are unused.
        masks: bool (S, I, I): the allowed impostors of each identity; False on the diagonal.
        candidates: Values of N, each at least 2.
        threads: Threads; None: as many as numba may use.

    Returns:
        For each stratum, one score per N.
    """
    score = winning(query_identity, gallery_sizes, masks, candidates)
    scores: list[list[ManyScore]] = run_pass([score], similarity_rows, query_identity, gallery_sizes, threads)[0]
    return scores


def winning(
    query_identity: NDArray[np.int64],
    gallery_sizes: NDArray[np.int64],
    masks: NDArray[np.bool_],
    candidates: Sequence[int],
) -> Score:
    """Build `match_many` as a part of a pass."""
    identities = masks.shape[1]
    chosen = np.array(sorted(set(candidates)), np.int64) - 1
    nodes, weights = _rules(int(chosen.max()))
    impostors = masks.sum(axis=2)
    scales = _scales(chosen, identities)
    wins = np.zeros((len(masks), identities, len(chosen)))
    tied, pairs = np.zeros((len(masks), identities), np.int64), np.zeros(identities, np.int64)
    drawn = np.zeros((len(masks), len(chosen), identities))
    own_pairs = np.bincount(query_identity, minlength=identities) * gallery_sizes[:identities]
    stride = -(-int(own_pairs.sum()) // INTERVAL_PAIRS)
    share = np.stack([impostors * _left_out(impostors, k + 1) for k in chosen], axis=1) / np.maximum(own_pairs, 1)
    # Where strata give a person the same impostors (such as male and G), they are computed once.
    twin = np.array(
        [
            [np.flatnonzero((masks[: s + 1, a] == masks[s, a]).all(axis=1))[0] for a in range(identities)]
            for s in range(len(masks))
        ]
    )

    def block(placed: Placed) -> tuple[Any, ...]:
        owners = placed.owners
        part = np.zeros((len(masks), owners.stop - owners.start, len(chosen)))
        part_tied = np.zeros(part.shape[:2], np.int64)
        part_pairs = np.zeros(part.shape[1], np.int64)
        part_drawn = np.zeros((len(masks), len(chosen), identities))
        _win_rows(
            placed.rows, *placed.counts, gallery_sizes, masks, twin, chosen, scales, nodes, weights, share, stride,
            part, part_tied, part_pairs, part_drawn,
        )  # fmt: skip
        return owners, part, part_tied, part_pairs, part_drawn

    def add(part: tuple[Any, ...]) -> None:
        owners, won, part_tied, part_pairs, part_drawn = part
        wins[:, owners] += won
        tied[:, owners] += part_tied
        pairs[owners] += part_pairs
        np.add(drawn, part_drawn, out=drawn)

    def result() -> list[list[ManyScore]]:
        everybody = np.arange(identities)
        return _scores(
            wins[twin, everybody],
            tied[twin, everybody],
            pairs,
            drawn,
            masks,
            [k + 1 for k in chosen.tolist()],
            candidates,
        )

    return Score(block, add, result)


def _scores(
    wins: NDArray[np.float64],
    tied: NDArray[np.int64],
    pairs: NDArray[np.int64],
    drawn: NDArray[np.float64],
    masks: NDArray[np.bool_],
    numbers: Sequence[int],
    candidates: Sequence[int],
) -> list[list[ManyScore]]:
    impostors = masks.sum(axis=2)
    results = []
    for s, mask in enumerate(masks):
        found = {}
        for i, n in enumerate(numbers):
            enough = (impostors[s] >= n - 1) & (pairs > 0)
            share = impostors[s] * enough
            mean = wins[s, :, i] / np.maximum(pairs, 1)
            if not enough.any():
                found[n] = ManyScore(None, np.empty(0), 0, 0, 0)
                continue
            value = float((share * mean).sum() / share.sum())
            without = _without(mask & enough[:, None], mean, drawn[s, i], value, n)
            takes_part = enough | mask[enough].any(axis=0)
            spare = impostors[s] > n - 1
            effect = jackknife_influence(without[takes_part])
            if (share * spare).sum() < 0.9 * share.sum():
                effect = effect[:0]
            found[n] = ManyScore(
                value,
                effect,
                int(enough.sum()),
                int(pairs[enough].sum()),
                int(tied[s, enough].sum()),
            )
        results.append([found[n] for n in candidates])
    return results


def _left_out(impostors: NDArray[np.int64], n: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """How much more leaving out one of M impostors moves a mean over sets of N - 1: M / (M - N + 1); 0 if M < N."""
    factor: NDArray[np.float64] = np.where(impostors >= n, impostors / np.maximum(impostors - n + 1, 1), 0.0)
    return factor


def _without(
    mask: NDArray[np.bool_], mean: NDArray[np.float64], drawn: NDArray[np.float64], value: float, n: int
) -> NDArray[np.float64]:
    """Compute the accuracy without each identity c.

    Removing c removes its own queries, m_c (A(c) - theta); every a that could meet c loses weight, A(a) - theta, and
    loses the sets with c, whose accuracy is B_a(c): (N-1) f_a (B_a(c) - A(a)), with f_a of `_left_out`; an a with
    exactly N - 1 impostors is removed as well.
    """
    share = mask.sum(axis=1)
    factor = _left_out(share, n)
    total = drawn.sum()
    expected = (n - 1) * float((factor * share * mean).sum())
    with_each = drawn * (expected / total) if total > 0 else np.zeros(len(mask))
    weight = np.where(share == n - 1, share, 1.0)
    effect = share * (mean - value) + with_each + (weight * (mean - value) - (n - 1) * factor * mean) @ mask
    accuracy: NDArray[np.float64] = value - effect / share.sum()
    return accuracy


def _rules(degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Legendre nodes and weights on [0, 1]; row r has the r + 1 nodes that are exact to degree 2 r + 1."""
    most = degree // 2 + 1
    nodes, weights = np.zeros((2, most, most))
    for row in range(most):
        x, w = np.polynomial.legendre.leggauss(row + 1)
        nodes[row, : row + 1], weights[row, : row + 1] = (x + 1) / 2, w / 2
    return nodes, weights


def _scales(chosen: NDArray[np.int64], identities: int) -> NDArray[np.float64]:
    """float64 (identities, K): 1 / (C(M, k) u^k) for M impostors; u = (largest k) / M keeps e_k in range."""
    impostors = np.arange(identities)[:, None]
    k = chosen[None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        log_number = gammaln(impostors + 1) - gammaln(k + 1) - gammaln(impostors - k + 1)
        scale = np.exp(-log_number - k * np.log(chosen[-1] / np.maximum(impostors, 1)))
    return np.where(impostors >= k, scale, 0.0)


@compiled
@no_type_check
def _win_rows(
    rows, own, numbers, all_copies, all_below, all_level, sizes, masks, twin, chosen, scales, nodes, weights, share,
    stride, wins, tied, pairs, drawn,
):  # fmt: skip
    identities = masks.shape[1]
    most = chosen[-1]
    polynomial = np.zeros(most + 5)  # e_most .. e_0, then zeros
    all_beaten = np.empty((all_copies.shape[1], identities))  # item by item, in reading order
    level, value = np.zeros(identities), np.zeros(identities + 4)
    kept = np.empty(identities, np.int64)
    inverse = 1.0 / sizes[:identities]
    who, impostors = np.empty((len(masks), identities), np.int64), np.zeros(len(masks), np.int64)
    last = -1
    for index in range(len(rows)):
        me = own[index]
        owner = me - own[0]
        if me != last:
            last = me
            for stratum in range(len(masks)):
                impostors[stratum] = 0
                for identity in range(identities):
                    if masks[stratum, me, identity]:
                        who[stratum, impostors[stratum]] = identity
                        impostors[stratum] += 1
        copies, below, ties = all_copies[index], all_below[index], all_level[index]
        pairs[owner] += copies.sum()
        row_ties = ties.any()
        level[:] = 0.0
        for identity in range(identities):
            for item in range(numbers[index]):
                all_beaten[item, identity] = below[identity, item] * inverse[identity]
        for item in range(numbers[index]):
            beaten = all_beaten[item]
            sampled = (rows[index] + item) % stride == 0
            any_tie = False
            if row_ties:
                for identity in range(identities):
                    level[identity] = ties[identity, item] * inverse[identity]
                    any_tie |= ties[identity, item] > 0
            for stratum in range(len(masks)):
                number = impostors[stratum]
                if twin[stratum, me] < stratum or number < chosen[0]:
                    continue
                tying = 0
                if any_tie:
                    for place in range(number):
                        tying += level[who[stratum, place]] > 0.0
                if tying > 0:
                    tied[stratum, owner] += copies[item]
                unit = most / number
                rule = min(most, tying) // 2
                for node in range(rule + 1):
                    filled = 0
                    for place in range(number):
                        identity = who[stratum, place]
                        q = (beaten[identity] + level[identity] * nodes[rule, node]) * unit
                        value[filled] = q
                        kept[filled] = identity
                        filled += q > 0.0
                    value[filled : filled + 4] = 0.0
                    _expand(value, filled, most, polynomial)
                    for i in range(len(chosen)):
                        place = most - chosen[i]
                        if chosen[i] > number or polynomial[place] == 0.0:
                            break
                        win = copies[item] * weights[rule, node] * polynomial[place] * scales[number, i]
                        wins[stratum, owner, i] += win
                        if sampled:
                            z = polynomial[place + 1] / polynomial[place]
                            for other in range(stratum, len(masks)):
                                if twin[other, me] == stratum:
                                    for j in range(filled):
                                        odds = value[j] * z
                                        drawn[other, i, kept[j]] += win * share[other, i, me] * odds / (1.0 + odds)


@compiled
@no_type_check
def _expand(value, filled, most, polynomial):
    """Write e_most .. e_0 of the first `filled` values, four values at a time, so that every step vectorises."""
    polynomial[:] = 0.0
    polynomial[most] = 1.0
    for first in range(0, filled, 4):
        a, b, c, d = value[first], value[first + 1], value[first + 2], value[first + 3]
        one = a + b + c + d
        two = (a + b) * (c + d) + a * b + c * d
        three = a * b * (c + d) + (a + b) * c * d
        four = a * b * c * d
        for place in range(np.uint64(max(0, most - first - 4)), np.uint64(most + 1)):
            polynomial[place] += (
                one * polynomial[place + np.uint64(1)]
                + two * polynomial[place + np.uint64(2)]
                + three * polynomial[place + np.uint64(3)]
                + four * polynomial[place + np.uint64(4)]
            )
