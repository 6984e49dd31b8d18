"""Networks that MatConvNet saved, in both of its forms: a list of layers (SimpleNN) and a graph (DagNN)."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat  # type: ignore[attr-defined]

from voiceface.encoders.pretrained.safe_pickle import KNOWN_FILES
from voiceface.utils.errors import UserError

# Parts of a layer by how many it has, in MatConvNet's order.
_PARTS = {1: ("filters",), 2: ("filters", "biases"), 3: ("scale", "offset", "moments")}


def read_matconvnet(path: Path) -> dict[str, np.ndarray]:
    """Read a MatConvNet network.

    Parts are told by their order in a layer, which is fixed; the names of a graph's parameters are not.

    Args:
        path: MATLAB file, up to version 7.

    Returns:
        Arrays by layer and part, such as `conv1/filters`: `filters` (height, width, in, out) and `biases`; of a batch
        norm `scale`, `offset`, `mean` and `deviation`. A layer that shares another's parameters is left out.

    Raises:
        UserError: It holds no network.
    """
    with path.open("rb") as file:
        if file.read(10) == b"MATLAB 7.3":
            raise UserError(f"{path}: MATLAB 7.3 files are not read; save it again in MATLAB with `save -v7`")
    content = loadmat(path)  # type: ignore[no-untyped-call]
    networks = [
        value for value in content.values() if "layers" in (getattr(value, "dtype", np.dtype(float)).names or ())
    ]
    if not networks:
        raise UserError(f"{path}: MATLAB file, but holds no MatConvNet network; {KNOWN_FILES}")
    network = networks[0].item(0)
    graph = "params" in networks[0].dtype.names
    network = dict(zip(networks[0].dtype.names, network, strict=True))
    table = {_text(p["name"]): p["value"] for p in _structs(network["params"])} if graph else {}
    found: dict[str, np.ndarray] = {}
    for layer in _structs(network["layers"]):
        if graph:
            # Parameters leave the table with the first layer that uses them.
            names = [_text(name) for name in layer["params"].flat]
            arrays = [table.pop(name) for name in names if name in table]
        else:
            arrays = list(layer["weights"].flat) if "weights" in layer else []
        for part, array in zip(_PARTS.get(len(arrays), ()), arrays, strict=False):
            name = f"{_text(layer['name'])}/"
            if part == "moments":
                found[name + "mean"], found[name + "deviation"] = array[:, 0], array[:, 1]
            else:
                found[name + part] = array
    return found


def _structs(array: np.ndarray) -> list[dict[str, Any]]:
    """The members of a MATLAB array of structures, or of a cell of such."""
    if array.dtype.names:
        return [dict(zip(array.dtype.names, item, strict=True)) for item in array.flat]
    return [one for cell in array.flat for one in _structs(cell)]


def _text(array: np.ndarray) -> str:
    return str(array.item()) if array.size else ""
