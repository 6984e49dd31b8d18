"""Worker processes that end with the process that started them."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from functools import cache, partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize


def cores() -> int:
    """Return the number of cores that this process may use, which can be a few of a cluster node's many."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _lifeline() -> tuple[Connection, Connection]:
    """Create a pipe without a writer: its reading end sees end of file when this process dies, in any way."""
    return Pipe(duplex=False)


def _end_with(parent: Connection, spawned: bool, *_: object) -> None:
    def watch() -> None:
        parent.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if spawned:
        # After multiprocessing's own clean-up: an interpreter started by spawn would then run the libraries'
        # destructors, where occasionally one aborts, which the loader reports as a crash of its worker.
        Finalize(None, os._exit, args=(0,), exitpriority=-1000)


def end_with_parent(start_method: str | None) -> Callable[..., None] | None:
    """Return a function for a worker to call first: it ends the worker if the main process dies, and exits quietly.

    Under forkserver a worker's parent is the server, which lives as long as its workers: without this a killed run
    would leave them behind for ever. Under spawn the libraries' own watchdog misses a process that was killed before
    its worker had started. Under fork it detects it. A finished worker under spawn exits without the libraries'
    destructors.

    Args:
        start_method: `fork`, `spawn`, `forkserver`, or None for Python's default.

    Returns:
        A picklable function, or None if nothing is needed.
    """
    method = multiprocessing.get_context(start_method).get_start_method()
    return partial(_end_with, _lifeline()[0], method == "spawn") if method != "fork" else None


def _begin(end: Callable[..., None] | None, *_: object) -> None:
    os.setpgrp()
    if end is not None:
        end()


def begin_worker(start_method: str | None) -> Callable[..., None]:
    """Like `end_with_parent`, for a loader's worker, which also leaves the process group.

    A request to end a run often sends SIGTERM to the whole group (as `timeout` does). A worker that ended because of it
    would end the run before it has saved.

    Args:
        start_method: `fork`, `spawn`, `forkserver`, or None for Python's default.

    Returns:
        A picklable function.
    """
    return partial(_begin, end_with_parent(start_method))
