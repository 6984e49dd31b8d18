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
    """Return the stream for progress bars: standard error, or the terminal in `$VOICEFACE_TERMINAL`; None: no bars.

    `voiceface compare` writes its runs' output to files, and lends them its terminal for their bars.
    """
    if sys.stderr.isatty():
        return sys.stderr
    return _named(path) if (path := os.environ.get(TERMINAL)) else None


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
    """Show a bar while the block runs, if there is a `terminal`.

    Args:
        what: Description of the work.
        total: Number of items.
        done: Items finished earlier.

    Yields:
        A function to call per finished item (or with a number of items).
    """
    with new_bar() as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda n=1: bar.advance(task, n)


def new_bar(*more: TextColumn) -> Progress:
    """Create a rich progress bar: description, count, elapsed and remaining time; disabled without a terminal.

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
    ours = shown in (sys.stderr, None)  # otherwise, output printed meanwhile stays in its file
    console = Console(stderr=True) if ours else Console(file=shown)
    return Progress(*columns, *more, console=console, redirect_stdout=ours, redirect_stderr=ours, disable=shown is None)
