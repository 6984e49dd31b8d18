"""Thresholds on the similarity scale: positives are the cuts, and every similarity is at a cut or between two."""

import math
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.kernels.jit import compiled

MOST_CUTS = (1 << 15) - 1  # places fit 16 bits, and the tables fit a processor's cache
INTERVALS = 1 << 18


class Cuts:
    """U ascending cuts and 2 U + 1 places: place 2 i is the gap before cut i, 2 i + 1 the cut itself.

    Attributes:
        places: 2 U + 1.
        values: float (U,): the distinct input similarities, or every n-th of them if there are more than
            `MOST_CUTS`.
    """

    def __init__(self, similarities: NDArray[Any]) -> None:
        """Cut the scale at these similarities, finite and at least one."""
        distinct = np.unique(similarities)
        self.values = distinct[:: -(-len(distinct) // MOST_CUTS)]
        self.places = 2 * len(self.values) + 1
        intervals = min(16 * len(self.values), INTERVALS)
        low, high = float(self.values[0]), float(self.values[-1])
        scale = intervals / max(high - low, 1e-300)
        if scale == 0.0 or not math.isfinite(scale) or not math.isfinite(high - low):
            low, scale = 0.0, 0.0
        position = np.clip((self.values.astype(np.float64) - low) * scale + 1.0, 0.0, intervals + 1.0).astype(np.int64)
        first = np.concatenate([[0], np.cumsum(np.bincount(position, minlength=intervals + 2))])
        self._table = np.append(self.values, np.inf).astype(self.values.dtype), first.astype(np.uint16), low, scale

    def find(self, similarities: NDArray[Any]) -> NDArray[np.int32]:
        """Return the place of each similarity, in an array of the same shape; 0 for NaN."""
        places = np.empty(similarities.shape, np.int32)
        _find_places(similarities.ravel(), *self._table, places.ravel())
        return places


@compiled
@no_type_check
def _find_places(scores, cuts, table, low, scale, places):
    """Write the place of each score among the U ascending cuts: 2 i in the gap before cut i, 2 i + 1 at the cut.

    `cuts` ends with infinity; `table` (intervals + 3,) holds the first cut of each interval.
    """
    most = np.float64(len(table) - 2)
    one = np.uint64(1)
    for item in range(len(scores)):
        score = scores[item]
        if np.isnan(score):
            places[item] = 0
            continue
        index = np.uint64(min(max((np.float64(score) - low) * scale + 1.0, 0.0), most))
        place = np.uint64(table[index])
        place += np.uint64(cuts[place] < score)
        if cuts[place] < score:
            end = np.uint64(table[index + one])
            while place < end:
                middle = (place + end) >> one
                if cuts[middle] < score:
                    place = middle + one
                else:
                    end = middle
        places[item] = (place << one) + np.uint64(cuts[place] == score)
