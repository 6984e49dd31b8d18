"""Worker processes, which end with the process that started them."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from functools import cache, partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize


def cores() -> int:
    """Cores that this process may use: a share of a cluster's node may be a few of many."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _lifeline() -> tuple[Connection, Connection]:
    """A pipe that nobody writes to: its reading end sees the end of file when this process dies, however it dies."""
    return Pipe(duplex=False)


def _end_with(parent: Connection, spawned: bool, *_: object) -> None:
    def watch() -> None:
        parent.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if spawned:
        # After multiprocessing's own clean-up: an interpreter started by spawn would go on to the libraries'
        # destructors, where now and then one aborts, and the loader takes that for a crash of its worker.
        Finalize(None, os._exit, args=(0,), exitpriority=-1000)


def end_with_parent(start_method: str | None) -> Callable[..., None] | None:
    """What a worker should call first: it ends when the main process is killed, and quietly when it is done.

    Under forkserver a worker's parent is the server, which lives on as long as its workers do: without this a killed
    run would leave them behind for ever. Under spawn the libraries' own watchdog misses a process that was killed
    before its worker had started. Under fork it sees it. A worker under spawn that is done leaves without the
    libraries' destructors.

    Args:
        start_method: `fork`, `spawn`, `forkserver`, or None for Python's default.

    Returns:
        A picklable function, or None where nothing is needed.
    """
    method = multiprocessing.get_context(start_method).get_start_method()
    return partial(_end_with, _lifeline()[0], method == "spawn") if method != "fork" else None


def _begin(end: Callable[..., None] | None, *_: object) -> None:
    os.setpgrp()
    if end is not None:
        end()


def begin_worker(start_method: str | None) -> Callable[..., None]:
    """What a worker of a loader should call first: as `end_with_parent`, and it leaves the process group.

    What asks a run to end often sends SIGTERM to the whole group (`timeout` does). A worker that ended of it would end
    the run before that has saved.

    Args:
        start_method: `fork`, `spawn`, `forkserver`, or None for Python's default.

    Returns:
        A picklable function.
    """
    return partial(_begin, end_with_parent(start_method))
