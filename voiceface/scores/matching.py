"""1:2 matching: every triplet counted exactly, in one pass over the similarities.

For identities a != b, ``W[a, b] = P(s(q, g+) > s(q, g-)) + 1/2 P(=)`` with the query q and the item g+ uniform over a's
clips and g- over b's items. 1:2 accuracy is the mean of W over ordered pairs, and every stratum is a mask on W, so
nothing is sampled and nothing is computed twice.
"""

from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.kernels.blocks import Rows
from voiceface.scores.kernels.jit import compiled
from voiceface.scores.kernels.rank_counts import Placed, Score, run_pass


@dataclass(frozen=True)
class Counts:
    """The result of one pass over the similarities of one direction.

    Attributes:
        wins: int64 (I, J): triplets (q, g+, g-) of identities (a, b) with s(q, g+) > s(q, g-). The I identities of the
            queries are the first I of the J identities of the gallery.
        ties: int64 (I, J): triplets with s(q, g+) = s(q, g-).
        pairs: int64 (I,): pairs (q, g+) of each identity.
        gallery_sizes: int64 (J,): gallery items of each identity.
    """

    wins: NDArray[np.int64]
    ties: NDArray[np.int64]
    pairs: NDArray[np.int64]
    gallery_sizes: NDArray[np.int64]

    @property
    def triplets(self) -> NDArray[np.int64]:
        """int64 (I, I): triplets of each ordered pair of identities; 0 on the diagonal."""
        number = self.pairs[:, None] * self.gallery_sizes[None, : len(self.pairs)]
        np.fill_diagonal(number, 0)
        return number

    @property
    def win_rates(self) -> NDArray[np.float64]:
        """float64 (I, I) in [0, 1]: the matrix W; the diagonal, which is never used, is 1/2."""
        identities = len(self.pairs)
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
    """Count the wins and ties of all triplets of one direction.

    Counts are integers and rows are independent, so the result depends neither on the block size nor on the threads.

    Args:
        similarity_rows: See `voiceface.scores.kernels.rank_counts.run_pass`.
        query_identity: int64 (Q,), ascending: each query's identity; all of 0 .. I - 1 occur.
        gallery_sizes: int64 (J,), J >= I: gallery items of each identity, at least 1 for the first I.
        threads: Threads; None: as many as numba may use (``NUMBA_NUM_THREADS``).

    Returns:
        The counts. Memory: one block of similarities and places per thread and the (I, J) counts.
    """
    score = counting(query_identity, gallery_sizes)
    counts: Counts = run_pass([score], similarity_rows, query_identity, gallery_sizes, threads)[0]
    return counts


def counting(query_identity: NDArray[np.int64], gallery_sizes: NDArray[np.int64]) -> Score:
    """Build `count` as a part of a pass."""
    identities = int(query_identity[-1]) + 1
    wins = np.zeros((identities, len(gallery_sizes)), np.int64)
    ties, pairs = np.zeros_like(wins), np.zeros(identities, np.int64)

    def block(placed: Placed) -> tuple[Any, ...]:
        owners = placed.owners
        won, tied = np.zeros((2, owners.stop - owners.start, len(gallery_sizes)), np.int64)
        own_pairs = np.zeros(len(won), np.int64)
        _count_rows(*placed.counts, won, tied, own_pairs)
        return owners, won, tied, own_pairs

    def add(part: tuple[Any, ...]) -> None:
        owners, won, tied, own_pairs = part
        wins[owners] += won
        ties[owners] += tied
        pairs[owners] += own_pairs

    return Score(block, add, lambda: Counts(wins, ties, pairs, gallery_sizes))


def accuracy(win_rates: NDArray[np.float64], weights: NDArray[Any]) -> float | None:
    """1:2 matching accuracy: the weighted mean of W.

    Args:
        win_rates: float64 (I, I), W.
        weights: (I, I), at least 0, with 0 on the diagonal: a stratum's mask (identity-balanced accuracy), or the
            mask times the number of triplets (clip-weighted accuracy).

    Returns:
        The accuracy in [0, 1], or None if no pair has a weight.
    """
    total = float(weights.sum())
    return float((weights * win_rates).sum()) / total if total else None


@compiled
@no_type_check
def _count_rows(own, numbers, all_copies, all_below, all_level, wins, ties, pairs):
    for row in range(len(own)):
        number = np.uint64(numbers[row])
        copies, below, level = all_copies[row], all_below[row], all_level[row]
        owner = own[row] - own[0]
        pairs[owner] += copies.sum()
        for identity in range(below.shape[0]):
            won, tied = 0, 0
            for place in range(number):
                won += np.int64(copies[place]) * below[identity, place]
                tied += np.int64(copies[place]) * level[identity, place]
            wins[owner, identity] += won
            ties[owner, identity] += tied
