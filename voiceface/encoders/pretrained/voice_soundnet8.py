"""SoundNet-8 up to conv6: the npy file of SoundNet's TensorFlow port, and PyTorch ports with `batchnorm` layers.

The names of PyTorch ports are ours. Both take waveforms of about [-256, 256]; Kim et al. trained theirs on int16 values
(see `method_kim`).
"""

from voiceface.encoders.pretrained.layout import Layout, Rules, batch_norm, hwio, layer, own_names


def tensorflow(conv: str, norm: str, norms: tuple[str, str, str, str], ours: str = "") -> Rules:
    """Rules of the TensorFlow variables of the six convolutions and their five batch norms.

    Args:
        conv: Their name of a convolution before its number, such as `conv`.
        norm: Their name of a batch norm before its number.
        norms: Their words for a batch norm's scale, shift, mean and variance.
        ours: What stands before our names, such as `voice_encoder.`.
    """
    rules: Rules = {}
    for i in range(1, 7):
        rules |= layer(f"{conv}{i}/", f"{ours}conv{i}", ("weights", "biases"), hwio)
        rules |= batch_norm(f"{norm}{i}/", f"{ours}batchnorm{i}", norms) if i < 6 else {}
    return rules


LAYOUTS = (
    Layout(
        "SoundNet-tensorflow",
        lambda ours: tensorflow("conv", "conv", ("gamma", "beta", "mean", "var")),
        r"conv6/(gamma|beta|mean|var)|(conv7|conv8|conv8_2)/.*",
        lambda tensors: {"scale": 256.0},
    ),
    Layout("PyTorch port", own_names, r"(batchnorm[67]|conv7|conv8_\w+)\..*", lambda tensors: {"scale": 256.0}),
)
