"""Outputs of a network for many clips, in chunk files: one row per clip, found by the clip's key.

A chunk file holds the clips' numbers (int64), then their rows (float32), little-endian, then the sha256 of both. A
clip's number is a hash of its key, 63 bits long.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voiceface.utils.files import write_atomic
from voiceface.utils.seeds import seeded

DIGEST = hashlib.sha256().digest_size


def chunk_path(folder: Path, number: int) -> Path:
    """The file of a chunk."""
    return folder / f"{number:06d}.rows"


def write_chunk(path: Path, keys: Iterable[str], rows: NDArray[np.float32]) -> None:
    """Write a chunk whole or not at all.

    Args:
        path: Its file.
        keys: Key of each clip.
        rows: float32 of shape (clips, dim).
    """
    data = key_numbers(keys).tobytes() + rows.astype("<f4", copy=False).tobytes()
    write_atomic(path, data + hashlib.sha256(data).digest())


def is_whole(path: Path, dim: int) -> bool:
    """Whether a chunk is there and holds what was written, rows of this length."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    content = memoryview(data)[:-DIGEST]
    return (
        len(data) >= DIGEST and not len(content) % (8 + 4 * dim) and hashlib.sha256(content).digest() == data[-DIGEST:]
    )


class FeatureRows:
    """The rows of all chunks in a folder. Holds 16 bytes per clip; a row is read from its file when it is asked for.

    Args:
        folder: The folder.
        dim: Length of a row.
        chunks: Number of chunks; all are whole.
    """

    def __init__(self, folder: Path, dim: int, chunks: int) -> None:
        self.folder, self.dim = folder, dim
        sizes = [(chunk_path(folder, i).stat().st_size - DIGEST) // (8 + 4 * dim) for i in range(chunks)]
        numbers = [np.fromfile(chunk_path(folder, i), "<i8", size) for i, size in enumerate(sizes)]
        self._starts = np.cumsum([0, *sizes])
        joined = np.concatenate(numbers) if numbers else np.zeros(0, np.int64)
        self._places = np.argsort(joined, kind="stable")
        self._numbers = joined[self._places]

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, key: str) -> NDArray[np.float32]:
        """The row of a clip, float32 of shape (dim,).

        Raises:
            KeyError: There is none.
            OSError: The file of its chunk is gone or cut short.
        """
        number = key_numbers([key])[0]
        at = int(np.searchsorted(self._numbers, number))
        if at == len(self._numbers) or self._numbers[at] != number:
            raise KeyError(key)
        place = int(self._places[at])
        chunk = int(np.searchsorted(self._starts, place, "right")) - 1
        start, end = self._starts[chunk : chunk + 2].tolist()
        # Opened anew each time, like the shards: a map per chunk would hold one of the process's few file handles.
        with chunk_path(self.folder, chunk).open("rb", buffering=0) as file:
            file.seek(8 * (end - start) + 4 * self.dim * (place - start))
            data = file.read(4 * self.dim)
        if len(data) < 4 * self.dim:
            raise OSError(f"{chunk_path(self.folder, chunk).name} is cut short")
        return np.frombuffer(data, "<f4").astype(np.float32)


def key_numbers(keys: Iterable[str]) -> NDArray[np.int64]:
    """The number of each clip: a hash of its key, 63 bits long, which every process knows without a word to others."""
    return np.array([seeded(key) % 2**63 for key in keys], "<i8")
