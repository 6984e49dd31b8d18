"""VGGVox: the authors' MatConvNet networks, a Keras port of the verification one, and VGGVox-PyTorch.

BN and ReLU after fc7 are kept where the file has this BN. VGGVox-PyTorch has a ReLU there without BN; it is left out.
"""

from collections.abc import Mapping
from typing import Any

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


def _options(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Width of fc7, and whether a batch norm follows it."""
    (width,) = (len(tensor.flatten()) for name, tensor in tensors.items() if name.rpartition("fc7")[2] in _BIASES)
    return {"dim": width, "activation": any(name.startswith("bn7/") for name in tensors)}


LAYOUTS = (
    Layout("VGGVox, MatConvNet", _matconvnet, r"fc8/.*", _options, _FREE),
    Layout("VGGVox verification, Keras", _keras, r"fc8/.*", _options, _FREE),
    Layout("VGGVox-PyTorch", _pytorch, r"classifier\.fc8\..*", _options),
)
