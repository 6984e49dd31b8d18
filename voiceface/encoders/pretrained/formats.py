"""Reading weight files of every format, told apart by their first bytes, into tensors by name. No code in them runs."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from voiceface.encoders.pretrained.header import LARGEST, open_file
from voiceface.encoders.pretrained.keras import read_keras
from voiceface.encoders.pretrained.matconvnet import read_matconvnet
from voiceface.encoders.pretrained.safe_pickle import KNOWN_FILES, read_npy, refused
from voiceface.utils.errors import UserError

KNOWN = ".pt, .pth, .npy, .npz, .h5, .mat, .safetensors"
SAVE = "save its state dict alone with torch.save(model.state_dict(), FILE)"


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
    with open_file(path, str(path)) as file:
        start = file.read(16)
    try:
        found = _read(path, start)
    except UserError:
        raise
    except Exception:  # a damaged file can make its reader raise anything, with words of its own format
        raise UserError(f"{path}: cut short or damaged; fetch it again") from None
    if not found:
        raise UserError(f"{path}: holds no tensors; {KNOWN_FILES}")
    return {name: _plain(name, tensor, path) for name, tensor in found.items()}


def _read(path: Path, start: bytes) -> Mapping[str, Tensor | np.ndarray]:
    if start.startswith(b"\x89HDF"):
        return read_keras(path)
    if start.startswith(b"\x93NUMPY"):
        return read_npy(path)
    if start.startswith(b"MATLAB"):
        return read_matconvnet(path)
    if start.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
        if all(name.endswith(".npy") for name in names):
            return _read_npz(path)
        if "constants.pkl" in names:
            raise refused(path, "code (TorchScript)")
        if "data.pkl" not in names:
            raise UserError(f"{path}: a zip archive, but not of weights; unpack it and name the weight file in it")
        return _read_torch(path)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LARGEST:
        return load_file(path)
    if start[:1] not in (b"", b"\x80"):  # PyTorch's older format is a pickle
        raise UserError(f"{path}: not a weight file; known are: {KNOWN}")
    return _read_torch(path)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        try:
            return {name: file[name] for name in file.files}
        except ValueError as error:
            if "allow_pickle" in str(error):
                raise refused(path, "code (pickled objects)") from None
            raise


def _read_torch(path: Path) -> dict[str, Tensor]:
    """A state dict, alone or under `state_dict`; the prefix that data parallel training adds is dropped."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text tells how to run the code
        name = re.search(r"\bGLOBAL ([\w.]{1,100})", str(error))
        if name is None:
            raise
        raise refused(path, f"code ({name[1]})") from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds no state dict; {SAVE}")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise UserError(f"{path}: {name} is no tensor, so this is no state dict; {SAVE}")
    parallel = all(name.startswith("module.") for name in content)
    return {name.removeprefix("module.") if parallel else name: value for name, value in content.items()}


def _plain(name: str, value: Tensor | np.ndarray, path: Path) -> Tensor:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiu":
            raise UserError(f"{path}: {name} holds no numbers; {KNOWN_FILES}")
        value = torch.from_numpy(np.array(value, np.float32 if value.dtype.kind == "f" else np.int64))
    value = value.detach()
    return value.float() if value.is_floating_point() else value.long()
