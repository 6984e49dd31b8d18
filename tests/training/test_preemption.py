"""Requests to leave: told from errors, and heard by this package alone."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import soundfile

from voiceface.data.corpus.bundles import encode_flac
from voiceface.training.preemption import Preempted, Preemption

# As a process that this one launched: it hands on the request to end, and ends.
LAUNCHED = """
import os, signal, sys, time
def told(*_):
    os.kill(os.getppid(), signal.SIGTERM)
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def trainer(tmp_path: Path) -> pl.Trainer:
    return pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)


def test_an_error_of_the_first_process_stays_one_when_it_ends_the_others(trainer: pl.Trainer, tmp_path: Path):
    """A scheduler that is told of a request would start the run again and again."""
    preemption = Preemption(tmp_path, launched=False)
    with subprocess.Popen([sys.executable, "-c", LAUNCHED], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        trainer.strategy._launcher = SimpleNamespace(procs=[child])  # type: ignore[assignment]
        preemption.stepping = True
        with pytest.raises(ZeroDivisionError), preemption.watch(trainer):
            1 / 0  # noqa: B018
    assert child.returncode == 0


def test_lightning_leaves_signals_to_us(trainer: pl.Trainer, tmp_path: Path):
    before = signal.getsignal(signal.SIGTERM)
    with Preemption(tmp_path, launched=False).watch(trainer):
        trainer._signal_connector.register_signal_handlers()
        with pytest.raises(Preempted):
            os.kill(os.getpid(), signal.SIGTERM)
        assert not trainer.received_sigterm
        trainer._signal_connector.teardown()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_while_a_voice_is_decoded_is_not_lost(trainer: pl.Trainer, tmp_path: Path):
    """What is raised in the functions by which libsndfile reads from Python is printed and forgotten."""

    class Voice(io.BytesIO):
        def tell(self) -> int:
            if not asked:
                asked.append(True)
                os.kill(os.getpid(), signal.SIGTERM)
            return super().tell()

    def decode() -> None:
        with soundfile.SoundFile(Voice(encode_flac(np.zeros(16_000, np.int16)))) as file:
            assert len(file.read()) == 16_000
        time.sleep(10)

    asked: list[bool] = []
    with pytest.raises(SystemExit) as left, Preemption(tmp_path, launched=False).watch(trainer):
        decode()
    assert left.value.code == 143
    assert asked
