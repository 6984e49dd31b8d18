"""A progress bar, shown only on a terminal."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

TERMINAL = "VOICEFACE_TERMINAL"


@cache
def _named(path: str) -> TextIO | None:
    try:
        file = open(path, "w")  # noqa: SIM115
    except OSError:
        return None
    return file if file.isatty() else None


def terminal() -> TextIO | None:
    """Where bars are shown: standard error, or the terminal that `$VOICEFACE_TERMINAL` names; None: nowhere.

    `voiceface compare` keeps what its runs print in files, and lends them its terminal for their bars.
    """
    if sys.stderr.isatty():
        return sys.stderr
    return _named(path) if (path := os.environ.get(TERMINAL)) else None


@contextmanager
def progress(what: str, total: int, done: int = 0, shown: bool = True) -> Iterator[Callable[..., None]]:
    """Show a bar while the block runs, if there is a `terminal`.

    Args:
        what: What is being done.
        total: Number of items.
        done: Items that were done before.
        shown: Whether this process has a bar: of many that do the same, one should.

    Yields:
        A function to call per finished item (or with a number of items).
    """
    bar = new_bar()
    bar.disable |= not shown
    with bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda n=1: bar.advance(task, n)


def new_bar(*more: TextColumn) -> Progress:
    """A rich progress bar on the terminal: what, how many, time gone and left; disabled where there is none.

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
    shown = terminal()
    ours = shown in (sys.stderr, None)  # else what is printed meanwhile stays in its file
    console = Console(stderr=True) if ours else Console(file=shown)
    return Progress(*columns, *more, console=console, redirect_stdout=ours, redirect_stderr=ours, disable=shown is None)
