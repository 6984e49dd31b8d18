"""The embedding plot of a run: its test voices and faces, drawn once at the end."""

import io
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from voiceface.evaluation.evaluation_table import EvaluationTable
from voiceface.evaluation.tsne import COLOURS, Map, draw_map
from voiceface.methods.base import Method
from voiceface.scores.similarity import directions
from voiceface.training.loggers import Guarded
from voiceface.utils.files import write_atomic

log = logging.getLogger(__name__)

POINTS = 300
GREY = "#d9d9d9"
SHAPES = {"voice": "o", "face": "^"}


def picture(
    trainer: pl.Trainer,
    method: Method,
    table: EvaluationTable,
    loggers: Sequence[Guarded],
    folder: Path,
    recipe: str,
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
    """
    if method.space not in ("cosine", "euclidean") or not trainer.is_global_zero:
        return
    data, path = trainer.datamodule, folder / "embeddings.png"  # type: ignore[attr-defined]
    title = f"{recipe or type(method).__name__} on {data.corpus.name}, {data.test_split} split"
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
    write_atomic(path, _png(draw_map(rows[0], people[0], rows[1], people[1], POINTS), title))


def _png(drawn: Map, title: str) -> bytes:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    styles = dict(zip(_shown(drawn), COLOURS, strict=False))
    figure = Figure(figsize=(6.6, 5.6), layout="constrained")
    panel = figure.add_subplot()
    coloured = np.array([name in styles for name in drawn.identity.tolist()])
    for inside, size in ((~coloured, 12), (coloured, 34)):
        for kind, shape in SHAPES.items():
            points = np.flatnonzero(inside & (drawn.modality == kind))
            colours = [styles.get(name, GREY) for name in drawn.identity[points].tolist()]
            x, y = drawn.xy[points].T
            panel.scatter(x, y, color=colours, marker=shape, s=size, linewidths=0, alpha=0.9)
    panel.set(xticks=[], yticks=[])
    voices = int((drawn.modality == "voice").sum())
    panel.set_title(f"{title}\nt-SNE of {voices} voices and {len(drawn.xy) - voices} faces", fontsize=11, loc="left")
    for spine in panel.spines.values():
        spine.set_color("#cccccc")
    legend = [(f"{kind}s", shape, "#444444") for kind, shape in SHAPES.items()]
    legend += [(name, "s", colour) for name, colour in styles.items()]
    legend += [] if coloured.all() else [("others", "s", GREY)]
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markersize=6, label=label)
        for label, marker, colour in legend
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _shown(drawn: Map) -> list[str]:
    """Select the coloured people: those with most clips of both kinds."""
    voices, faces = (Counter(drawn.identity[drawn.modality == kind].tolist()) for kind in SHAPES)
    least = {name: min(voices[name], faces[name]) for name in sorted(voices.keys() | faces.keys())}
    return sorted(sorted(least, key=lambda name: (-least[name], -voices[name] - faces[name], name))[: len(COLOURS)])
