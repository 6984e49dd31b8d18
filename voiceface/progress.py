"""A progress bar that is quiet when nobody looks."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
    """Show a bar on standard error while the block runs, if that is a terminal.

    Args:
        what: What is being done.
        total: Number of items.
        done: Items that were done before.

    Yields:
        A function to call per finished item (or with a number of items).
    """
    with new_bar() as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda n=1: bar.advance(task, n)


def new_bar(*more: TextColumn) -> Progress:
    """A rich progress bar on standard error: what, how many, time gone and left; disabled where that is no terminal.

    Args:
        more: Columns to add.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, *more, console=Console(stderr=True), disable=not sys.stderr.isatty())
