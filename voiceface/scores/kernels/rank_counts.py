"""Rank of every identity's items among each query's relevant items: the step that all exact scores share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.kernels.blocks import BLOCK_SCORES, Rows, map_blocks
from voiceface.scores.kernels.jit import compiled


@dataclass(frozen=True)
class Placed:
    """The ranks of all items among the relevant ones, for a block of B queries.

    Attributes:
        lines: float (B, N): their similarities.
        rows: intp (B,): the queries' numbers, ascending.
        own: int64 (B,): their identities, ascending.
        number: int64 (B,): number D of distinct similarities of each query's relevant items; 0 if it has none.
        copies: int32 (B, P): relevant items at each distinct similarity, ascending; the first D are valid.
        below: int32 (B, J, P): items of each identity below each similarity (0 for the own identity).
        level: int32 (B, J, P): items of each identity equal to it (0 for the own identity).
    """

    lines: NDArray[Any]
    rows: NDArray[np.intp]
    own: NDArray[np.int64]
    number: NDArray[np.int64]
    copies: NDArray[np.int32]
    below: NDArray[np.int32]
    level: NDArray[np.int32]

    @property
    def owners(self) -> slice:
        """The identities of the block's queries."""
        return slice(int(self.own[0]), int(self.own[-1]) + 1)

    @property
    def counts(self) -> tuple[NDArray[Any], ...]:
        """The arguments of kernels: own, number, copies, below, level."""
        return self.own, self.number, self.copies, self.below, self.level


@dataclass(frozen=True)
class Score:
    """A score computed in one pass over the queries; several scores share a pass.

    Attributes:
        block: Computes the part of a block; called from several threads at once.
        add: Receives the parts in the order of the queries.
        result: Returns the score at the end.
    """

    block: Callable[[Placed], Any]
    add: Callable[[Any], None]
    result: Callable[[], Any]


def run_pass(
    scores: Sequence[Score],
    similarity_rows: Rows,
    query_identity: NDArray[np.int64],
    gallery_sizes: NDArray[np.int64],
    threads: int | None = None,
) -> list[Any]:
    """Compute scores in one pass over the similarities.

    Args:
        scores: Scores to compute.
        similarity_rows: Computes the similarities (B, N), float32 or float64, of B queries (by index) to the whole
            gallery, whose N items are grouped by identity. They are finite, or NaN for an excluded item of the query's
            own identity.
        query_identity: int64 (Q,), ascending: each query's identity; all of 0 .. I - 1 occur.
        gallery_sizes: int64 (J,), J >= I: items of each identity, at least 1 for the first I.
        threads: Threads; None: as many as numba may use (``NUMBA_NUM_THREADS``).

    Returns:
        The result of each score.
    """
    starts = np.concatenate([[0], np.cumsum(gallery_sizes)])
    people, most = len(gallery_sizes), int(gallery_sizes[query_identity].max())

    def place(rows: NDArray[np.intp], lines: NDArray[Any]) -> list[Any]:
        own = query_identity[rows]
        most_relevant = int(gallery_sizes[own].max())
        number, copies = np.zeros(len(rows), np.int64), np.zeros((len(rows), most_relevant), np.int32)
        below, level = np.zeros((2, len(rows), people, most_relevant), np.int32)
        _place_rows(lines, starts, own, number, copies, below, level)
        placed = Placed(lines, rows, own, number, copies, below, level)
        return [score.block(placed) for score in scores]

    def parts(rows: NDArray[np.intp], lines: NDArray[Any]) -> list[list[Any]]:
        # The ranks take as much memory as the similarities if people have equal numbers of items, otherwise more.
        size = max(1, BLOCK_SCORES // (people * most))
        return [place(rows[i : i + size], lines[i : i + size]) for i in range(0, len(rows), size)]

    for found in map_blocks(parts, similarity_rows, len(query_identity), int(starts[-1]), threads):
        for each in found:
            for score, part in zip(scores, each, strict=True):
                score.add(part)
    return [score.result() for score in scores]


@compiled
@no_type_check
def _place_rows(lines, starts, own, number, copies, below, level):
    for row in range(len(lines)):
        number[row] = _place_items(lines[row], starts, own[row], copies[row], below[row], level[row])


@compiled
@no_type_check
def _place_items(line, starts, own, copies, below, level):
    """Count, for each relevant item of a query, every other identity's items below it and equal to it.

    The search for an item's rank among the sorted relevant ones starts from a table over equal intervals of the
    similarity. An interval's index never decreases as the similarity grows, so only the relevant items of the item's
    own interval, usually none or one, remain to be compared.

    Args:
        line: float (N,): the query's similarities to the gallery, grouped by identity. NaN for an excluded item of the
            query's identity.
        starts: int64 (J + 1,): the first item of each identity, then N.
        own: The query's identity.
        copies: int32 (P,), zeros: receives the number of relevant items at each of the D distinct similarities,
            ascending.
        below: int32 (J, P), zeros: receives the items of each identity below each similarity (0 for the own identity).
        level: int32 (J, P), zeros: likewise the items equal to it.

    Returns:
        D.
    """
    one = np.uint64(1)
    ordered = np.sort(line[starts[own] : starts[own + 1]])  # NaN comes last
    relevant = len(ordered)
    while relevant > 0 and np.isnan(ordered[relevant - 1]):
        relevant -= 1
    distinct = np.full(relevant + 1, np.inf, line.dtype)  # the last one is a sentinel
    number = 0
    for place in range(relevant):
        if number == 0 or ordered[place] != distinct[number - 1]:
            distinct[number] = ordered[place]
            number += 1
        copies[number - 1] += 1
    distinct[number] = np.inf

    identities = len(starts) - 1
    if number == 0:
        return 0
    intervals = min(32 * number, 8192)
    low = np.float64(distinct[0])
    scale = intervals / max(np.float64(distinct[number - 1]) - low, 1e-300)
    if scale == 0.0 or not np.isfinite(scale):  # no usable spread: one interval for all
        low, scale = 0.0, 0.0
    interval = np.empty(len(line), np.int32)
    for item in range(len(line)):
        position = (np.float64(line[item]) - low) * scale + 1.0
        interval[item] = np.int32(min(max(position, 0.0), intervals + 1.0))
    first = np.zeros(intervals + 3, np.int32)  # relevant similarities in lower intervals
    for place in range(number):
        position = (np.float64(distinct[place]) - low) * scale + 1.0
        first[np.int32(min(max(position, 0.0), intervals + 1.0)) + 1] += 1
    for index in range(1, len(first)):
        first[index] += first[index - 1]

    counts = np.zeros(number + 1, np.int32)
    for identity in range(identities):
        if identity == own or starts[identity] == starts[identity + 1]:
            continue
        counts[:] = 0
        for item in range(np.uint64(starts[identity]), np.uint64(starts[identity + 1])):
            score = line[item]
            # Unsigned, because numba then omits the check for a negative index: twice as fast.
            place = np.uint64(first[np.uint64(interval[item])])
            place += np.uint64(distinct[place] < score)
            if distinct[place] <= score:
                end = np.uint64(first[np.uint64(interval[item]) + one])
                while place < end:
                    middle = (place + end) >> one
                    if distinct[middle] < score:
                        place = middle + one
                    else:
                        end = middle
                if distinct[place] == score:
                    level[identity, place] += 1
                    place += one
            counts[place] += 1
        total = 0
        for place in range(number):
            total += counts[place]
            below[identity, place] = total
    return number
