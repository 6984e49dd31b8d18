"""Rank every relevant item of every query, in every stratum, with all people and without each of them.

Deleting a person removes their queries, and their items from every other query's gallery, which moves the relevant
items up. The number of items of each person above each relevant item gives the mAP of every such deletion exactly, and
so the delete-one-identity jackknife. R@K changes in steps, whose jackknife is a fifth to a quarter too wide; it uses
the slope of the bootstrap-smoothed step instead (Efron, Estimation and accuracy after model selection, 2014): with x_j
items of person j above the best relevant one, their sum under a bootstrap of people is approximately normal with mean
sum x_j and variance sum x_j^2, and P(hit) falls by its density at K - 1/2 times x_j for each j.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.kernels.blocks import Rows
from voiceface.scores.kernels.jit import compiled, compiled_reordered
from voiceface.scores.kernels.rank_counts import Placed, Score, run_pass
from voiceface.scores.retrieval import Ranks, summarise_ranks


@dataclass(frozen=True)
class Ranking:
    """The rankings of one stratum.

    Attributes:
        ranks: Ranks of the relevant items, for the queries that have an irrelevant item in the stratum.
        identities: Number of identities of these queries.
        without: float64 (J', 1 + K): mAP and each (smoothed) R@K without each of the J' participating identities, in
            the order of their indices.
    """

    ranks: Ranks
    identities: int
    without: NDArray[np.float64]


def rank(
    similarity_rows: Rows,
    query_identity: NDArray[np.int64],
    gallery_sizes: NDArray[np.int64],
    masks: NDArray[np.bool_] | None = None,
    ks: Sequence[int] = (),
    threads: int | None = None,
) -> list[Ranking | None]:
    """Rank the gallery for every query.

    Args:
        similarity_rows: See `voiceface.scores.kernels.rank_counts.run_pass`.
        query_identity: int64 (Q,), ascending: each query's identity; all of 0 .. I - 1 occur.
        gallery_sizes: int64 (J,), J >= I: items of each identity, at least 1 for the first I.
        masks: bool (S, I, J): the identities whose items each identity's queries are ranked against; None: one stratum,
            all identities.
        ks: The K for which R@K without each identity is computed.
        threads: Threads; None: as many as numba may use.

    Returns:
        The rankings of each stratum; None if no query has both a relevant and an irrelevant item. Memory: 57 bytes per
        query and stratum, plus one block of similarities per thread.
    """
    score = ranking(query_identity, gallery_sizes, masks, ks)
    rankings: list[Ranking | None] = run_pass([score], similarity_rows, query_identity, gallery_sizes, threads)[0]
    return rankings


def ranking(
    query_identity: NDArray[np.int64],
    gallery_sizes: NDArray[np.int64],
    masks: NDArray[np.bool_] | None = None,
    ks: Sequence[int] = (),
) -> Score:
    """Build `rank` as a part of a pass."""
    people, queries = len(gallery_sizes), len(query_identity)
    identities = int(query_identity[-1]) + 1
    if masks is None:
        masks = np.ones((1, identities, people), np.bool_)
    allowed = masks & (np.arange(identities)[:, None] != np.arange(people))
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, gallery_sizes.sum() + 1))])
    tops = np.array(ks, np.int64)
    rivals = allowed @ gallery_sizes
    relevant = np.zeros(queries, np.int64)
    found = [Ranks.empty(relevant, rivals[s][query_identity]) for s in range(len(allowed))]
    totals = np.zeros((len(allowed), identities, 1 + len(tops)))
    changes = np.zeros((len(allowed), people, 1 + len(tops)))

    def block(placed: Placed) -> tuple[Any, ...]:
        rows, owners = placed.rows, placed.owners
        above, tied = np.zeros((2, len(allowed), len(rows), placed.copies.shape[1]), np.int64)
        total = np.zeros((len(allowed), owners.stop - owners.start, 1 + len(tops)))
        change = np.zeros_like(changes)
        _rank_rows(
            *placed.counts, gallery_sizes, allowed, harmonic, tops, relevant[rows[0] :], above, tied, total, change
        )
        for s in range(len(allowed)):
            summarise_ranks(above[s], tied[s], found[s], rows)
        return owners, total, change

    def add(part: tuple[Any, ...]) -> None:
        owners, total, change = part
        totals[:, owners] += total
        np.add(changes, change, out=changes)

    def result() -> list[Ranking | None]:
        return [
            _ranking(found[s], relevant, query_identity, allowed[s], totals[s], changes[s]) for s in range(len(allowed))
        ]

    return Score(block, add, result)


def jackknife_influence(without: NDArray[np.float64]) -> NDArray[np.float64]:
    """Effect of each of J identities on a score, from the scores without each; the input of `student_interval`.

    The jackknife's variance (J-1)/J sum (theta_j - mean)^2 equals that function's J/(J-1) sum e^2.

    Args:
        without: float64 (J,): the score without each identity.

    Returns:
        float64 (J,), with sum 0.
    """
    count = len(without)
    effect: NDArray[np.float64] = (count - 1) / count * (without.mean() - without)
    return effect


def _ranking(
    ranks: Ranks,
    relevant: NDArray[np.int64],
    query_identity: NDArray[np.int64],
    mask: NDArray[np.bool_],
    totals: NDArray[np.float64],
    changes: NDArray[np.float64],
) -> Ranking | None:
    rivals = np.asarray(ranks.items)
    used = (rivals > 0) & (relevant > 0)
    if not used.any():
        return None
    chosen = Ranks(
        (rivals + relevant)[used],
        relevant[used],
        ranks.average_precision[used],
        ranks.above[used],
        ranks.tied_relevant[used],
        ranks.tied_irrelevant[used],
        ranks.open[used],
    )
    own_queries = np.bincount(query_identity[used], minlength=len(changes))
    own_totals = np.zeros_like(changes)
    own_totals[: len(totals)] = totals
    left = own_queries.sum() - own_queries
    without = (own_totals.sum(axis=0) - own_totals + changes) / np.maximum(left, 1)[:, None]
    takes_part = mask[own_queries[: len(mask)] > 0].any(axis=0) | (own_queries > 0)
    return Ranking(chosen, int((own_queries > 0).sum()), without[takes_part])


@compiled
@no_type_check
def _rank_rows(
    own, numbers, all_copies, all_below, all_level, sizes, masks, harmonic, tops, relevant, above, tied, totals, changes
):
    """Write `relevant` (B,), `above` and `tied` (S, B, P), best relevant item first, and add to the score sums."""
    kept = np.zeros(1 + len(tops))
    for row in range(len(own)):
        number = numbers[row]
        copies, below, level = all_copies[row, :number], all_below[row, :, :number], all_level[row, :, :number]
        relevant[row] = copies.sum()
        above_left, level_left = np.zeros(number, np.int64), np.zeros(number, np.int64)
        order = np.arange(number, 0, -1).astype(np.float64)
        for stratum in range(len(masks)):
            mask = masks[stratum, own[row]]
            above_all, level_all = np.zeros(number, np.int64), np.zeros(number, np.int64)
            rivals = 0
            for identity in range(len(mask)):
                if mask[identity]:
                    rivals += sizes[identity]
                    for place in range(number):
                        above_all[place] += sizes[identity] - below[identity, place] - level[identity, place]
                        level_all[place] += level[identity, place]
            if rivals == 0 or number == 0:
                continue
            index = 0
            for place in range(number - 1, -1, -1):
                for _ in range(copies[place]):
                    above[stratum, row, index] = above_all[place]
                    tied[stratum, row, index] = level_all[place]
                    index += 1
            kept[:] = 0.0
            _add_scores(copies, above_all, level_all, harmonic, tops, kept)
            for score in range(len(kept)):
                totals[stratum, own[row] - own[0], score] += kept[score]
            if len(tops) == 0:
                continue
            _add_slopes(mask, sizes, below[:, number - 1], level[:, number - 1], tops, changes[stratum])
            distinct = number == relevant[row] and not level_all.any()
            for identity in range(len(mask)):
                if mask[identity]:
                    changes[stratum, identity, 0] -= kept[0]
                    if distinct:
                        changes[stratum, identity, 0] += _precision(order, above_all, sizes[identity], below[identity])
                        continue
                    for place in range(number):
                        level_left[place] = level_all[place] - level[identity, place]
                        above_left[place] = above_all[place] + below[identity, place] + level[identity, place]
                        above_left[place] -= sizes[identity]
                    _add_scores(copies, above_left, level_left, harmonic, tops[:0], changes[stratum, identity])


@compiled_reordered
@no_type_check
def _precision(order, above, size, below):
    """Average precision without an identity's items if nothing ties: the usual case, and vectorised."""
    total = 0.0
    for place in range(len(order)):
        total += order[place] / (order[place] + (above[place] - size + below[place]))
    return total / len(order)


@compiled
@no_type_check
def _add_slopes(mask, sizes, below, level, tops, changes):
    """Add how much each identity's absence raises the chance of a hit in each top K, with the step smoothed."""
    above = sizes - below - 0.5 * level
    centre, variance = 0.0, 0.0
    for identity in range(len(mask)):
        if mask[identity]:
            centre += above[identity]
            variance += above[identity] ** 2
    if variance == 0.0:
        return
    for i in range(len(tops)):
        z = (tops[i] - 0.5 - centre) / math.sqrt(variance)
        density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi * variance)
        if density > 0.0:
            for identity in range(len(mask)):
                if mask[identity]:
                    changes[identity, 1 + i] += density * above[identity]


@compiled
@no_type_check
def _add_scores(copies, above, level, harmonic, tops, sums):
    """Add one ranking's expected average precision and its hit probability for each top K to `sums`."""
    rank, precision = 0, 0.0
    for place in range(len(copies) - 1, -1, -1):
        before = above[place] + rank
        group = copies[place] + level[place]
        if group == 1:
            precision += (rank + 1) / (before + 1)
        else:
            # The sum over the group's places of `_summarise` in voiceface.scores.retrieval, in closed form.
            others = (copies[place] - 1) / (group - 1)
            inverse = harmonic[before + group] - harmonic[before]
            precision += copies[place] / group * (others * group + (rank + 1 - others * (before + 1)) * inverse)
        if rank == 0:
            for i in range(len(tops)):
                drawn = min(max(tops[i] - above[place], 0), group)
                miss = 1.0
                for item in range(copies[place]):
                    miss *= max(group - drawn - item, 0) / (group - item)
                sums[1 + i] += 1.0 - miss
        rank += copies[place]
    sums[0] += precision / rank
