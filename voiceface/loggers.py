"""Where a run is logged."""

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter


class _Writer(ExperimentWriter):
    """Lightning's CSV writer, but a resumed run adds to the file instead of deleting it."""

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.exists():
            with path.open(newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])


class RunLogger(CSVLogger):
    """`metrics.csv` straight in the run folder.

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
        """The writer, made on first use."""
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir)
        return self._experiment

    def log_hyperparams(self, params: Any = None) -> None:
        """Nothing: `config.yaml` holds them."""
