"""Retrieval without each person in turn: the delete-one-identity jackknife of mAP and R@K.

Deleting a person takes their queries away, and their items from every other query's gallery, which moves the relevant
items up. One pass counts how many items of each person stand above each relevant item, and that gives the exact score
of every such deletion.
"""

from collections.abc import Sequence
from threading import Lock
from typing import no_type_check

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.blocks import for_blocks
from voiceface.scores.compiled import compiled
from voiceface.scores.places import place_items
from voiceface.scores.similarity import Rows


def without_each(
    similarity_rows: Rows,
    query_identity: NDArray[np.int64],
    gallery_sizes: NDArray[np.int64],
    ks: Sequence[int],
    threads: int | None = None,
) -> NDArray[np.float64]:
    """MAP and R@K of the gallery without each identity.

    Args:
        similarity_rows: Gives the similarities (B, N) of B queries (by index) to the gallery, identity by identity.
        query_identity: int64 (Q,), ascending: each query's identity; all of 0 .. I - 1 occur, I at least 2.
        gallery_sizes: int64 (J,), J >= I: items of each identity, at least 1 for the first I.
        ks: The K of R@K.
        threads: Threads; None: as many as numba may use.

    Returns:
        float64 (J, 1 + len(ks)): row j holds mAP and each R@K without identity j.
    """
    starts = np.concatenate([[0], np.cumsum(gallery_sizes)])
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, starts[-1] + 1))])
    tops = np.array(ks, np.int64)
    parts: dict[int, NDArray[np.float64]] = {}
    adding = Lock()

    def add_block(rows: NDArray[np.intp]) -> None:
        sums = np.zeros((len(gallery_sizes), 1 + len(tops)))
        _add_rows(np.ascontiguousarray(similarity_rows(rows)), query_identity[rows], starts, harmonic, tops, sums)
        with adding:
            parts[int(rows[0])] = sums

    for_blocks(add_block, len(query_identity), int(starts[-1]), threads)
    total = sum((parts[first] for first in sorted(parts)), np.zeros((len(gallery_sizes), 1 + len(tops))))
    queries = len(query_identity) - np.bincount(query_identity, minlength=len(gallery_sizes))
    return np.asarray(total / queries[:, None])


def jackknife_influence(without: NDArray[np.float64]) -> NDArray[np.float64]:
    """Effect of each of J identities on a score, from its values without each; for `student_interval`.

    The variance (J-1)/J sum (theta_j - mean)^2 of the jackknife is that function's J/(J-1) sum e^2.

    Args:
        without: float64 (J,): the score without each identity.

    Returns:
        float64 (J,), with the sum 0.
    """
    count = len(without)
    effect: NDArray[np.float64] = (count - 1) / count * (without.mean() - without)
    return effect


@compiled
@no_type_check
def _add_rows(scores, own, starts, harmonic, tops, sums):
    for row in range(len(scores)):
        copies, below, level = place_items(scores[row], starts, own[row])
        number = len(copies)
        above_all = np.zeros(number, np.int64)
        level_all = np.zeros(number, np.int64)
        for identity in range(len(below)):
            if identity != own[row]:
                size = starts[identity + 1] - starts[identity]
                for place in range(number):
                    above_all[place] += size - below[identity, place] - level[identity, place]
                    level_all[place] += level[identity, place]
        relevant = copies.sum()
        for identity in range(len(below)):
            if identity == own[row]:
                continue
            size = starts[identity + 1] - starts[identity]
            rank, precision = 0, 0.0
            for place in range(number - 1, -1, -1):
                own_above = size - below[identity, place] - level[identity, place]
                above = above_all[place] - own_above
                tied = level_all[place] - level[identity, place]
                before = above + rank
                group = copies[place] + tied
                if group == 1:
                    precision += (rank + 1) / (before + 1)
                else:
                    # The sum over the group's places of `_summarise` in voiceface.scores.retrieval, in closed form.
                    others = (copies[place] - 1) / (group - 1)
                    inverse = harmonic[before + group] - harmonic[before]
                    credit = others * group + (rank + 1 - others * (before + 1)) * inverse
                    precision += copies[place] / group * credit
                if rank == 0:
                    for i in range(len(tops)):
                        drawn = min(max(tops[i] - above, 0), group)
                        miss = 1.0
                        for item in range(copies[place]):
                            miss *= max(group - drawn - item, 0) / (group - item)
                        sums[identity, 1 + i] += 1.0 - miss
                rank += copies[place]
            sums[identity, 0] += precision / relevant
