"""Progress of long work: a bar on a terminal, a line a minute in the log of a cluster job."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic

from rich.progress import TextColumn

from voiceface.utils.progress import new_bar


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
    with new_bar(TextColumn("{task.fields[note]}")) as bar:
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
