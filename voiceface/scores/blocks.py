"""Similarities a block of rows at a time, on several threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from voiceface.scores.compiled import usable_threads

BLOCK_SCORES = 1 << 21  # similarities that a thread holds at once
BLOCK_ROWS = 32  # the least number of rows of a block: the matrix product is slow below it


def for_blocks(work: Callable[[NDArray[np.intp]], None], queries: int, items: int, threads: int | None = None) -> None:
    """Call `work` with blocks of row numbers that together are 0 .. queries - 1.

    Args:
        work: Takes row numbers intp (B,), ascending; called from several threads at once.
        queries: Number of rows.
        items: Similarities in a row; sets the size of the blocks.
        threads: Threads; None: as many as numba may use (``NUMBA_NUM_THREADS``).
    """
    size = max(BLOCK_ROWS, BLOCK_SCORES // items)
    blocks = [np.arange(first, min(first + size, queries)) for first in range(0, queries, size)]
    # Each thread multiplies its own block: faster than to take turns, and the product is the same with any threads.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads or usable_threads()) as pool:
        list(pool.map(work, blocks))
