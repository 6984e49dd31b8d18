"""The embedding plot of a run: its test voices and faces, drawn once at the end."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from numpy.typing import NDArray

from voiceface.evaluation.evaluation_table import EvaluationTable
from voiceface.evaluation.tsne import SHAPES, draw_map, rendered, run_figure
from voiceface.methods.base import Method
from voiceface.scores.similarity import directions
from voiceface.training.loggers import Guarded
from voiceface.utils.files import write_atomic

log = logging.getLogger(__name__)

POINTS = 300


def picture(
    trainer: pl.Trainer,
    method: Method,
    table: EvaluationTable,
    loggers: Sequence[Guarded],
    folder: Path,
    recipe: str,
    step: int,
) -> None:
    """Write `embeddings.png` and send it to the loggers; on failure, warn once and continue without it.

    Methods that score pairs with a network have no common space to draw.

    Args:
        trainer: Trainer that has just tested.
        method: The tested method.
        table: The clips of that test.
        loggers: Loggers of the run.
        folder: Run folder.
        recipe: Name for the title.
        step: Training step of the tested weights, for the title.
    """
    if method.space not in ("cosine", "euclidean") or not trainer.is_global_zero:
        return
    data, path = trainer.datamodule, folder / "embeddings.png"  # type: ignore[attr-defined]
    title = f"{recipe or type(method).__name__} on {data.corpus.name}, {data.test_split} split, step {step}"
    try:
        draw_run(path, table.gather(), method.space, title)
    except Exception as error:
        log.warning("%s: not drawn (%s)", path, " ".join(f"{type(error).__name__}: {error}".split()))
        return
    for logger in loggers:
        logger.log_picture("embeddings", path, trainer.global_step)


def draw_run(path: Path, gathered: Mapping[str, NDArray[Any]], space: str, title: str) -> None:
    """Draw several hundred clips of an evaluation by t-SNE, voices and faces in one plane, and write the picture.

    A dozen people are coloured: those with most clips drawn. The plane preserves neighbours, not distances; people far
    apart in it may be close in the space.

    Args:
        path: PNG file.
        gathered: Result of `EvaluationTable.gather`.
        space: How embeddings are compared: `cosine` or `euclidean`.
        title: Title of the picture.

    Raises:
        OSError: The file cannot be written.
    """
    rows, people = ([gathered[f"{kind}{what}"] for kind in SHAPES] for what in ("s", "_people"))
    if space == "cosine":
        rows = [directions(table) for table in rows]
    figure = run_figure(draw_map(rows[0], people[0], rows[1], people[1], POINTS), title)
    write_atomic(path, rendered(figure, ["png"])["png"])
