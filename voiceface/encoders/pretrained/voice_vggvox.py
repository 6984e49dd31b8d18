"""VGGVox: the authors' MatConvNet networks, a Keras port of the verification one, and VGGVox-PyTorch.

The authors' demo takes layer 16 of the identification network for pool6 and layer 20 for fc8, so it has no batch norms:
they are folded into the convolutions. Ours become the identity there.

BN and ReLU after fc7 are kept where the file has this BN. VGGVox-PyTorch has a ReLU there without BN; it is left out.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from voiceface.encoders.pretrained.layout import KERAS, TORCH, Layout, Rules, batch_norm, hwio, layer, same

_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
EPSILON = 1e-5  # of our batch norms
_FREE = {"activation": False}  # leaves the batch norm after fc7 out
_BIASES = ("/biases", "/bias", ".bias")


def _variance(deviation: Tensor) -> Tensor:
    """MatConvNet stores sqrt(variance + its epsilon) and adds nothing; ours adds its own epsilon to the variance."""
    return (deviation.square() - EPSILON).clamp_min(0)


def _matconvnet(ours: Mapping[str, Tensor]) -> Rules:
    rules: Rules = {}
    for i, name in enumerate(_LAYERS, 1):
        rules |= layer(f"{name}/", name, ("filters", "biases"), hwio)
        rules |= layer(f"bn{i}/", f"bn{i}", ("scale", "offset"))
        rules[f"bn{i}/mean"] = (f"bn{i}.running_mean", same)
        rules[f"bn{i}/deviation"] = (f"bn{i}.running_var", _variance)
    return rules


def _folded(ours: Mapping[str, Tensor]) -> Rules:
    rules: Rules = {}
    for name in _LAYERS:
        rules |= layer(f"{name}/", name, ("filters", "biases"), hwio)
    return rules


def _identity_norms(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Batch norms that change nothing."""
    values = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0 - EPSILON}
    parts = ((name, name.rpartition(".")[2]) for name in ours if name.startswith("bn"))
    return {name: torch.full(ours[name].shape, values[part]) for name, part in parts if part in values}


def _keras(ours: Mapping[str, Tensor]) -> Rules:
    rules: Rules = {}
    for i, name in enumerate(_LAYERS, 1):
        rules |= layer(f"{name}/", name, ("kernel", "bias"), hwio) | batch_norm(f"bn{i}/", f"bn{i}", KERAS)
    return rules


def _pytorch(ours: Mapping[str, Tensor]) -> Rules:
    rules = layer("classifier.fc7.", "fc7")
    for i, name in enumerate(_LAYERS[:-1], 1):
        rules |= layer(f"features.{name}.", name) | batch_norm(f"features.bn{i}.", f"bn{i}", TORCH)
    return rules


def _folded_options(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {**_options(tensors), "activation": True}


def _options(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Width of fc7, and whether a batch norm follows it."""
    (width,) = (len(tensor.flatten()) for name, tensor in tensors.items() if name.rpartition("fc7")[2] in _BIASES)
    return {"dim": width, "activation": any(name.startswith("bn7/") for name in tensors)}


LAYOUTS = (
    Layout("VGGVox, MatConvNet", _matconvnet, r"fc8/.*", _options, _FREE),
    Layout("VGGVox identification, MatConvNet", _folded, r"fc8/.*", _folded_options, _FREE, _identity_norms),
    Layout("VGGVox verification, Keras", _keras, r"fc8/.*", _options, _FREE),
    Layout("VGGVox-PyTorch", _pytorch, r"classifier\.fc8\..*", _options),
)
