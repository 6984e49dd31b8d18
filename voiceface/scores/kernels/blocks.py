"""Similarities, computed one block of rows at a time on several threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from voiceface.scores.kernels.jit import usable_threads

Rows = Callable[[NDArray[np.intp]], NDArray[Any]]
"""Maps row numbers, intp (B,), to those rows of the similarities (B, items)."""

BLOCK_SCORES = 1 << 21  # similarities that a thread holds at once
BLOCK_ROWS = 32  # minimum number of rows in a block: with fewer the matrix product is slow

LANES = 16  # separate sums, so that the result does not depend on the number of threads

Part = TypeVar("Part")


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # scans all loaded libraries: milliseconds, longer than a small score takes


def one_blas_thread() -> AbstractContextManager[Any]:
    """Limit numpy's matrix products to one thread while the context is open."""
    limit: AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return limit


def map_blocks(
    work: Callable[[NDArray[np.intp], NDArray[Any]], Part],
    similarity_rows: Rows,
    queries: int,
    items: int,
    threads: int | None = None,
) -> Iterator[Part]:
    """Call `work` with blocks of rows of the similarities; together they cover rows 0 .. queries - 1.

    Args:
        work: Takes row numbers intp (B,), ascending, and their similarities (B, items), C-contiguous; called from
            several threads at once.
        similarity_rows: Computes the similarities of any rows.
        queries: Number of rows.
        items: Similarities in a row; determines the block size.
        threads: Threads; None: as many as numba may use (``NUMBA_NUM_THREADS``).

    Yields:
        What `work` returned for each block, in order, so that sums do not depend on the number of threads.
    """
    size = max(BLOCK_ROWS, BLOCK_SCORES // items)
    blocks = [np.arange(first, min(first + size, queries)) for first in range(0, queries, size)]
    # Each thread multiplies its own block: faster than taking turns, and the same result for any number of threads.
    with one_blas_thread(), ThreadPoolExecutor(threads or usable_threads()) as pool:
        yield from pool.map(lambda rows: work(rows, np.ascontiguousarray(similarity_rows(rows))), blocks)


def sum_blocks(
    start: Callable[[], Part],
    work: Callable[[Part, NDArray[np.intp], NDArray[Any]], None],
    similarity_rows: Rows,
    queries: int,
    items: int,
    threads: int | None = None,
) -> Iterator[Part]:
    """Variant of `map_blocks` for work that adds to sums too large to keep one per block.

    Args:
        start: Creates the empty sums of a lane; there are at most `LANES` lanes.
        work: Adds to the sums of a lane; takes the sums, row numbers and their similarities.
        similarity_rows: Computes the similarities of any rows.
        queries: Number of rows.
        items: Similarities in a row.
        threads: Threads; None: as many as numba may use.

    Yields:
        The sums of each lane, in order.
    """
    size = max(BLOCK_ROWS, BLOCK_SCORES // items)
    blocks = [np.arange(first, min(first + size, queries)) for first in range(0, queries, size)]

    def lane(number: int) -> Part:
        sums = start()
        for rows in blocks[number * len(blocks) // lanes : (number + 1) * len(blocks) // lanes]:
            work(sums, rows, np.ascontiguousarray(similarity_rows(rows)))
        return sums

    lanes = min(LANES, len(blocks))
    with one_blas_thread(), ThreadPoolExecutor(threads or usable_threads()) as pool:
        yield from pool.map(lane, range(lanes))
