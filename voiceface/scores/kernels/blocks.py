"""Similarities a block of rows at a time, on several threads."""

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
"""Numbers of rows, intp (B,), to those rows of the similarities (B, items)."""

BLOCK_SCORES = 1 << 21  # similarities that a thread holds at once
BLOCK_ROWS = 32  # the least number of rows of a block: the matrix product is slow below it

LANES = 16  # sums that are kept apart, so that they do not depend on the number of threads

Part = TypeVar("Part")


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # reads the list of all loaded libraries: milliseconds, more than few scores take


def one_blas_thread() -> AbstractContextManager[Any]:
    """Matrix products of numpy on one thread, for as long as it is open."""
    limit: AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return limit


def map_blocks(
    work: Callable[[NDArray[np.intp], NDArray[Any]], Part],
    similarity_rows: Rows,
    queries: int,
    items: int,
    threads: int | None = None,
) -> Iterator[Part]:
    """Call `work` with blocks of rows of the similarities; together they are rows 0 .. queries - 1.

    Args:
        work: Takes row numbers intp (B,), ascending, and their similarities (B, items), C-contiguous; called from
            several threads at once.
        similarity_rows: Gives the similarities of any rows.
        queries: Number of rows.
        items: Similarities in a row; sets the size of the blocks.
        threads: Threads; None: as many as numba may use (``NUMBA_NUM_THREADS``).

    Yields:
        What `work` returned, block by block in order, so that sums of them do not depend on the number of threads.
    """
    size = max(BLOCK_ROWS, BLOCK_SCORES // items)
    blocks = [np.arange(first, min(first + size, queries)) for first in range(0, queries, size)]
    # Each thread multiplies its own block: faster than to take turns, and the product is the same with any threads.
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
    """The same for work that adds to sums which are too large to have one for each block.

    Args:
        start: Makes the empty sums of a lane, of which there are at most `LANES`.
        work: Takes the sums of a lane, row numbers and their similarities, and adds to the sums.
        similarity_rows: Gives the similarities of any rows.
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
