"""Rejected inputs with their reasons, and the watch over a file while it is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voiceface.data.prepare.media.file_stamps import difference, none_left, stamp


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
        Rejected: The file is gone, is none (reading a pipe or a device might never end), or is another one than before.
    """
    before = stamp(path)
    if none_left((before,)):
        raise Rejected(stage, "vanished since it was listed")
    if not path.is_file():
        raise Rejected(stage, "not a regular file")
    failure: Rejected | OSError | None = None
    try:
        yield
    except (Rejected, OSError) as error:
        failure = error
    happened = difference(before)
    if happened:
        raise Rejected(stage, f"{happened} while it was read") from failure
    if failure is not None:
        raise failure
