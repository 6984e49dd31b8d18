"""Run: what a training left in its run folder, to look at from Python."""

import csv
import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from voiceface.evaluation.cells import DIRECTIONS
from voiceface.evaluation.plots import ASKS
from voiceface.evaluation.tsne import COLOURS, GREY
from voiceface.evaluation.view import Results
from voiceface.utils.errors import UserError, reason
from voiceface.utils.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

CURVE = "learning_curve.png"


class Run:
    """A finished run.

    Args:
        folder: The run folder that `fit` wrote.

    Attributes:
        folder: Run folder.
        checkpoint: Checkpoint folder in it, which `voiceface.load` takes.
        results: Its scores on the test people.

    Raises:
        UserError: The folder holds no finished run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.checkpoint = self.folder / "checkpoint"
        self.results = Results.read(self.folder / "results.json")

    def history(self) -> list[dict[str, float]]:
        """The rows of `metrics.csv`: what was logged at each step, by name; see docs/training.md."""
        return read_history(self.folder / "metrics.csv")

    def plot(self) -> "Figure":
        """The learning curve: training loss and validation accuracy by step, and the step that was kept."""
        kept = (self.results.get("training") or {}).get("chosen", {}).get("step")
        return learning_curve(self.history(), f"{self.results.name} on {self.results['data']['corpus']}", kept)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {self.results!r})"

    def _repr_html_(self) -> str:
        return self.results._repr_html_()


def read_history(path: Path) -> list[dict[str, float]]:
    """Read a run's `metrics.csv`; empty cells are left out.

    Raises:
        UserError: It cannot be read.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [{name: float(value) for name, value in row.items() if value} for row in rows]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)})") from None
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error})") from None


def learning_curve(history: list[dict[str, float]], title: str, kept: int | None = None) -> "Figure":
    """Draw the training loss and the validation accuracy by step.

    Args:
        history: From `read_history`.
        title: Says what was trained.
        kept: Step whose weights were kept; None: not known.
    """
    from voiceface.utils.figures import Picture  # matplotlib is slow to import

    figure = Picture(figsize=(6.6, 5.0), layout="constrained")
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    steps, losses = _curve(history, "train/loss")
    loss.plot(steps, losses, ".-", color="#444444", linewidth=1.2, markersize=3)
    loss.set(ylabel="training loss")
    for (way, words), colour in zip(DIRECTIONS.items(), COLOURS, strict=False):
        steps, values = _curve(history, f"val/accuracy_{way}_U")
        accuracy.plot(
            steps, [100 * value for value in values], f"{ASKS[way]}-", color=colour, markersize=4, label=words
        )
    accuracy.axhline(50, color=GREY, linestyle="--", linewidth=1, label="chance")
    if kept is not None:
        for panel in (loss, accuracy):
            panel.axvline(kept, color=COLOURS[2], linewidth=1)
        accuracy.plot([], [], color=COLOURS[2], linewidth=1, label=f"kept: step {kept}")
    accuracy.set(xlabel="step", ylabel="validation, 1:2 per cent")
    accuracy.legend(frameon=False, fontsize=9, loc="best")
    loss.set_title(title, loc="left", fontsize=11)
    for panel in (loss, accuracy):
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    return figure


def write_learning_curve(folder: Path, title: str, kept: int | None) -> None:
    """Write `learning_curve.png` into a run folder; a failure costs the picture and one warning, not the run."""
    try:
        picture = io.BytesIO()
        learning_curve(read_history(folder / "metrics.csv"), title, kept).savefig(picture, format="png", dpi=130)
        write_atomic(folder / CURVE, picture.getvalue())
    except Exception as error:
        log.warning("%s: not drawn (%s)", folder / CURVE, " ".join(f"{type(error).__name__}: {error}".split()))


def _curve(history: list[dict[str, float]], name: str) -> tuple[list[int], list[float]]:
    """Optimiser steps taken, and values; rows count steps from 0."""
    found = [(int(row["step"]) + 1, row[name]) for row in history if name in row and "step" in row]
    return [step for step, _ in found], [value for _, value in found]
