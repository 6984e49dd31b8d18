"""Where everybody's items stand among the relevant items of one query: the one step that every exact score shares."""

from typing import no_type_check

import numpy as np

from voiceface.scores.compiled import compiled


@compiled
@no_type_check
def place_items(line, starts, own):
    """Count, for each relevant item of a query, every other identity's items below it and level with it.

    The place of an item among the sorted relevant ones starts from a table over equal intervals of the similarity. An
    interval's number never falls as the similarity grows, so only the relevant items of the item's own interval, mostly
    none or one, remain to be compared.

    Args:
        line: float (N,): the query's similarities to the gallery, identity by identity. NaN for an item of the query's
            identity: it takes no part.
        starts: int64 (J + 1,): the first item of each identity, and N.
        own: The query's identity.

    Returns:
        int64 (D,): relevant items of each of the D distinct similarities, ascending; int32 (J, D): items of each
        identity below them, and int32 (J, D): items level with them (both 0 for the own identity).
    """
    one = np.uint64(1)
    ordered = np.sort(line[starts[own] : starts[own + 1]])  # NaN comes last
    relevant = len(ordered)
    while relevant > 0 and np.isnan(ordered[relevant - 1]):
        relevant -= 1
    distinct = np.full(relevant + 1, np.inf, line.dtype)  # the last one is a sentinel
    copies = np.zeros(relevant, np.int64)
    number = 0
    for place in range(relevant):
        if number == 0 or ordered[place] != distinct[number - 1]:
            distinct[number] = ordered[place]
            number += 1
        copies[number - 1] += 1
    distinct[number] = np.inf

    identities = len(starts) - 1
    below = np.zeros((identities, number), np.int32)
    level = np.zeros((identities, number), np.int32)
    if number == 0:
        return copies[:number], below, level
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
            # Unsigned, for numba then leaves out the test for a negative index: twice as fast.
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
    return copies[:number], below, level
