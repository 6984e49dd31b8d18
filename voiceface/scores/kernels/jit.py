"""Compilation of the scores' kernels by numba."""

from collections.abc import Callable
from typing import Any

import numba

Function = Callable[..., Any]


def compiled(function: Function) -> Function:
    """Compile a function of numpy arrays and keep the result on disk for the next run.

    The compiled code lies beside the source, or where that is read-only in the user's cache folder (or the one that
    ``NUMBA_CACHE_DIR`` names). Where there is neither, as in some containers, numba alone would raise, and each run
    compiles anew. The code runs without the interpreter's lock, for Python's threads: numba's own threads abort in a
    process that was forked after their first use, as notebooks do.
    """
    return _compile(function)


def compiled_reordered(function: Function) -> Function:
    """The same for a function whose sums may be taken in another order, which lets them be vector operations."""
    return _compile(function, fastmath={"reassoc", "contract"})


def _compile(function: Function, **options: Any) -> Function:
    try:
        compiled_function: Function = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:
        compiled_function = numba.njit(nogil=True, **options)(function)
    return compiled_function


def usable_threads() -> int:
    """How many threads this process may use: the cores it may run on, or what ``NUMBA_NUM_THREADS`` says."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
