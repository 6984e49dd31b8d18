"""Atomic file writing: after a kill or on a full disk, a file has either its old or its new content."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from voiceface.utils.errors import UserError, reason


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for atomic writing: temporary name, flush to disk, rename.

    Args:
        path: Target file in an existing folder.

    Yields:
        The temporary file, open for writing; it is removed if the block fails.

    Raises:
        OSError: The disk is full or the folder is not writable.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file atomically; see `atomic`."""
    with atomic(path) as file:
        file.write(data)


def write_for_user(path: Path, data: bytes) -> None:
    """Write a file that the user named, and create its folder.

    Raises:
        UserError: The file cannot be written; the message says why.
    """
    real = Path(os.path.realpath(path))  # writes a link's target and keeps the link
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(real, data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({reason(error)}); choose another place or make room") from None


def check_writable(path: Path) -> None:
    """Check before long work that a file named by the user can be written.

    Raises:
        UserError: The file cannot be written.
    """
    # Unlike `Path.exists`, `os.path.exists` treats a file in an inaccessible folder as missing.
    above = next(folder for folder in path.resolve().parents if os.path.exists(folder))
    # A device or a pipe would be replaced by a file.
    other = os.path.exists(path) and not os.path.isfile(path)
    if other or not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"{path}: cannot be written; name a file in a folder that can")
