"""Numba compilation of the scores' kernels."""

from collections.abc import Callable
from typing import Any

import numba

Function = Callable[..., Any]


def compiled(function: Function) -> Function:
    """Compile a function of numpy arrays and cache the result on disk for the next run.

    The compiled code is stored beside the source or, if that is read-only, in the user's cache folder (or the one in
    ``NUMBA_CACHE_DIR``). If neither is writable, as in some containers, numba alone would raise; here each run compiles
    again. The code releases the GIL, for Python's threads: numba's own threads abort in a process that was forked after
    their first use, as notebooks do.
    """
    return _compile(function)


def compiled_reordered(function: Function) -> Function:
    """Variant of `compiled` that allows sums to be reordered, so that they can be vectorised."""
    return _compile(function, fastmath={"reassoc", "contract"})


def _compile(function: Function, **options: Any) -> Function:
    try:
        compiled_function: Function = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:
        compiled_function = numba.njit(nogil=True, **options)(function)
    return compiled_function


def usable_threads() -> int:
    """Return how many threads this process may use: its available cores, or ``NUMBA_NUM_THREADS`` if set."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
