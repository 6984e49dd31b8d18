"""SoundNet-8 up to conv6: the npy file of SoundNet's TensorFlow port, and PyTorch ports with `batchnorm` layers.

Both take waveforms of about [-256, 256]; Kim et al. trained theirs on int16 values (see `method_kim`).
"""

from collections.abc import Mapping

from torch import Tensor

from voiceface.encoders.pretrained.layout import Layout, Rules, batch_norm, hwio, layer

NORMS = ("gamma", "beta", "mean", "var")


def _npy(ours: Mapping[str, Tensor]) -> Rules:
    rules: Rules = {}
    for i in range(1, 7):
        rules |= layer(f"conv{i}/", f"conv{i}", ("weights", "biases"), hwio)
        if i < 6:
            rules |= batch_norm(f"conv{i}/", f"batchnorm{i}", NORMS)
    return rules


def _pytorch(ours: Mapping[str, Tensor]) -> Rules:
    rules: Rules = {}
    for i in range(1, 7):
        rules |= layer(f"conv{i}.", f"conv{i}")
        if i < 6:
            rules |= batch_norm(f"batchnorm{i}.", f"batchnorm{i}")
    return rules


LAYOUTS = (
    Layout(
        "SoundNet-tensorflow",
        _npy,
        r"conv6/(gamma|beta|mean|var)|(conv7|conv8|conv8_2)/.*",
        lambda tensors: {"scale": 256.0},
    ),
    Layout("PyTorch port", _pytorch, r"(batchnorm[67]|conv7|conv8_\w+)\..*", lambda tensors: {"scale": 256.0}),
)
