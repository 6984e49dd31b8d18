"""Numpy files that hold a dictionary of arrays: a pickle, read here without running anything from it.

An ordinary unpickler calls whatever the file names. This one knows four names, all of them of numpy's own arrays, and
answers them with the classes below, which only keep numbers; any other name is refused.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from voiceface.encoders.pretrained.header import open_file
from voiceface.utils.errors import UserError

KNOWN_FILES = "give a file that docs/paper-weights.md lists"


class NotNumbersError(Exception):
    """A file holds more than numbers; the text says what."""


def refused(path: Path, what: object) -> UserError:
    """The error for a file that holds more than numbers.

    Args:
        path: The file.
        what: What it holds, such as "code (posix.system)".
    """
    return UserError(f"{path}: refused, it holds {what}, not only numbers; get weights from their publisher")


class _Kind:
    """Stands for numpy's dtype."""

    def __init__(self, code: str, *_: object) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def dtype(self) -> np.dtype[Any]:
        """The dtype of plain numbers that this stands for."""
        if self.code[:1] not in ("f", "i", "u"):
            raise NotNumbersError(f"arrays of type {self.code}")
        return np.dtype(f"{self.order}{self.code}")


class _Array:
    """Stands for numpy's array: numbers, or one object."""

    def __init__(self, *_: object) -> None:
        self.value: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, column_major, data = state
        if isinstance(data, list):
            self.value = data
            return
        if isinstance(data, str):  # written by Python 2
            data = data.encode("latin1")
        numbers = np.frombuffer(data, kind.dtype()).reshape(shape, order="F" if column_major else "C")
        self.value = numbers.astype(numbers.dtype.newbyteorder("="))


def _encode(text: str, codec: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if codec not in ("latin1", "latin-1"):
        raise NotNumbersError("code (_codecs.encode)")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _Kind,
    ("numpy", "ndarray"): 0,
}
_KNOWN |= {(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise NotNumbersError(f"code ({module}.{name})") from None


def read_npy(path: Path) -> dict[str, np.ndarray]:
    """Read a npy file that holds one dictionary of dictionaries of arrays.

    Args:
        path: The file.

    Returns:
        Arrays by `outer/inner` name.

    Raises:
        UserError: It holds something else, or a pickle that names anything but numpy's arrays.
    """
    with open_file(path, str(path)) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if dtype.kind != "O" or shape != ():
            raise UserError(f"{path}: holds an array, not a dictionary of arrays; {KNOWN_FILES}")
        try:
            content = _Unpickler(file, encoding="latin1").load()
        except NotNumbersError as error:
            raise refused(path, error) from None
    layers = content.value[0] if isinstance(content, _Array) and isinstance(content.value, list) else None
    if not isinstance(layers, dict) or not all(isinstance(parts, dict) for parts in layers.values()):
        raise UserError(f"{path}: holds no dictionary of layers with arrays; {KNOWN_FILES}")
    found = {}
    for layer, parts in layers.items():
        for part, array in parts.items():
            if not isinstance(array, _Array) or not isinstance(array.value, np.ndarray):
                raise UserError(f"{path}: {layer}/{part} holds no numbers; {KNOWN_FILES}")
            found[f"{layer}/{part}"] = array.value
    return found
