"""Workers of a loader end quietly, whatever the libraries in them do when an interpreter ends."""

import atexit
import os

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from voiceface.processes import begin_worker


class AbortsAtExit(Dataset[int]):
    """As a library whose threads are still there when its destructors run."""

    def __getitem__(self, number: int) -> int:
        atexit.register(os.abort)
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


class Groups(Dataset[int]):
    """The process group of who reads."""

    def __getitem__(self, number: int) -> int:
        return os.getpgrp()

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
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
