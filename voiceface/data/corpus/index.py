"""The index of a split: where each bundle lies, as arrays, so that millions of rows are read and handed on fast."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from itertools import count
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 19  # bytes of text that are taken apart at once: few enough for the processor's cache
COMMA, LINE_END, ZERO = b",\n0"


@dataclass(frozen=True)
class Bundle:
    """One row of a split's index: where a bundle lies and how much it holds."""

    shard: str
    key: str
    identity: str
    offset: int
    bytes: int
    voices: int
    faces: int


COLUMNS = tuple(field.name for field in fields(Bundle))
NUMBERS = COLUMNS[3:]
Columns = dict[str, NDArray[Any]]


class Index(Sequence[Bundle]):
    """Rows of a split's index: a sequence of `Bundle`, kept as arrays.

    Args:
        columns: `key` as bytes (UTF-8), and `shard`, `identity`, `offset`, `bytes`, `voices`, `faces` as integers of
            any type, all of shape (bundles,). `shard` and `identity` are numbers into the names.
        shards: Names of the shards.
        names: Names of the identities.

    Attributes:
        names: Names of the identities that there are, sorted.
        identity: Number of each bundle's identity in `names`, int64 of shape (bundles,).
        voices: Number of voices of each bundle, int64 of shape (bundles,).
        faces: Number of faces of each bundle, int64 of shape (bundles,).
    """

    def __init__(self, columns: Columns, shards: Sequence[str], names: Sequence[str]) -> None:
        self.shards = list(shards)
        there = np.flatnonzero(np.bincount(columns["identity"], minlength=len(names)))
        there = there[np.argsort(np.array(names, dtype=object)[there], kind="stable")]
        self.names = [names[number] for number in there.tolist()]
        number = np.zeros(len(names), np.int64)
        number[there] = np.arange(len(there))
        self.identity: NDArray[np.int64] = number[columns["identity"]]
        self.voices: NDArray[np.int64] = columns["voices"].astype(np.int64, copy=False)
        self.faces: NDArray[np.int64] = columns["faces"].astype(np.int64, copy=False)
        self._columns = {**columns, "identity": self.identity, "voices": self.voices, "faces": self.faces}

    @classmethod
    def of(cls, bundles: Sequence[Bundle]) -> "Index":
        """The index of these bundles; an index stays what it is."""
        if isinstance(bundles, Index):
            return bundles
        text = {name: [str(getattr(b, name)).encode() for b in bundles] for name in COLUMNS}
        return _index([_typed(text)])

    def take(self, which: slice | NDArray[Any]) -> "Index":
        """Some of the bundles.

        Args:
            which: A slice, a mask or numbers of bundles.
        """
        columns = {name: column[which] for name, column in self._columns.items()}
        return Index(columns, self.shards, self.names)

    def paired(self) -> "Index":
        """The bundles that hold both voices and faces."""
        both = (self.voices > 0) & (self.faces > 0)
        return self if both.all() else self.take(both)

    def __len__(self) -> int:
        return len(self.identity)

    @overload
    def __getitem__(self, which: int) -> Bundle: ...
    @overload
    def __getitem__(self, which: slice) -> "Index": ...
    def __getitem__(self, which: int | slice) -> "Bundle | Index":
        if isinstance(which, slice):
            return self.take(which)
        columns = self._columns
        return Bundle(
            self.shards[columns["shard"][which]],
            columns["key"][which].decode(),
            self.names[self.identity[which]],
            int(columns["offset"][which]),
            int(columns["bytes"][which]),
            int(self.voices[which]),
            int(self.faces[which]),
        )

    def __iter__(self) -> Iterator[Bundle]:
        return map(self.__getitem__, range(len(self)))


def read_index(text: bytes) -> Index:
    """Read an `index.csv`.

    Args:
        text: Its content: UTF-8, a header with the names of `Bundle`'s fields in any order, one row per bundle.

    Raises:
        ValueError: It is no such table, or a number is negative.
    """
    if not text.isascii():
        text.decode()
    header = text[: text.find(b"\n")].decode().split(",")
    simple = sorted(header) == sorted(COLUMNS) and text.endswith(b"\n")
    if simple and not any(odd in text for odd in (b'"', b"\r", b"\0")):
        with suppress(_NotPlainError):
            return _index(_plain_parts(text, header))
    try:
        rows = list(csv.DictReader(io.StringIO(text.decode())))
        return _index([_typed({name: [row[name].encode() for row in rows] for name in COLUMNS})])
    except (KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"not an index: {error}") from None


class _NotPlainError(Exception):
    """Rows that only the csv module understands, or nobody."""


def _plain_parts(text: bytes, header: Sequence[str]) -> Iterator[Columns]:
    """The columns of some rows after the others, taken apart by numpy, without an object for each cell."""
    start = text.find(b"\n") + 1
    while start < len(text):
        end = text.rfind(b"\n", start, start + CHUNK) + 1 or text.find(b"\n", start) + 1
        letters = np.frombuffer(text, np.uint8, end - start, start)
        start = end
        ends = np.flatnonzero((letters == COMMA) | (letters == LINE_END))
        rows = int((letters == LINE_END).sum())
        if len(ends) != rows * len(header):
            raise _NotPlainError
        begins = np.concatenate([[0], ends[:-1] + 1])
        if (letters[ends[len(header) - 1 :: len(header)]] != LINE_END).any() or (ends == begins).any():
            raise _NotPlainError
        yield {
            name: (_numbers if name in NUMBERS else _strings)(letters, begins[i :: len(header)], ends[i :: len(header)])
            for i, name in enumerate(header)
        }


def _strings(letters: NDArray[np.uint8], begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[Any]:
    width = int((end - begin).max())
    place = begin[:, None] + np.arange(width)
    found = letters.take(place, mode="clip")
    found[place >= end[:, None]] = 0
    return found.view(f"S{width}")[:, 0]


def _numbers(letters: NDArray[np.uint8], begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[Any]:
    width = int((end - begin).max())
    if width > 18:
        raise _NotPlainError
    value = np.zeros(len(begin), np.int64)
    for place in range(width):
        at = begin + place
        there = at < end
        digit = letters.take(at, mode="clip") - ZERO  # of another sign: more than 9
        if (digit[there] > 9).any():
            raise _NotPlainError
        value = np.where(there, 10 * value + digit, value)
    return value


def _typed(text: dict[str, list[bytes]]) -> Columns:
    return {
        name: np.array([int(cell) for cell in cells], np.int64) if name in NUMBERS else np.array(cells, np.bytes_)
        for name, cells in text.items()
    }


def _index(parts: Iterable[Columns]) -> Index:
    """Number the shards and identities of parts of an index, and join the parts."""
    numbers: dict[str, defaultdict[bytes, int]] = {
        name: defaultdict(partial(next, count())) for name in ("shard", "identity")
    }
    joined: dict[str, list[NDArray[Any]]] = {name: [] for name in COLUMNS}
    for part in parts:
        if any((part[name] < 0).any() for name in NUMBERS):
            raise ValueError("a number is negative")
        for name, number in numbers.items():
            part[name] = np.fromiter(map(number.__getitem__, part[name].tolist()), np.int64, len(part[name]))
        for name, column in part.items():
            small = name != "key" and len(column) > 0
            joined[name].append(column.astype(np.min_scalar_type(column.max())) if small else column)
    columns = {name: np.concatenate(column) for name, column in joined.items()}
    shards, names = ([value.decode() for value in number] for number in numbers.values())
    return Index(columns, shards, names)
