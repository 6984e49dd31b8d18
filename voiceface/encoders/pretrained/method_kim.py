"""The whole method of Kim et al. 2018: the variables of their TensorFlow checkpoints, saved as npz.

Variable names and layouts are those of the authors' reference code; the released checkpoints were not seen.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from voiceface.encoders import face_encoder, voice_encoder
from voiceface.encoders.pretrained.face_vgg16 import CONVOLUTIONS
from voiceface.encoders.pretrained.layout import Layout, Rules, hwio, layer, transposed
from voiceface.encoders.pretrained.voice_soundnet8 import tensorflow

ENCODERS = {"face": "face_vgg16", "voice": "voice_soundnet8"}
_NAMES = ("weights", "biases")


def parts() -> nn.Module:
    """The modules of the method, under its own names."""
    encoders = {"face_encoder": face_encoder("face_vgg16"), "voice_encoder": voice_encoder("voice_soundnet8")}
    heads = {f"{kind}_head": nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 128)) for kind in ENCODERS}
    return nn.ModuleDict(encoders | heads)


def _tensorflow(ours: Mapping[str, Tensor]) -> Rules:
    rules = tensorflow("voice/conv", "voice/bn", ("scale", "offset", "mean", "variance"), "voice_encoder.")
    for name, place in CONVOLUTIONS.items():
        rules |= layer(f"face/{name}/", f"face_encoder.trunk.features.{place}", _NAMES, hwio)
    for kind in ENCODERS:
        rules |= layer(f"{kind}/fc1/", f"{kind}_head.0", _NAMES, transposed)
        rules |= layer(f"{kind}/fc2/", f"{kind}_head.2", _NAMES, transposed)
    return rules


# What a TensorFlow checkpoint holds of the training: Adam's moments and the step.
LAYOUTS = (
    Layout("TensorFlow variables of the authors", _tensorflow, r".*/Adam(_1)?|(.*/)?(beta[12]_power|global_step)"),
)
