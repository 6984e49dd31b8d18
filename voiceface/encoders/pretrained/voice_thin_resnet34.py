"""Thin-ResNet34 with NetVLAD or GhostVLAD: the Keras weights of WeidiXie/VGG-Speaker-Recognition."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from voiceface.encoders.pretrained.layout import KERAS, Layout, Rules, batch_norm, hwio, layer, same, transposed

_BLOCKS = ("2_a", "2_b", "3_a", "3_b", "3_c", "4_a", "4_b", "4_c", "5_a", "5_b", "5_c")
_NAMES = ("kernel", "bias")


def _convolution(theirs: str, ours: str, norm: str) -> Rules:
    return {f"{theirs}/kernel": (f"{ours}.weight", hwio), **batch_norm(f"{theirs}/bn/", norm, KERAS)}


def _keras(ours: Mapping[str, Tensor]) -> Rules:
    rules = _convolution("conv1_1/3x3_s1", "stem", "stem_bn")
    for index, block in enumerate(_BLOCKS):
        theirs, mine = f"conv{block}_", f"blocks.{index}."
        rules |= _convolution(f"{theirs}1x1_reduce", f"{mine}reduce", f"{mine}reduce_bn")
        rules |= _convolution(f"{theirs}3x3", f"{mine}conv", f"{mine}conv_bn")
        rules |= _convolution(f"{theirs}1x1_increase", f"{mine}increase", f"{mine}increase_bn")
        if block.endswith("a"):
            rules |= _convolution(f"{theirs}1x1_proj", f"{mine}shortcut.0", f"{mine}shortcut.1")
    for vlad in ("vlad", "gvlad"):
        rules |= layer(f"{vlad}_center_assignment/", "assignment", _NAMES, hwio)
        rules[f"{vlad}_pool/centers"] = ("vlad.centres", same)
    return rules | layer("x_fc/", "x_fc", _NAMES, hwio) | layer("fc6/", "fc6", _NAMES, transposed)


def _options(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Clusters from fc6's inputs, ghosts from how many centres there are beside them."""
    (pool, *_) = (tensor for name, tensor in tensors.items() if name.endswith("vlad_pool/centers"))
    clusters = tensors["fc6/kernel"].shape[0] // pool.shape[1]
    return {"clusters": clusters, "ghosts": len(pool) - clusters}


LAYOUTS = (Layout("VGG-Speaker-Recognition, Keras", _keras, r"prediction/.*", _options),)
