"""File stamps: size and modification time of the files that were read, to notice one that changes meanwhile."""

import os
from pathlib import Path

Stamp = tuple[str, int, int]


def stamp(path: Path) -> Stamp:
    """Absolute path, size in bytes and time of change (`st_mtime_ns`) of a file; -1 and -1 where there is none."""
    whole = os.path.abspath(path)
    return (whole, *_now(whole))


def difference(was: Stamp) -> str:
    """What happened to a file since its stamp was taken: `changed`, `vanished`, or nothing (empty)."""
    path, *then = was
    now = _now(path)
    if [*now] == then:
        return ""
    return "vanished" if now == (-1, -1) else "changed"


def none_left(stamps: tuple[Stamp, ...]) -> bool:
    """Whether none of several files was there when their stamps were taken."""
    return bool(stamps) and all(size == -1 for _, size, _ in stamps)


def _now(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns
