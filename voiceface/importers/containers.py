"""Reading weight files of every format, told apart by their first bytes, into tensors by name. No code in them runs."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from voiceface.errors import UserError
from voiceface.importers.keras import read_keras
from voiceface.importers.matconvnet import read_matconvnet
from voiceface.importers.plain_pickle import read_npy


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a weight file.

    Known are PyTorch (zip or older), safetensors, Keras and HDF5, MATLAB up to version 7, npz, and npy with a
    dictionary of arrays.

    Args:
        path: The file.

    Returns:
        Tensors by name, floating point as float32; names of nested parts are joined by `/` or `.`, as in the source.

    Raises:
        UserError: The file is missing, of another format, damaged, or holds anything else than numbers.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        found = _read(path)
    except UserError:
        raise
    except Exception as error:  # a damaged file can make its reader raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: cannot be read as weights, damaged or of an unknown format ({reason})") from None
    if not found:
        raise UserError(f"{path}: holds no tensors")
    return {name: _plain(name, tensor, path) for name, tensor in found.items()}


def _read(path: Path) -> Mapping[str, Tensor | np.ndarray]:
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"\x89HDF"):
        return read_keras(path)
    if start.startswith(b"\x93NUMPY"):
        return read_npy(path)
    if start.startswith(b"MATLAB"):
        return read_matconvnet(path)
    if start.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            arrays = all(name.endswith(".npy") for name in archive.namelist())
        if arrays:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    elif start[8:9] == b"{":
        return load_file(path)
    return _read_torch(path)


def _read_torch(path: Path) -> dict[str, Tensor]:
    """A state dict, alone or under `state_dict`; the prefix that data parallel training adds is dropped."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds no state dict")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise UserError(f"{path}: {name} is no tensor, so this is no state dict")
    parallel = all(name.startswith("module.") for name in content)
    return {name.removeprefix("module.") if parallel else name: value for name, value in content.items()}


def _plain(name: str, value: Tensor | np.ndarray, path: Path) -> Tensor:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiu":
            raise UserError(f"{path}: {name} holds no numbers")
        value = torch.from_numpy(np.array(value, np.float32 if value.dtype.kind == "f" else np.int64))
    value = value.detach()
    return value.float() if value.is_floating_point() else value.long()
