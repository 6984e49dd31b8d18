"""What a run says while it trains: one progress bar on a terminal, and a line for each validation."""

import sys
from datetime import timedelta
from time import monotonic
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.progress import Progress, TaskID, TextColumn

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
            self._bar = new_bar(TextColumn("{task.fields[scores]}"), width=10)
            self._bar.start()
            known = None if total == float("inf") else total
            self._task = self._bar.add_task(what, total=known, completed=done, scores="")

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _rate(self) -> float:
        return (self._done - self._first) / max(monotonic() - self._started, 1e-9)

    def _scores(self, trainer: pl.Trainer) -> list[str]:
        metrics, shown = trainer.callback_metrics, [f"{self._rate():.1f} steps/s"]
        if "train/loss" in metrics:
            shown.append(f"loss {float(metrics['train/loss']):.3f}")
        if "val/accuracy" in metrics and self._best is not None:
            value = float(metrics["val/accuracy"])
            best = "best" if value >= self._best else f"best {100 * self._best:.1f} %"
            shown.append(f"val {100 * value:.1f} % ({best})")
        return shown

    def _line(self, trainer: pl.Trainer) -> None:
        """Print where the training is; a bar stays below it."""
        self._said = monotonic()
        known = self._total != float("inf")
        parts = [f"step {self._done}/{self._total:.0f}" if known else f"step {self._done}", *self._scores(trainer)]
        if known and self._rate() > 0 and self._done < self._total:
            parts.append(f"{timedelta(seconds=round((self._total - self._done) / self._rate()))} left")
        print("  ".join(parts), file=sys.stderr, flush=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start at the run's current step."""
        self._start("training", trainer.estimated_stepping_batches, trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any, **__: Any) -> None:
        """Show step, speed, loss and accuracy."""
        self._done = trainer.global_step
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
            self._bar.advance(self._task)
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
