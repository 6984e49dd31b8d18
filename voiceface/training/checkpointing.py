"""The checkpoints of a run: `last.ckpt` and `best.ckpt`, written atomically."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from voiceface.training.preemption import Preemption
from voiceface.training.resume import refuse_other
from voiceface.utils.errors import UserError, reason
from voiceface.utils.files import atomic
from voiceface.utils.lightning_private import accumulates


class DurableCheckpointIO(TorchCheckpointIO):
    """Write checkpoints so that a kill, a power failure or a full disk leaves the last valid one.

    The state is streamed into a temporary file, which is flushed to disk and renamed; Lightning's own implementation
    makes a second copy in memory and does not flush.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: State to write.
            path: Target file; its folder is created if missing.
            storage_options: Ignored.

        Raises:
            UserError: The disk is full or the folder is not writable.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic(path) as file:
                torch.save(checkpoint, file)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except (OSError, RuntimeError) as error:
            # torch.save hides a failed write behind its own RuntimeError.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            then = "resume with --ckpt_path last" if (path.parent / "last.ckpt").exists() else "start again"
            raise UserError(f"{path}: cannot be written ({reason(cause)}); make room, then {then}") from None


class LastCheckpoint(Checkpoint):
    """Keep the state to resume from in one file, replaced atomically, and exit after saving when the system asks.

    It is saved every `every` steps, at the last step, and before and after a validation, always between two optimiser
    steps. The state right before a validation cannot be saved: on resume Lightning would not repeat the validation, and
    the best step could be lost. So it is saved one step earlier.

    Args:
        path: The file.
        every: Steps between two writes.
        preemption: Knows whether the run was asked to end.
        settings: Options that must be the same when the run is resumed (`voiceface.training.resume`).
    """

    def __init__(self, path: Path, every: int, preemption: Preemption, settings: Mapping[str, Any]) -> None:
        self.path, self.every, self.preemption, self.settings = path, every, preemption, settings
        self._to_flush = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make all checkpoint writes durable."""
        trainer.strategy.checkpoint_io = DurableCheckpointIO()
        self.preemption.setup(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the settings."""
        checkpoint["settings"] = dict(self.settings)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Reject a checkpoint with other settings.

        Raises:
            UserError: The settings differ; the message names the first difference, with both values.
        """
        refuse_other(checkpoint.get("settings", {}), self.settings)
        if Path(str(trainer.ckpt_path)).resolve() == self.path.resolve():
            self.preemption.saved = checkpoint["global_step"]

    def save(self, trainer: pl.Trainer) -> None:
        """Save, unless this step is already saved."""
        if trainer.global_step != self.preemption.saved:
            trainer.save_checkpoint(self.path)
            self.preemption.saved = trainer.global_step
            self._to_flush = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From now on, make signals wait for the end of a step."""
        self.preemption.stepping = True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Flush the logs after a save: a resumed run only logs later steps."""
        if self._to_flush:
            self._to_flush = False
            for logger in trainer.loggers:
                logger.save()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if due; exit if the run was asked to end."""
        if accumulates(trainer):
            return
        leave = self.preemption.agreed()
        if validates(trainer):
            if leave:  # without this step, which the resumed run repeats together with its validation
                self.preemption.leave()
            return
        soon = any(validates(trainer, ahead) for ahead in range(1, trainer.accumulate_grad_batches + 1))
        last = trainer.global_step == trainer.max_steps
        if leave or soon or last or trainer.global_step % self.every == 0:
            self.save(trainer)
        if leave:
            self.preemption.leave()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after a validation, including its result."""
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if fitting and not accumulates(trainer):
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exit if the run was asked to end in its last step; from now on signals need not wait."""
        self.preemption.stepping = False
        if self.preemption.agreed():
            self.preemption.leave()


def validates(trainer: pl.Trainer, ahead: int = 0) -> bool:
    """Return whether a validation follows a batch.

    Args:
        trainer: The trainer, at the end of a training batch.
        ahead: Number of batches after that one.
    """
    every, loop = trainer.val_check_batch, trainer.fit_loop.epoch_loop
    if not trainer.enable_validation or not isinstance(every, int):
        return False
    if trainer.check_val_every_n_epoch is None:
        return (loop.total_batch_idx + 1 + ahead) % every == 0
    epochs, batch = divmod(loop.batch_idx + ahead, int(trainer.num_training_batches))
    return (batch + 1) % every == 0 and (trainer.current_epoch + epochs + 1) % trainer.check_val_every_n_epoch == 0
