"""Progress of long work: a bar on a terminal, one line per minute in the log of a cluster job."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic

from rich.progress import TextColumn

from voiceface.utils.progress import new_bar


@contextmanager
def pace(what: str, total: int, unit: str, done: int = 0, every: float = 60.0) -> Iterator[Callable[..., None]]:
    """Show progress, rate and remaining time on standard error while the block runs.

    Args:
        what: Description of the work.
        total: Amount of work in units, roughly proportional to time.
        unit: Name of a unit, plural.
        done: Units finished earlier; excluded from the rate.
        every: Seconds between two lines if standard error is not a terminal.

    Yields:
        A function of the number of units just finished and, optionally, of a note to show beside them.
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
