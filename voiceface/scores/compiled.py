"""How the kernels of the scores are compiled."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of numpy arrays and keep the result on disk for the next run.

    The compiled code lies beside the source, or where that is read-only in the user's cache folder (or the one that
    ``NUMBA_CACHE_DIR`` names). Where there is neither, as in some containers, numba alone would raise, and each run
    compiles anew. The code runs without the interpreter's lock, for Python's threads: numba's own threads abort in a
    process that was forked after their first use, as notebooks do.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)


def usable_threads() -> int:
    """How many threads this process may use: the cores it may run on, or what ``NUMBA_NUM_THREADS`` says."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
