"""A logger that fails where it is told to, and counts its calls."""

from typing import Any

from pytorch_lightning.loggers import Logger


class FailingLogger(Logger):
    """A logger without a place to log to.

    Args:
        where: The call that fails: experiment, log_metrics, log_hyperparams, save or finalize.
        after: Calls of it that succeed before.
    """

    def __init__(self, where: str, after: int = 0) -> None:
        self.where, self.after, self.calls = where, after, []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.where and self.calls.count(name) > self.after:
            raise ConnectionError("the server\nis gone")

    @property
    def name(self) -> str:
        return "failing"

    @property
    def version(self) -> str:
        return ""

    @property
    def experiment(self) -> object:
        self._call("experiment")
        return self

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._call("log_metrics")

    def log_hyperparams(self, *args: Any, **options: Any) -> None:
        self._call("log_hyperparams")

    def save(self) -> None:
        self._call("save")

    def finalize(self, status: str) -> None:
        self._call("finalize")
