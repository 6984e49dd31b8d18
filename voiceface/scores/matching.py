"""Who beats whom: every matching triplet counted exactly, in one pass over the similarities.

For identities a != b, ``W[a, b] = P(s(q, g+) > s(q, g-)) + 1/2 P(=)`` with the query q and the item g+ uniform over a's
clips and g- over b's items. 1:2 accuracy is the mean of W over ordered pairs, and every stratum is a mask on W, so
nothing is sampled and nothing is computed twice. The same pass ranks every relevant item (see
`voiceface.scores.retrieval`).
"""

from dataclasses import dataclass
from threading import Lock
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.blocks import for_blocks
from voiceface.scores.compiled import compiled
from voiceface.scores.retrieval import Ranks, summarise_ranks
from voiceface.scores.similarity import Rows


@dataclass(frozen=True)
class Counts:
    """What one pass over the similarities of one direction leaves.

    Attributes:
        wins: int64 (I, J): triplets (q, g+, g-) of identities (a, b) with s(q, g+) > s(q, g-). The I identities of the
            queries are the first I of the J identities of the gallery.
        ties: int64 (I, J): triplets with s(q, g+) = s(q, g-).
        query_sizes: int64 (I,): queries of each identity.
        gallery_sizes: int64 (J,): gallery items of each identity.
        ranks: Where the relevant items of each query stand in its ranking.
    """

    wins: NDArray[np.int64]
    ties: NDArray[np.int64]
    query_sizes: NDArray[np.int64]
    gallery_sizes: NDArray[np.int64]
    ranks: Ranks

    @property
    def triplets(self) -> NDArray[np.int64]:
        """int64 (I, I): triplets of each ordered pair of identities; 0 on the diagonal."""
        number = (self.query_sizes * self.gallery_sizes[: len(self.query_sizes)])[:, None]
        number = number * self.gallery_sizes[None, : len(self.query_sizes)]
        np.fill_diagonal(number, 0)
        return number

    @property
    def win_rates(self) -> NDArray[np.float64]:
        """float64 (I, I) in [0, 1]: the matrix W; the diagonal, which no score reads, is 1/2."""
        identities = len(self.query_sizes)
        credit = self.wins[:, :identities] + 0.5 * self.ties[:, :identities]
        rates: NDArray[np.float64] = credit / np.maximum(self.triplets, 1)
        np.fill_diagonal(rates, 0.5)
        return rates


def count(
    similarity_rows: Rows,
    query_identity: NDArray[np.int64],
    gallery_sizes: NDArray[np.int64],
    threads: int | None = None,
) -> Counts:
    """Count the wins and ties of all triplets of one direction, and rank all relevant items.

    Integers are counted, and each row apart, so the result depends neither on the block size nor on the threads.

    Args:
        similarity_rows: Gives the similarities (B, N), float32 or float64 and finite, of B queries (by index) to the
            whole gallery, whose N items lie identity by identity.
        query_identity: int64 (Q,), ascending: each query's identity; all of 0 .. I - 1 occur.
        gallery_sizes: int64 (J,), J >= I: how many gallery items each identity has, at least 1 for the first I.
        threads: Threads that count; None: as many as numba may use (``NUMBA_NUM_THREADS``).

    Returns:
        The counts. Memory: one block of similarities per thread and the (I, J) counts.
    """
    starts = np.concatenate([[0], np.cumsum(gallery_sizes)])
    queries, items = len(query_identity), int(starts[-1])
    identities = int(query_identity[-1]) + 1
    wins = np.zeros((identities, len(gallery_sizes)), np.int64)
    ties = np.zeros_like(wins)
    ranks = Ranks.empty(gallery_sizes[query_identity], items)
    most_relevant = int(gallery_sizes[:identities].max())
    adding = Lock()

    def add_block(rows: NDArray[np.intp]) -> None:
        own = query_identity[rows]
        row_wins, row_ties = np.empty((2, len(rows), len(gallery_sizes)), np.int64)
        above, tied = np.empty((2, len(rows), most_relevant), np.int64)
        _count_rows(np.ascontiguousarray(similarity_rows(rows)), own, starts, row_wins, row_ties, above, tied)
        summarise_ranks(above, tied, ranks, rows)
        owners, owner_rows = np.unique(own, return_index=True)
        with adding:
            wins[owners] += np.add.reduceat(row_wins, owner_rows)
            ties[owners] += np.add.reduceat(row_ties, owner_rows)

    for_blocks(add_block, queries, items, threads)
    return Counts(wins, ties, np.bincount(query_identity), gallery_sizes, ranks)


