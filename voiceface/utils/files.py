"""Files: written whole or not at all, so that a kill or a full disk leaves the old one; read within bounds."""

import csv
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import IO, Any

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


@contextmanager
def locked(path: Path, wait: bool) -> Iterator[IO[bytes]]:
    """Open a file to append to, as its only writer; the kernel drops the lock when the process ends, however it ends.

    Args:
        path: File; it and its folder are made where they are missing.
        wait: Wait for another process that holds the lock.

    Yields:
        The file.

    Raises:
        BlockingIOError: Another process holds the lock, and `wait` is false.
        OSError: The file cannot be written, or its file system has no locks.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Renamed or removed before the lock was this process's: what is locked is then not what has the name.
            try:
                same = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                same = False
            if same:
                yield file
                return


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


def free_path(path: Path) -> Path:
    """The path, or where something already exists the first of NAME-2, NAME-3, ... that is free."""
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(one for one in chain([path], numbered) if not os.path.lexists(one))


def read_json(path: Path, most_mib: int = 200, **how: Any) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: The file, in UTF-8.
        most_mib: A larger file is refused, MiB.
        how: For `json.loads`, such as `parse_constant`.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is too large, no JSON or no object; the words are fit to follow the file's name.
    """
    with path.open("rb") as file:
        content = file.read(most_mib * 2**20 + 1)
    if len(content) > most_mib * 2**20:
        raise ValueError(f"over {most_mib} MiB")
    try:
        found = json.loads(content.decode(), **how)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not readable as JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A CSV file's bytes, in UTF-8 but for file names that are not."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def sha256_of(path: Path) -> str:
    """The sha256 of a file of any size, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
