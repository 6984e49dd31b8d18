"""What a run keeps to go on from."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn


class LastCheckpoint(Checkpoint):
    """Keep the state to go on from in one file, replaced whole.

    Where a validation follows a step, the state is saved after it: Lightning does not repeat it on resume, so its best
    score must be in the file.

    Args:
        path: The file.
        every: Steps between two writes.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every, self.saved = path, every, 0

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step != self.saved:
            self.saved = trainer.global_step
            trainer.save_checkpoint(self.path)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every so many steps, unless a validation is about to begin."""
        interval = trainer.val_check_batch
        validates = isinstance(interval, int) and trainer.global_step % interval == 0
        if trainer.global_step % self.every == 0 and not validates:
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after a validation, with what it found."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._save(trainer)
