"""Where everybody's items stand among the relevant items of one query: the part that several kernels share."""

from typing import no_type_check

import numpy as np

from voiceface.scores.compiled import compiled


@compiled
@no_type_check
def place_items(line, starts, own):
    """Count, for each relevant item of a query, every other identity's items below it and level with it.

    Args:
        line: float (N,): the query's similarities to the gallery, identity by identity.
        starts: int64 (J + 1,): the first item of each identity, and N.
        own: The query's identity.

    Returns:
        int64 (D,): relevant items of each of the D distinct similarities, ascending; int64 (J, D): items below, and
        int64 (J, D): items level with it (both 0 for the own identity).
    """
    relevant = np.sort(line[starts[own] : starts[own + 1]])
    distinct = np.empty_like(relevant)
    copies = np.zeros(len(relevant), np.int64)
    last = -1
    for value in relevant:
        if last < 0 or value != distinct[last]:
            last += 1
            distinct[last] = value
        copies[last] += 1
    number = last + 1
    below = np.zeros((len(starts) - 1, number), np.int64)
    level = np.zeros((len(starts) - 1, number), np.int64)
    for identity in range(len(starts) - 1):
        if identity == own:
            continue
        for item in range(starts[identity], starts[identity + 1]):
            score = line[item]
            place, end = 0, number
            while place < end:
                middle = (place + end) >> 1
                if distinct[middle] < score:
                    place = middle + 1
                else:
                    end = middle
            if place < number and distinct[place] == score:
                level[identity, place] += 1
                place += 1
            if place < number:
                below[identity, place] += 1
        for place in range(1, number):
            below[identity, place] += below[identity, place - 1]
    return copies[:number], below, level
