"""Executors: people are made in processes on this machine, or as tasks on a Ray cluster."""

import importlib
import logging
import os
import socket
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, TypeVar

from voiceface.utils.errors import UserError
from voiceface.utils.processes import cores, end_with_parent
from voiceface.utils.version import __version__

Job = TypeVar("Job")
Result = TypeVar("Result")
QUEUED_PER_WORKER = 4
# How often Ray runs a task anew whose worker or node died; a task that fails by itself is not run again.
RETRIES = 5


@dataclass(frozen=True)
class Engine:
    """Where people are made.

    Args:
        name: `local`, processes on this machine, or `ray`, tasks on a running Ray cluster.
        address: Address of the Ray cluster; `auto` is the one that this machine belongs to.
    """

    name: Literal["local", "ray"] = "local"
    address: str = "auto"


LOCAL = Engine()


def run(
    engine: Engine, work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None, shared: Path
) -> Generator[Result, None, None]:
    """Call `work` on every job, on one engine; see `run_local` and `run_ray`."""
    return run_local(work, jobs, workers) if engine.name == "local" else run_ray(work, jobs, workers, engine, shared)


def run_local(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None
) -> Generator[Result, None, None]:
    """Call `work` on every job in processes of this machine.

    Args:
        work: Picklable function; with one worker it is called in this process.
        jobs: Picklable jobs; only a few per worker are queued at a time.
        workers: Processes; default one per core.

    Yields:
        What `work` returned, as the jobs finish.

    Raises:
        UserError: A worker was killed.
    """
    workers = min(workers or cores(), max(len(jobs), 1))
    if workers == 1:
        yield from map(work, jobs)
        return
    begin = partial(_begin, end_with_parent("forkserver"))
    pool = ProcessPoolExecutor(workers, get_context("forkserver"), begin)
    try:
        rest = iter(jobs)
        running: set[Future[Result]] = set()
        while True:
            running |= {pool.submit(work, job) for job in islice(rest, QUEUED_PER_WORKER * workers - len(running))}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool:
        raise UserError(
            f"--workers {workers}: a worker was killed, most often because memory ran out; "
            "run the same command again with fewer workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(end: Callable[[], None] | None) -> None:
    # One process per core and one thread per process; read by the libraries that a worker loads from here on.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if end:
        end()


def run_ray(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None, engine: Engine, shared: Path
) -> Generator[Result, None, None]:
    """Call `work` on every job as a task of a Ray cluster, whose nodes may join and die meanwhile.

    Args:
        work: Picklable function whose module every node can import; it may run twice where a node dies.
        jobs: Picklable jobs; only two per core of the cluster are queued at a time.
        workers: Tasks at a time; default as many as the cluster takes.
        engine: Address of the cluster.
        shared: Folder that every node must see; each task makes sure of it.

    Yields:
        What `work` returned, as the jobs finish.

    Raises:
        UserError: Ray is not installed, no cluster runs there, a node does not see the folder or has another version,
            or a job's worker died time and again.
    """
    try:
        # Not an import statement: where Ray is missing or has no types, type checks pass all the same.
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise UserError("--engine ray: needs the extra `ray`: pip install 'voiceface[ray]'") from None
    with _connected(ray, engine.address), _token(shared) as token:

        def call(job: Job) -> Result:
            _check_node(token, __version__)
            return work(job)

        task = ray.remote(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")(call)
        rest = iter(jobs)
        running: list[Any] = []
        while True:
            at_once = workers or 2 * max(int(ray.cluster_resources().get("CPU", 1)), 1)
            running += [task.remote(job) for job in islice(rest, max(at_once - len(running), 0))]
            if not running:
                return
            # The time limit is there to look for nodes that joined.
            done, running = ray.wait(running, timeout=10)
            for reference in done:
                yield _result(ray, reference)


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdigit():
            # Ray itself would wait for a cluster for a long time.
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"--address {address}: no Ray cluster can be reached ({first}); start one with `ray start --head`"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _token(shared: Path) -> Iterator[str]:
    """A file of a name that no other machine can have by chance."""
    token = shared.absolute() / f"shared-{uuid.uuid4().hex}"
    token.touch()
    try:
        yield str(token)
    finally:
        token.unlink(missing_ok=True)


def _check_node(token: str, version: str) -> None:
    if not os.path.exists(token):
        raise UserError(
            f"--engine ray: node {socket.gethostname()} does not see {os.path.dirname(token)}; "
            "put OUT into a folder that all nodes share under one path"
        )
    if version != __version__:
        raise UserError(
            f"--engine ray: node {socket.gethostname()} has voiceface {__version__}, this machine {version}; "
            "install the same version on all"
        )


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if "failed to import on the worker" in str(error.cause):
            last = str(error.cause).strip().splitlines()[-1].strip()
            raise UserError(
                f"--engine ray: a node cannot load this program ({last}); install the same voiceface on all nodes"
            ) from None
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise UserError(
            f"--engine ray: a job was given up ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "run the same command again, with more memory per core if it ran out"
        ) from None
