"""Why one input is left out, and the watch over a file while it is read."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Rejected(Exception):
    """One input is left out.

    Args:
        stage: Stage that refused it: `collect`, `voice`, `face` or `video`.
        reason: Why, without numbers of the single file, so that rejects can be counted by reason.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(stage, reason)
        self.stage = stage
        self.reason = reason


@contextmanager
def unchanged(path: Path, stage: str) -> Iterator[None]:
    """Make sure that a file is the same before and after the block that reads it, by its size and time of change.

    A change explains whatever the block found wrong (half a file looks truncated), so it goes before the block's own
    `Rejected` or `OSError`.

    Args:
        path: File that the block reads.
        stage: Stage that refuses it.

    Raises:
        Rejected: The file is gone, or is another one than before.
    """
    before = _stamp(path)
    if before is None:
        raise Rejected(stage, "vanished since it was listed")
    failure: Rejected | OSError | None = None
    try:
        yield
    except (Rejected, OSError) as error:
        failure = error
    after = _stamp(path)
    if after is None:
        raise Rejected(stage, "vanished while it was read") from failure
    if after != before:
        raise Rejected(stage, "changed while it was read") from failure
    if failure is not None:
        raise failure


def stamps(paths: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """Absolute path, size in bytes and time of change of each file that is there, for `Person.stamps`."""
    found = ((os.path.abspath(path), _stamp(path)) for path in paths)
    return tuple((path, stamp[1], stamp[2]) for path, stamp in found if stamp and any(stamp))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Inode, size and time of change; None where the file is gone. Other errors are left to the block that reads."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return (0, 0, 0)
    return status.st_ino, status.st_size, status.st_mtime_ns
