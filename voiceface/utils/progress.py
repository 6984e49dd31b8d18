"""Progress of long work: a bar on a terminal; of `pace` also a line a minute in the log of a cluster job."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from time import monotonic
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

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
def progress(
    what: str, total: int, done: int = 0, shown: bool = True, transient: bool = False
) -> Iterator[Callable[..., None]]:
    """Show a bar while the block runs, if there is a `terminal`.

    Args:
        what: Description of the work.
        total: Number of items.
        done: Items that were done before.
        shown: Whether this process has a bar: of many that do the same, one should.
        transient: Remove the bar at the end.

    Yields:
        A function to call per finished item (or with a number of items).
    """
    bar = new_bar()
    bar.disable |= not shown
    bar.live.transient = transient
    with bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda n=1: bar.advance(task, n)


@contextmanager
def pace(what: str, total: int, unit: str, done: int = 0, every: float = 60.0) -> Iterator[Callable[..., None]]:
    """Show how far the work is, its rate and the time left while the block runs, on standard error.

    Args:
        what: What is being done.
        total: Amount of work in units, of any size that is about proportional to time.
        unit: What a unit is called, plural.
        done: Units that were done before; they do not count for the rate.
        every: Seconds between two lines where standard error is no terminal.

    Yields:
        A function of the number of units just done and, if wanted, of a note to show beside them.
    """
    started = said = monotonic()
    now = done
    with new_bar(*usual_columns(), TextColumn("{task.fields[note]}")) as bar:
        task = bar.add_task(what, total=total, completed=done, note="")

        def advance(units: int, note: str = "") -> None:
            nonlocal said, now
            now += units
            rate = (now - done) / max(monotonic() - started, 1e-9)
            speed = f"{rate:,.1f} {unit}/s"
            bar.update(task, completed=now, note=f"{speed} {note}")
            if bar.disable and monotonic() - said >= every:
                said = monotonic()
                left = timedelta(seconds=round((total - now) / rate)) if rate else "unknown"
                line = f"{what}: {now:,} of {total:,} {unit}, {note + ', ' if note else ''}{speed}, {left} left"
                print(line, file=sys.stderr, flush=True)

        yield advance


def usual_columns() -> tuple[ProgressColumn, ...]:
    """Description, bar, count, elapsed and remaining time."""
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )


def new_bar(*columns: ProgressColumn) -> Progress:
    """Create a rich progress bar, disabled without a terminal.

    Args:
        columns: What it shows; none: the usual columns.
    """
    shown = terminal()
    ours = shown in (sys.stderr, None)  # otherwise, output printed meanwhile stays in its file
    console = Console(stderr=True) if ours else Console(file=shown)
    return Progress(
        *(columns or usual_columns()),
        console=console,
        redirect_stdout=ours,
        redirect_stderr=ours,
        disable=shown is None,
    )
