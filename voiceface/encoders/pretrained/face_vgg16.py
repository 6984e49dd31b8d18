"""VGG-16: VGG-Face's PyTorch file, and ImageNet's of timm and torchvision."""

from collections.abc import Mapping

from torch import Tensor

from voiceface.encoders.pretrained.layout import Layout, Rules, layer, same

_BLOCKS = (2, 2, 3, 3, 3)
# Place of each convolution in timm's and torchvision's `features`, where ReLU and pooling count too.
_PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
CONVOLUTIONS = dict(
    zip([f"conv{block}_{i}" for block, n in enumerate(_BLOCKS, 1) for i in range(1, n + 1)], _PLACES, strict=True)
)


def _over_map(weight: Tensor) -> Tensor:
    """First fully connected layer as a convolution over the 7x7 map, which is flattened channels first."""
    return weight.reshape(-1, 512, 7, 7)


def _vgg_face(ours: Mapping[str, Tensor]) -> Rules:
    rules = layer("fc6.", "trunk.pre_logits.fc1", turn=_over_map) | layer("fc7.", "trunk.pre_logits.fc2")
    for name, place in CONVOLUTIONS.items():
        rules |= layer(f"{name}.", f"trunk.features.{place}")
    return rules


def _features() -> Rules:
    rules: Rules = {}
    for place in _PLACES:
        rules |= layer(f"features.{place}.", f"trunk.features.{place}")
    return rules


def _timm(ours: Mapping[str, Tensor]) -> Rules:
    parts = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
    return _features() | {f"pre_logits.{part}": (f"trunk.pre_logits.{part}", same) for part in parts}


def _torchvision(ours: Mapping[str, Tensor]) -> Rules:
    first, second = (f"trunk.pre_logits.fc{i}" for i in (1, 2))
    return _features() | layer("classifier.0.", first, turn=_over_map) | layer("classifier.3.", second)


LAYOUTS = (
    Layout("vgg_face_dag", _vgg_face, r"fc8\..*", lambda tensors: {"pixels": "vggface"}),
    Layout("timm vgg16", _timm, r"head\..*", lambda tensors: {"pixels": "imagenet"}),
    Layout("torchvision vgg16", _torchvision, r"classifier\.6\..*", lambda tensors: {"pixels": "imagenet"}),
)
