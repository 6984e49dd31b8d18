"""A callback for runs that `voiceface compare` starts."""

import os
import signal
import time
from typing import Any

import pytorch_lightning as pl


class TellParent(pl.Callback):
    """Ask the process that started this one to end, in a training step, and go on when it has answered.

    Args:
        step: Global step at which it happens.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(2)  # a signal to this process is handled meanwhile
