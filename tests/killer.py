"""A callback that kills its own process in the middle of a training step: no clean-up, no last words."""

import os
import signal
from typing import Any

import pytorch_lightning as pl


class KillAt(pl.Callback):
    """Kill at the start of a step's optimiser update.

    Args:
        step: Global step at which to die.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
