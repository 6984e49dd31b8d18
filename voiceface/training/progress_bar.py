"""What a run says while it trains: one progress bar on a terminal, and a line for each validation."""

import sys
from datetime import timedelta
from time import monotonic
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from voiceface.utils.progress import new_bar, terminal

EVERY = 60.0  # seconds between two lines where there is no terminal


class RunBar(ProgressBar):
    """Shows step, speed, loss, the newest and the best validation accuracy on standard error.

    Each validation leaves a line. Where there is no terminal, training leaves one a minute too, with the time left.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._shown = True
        self._what, self._total, self._done, self._first = "", 0.0, 0, 0
        self._started = self._said = 0.0
        self._best: float | None = None
        self._loss: float | None = None
        self._loss_read = 0.0

    def disable(self) -> None:
        """Hide the bar."""
        self._shown = False

    def enable(self) -> None:
        """Show the bar and the lines again."""
        self._shown = True

    def _start(self, what: str, total: float, done: int = 0) -> None:
        self._stop()
        self._what, self._total, self._done, self._first = what, total, done, done
        self._started = self._said = monotonic()
        if self._shown and terminal() is not None:
            columns = (TextColumn("{task.description}"), BarColumn(8), MofNCompleteColumn())
            self._bar = new_bar(*columns, TextColumn("{task.fields[scores]}"))
            self._bar.start()
            known = None if total == float("inf") else total
            self._task = self._bar.add_task(what, total=known, completed=done, scores="")

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _rate(self) -> float:
        return (self._done - self._first) / max(monotonic() - self._started, 1e-9)

    def _left(self) -> str:
        if self._total == float("inf") or not self._rate() or self._done >= self._total:
            return ""
        left = timedelta(seconds=round((self._total - self._done) / self._rate()))
        return f"{str(left).removeprefix('0:')} left"

    def _scores(self, trainer: pl.Trainer) -> list[str]:
        """Time left, speed, loss, newest and best accuracy; a narrow terminal cuts the end."""
        metrics, shown = trainer.callback_metrics, [f"{self._rate():.1f} steps/s"]
        if left := self._left():
            shown.insert(0, left)
        if self._loss is not None:
            shown.append(f"loss {self._loss:.3f}")
        if "val/accuracy" in metrics and self._best is not None:
            value = float(metrics["val/accuracy"])
            best = "" if value >= self._best else f" {100 * self._best:.1f}"
            shown.append(f"val {100 * value:.1f} % (best{best})")
        return shown

    def _line(self, trainer: pl.Trainer) -> None:
        """Print where the training is; a bar stays below it."""
        self._said = monotonic()
        known = self._total != float("inf")
        parts = [f"step {self._done}/{self._total:.0f}" if known else f"step {self._done}", *self._scores(trainer)]
        print("  ".join(parts), file=sys.stderr, flush=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start at the run's current step."""
        self._start("step", trainer.estimated_stepping_batches, trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any, **__: Any) -> None:
        """Show step, speed, loss and accuracy."""
        self._done = trainer.global_step
        if monotonic() - self._loss_read >= 1.0 and "loss" in (logs := getattr(pl_module, "logs", {})):
            self._loss, self._loss_read = float(logs["loss"]), monotonic()  # each step would make a GPU wait
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, scores="  ".join(self._scores(trainer)))
        elif self._shown and monotonic() - self._said >= EVERY:
            self._line(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave a line with the validation's accuracy."""
        if trainer.sanity_checking or "val/accuracy" not in trainer.callback_metrics:
            return
        value = float(trainer.callback_metrics["val/accuracy"])
        self._best = value if self._best is None else max(self._best, value)
        self._done = trainer.global_step
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, scores="  ".join(self._scores(trainer)))
        if self._shown:
            self._line(trainer)

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

    def on_test_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any, **__: Any) -> None:
        """Count a batch."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, scores=self._left())
        elif self._shown and monotonic() - self._said >= EVERY:
            self._said = monotonic()
            print(f"{self._what} {self._done}/{self._total:.0f} batches", file=sys.stderr, flush=True)

    on_predict_batch_end = on_test_batch_end

    def state_dict(self) -> dict[str, Any]:
        """The best validation accuracy so far, for a resumed run."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best so far."""
        self._best = state_dict.get("best")
