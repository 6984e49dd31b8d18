"""The loggers of a run: metrics.csv always, TensorBoard if installed, Weights & Biases on request.

A logger that fails is skipped from then on: logging must never end a run.
"""

import csv
import importlib.util
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import DummyExperiment  # type: ignore[attr-defined]
from pytorch_lightning.utilities import rank_zero_only

from voiceface.utils.files import write_atomic
from voiceface.utils.wandb import ready_wandb

log = logging.getLogger(__name__)


class _Writer(ExperimentWriter):
    """Lightning's CSV writer, except that a resumed run appends to the file instead of deleting it."""

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.exists():
            with path.open(newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Rewrite the file atomically: Lightning's own method empties it first."""
        path = Path(self.metrics_file_path)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames)
        writer.writeheader()
        with path.open(newline="") as file:
            writer.writerows(csv.DictReader(file))
        write_atomic(path, text.getvalue().encode())


class RunLogger(CSVLogger):
    """Logger that writes `metrics.csv` directly in the run folder.

    Args:
        folder: Run folder.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(folder, name="", version="", flush_logs_every_n_steps=50)

    @property
    def log_dir(self) -> str:
        """The run folder."""
        return self.save_dir

    @property
    def experiment(self) -> Any:
        """The writer, created on first use."""
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir)
        return self._experiment

    def log_hyperparams(self, params: Any = None) -> None:
        """Do nothing: `config.yaml` has them."""


class Guarded(Logger):
    """A logger whose failure does not stop the run: it warns once and is skipped from then on.

    It presents itself as the inner logger (`isinstance`, its own methods), so that callbacks find theirs by class.

    Args:
        logger: Any logger.
    """

    def __init__(self, logger: Logger) -> None:
        self.inside: Any = logger
        self.failed = False

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.inside)

    def __reduce__(self) -> tuple[Any, ...]:
        return Guarded, (self.inside,)

    def _guard(self, call: Callable[[], Any], otherwise: Any = None) -> Any:
        if self.failed:
            return otherwise
        try:
            return call()
        except Exception as error:
            self.failed = True
            why = " ".join(f"{type(error).__name__}: {error}".split())
            log.warning(
                "%s failed (%s); the run goes on and is no longer logged there", type(self.inside).__name__, why
            )
            return otherwise

    @property
    def name(self) -> str | None:
        """Name of the inner logger."""
        name: str | None = self._guard(lambda: self.inside.name)
        return name

    @property
    def version(self) -> int | str | None:
        """Version of the inner logger."""
        version: int | str | None = self._guard(lambda: self.inside.version)
        return version

    @property
    def save_dir(self) -> str | None:
        """Save folder of the inner logger, also after a failure: Lightning asks the first logger where files go."""
        folder: str | None = self.inside.save_dir
        return folder

    @property
    def log_dir(self) -> str | None:
        """Log folder of the inner logger, likewise."""
        folder: str | None = self.inside.log_dir
        return folder

    @property
    def root_dir(self) -> str | None:
        """Root folder of the inner logger, likewise."""
        folder: str | None = self.inside.root_dir
        return folder

    @property
    def group_separator(self) -> str:
        """Group separator of the inner logger."""
        separator: str = self.inside.group_separator
        return separator

    @property
    def experiment(self) -> Any:
        """Experiment of the inner logger; after a failure, a dummy that accepts any call."""
        if not hasattr(type(self.inside), "experiment"):
            raise AttributeError("experiment")
        return self._guard(lambda: self.inside.experiment, DummyExperiment())

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """See `Logger.log_metrics`."""
        self._guard(lambda: self.inside.log_metrics(dict(metrics), step))

    def log_hyperparams(self, *args: Any, **options: Any) -> None:
        """See `Logger.log_hyperparams`."""
        self._guard(lambda: self.inside.log_hyperparams(*args, **options))

    def log_graph(self, *args: Any, **options: Any) -> None:
        """See `Logger.log_graph`."""
        self._guard(lambda: self.inside.log_graph(*args, **options))

    def save(self) -> None:
        """See `Logger.save`."""
        self._guard(self.inside.save)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """See `Logger.after_save_checkpoint`."""
        self._guard(lambda: self.inside.after_save_checkpoint(checkpoint_callback))

    def finalize(self, status: str) -> None:
        """See `Logger.finalize`."""
        self._guard(lambda: self.inside.finalize(status))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "inside":
            raise AttributeError(name)
        value = getattr(self.inside, name)
        return (lambda *args, **options: self._guard(lambda: value(*args, **options))) if callable(value) else value

    @rank_zero_only
    def log_picture(self, name: str, path: Path, step: int) -> None:
        """Send a picture to TensorBoard, or to a logger that accepts pictures; ignored by the others.

        Args:
            name: Name of the picture in the logger.
            path: PNG file.
            step: Steps taken.
        """
        if isinstance(self.inside, TensorBoardLogger):
            self._guard(lambda: _to_tensorboard(self.inside.experiment, name, path, step))
        elif hasattr(self.inside, "log_image"):
            self._guard(lambda: self.inside.log_image(name, [str(path)], step))


def run_loggers(
    folder: Path,
    asked: Logger | Sequence[Logger] | bool | None = None,
    wandb: str | None = None,
    settings: Mapping[str, Any] | None = None,
    resumed: bool = False,
) -> list[Guarded]:
    """Create the loggers of a run, each guarded: metrics.csv, TensorBoard if installed, and those requested.

    Args:
        folder: Run folder.
        asked: `--trainer.logger`: the user's own, one or several; False: only metrics.csv and `wandb`.
        wandb: Project at Weights & Biases; None: not used.
        settings: The run's settings, for Weights & Biases.
        resumed: Continue the run in the run folder.

    Raises:
        UserError: `wandb` is not installed, or no user is logged in and it is not offline.
    """
    loggers: list[Logger] = [RunLogger(str(folder))]
    if asked is not False and importlib.util.find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(folder / "tensorboard", name="", version="", default_hp_metric=False))
    if wandb is not None:
        loggers.append(_wandb(folder, wandb, settings or {}, resumed))
    if isinstance(asked, Logger):
        loggers.append(asked)
    elif asked and asked is not True:
        loggers += asked
    return [Guarded(logger) for logger in loggers]


def _wandb(folder: Path, project: str, settings: Mapping[str, Any], resumed: bool) -> Logger:
    """Create a Weights & Biases logger with files in the run folder; a resumed run keeps its id."""
    ready_wandb(project, login=getattr(rank_zero_only, "rank", 0) == 0)
    runs = sorted((folder / "wandb").glob("*run-*-*"), key=lambda run: run.name.split("run-")[-1]) if resumed else []
    return WandbLogger(
        project=project,
        name=folder.resolve().name,
        save_dir=folder,
        id=runs[-1].name.rsplit("-", 1)[1] if runs else None,
        config=dict(settings),
    )


def _to_tensorboard(writer: Any, name: str, path: Path, step: int) -> None:
    import numpy as np
    from PIL import Image

    with Image.open(path) as picture:
        writer.add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")
    writer.flush()
