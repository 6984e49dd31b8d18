"""A leaderboard at Weights & Biases and in TensorBoard: the same tables, plots and page as in the files.

What fails there is told in one line and left out: the leaderboard itself is shown before.
"""

import importlib.util
import io
import logging
import re
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from voiceface.compare.table import Comparison, Group
from voiceface.utils.errors import UserError
from voiceface.utils.version import __version__
from voiceface.utils.wandb import ready_wandb

log = logging.getLogger(__name__)

# Plots that are scalars too in TensorBoard, and what they are called there.
CURVES = {"many_curves": "1:N accuracy", "recall_curves": "R@K", "training_curves": "validation accuracy"}
DPI = 150


def check_loggers(wandb_project: str | None = None, tensorboard: str | Path | None = None) -> None:
    """Refuse, before any work, what cannot be logged to.

    Args:
        wandb_project: Project at Weights & Biases; None: none.
        tensorboard: Folder of TensorBoard's; None: none.

    Raises:
        UserError: A package is missing, or nobody is logged in at Weights & Biases and it is not offline.
    """
    if wandb_project is not None:
        ready_wandb(wandb_project)
    if tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            f"--tensorboard {tensorboard}: the package is missing; pip install 'voiceface[tensorboard]', or leave the "
            "option out"
        )


def log_comparison(
    comparison: Comparison, wandb_project: str | None = None, tensorboard: str | Path | None = None
) -> None:
    """Log a leaderboard.

    To Weights & Biases go, as one run: each group's cells as a table, a line each, its plots as pictures, and the page.
    To TensorBoard: the tables as text, the plots as images, and 1:N, recall and training curves as scalars, a run for
    each model.

    Args:
        comparison: The leaderboard.
        wandb_project: Project at Weights & Biases; None: none.
        tensorboard: Folder of TensorBoard's, in which a model is a folder; None: none.

    Raises:
        UserError: See `check_loggers`.
    """
    check_loggers(wandb_project, tensorboard)

    @cache
    def pictures(number: int) -> dict[str, bytes]:
        return _pictures(comparison.groups[number])

    if tensorboard is not None:
        folder = Path(tensorboard)
        _guard("TensorBoard", lambda: _to_tensorboard(comparison, folder, pictures))
    if wandb_project is not None:
        _guard("Weights & Biases", lambda: _to_wandb(comparison, wandb_project, pictures))


def _guard(where: str, write: Callable[[], None]) -> None:
    try:
        write()
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        log.warning("%s failed (%s); the leaderboard is not, or not wholly, logged there", where, why)


def _pictures(group: Group) -> dict[str, bytes]:
    """A group's plots as PNG."""
    from voiceface.compare.render.plots import plots_of

    found = {}
    for name, figure in plots_of(group).items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
        found[name] = buffer.getvalue()
    return found


def _to_wandb(comparison: Comparison, project: str, pictures: Callable[[int], dict[str, bytes]]) -> None:
    from PIL import Image

    from voiceface.compare.render.data_files import NAMES, tidy
    from voiceface.compare.render.page import to_html

    wandb = ready_wandb(project, login=False)
    models = sorted({row.name for group in comparison.groups for row in group.rows if row.kind == "model"})
    about = {"voiceface": __version__, "groups": [group.title for group in comparison.groups], "models": models}
    with wandb.init(project=project, job_type="compare", config=about) as run:
        content: dict[str, Any] = {"leaderboard": wandb.Html(to_html(comparison), inject=False)}
        for number, group in enumerate(comparison.groups):
            lines = [[line[name] for name in NAMES] for line in tidy(Comparison((group,)))]
            name = f"table_{number + 1}"
            content[f"{name}/cells"] = wandb.Table(columns=list(NAMES), data=lines, allow_mixed_types=True)
            for plot, png in pictures(number).items():
                content[f"{name}/{plot}"] = wandb.Image(Image.open(io.BytesIO(png)), caption=group.title)
        run.log(content)


def _to_tensorboard(comparison: Comparison, folder: Path, pictures: Callable[[int], dict[str, bytes]]) -> None:
    """By TensorBoard's own writer: that of PyTorch would import PyTorch."""
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb

    from voiceface.compare.render.documents import to_markdown

    shown: list[tuple[int, Any]] = [(0, text_pb("leaderboard", to_markdown(comparison)))]
    curves: dict[str, list[tuple[int, Any]]] = {}
    for number, group in enumerate(comparison.groups):
        about = f"table {number + 1}: {group.title}".replace("/", " ")
        for name, png in pictures(number).items():
            width, height = Image.open(io.BytesIO(png)).size
            image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
            shown.append((0, Summary(value=[Summary.Value(tag=f"{about}/{name}", image=image)])))
        for model, tag, step, value in _curves(group):
            point = Summary.Value(tag=f"{about}/{tag}", simple_value=value)
            curves.setdefault(model, []).append((step, Summary(value=[point])))
    _write(folder / "leaderboard", shown)
    for model, run in zip(curves, _folder_names(list(curves)), strict=True):
        _write(folder / run, curves[model])


def _curves(group: Group) -> list[tuple[str, str, int, float]]:
    """Model, name of the curve, x and y of each point of the plots that are curves."""
    from voiceface.compare.render.plot_data import plot_data

    plots = plot_data(group)
    return [
        (series.name, " ".join(filter(None, (CURVES[name], panel.title))), round(point.x), point.y)
        for name in CURVES
        if name in plots
        for panel in plots[name].panels
        for series in panel.series
        for point in series.points
    ]


def _folder_names(models: Sequence[str]) -> list[str]:
    """A folder for each model, by its name as far as that can be one."""
    names: list[str] = []
    for model in models:
        name = re.sub(r"[^\w.+-]+", "_", model).strip("._") or "model"
        taken = {"leaderboard", *names}
        numbered = (name if number == 1 else f"{name}-{number}" for number in range(1, len(taken) + 2))
        names.append(next(free for free in numbered if free not in taken))
    return names


def _write(folder: Path, summaries: Sequence[tuple[int, Any]]) -> None:
    """An event file with summaries by step."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    for step, summary in summaries:
        writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
    writer.close()
