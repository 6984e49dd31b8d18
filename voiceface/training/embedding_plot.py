"""The embedding plot of a run: its test voices and faces, drawn once at the end."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl

from voiceface.evaluation.metric import Clips, CrossModalScores
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
    metric: CrossModalScores,
    loggers: Sequence[Guarded],
    folder: Path,
    recipe: str,
) -> None:
    """Write `embeddings.png` and send it to the loggers; a failure costs the picture and one warning, not the run.

    All processes must call this. Methods that score pairs by a network have no common space to draw.

    Args:
        trainer: Has just tested.
        method: What was tested.
        metric: The clips of that test.
        loggers: Those of the run.
        folder: Run folder.
        recipe: Name for the title.
    """
    if method.space not in ("cosine", "euclidean"):
        return
    clips = metric.clips()
    if not trainer.is_global_zero:
        return
    data, path = trainer.datamodule, folder / "embeddings.png"  # type: ignore[attr-defined]
    title = f"{recipe or type(method).__name__} on {data.corpus.name}, {data.test_split} split"
    try:
        draw_run(path, clips, metric.names or {}, method.space, title)
    except Exception as error:
        log.warning("%s: not drawn (%s)", path, " ".join(f"{type(error).__name__}: {error}".split()))
        return
    for logger in loggers:
        logger.log_picture("embeddings", path, trainer.global_step)


def draw_run(path: Path, clips: Mapping[str, Clips], names: Mapping[int, str], space: str, title: str) -> None:
    """Draw some hundred clips of an evaluation by t-SNE, voices and faces in one plane, and write the picture.

    A dozen people have colours: those with most clips drawn. The plane keeps neighbours, no distances; people apart in
    it may be near in the space.

    Args:
        path: PNG file.
        clips: Of `voice` and of `face`: embeddings and identity numbers, as `CrossModalScores.clips` gives them.
        names: Identity names by number.
        space: How embeddings compare: `cosine` or `euclidean`.
        title: Says what is drawn.

    Raises:
        OSError: The file cannot be written.
    """
    rows = [clips[kind].embeddings.astype(np.float32) for kind in SHAPES]
    people = [np.array([names[number] for number in clips[kind].identity.tolist()]) for kind in SHAPES]
    if space == "cosine":
        rows = [directions(table) for table in rows]
    figure = run_figure(draw_map(rows[0], people[0], rows[1], people[1], POINTS), title)
    write_atomic(path, rendered(figure, ["png"])["png"])
