"""Hostile files, and a watch over what reading them does."""

import json
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from voiceface.utils.errors import UserError

# What code from a file would have to do first: another program, the network, or an unpickler that looks names up.
RUNS = ("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pty.spawn", "subprocess.Popen")
RUNS += ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind", "urllib.Request", "pickle.find_class")
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Watch:
    """What Python's own audit events told: https://docs.python.org/3/library/audit_events.html."""

    ran: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)


_at_work: list[Watch] = []


def _hook(event: str, args: tuple[object, ...]) -> None:
    for watch in _at_work:
        if event in RUNS:
            watch.ran.append(f"{event} {args}")
        elif event == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
            path = os.fsdecode(args[0])
            watch.opened.append(path)
            if isinstance(args[2], int) and args[2] & WRITING:
                watch.written.append(path)
        elif event in CHANGES:
            watch.written.extend(os.fsdecode(arg) for arg in args if isinstance(arg, (str, bytes, os.PathLike)))


sys.addaudithook(_hook)  # for the rest of the process: a hook cannot be taken away


@contextmanager
def watched() -> Iterator[Watch]:
    """Note what happens meanwhile."""
    tempfile.gettempdir()  # the first time it is asked, it tries the folder out
    watch = Watch()
    _at_work.append(watch)
    try:
        yield watch
    finally:
        _at_work.remove(watch)


def nothing_ran(watch: Watch, folder: Path) -> None:
    """No program, no network, no pickled name; no canary; and nothing was written outside of the test's folder."""
    assert watch.ran == []
    assert not canary(folder).exists()
    inside = f"{folder.resolve()}{os.sep}"
    harmless = {os.devnull, str(folder)}
    written = [path for path in watch.written if path not in harmless and "__pycache__" not in path]
    assert [path for path in written if not os.path.realpath(path).startswith(inside)] == []


def refused(folder: Path, call: Callable[[], object]) -> str:
    """Call what must refuse a file in one line, without running anything of it.

    Returns:
        The line.
    """
    with watched() as watch, pytest.raises(UserError) as caught:
        call()
    nothing_ran(watch, folder)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert len(line) < 1000
    return line


def canary(folder: Path) -> Path:
    """The file that every payload writes."""
    return folder / "canary"


class Evil:
    """Its pickle runs a command when an ordinary unpickler reads it."""

    def __init__(self, folder: Path) -> None:
        self.command = f"touch {canary(folder)}"

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def payload(folder: Path) -> str:
    """Python code that leaves the canary, for files that are imported."""
    return f"open({str(canary(folder))!r}, 'w').close()\n"


NESTED = 200_000  # brackets inside each other


def nested() -> str:
    """JSON that is too deep for any reader."""
    return "[" * NESTED + "]" * NESTED


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header, true or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def lying_headers(shape: tuple[int, ...] = (2, 2)) -> dict[str, bytes]:
    """Safetensors files that lie about one float32 tensor, by what the lie is."""
    size = 4
    for side in shape:
        size *= side
    data = bytes(size)

    def one(**lie: object) -> bytes:
        return safetensors({"a": {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size], **lie}}, data)

    right = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]}
    return {
        "header as long as memory": safetensors({"a": right}, data, 2**63 + 1),
        "header of 100 MB that is not there": safetensors({"a": right}, data, 100_000_000),
        "header ends too early": safetensors({"a": right}, data, 20),
        "offsets behind the end": one(data_offsets=[size, 2 * size]),
        "offsets larger than the file": one(data_offsets=[0, 2**60]),
        "offsets that are negative": one(data_offsets=[-size, 0]),
        "offsets backwards": one(data_offsets=[size, 0]),
        "offsets that overlap": safetensors({"a": right, "b": right}, data),
        "a hole between offsets": safetensors(
            {"a": right, "b": {**right, "data_offsets": [size + 4, 2 * size + 4]}}, data * 3
        ),
        "bytes behind the last tensor": safetensors({"a": right}, data + b"#!/bin/sh"),
        "type of another width": one(dtype="F64"),
        "type that there is not": one(dtype="object"),
        "shape whose size overflows": one(shape=[2**32, 2**32, 2**32]),
        "shape that is negative": one(shape=[-2, -2]),
        "shape of another size": one(shape=[3, 3]),
        "nesting": safetensors(b'{"a":' + nested().encode() + b"}"),
        "no object": safetensors([1, 2], data),
        "no JSON": safetensors(b"\x80\x04cos\nsystem\n.", data),
        "empty": b"",
    }
