"""One progress bar for a whole run: training steps, then test batches; shown only on a terminal."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.progress import Progress, TaskID, TextColumn

from voiceface.utils.progress import new_bar, terminal


class RunBar(ProgressBar):
    """Show step, loss and the latest validation accuracy on standard error during a run."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._shown = terminal() is not None

    def disable(self) -> None:
        """Hide the bar."""
        self._shown = False

    def enable(self) -> None:
        """Show the bar again, on a terminal."""
        self._shown = terminal() is not None

    def _start(self, what: str, total: float, done: int = 0) -> None:
        self._stop()
        if self._shown:
            self._bar = new_bar(TextColumn("{task.fields[scores]}"))
            self._bar.start()
            self._task = self._bar.add_task(
                what, total=None if total == float("inf") else total, completed=done, scores=""
            )

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start at the run's current step."""
        self._start("training", trainer.estimated_stepping_batches, trainer.global_step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show step, loss and accuracy."""
        if self._bar is not None:
            metrics = trainer.callback_metrics
            shown = {"loss": metrics.get("train/loss"), "val 1:2": metrics.get("val/accuracy")}
            scores = "  ".join(f"{name} {float(value):.3f}" for name, value in shown.items() if value is not None)
            self._bar.update(self._task, completed=trainer.global_step, scores=scores)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the finished bar on the screen."""
        self._stop()

    on_test_end = on_predict_end = on_train_end

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Release the terminal."""
        self._stop()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start a bar over the test batches."""
        self._start("testing", sum(trainer.num_test_batches))

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start a bar over the batches to embed."""
        self._start("embedding", sum(trainer.num_predict_batches))

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch."""
        if self._bar is not None:
            self._bar.advance(self._task)

    on_predict_batch_end = on_test_batch_end
