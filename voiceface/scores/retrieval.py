"""Retrieval: a query ranks the whole gallery; the items of its own identity are the relevant ones.

Tied items are ordered at random and every score is the expectation over that order, so a model that gives all items
the same similarity scores exactly chance, and neither the order of the gallery nor the sorting algorithm matters.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import no_type_check

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.kernels.jit import compiled

RECALL_AT = (1, 5, 10, 50, 100)

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ranks:
    """The ranks of the relevant items of each of Q queries.

    Attributes:
        items: Size N of the gallery; int64 (Q,) if each query has its own gallery.
        relevant: int64 (Q,): relevant items R of the query, at least 1.
        average_precision: float64 (Q,) in (0, 1]: expected AP under random order of tied items.
        above: int64 (Q,): irrelevant items strictly above the best relevant one.
        tied_relevant: int64 (Q,): relevant items that share the best relevant similarity; 1 if no irrelevant item
            does.
        tied_irrelevant: int64 (Q,): irrelevant items that share the best relevant similarity.
        open: bool (Q,): some relevant item ties with an irrelevant one.
    """

    items: int | Integers
    relevant: Integers
    average_precision: NDArray[np.float64]
    above: Integers
    tied_relevant: Integers
    tied_irrelevant: Integers
    open: NDArray[np.bool_]

    @classmethod
    def empty(cls, relevant: Integers, items: int | Integers) -> "Ranks":
        """Create ranks to be filled by `summarise_ranks`, for queries with `relevant` (Q,) of `items` items."""
        above, tied_relevant, tied_irrelevant = np.zeros((3, len(relevant)), np.int64)
        is_open = np.zeros(len(relevant), np.bool_)
        return cls(items, relevant, np.zeros(len(relevant)), above, tied_relevant, tied_irrelevant, is_open)

    @cached_property
    def first_hit(self) -> Callable[[int], float]:
        """Function from K to the share of queries with a relevant item in the top K, tied items in random order."""
        return _mean_hit(self.above, self.tied_relevant, self.tied_irrelevant)

    @cached_property
    def random_hit(self) -> Callable[[int], float]:
        """Like `first_hit`, for a random ranking."""
        return _mean_hit(np.zeros_like(self.relevant), self.relevant, self.items - self.relevant)


def summarise_ranks(above: Integers, tied: Integers, ranks: Ranks, rows: NDArray[np.intp]) -> None:
    """Fill `ranks` for the queries `rows`.

    Args:
        above: int64 (B, P): irrelevant items strictly above each relevant item, best relevant item first; row b uses
            its first `ranks.relevant[rows[b]]` entries.
        tied: int64 (B, P): irrelevant items with the same similarity as that relevant item.
        ranks: Receives the summary.
        rows: intp (B,): the queries' indices.
    """
    _summarise(
        above,
        tied,
        rows,
        ranks.relevant,
        ranks.average_precision,
        ranks.above,
        ranks.tied_relevant,
        ranks.tied_irrelevant,
        ranks.open,
    )


@compiled
@no_type_check
def _summarise(above, tied, rows, relevant, average_precision, first_above, first_relevant, first_irrelevant, is_open):
    for index in range(len(rows)):
        row = rows[index]
        precision = 0.0
        rank = 0
        while rank < relevant[row]:
            irrelevant = tied[index, rank]
            group = 1  # ties among relevant items matter only if an irrelevant item ties too
            if irrelevant > 0:
                is_open[row] = True
                while rank + group < relevant[row] and above[index, rank + group] == above[index, rank]:
                    group += 1
            if rank == 0:
                first_above[row], first_relevant[row], first_irrelevant[row] = above[index, 0], group, irrelevant
            size = group + irrelevant
            # A place of the group is relevant with probability group / size; on average the i places of the group
            # before it then contain i (group - 1) / (size - 1) relevant items.
            before = above[index, rank] + rank
            others = (group - 1) / (size - 1) if size > 1 else 0.0
            for place in range(size):
                precision += group / size * (rank + 1 + place * others) / (before + place + 1)
            rank += group
        if rank > 0:
            average_precision[row] = precision / rank


def hit_probability(above: Integers, relevant: Integers, irrelevant: Integers, k: int) -> NDArray[np.float64]:
    """Probability that the top K contains a relevant item, with tied items in random order (hypergeometric).

    Of the tied group, k = K - above items are in the top K; none of them is relevant with probability
    C(irrelevant, k) / C(irrelevant + relevant, k).

    Args:
        above: int64 (Q,): irrelevant items strictly above the best relevant ones.
        relevant: int64 (Q,): relevant items in the group tied for best, at least 1.
        irrelevant: int64 (Q,): irrelevant items in that group.
        k: K, at least 1.

    Returns:
        float64 (Q,) in [0, 1].
    """
    size = relevant + irrelevant
    drawn = np.clip(k - above, 0, size)
    miss = np.ones(len(above))
    for index in range(int(relevant.max())):
        factor = (size - drawn - index) / np.maximum(size - index, 1)
        miss *= np.where(index < relevant, np.maximum(factor, 0.0), 1.0)
    return 1.0 - miss


def mean_average_precision(ranks: Ranks) -> tuple[float, float]:
    """Mean average precision over the full ranking, and its chance level.

    Chance for a query with R relevant items among N is ((R-1)/(N-1) (N-H_N) + H_N)/N, averaged over the queries.

    Returns:
        The mean over queries of the expected average precision, and chance, both in (0, 1].
    """
    relevant = ranks.relevant
    items = np.broadcast_to(ranks.items, relevant.shape)
    harmonic = np.cumsum(1.0 / np.arange(1, items.max() + 1))[items - 1]
    chance = ((relevant - 1) / np.maximum(items - 1, 1) * (items - harmonic) + harmonic) / items
    return float(ranks.average_precision.mean()), float(chance.mean())


def recall_at(ranks: Ranks, k: int) -> tuple[float, float]:
    """R@K: the share of queries with a relevant item in the top K, and its chance 1 - C(N-R,K)/C(N,K).

    Returns:
        The mean hit probability under random order of tied items, and chance, both in [0, 1].
    """
    return ranks.first_hit(k), ranks.random_hit(k)


def median_rank(ranks: Ranks) -> tuple[float, float]:
    """Median over queries of the rank (from 1) of the first relevant item, and its chance.

    With ties a query has a distribution of ranks; the median is that of the mixture of the queries' distributions: half
    of the probability is at or below it (the midpoint if an interval has that property, as usual).

    Returns:
        The median, and the median under a random ranking, both in [1, N].
    """
    items = int(np.max(ranks.items))
    return _median(ranks.first_hit, items), _median(ranks.random_hit, items)


def available_k(items: int | Integers) -> Sequence[int]:
    """Return the K of `RECALL_AT` available in a gallery of `items` items (the largest gallery if they differ)."""
    return [k for k in RECALL_AT if k <= np.max(items)]


def _mean_hit(above: Integers, relevant: Integers, irrelevant: Integers) -> Callable[[int], float]:
    """Return the mean hit probability as a function of K; identical queries are computed once."""
    code = (above * (relevant.max() + 1) + relevant) * (irrelevant.max() + 1) + irrelevant
    _, first, number = np.unique(code, return_index=True, return_counts=True)
    kinds = above[first], relevant[first], irrelevant[first]
    return lambda k: min(1.0, float(hit_probability(*kinds, k) @ number) / len(above))


def _median(hit: Callable[[int], float], items: int) -> float:
    ks = range(1, items + 1)
    rounding = 1e-12
    lower = bisect_left(ks, 0.5 - rounding, key=hit)
    upper = bisect_right(ks, 0.5 + rounding, key=hit)
    return (ks[lower] + ks[upper]) / 2