def accuracy(win_rates: NDArray[np.float64], weights: NDArray[Any]) -> float | None:
    """1:2 matching accuracy: the weighted mean of W.

    Args:
        win_rates: float64 (I, I), W.
        weights: (I, I), at least 0, with 0 on the diagonal: a stratum's mask (identity-balanced accuracy), or the
            mask times the number of triplets (clip-weighted accuracy).

    Returns:
        The accuracy in [0, 1], or None where no pair has a weight.
    """
    total = float(weights.sum())
    return float((weights * win_rates).sum()) / total if total else None


@compiled
@no_type_check
def _count_rows(scores, own, starts, wins, ties, above, tied):
    """Count one block of rows; `wins`, `ties` (B, J) and `above`, `tied` (B, most relevant) are written.

    The place of an item among the row's sorted relevant items starts from a table over equal intervals of the score. An
    interval's number never falls as the score grows, so only relevant items of the item's own interval, mostly none or
    one, remain to be compared.
    """
    one = np.uint64(1)
    interval = np.empty(scores.shape[1], np.int32)
    for row in range(len(scores)):
        line = scores[row]
        first, last = starts[own[row]], starts[own[row] + 1]
        relevant = last - first
        positives = np.full(relevant + 1, np.inf, scores.dtype)  # ascending; the last one is a sentinel
        positives[:relevant] = np.sort(line[first:last])
        equal = np.ones(relevant, np.int64)  # relevant items with this score, from this place up
        for place in range(relevant - 2, -1, -1):
            if positives[place] == positives[place + 1]:
                equal[place] += equal[place + 1]

        intervals = min(32 * relevant, 8192)
        low = np.float64(positives[0])
        scale = intervals / max(np.float64(positives[relevant - 1]) - low, 1e-300)
        if scale == 0.0 or not np.isfinite(scale):  # no usable spread: one interval for all
            low, scale = 0.0, 0.0
        for item in range(len(line)):
            position = (np.float64(line[item]) - low) * scale + 1.0
            interval[item] = np.int32(min(max(position, 0.0), intervals + 1.0))
        below = np.zeros(intervals + 3, np.int32)  # relevant items in lower intervals
        for item in range(first, last):
            below[interval[item] + 1] += 1
        for index in range(1, len(below)):
            below[index] += below[index - 1]

        found = np.zeros(relevant + 1, np.int64)  # irrelevant items with so many relevant ones below
        level = np.zeros(relevant + 1, np.int64)  # those of them that tie with the next relevant one
        for identity in range(len(starts) - 1):
            row_wins, row_ties = 0, 0
            if identity != own[row]:
                for item in range(np.uint64(starts[identity]), np.uint64(starts[identity + 1])):
                    score = line[item]
                    # Unsigned, for numba then leaves out the test for a negative index: twice as fast.
                    place = np.uint64(below[np.uint64(interval[item])])
                    place += np.uint64(positives[place] < score)
                    if positives[place] <= score:
                        end = np.uint64(below[np.uint64(interval[item]) + one])
                        while place < end:
                            middle = (place + end) >> one
                            if positives[middle] < score:
                                place = middle + one
                            else:
                                end = middle
                        if positives[place] == score:
                            level[place] += 1
                            row_wins -= equal[place]
                            row_ties += equal[place]
                    row_wins += relevant - np.int64(place)
                    found[place] += 1
            wins[row, identity] = row_wins
            ties[row, identity] = row_ties

        higher = found[relevant]
        end = relevant
        for place in range(relevant - 1, -1, -1):  # groups of equal relevant items, best first
            if place > 0 and positives[place - 1] == positives[place]:
                continue
            above[row, relevant - end : relevant - place] = higher
            tied[row, relevant - end : relevant - place] = level[place]
            higher += found[place]
            end = place
