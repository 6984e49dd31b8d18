"""Weights that Keras saved in HDF5 (`save_weights`, or a whole model)."""

from pathlib import Path
from typing import Any

import numpy as np

from voiceface.encoders.pretrained.safe_pickle import KNOWN_FILES
from voiceface.utils.errors import UserError


def read_keras(path: Path) -> dict[str, np.ndarray]:
    """Read Keras weights.

    Args:
        path: HDF5 file.

    Returns:
        Arrays by layer and part, such as `conv1/kernel`; the numbers that Keras adds to a variable's name are dropped.

    Raises:
        UserError: h5py is not installed, or the file holds no Keras weights.
    """
    try:
        import h5py
    except ModuleNotFoundError:
        raise UserError(f"{path}: HDF5 files need h5py; install voiceface with its extra: voiceface[import]") from None
    found = {}
    with h5py.File(path, "r") as file:
        group = file.get("model_weights", file)
        if "layer_names" not in group.attrs:
            raise UserError(f"{path}: HDF5, but holds no Keras weights; {KNOWN_FILES}")
        for layer in map(_text, group.attrs["layer_names"]):
            for weight in map(_text, group[layer].attrs["weight_names"]):
                array = group[layer].get(weight)
                if not isinstance(array, h5py.Dataset):
                    raise UserError(f"{path}: damaged, {layer} lacks {weight}; fetch it again")
                if array.file != file or array.external or array.is_virtual:
                    raise UserError(f"{path}: refused, {weight} lies in another file; give the file that holds it")
                owner, _, part = weight.split(":")[0].rpartition("/")
                # Layers of a model inside the model keep their own names; a layer's own variables carry the layer's.
                nested = bool(owner) and layer not in owner
                found[f"{owner if nested else layer}/{part}"] = np.asarray(array)
    return found


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
