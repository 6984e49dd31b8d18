"""Writing files so that a kill or a full disk leaves the old one or the new one, never half of one."""

import os
from pathlib import Path

from voiceface.errors import UserError


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: temporary name, flush to disk, rename.

    Args:
        path: File; its folder exists.
        data: Content.

    Raises:
        OSError: The disk is full or the folder cannot be written; the temporary file is removed.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_for_user(path: Path, data: bytes) -> None:
    """Write a file that the user named, and its folder.

    Raises:
        UserError: It cannot be written; the message says why.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({(error.strerror or str(error)).lower()}); choose another place or make room") from None
