"""Preemption: a run saves and exits when the scheduler or the system asks it to."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from voiceface.training.launch import LAUNCHER
from voiceface.utils.errors import UserError
from voiceface.utils.lightning_private import cluster_environment, ignore_sigterm

STATUS = 128 + signal.SIGTERM  # a shell's exit status for a process ended by SIGTERM
PATIENCE = 5.0  # seconds that the processes of an ending run have to end


class Preempted(SystemExit):
    """The run was asked to end."""


class Preemption:
    """SIGTERM, and under SLURM the signal before a requeue: save between two steps and exit.

    In validation and test there is nothing to save, and the run exits at once. A signal to any of its processes is
    enough.

    Args:
        out: Run folder.
        launched: Whether another process of the run started this one, rather than a launcher such as torchrun.
    """

    def __init__(self, out: Path, launched: bool) -> None:
        self.out, self.launched = out, launched
        self.saved = 0
        """Step of the state on disk; 0: none."""
        self.stepping = False
        """Whether training steps are running, so that a signal must wait for the end of one."""
        self._asked = self._ending = False
        self._trainer: pl.Trainer
        self._group: Any = None
        self._vote: tuple[Any, torch.Tensor] | None = None

    def setup(self, trainer: pl.Trainer) -> None:
        """Prepare the vote among several processes."""
        if self._group is None and trainer.world_size > 1 and dist.is_available() and dist.is_initialized():
            self._group = dist.new_group(backend="gloo")

    def agreed(self) -> bool:
        """Return whether any process was asked to end; all processes get the same answer after the same step.

        Each call waits for the all-reduce started by the previous call, so that none waits for the GPU or another
        process.
        """
        if self._group is None:
            return self._asked
        told = False
        if self._vote is not None:
            work, votes = self._vote
            work.wait()
            told = bool(votes.item())
        mine = torch.tensor([int(self._asked)])
        self._vote = dist.all_reduce(mine, dist.ReduceOp.MAX, group=self._group, async_op=True), mine
        return told

    def leave(self) -> NoReturn:
        """End the run."""
        self._asked = True
        raise Preempted(STATUS)

    @contextlib.contextmanager
    def watch(self, trainer: pl.Trainer) -> Iterator[None]:
        """Handle signals, and end the run with a one-line message.

        Args:
            trainer: The trainer of the run.

        Raises:
            SystemExit: With status 143, after a signal.
        """
        self._trainer = trainer
        signals: list[int] = [signal.SIGTERM]
        environment = cluster_environment(trainer)
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            # Lightning would save in the middle of a step, to a file outside the run.
            environment.auto_requeue = False
            signals.append(environment.requeue_signal or signal.SIGUSR1)
        ignore_sigterm(trainer)
        main = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, self._told) for number in signals} if main else {}
        try:
            yield
        except BaseException as error:
            self._ending = True
            self._end_others()
            # Once the run was asked to end, other errors result from the end of another process.
            if not self._asked or isinstance(error, UserError):
                raise
            if trainer.is_global_zero:
                print(f"voiceface: {self._message()}", file=sys.stderr, flush=True)
            # A failing launched process would be reported as a crash.
            raise SystemExit(0 if self.launched else STATUS) from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _message(self) -> str:
        if not self.saved:
            return "preempted before anything was saved; start again with the same command"
        return f"preempted at step {self.saved}; resume with --out {self.out} --ckpt_path last"

    def _children(self) -> list[subprocess.Popen[bytes]]:
        return getattr(self._trainer.strategy.launcher, "procs", [])

    def _told(self, number: int, frame: FrameType | None) -> None:
        if self._ending:  # it ends by itself; a process ended together with it signals this one in turn
            return
        first, self._asked = not self._asked, True
        if first and self.launched and str(os.getppid()) == os.environ.get(LAUNCHER):
            os.kill(os.getppid(), signal.SIGTERM)
        if first and self.stepping:
            for child in self._children():
                child.send_signal(signal.SIGTERM)
        if self.stepping and self._trainer.training:
            return
        if _is_called_by_c(frame):
            threading.Timer(0.01, os.kill, (os.getpid(), number)).start()  # sends the signal again after the call
            return
        raise Preempted(STATUS)

    def _end_others(self) -> None:
        """End the processes that this one launched: a process waiting for a dead one might wait for long."""
        for child in self._children():
            child.send_signal(signal.SIGTERM)
        for child in self._children():
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()


def _is_called_by_c(frame: FrameType | None) -> bool:
    """Return whether libsndfile is reading through Python: exceptions raised there are lost."""
    while frame is not None:
        if Path(frame.f_code.co_filename).name == "soundfile.py" and frame.f_code.co_name.startswith("vio_"):
            return True
        frame = frame.f_back
    return False
