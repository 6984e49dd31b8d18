"""1:N matching, exact: a query picks among its own identity's item and those of N - 1 other identities.

For a query and a relevant item let q_b and t_b be the fractions of identity b's items that it beats and ties. The N - 1
impostor identities are drawn without replacement, one item each; ties share the win. Then

    P(win) = integral over x in [0, 1] of e_{N-1}({q_b + t_b x}) / C(M, N - 1),

with M the impostor identities there are and e_k the elementary symmetric polynomial: x is the place of the query's own
item in a random order of the tied ones. The integrand is a polynomial of degree min(N - 1, identities that tie), so a
Gauss-Legendre rule with half as many nodes is exact, and without ties one node is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.blocks import for_blocks
from voiceface.scores.compiled import compiled
from voiceface.scores.places import place_items
from voiceface.scores.similarity import Rows

CANDIDATES = (*range(2, 11), 20, 50, 100)


@dataclass(frozen=True)
class ManyScore:
    """1:N accuracy of one stratum.

    Attributes:
        accuracy: In [0, 1]; None where nobody has N - 1 impostors.
        identities: Identities that have N - 1 impostors or more.
        pairs: Pairs of a query and a relevant item of theirs; each meets all draws of impostors.
        ties: Those that tie with some impostor's item.
    """

    accuracy: float | None
    identities: int
    pairs: int
    ties: int


def match_many(
    similarity_rows: Rows,
    query_identity: NDArray[np.int64],
    gallery_sizes: NDArray[np.int64],
    masks: NDArray[np.bool_],
    candidates: Sequence[int],
    threads: int | None = None,
) -> list[list[ManyScore]]:
    """Exact 1:N accuracy of several strata, all N in one pass.

    A query's identity weighs as many times as it has impostor identities: in U all weigh alike, and N = 2 is the mean
    of W under any mask. Within an identity all pairs of a query and a relevant item weigh alike. Cost: pairs x
    identities x the largest N, times half of N where everything ties.

    Args:
        similarity_rows: Gives the similarities (B, N) of B queries (by index) to the gallery, identity by identity.
        query_identity: int64 (Q,), ascending: each query's identity; all of 0 .. I - 1 occur.
        gallery_sizes: int64 (J,), J >= I: items of each identity, at least 1 for the first I; the others' are not used.
        masks: bool (S, I, I): the identities that may be impostors to each; False on the diagonal.
        candidates: Values of N, each at least 2.
        threads: Threads; None: as many as numba may use.

    Returns:
        For each stratum one score per N.
    """
    identities = masks.shape[1]
    queries = len(query_identity)
    starts = np.concatenate([[0], np.cumsum(gallery_sizes)])
    chosen = np.array(sorted(set(candidates)), np.int64) - 1
    nodes, weights = _rules(int(chosen.max()))
    wins = np.zeros((len(masks), queries, len(chosen)))
    tied = np.zeros((len(masks), queries), np.int64)

    def add_block(rows: NDArray[np.intp]) -> None:
        scores = np.ascontiguousarray(similarity_rows(rows))
        _win_rows(scores, rows, query_identity, starts[: identities + 1], masks, chosen, nodes, weights, wins, tied)

    for_blocks(add_block, queries, int(starts[-1]), threads)
    pairs = np.bincount(query_identity) * gallery_sizes[:identities]
    impostors = masks.sum(axis=2)
    results = []
    for s in range(len(masks)):
        tied_pairs = np.bincount(query_identity, tied[s], identities)
        found = {}
        for i, n in enumerate((chosen + 1).tolist()):
            enough = impostors[s] >= n - 1
            mean = np.bincount(query_identity, wins[s, :, i], identities) / pairs
            shares = impostors[s] * enough
            value = float((shares * mean).sum() / shares.sum()) if enough.any() else None
            found[n] = ManyScore(value, int(enough.sum()), int(pairs[enough].sum()), int(tied_pairs[enough].sum()))
        results.append([found[n] for n in candidates])
    return results


def _rules(degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Legendre nodes and weights on [0, 1]; row r has the r + 1 nodes that are exact to degree 2 r + 1."""
    most = degree // 2 + 1
    nodes, weights = np.zeros((2, most, most))
    for row in range(most):
        x, w = np.polynomial.legendre.leggauss(row + 1)
        nodes[row, : row + 1], weights[row, : row + 1] = (x + 1) / 2, w / 2
    return nodes, weights


@compiled
@no_type_check
def _win_rows(scores, rows, query_identity, starts, masks, chosen, nodes, weights, wins, tied):
    identities = len(starts) - 1
    most = chosen[-1]
    one = np.uint64(1)
    order = np.empty(most + 1)  # the k that belongs to each place of `mean`
    for place in range(most + 1):
        order[place] = most - place
    mean = np.empty(most + 1)  # e_k / C(m, k) of the first m values, the largest k first
    beaten, level = np.empty((2, identities))
    for index in range(len(rows)):
        row = rows[index]
        own = query_identity[row]
        copies, below, ties = place_items(scores[index, : starts[identities]], starts, own)
        for stratum in range(len(masks)):
            for item in range(len(copies)):
                impostors, tying = 0, 0
                for identity in range(identities):
                    if masks[stratum, own, identity]:
                        size = starts[identity + 1] - starts[identity]
                        beaten[impostors] = below[identity, item] / size
                        level[impostors] = ties[identity, item] / size
                        tying += ties[identity, item] > 0
                        impostors += 1
                if tying > 0:
                    tied[stratum, row] += copies[item]
                rule = min(most, tying, impostors) // 2
                for node in range(rule + 1):
                    x = nodes[rule, node]
                    mean[:most] = 0.0
                    mean[most] = 1.0
                    for number in range(impostors):
                        value = beaten[number] + level[number] * x
                        share = 1.0 / (number + 1)
                        for place in range(np.uint64(most - min(most, number + 1)), np.uint64(most)):
                            mean[place] += order[place] * share * (value * mean[place + one] - mean[place])
                    for i in range(len(chosen)):
                        if chosen[i] <= impostors:
                            wins[stratum, row, i] += copies[item] * weights[rule, node] * mean[most - chosen[i]]
