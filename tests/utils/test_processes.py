"""Workers of a loader end quietly, whatever the libraries in them do when an interpreter ends."""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from voiceface.utils.processes import begin_worker


class AbortsAtExit(Dataset[int]):
    """As a library whose threads are still there when its destructors run, after all that Python does at its end."""

    def __getitem__(self, number: int) -> int:
        c = ctypes.CDLL(None)
        c["__cxa_atexit"](ctypes.cast(c.abort, ctypes.c_void_p), None, None)
        return number

    def __len__(self) -> int:
        return 4


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_a_worker_that_is_done_does_not_abort(start_method: str):
    loader = DataLoader(
        AbortsAtExit(),
        batch_size=None,
        num_workers=1,
        multiprocessing_context=start_method,
        worker_init_fn=begin_worker(start_method),
    )
    iterator = iter(loader)
    assert list(iterator) == list(map(torch.tensor, range(4)))
    (worker,) = iterator._workers
    iterator._shutdown_workers()
    assert worker.exitcode == 0


SPAWN = pytest.mark.slow(reason="its worker imports torch anew, as that of forkserver does")


class Groups(Dataset[int]):
    """The process group of who reads."""

    def __getitem__(self, number: int) -> int:
        return os.getpgrp()

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("start_method", ["fork", pytest.param("spawn", marks=SPAWN), "forkserver"])
def test_a_signal_to_the_group_of_a_run_does_not_reach_its_workers(start_method: str):
    loader = DataLoader(
        Groups(),
        batch_size=None,
        num_workers=1,
        multiprocessing_context=start_method,
        worker_init_fn=begin_worker(start_method),
    )
    (group,) = loader
    assert int(group) != os.getpgrp()


ORPHAN = """
import time
from functools import partial
from torch.utils.data import DataLoader
from test_processes import late
from voiceface.utils.processes import end_with_parent
if __name__ == "__main__":
    begin = partial(late, end_with_parent("spawn"))
    options = dict(num_workers=1, multiprocessing_context="spawn", worker_init_fn=begin)
    iterator = iter(DataLoader([0, 1, 2, 3], batch_size=None, **options))
    print(iterator._workers[0].pid, flush=True)
    time.sleep(60)
"""


def late(begin: Callable[..., None] | None, number: int) -> None:
    """Begin when the process that started this one is dead; torch looks who that was only later."""
    first = os.getppid()
    print("here", flush=True)
    while os.getppid() == first:
        time.sleep(0.01)
    if begin is not None:
        begin(number)


@pytest.mark.slow(reason="two processes that import torch")
def test_a_worker_whose_parent_died_before_it_had_started_ends(tmp_path: Path):
    """Else it would wait for work for ever, and hold the run's output open."""
    (tmp_path / "orphan.py").write_text(ORPHAN)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, str(tmp_path / "orphan.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert parent.stdout.readline() == "here\n"
        parent.kill()
        try:
            assert select.select([parent.stdout], [], [], 30)[0], "the worker still holds the output open"
            assert parent.stdout.read() == ""
        finally:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
