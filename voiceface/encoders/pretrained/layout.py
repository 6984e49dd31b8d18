"""Layouts of public weight files: which of their tensors is which of ours, and how each is turned."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from voiceface.encoders import face_encoder, voice_encoder

Turn = Callable[[Tensor], Tensor]
Rule = tuple[str, Turn]
Rules = dict[str, Rule]

# Batch norm: the names of scale, shift, mean and variance in each family of files.
TORCH = ("weight", "bias", "running_mean", "running_var")
KERAS = ("gamma", "beta", "moving_mean", "moving_variance")


@dataclass(frozen=True)
class Layout:
    """One public layout of one network.

    Attributes:
        what: Where files of this layout come from, for messages.
        rules: Gives, for the names of our tensors, the file's names with ours and how a tensor is turned. The names of
            ours matter only where a file's names are ours.
        heads: Pattern of names that are left out, such as a classifier's, matched in full.
        options: Gives the encoder's options that the tensors of a file need.
        free: Options that the user may give this value though a file calls for another: a part of it is left out.
        fill: Gives, for our tensors, those that files of this layout lack because they are folded into others.
    """

    what: str
    rules: Callable[[Mapping[str, Tensor]], Rules]
    heads: str = r"(?!)"
    options: Callable[[Mapping[str, Tensor]], dict[str, Any]] = field(default=lambda tensors: {})
    free: Mapping[str, Any] = field(default_factory=dict)
    fill: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = field(default=lambda ours: {})


def build(target: str, options: dict[str, Any]) -> nn.Module:
    """Build what weights are for, without memory for them.

    Args:
        target: A name from `voiceface.encoders.pretrained.list_importers()`.
        options: Encoder options.

    Returns:
        The encoder, or the parts of a whole method, on the meta device.

    Raises:
        UserError: The encoder has no such option.
    """
    with torch.device("meta"):
        if target.startswith("face_"):
            return face_encoder(target, **options)
        if target.startswith("voice_"):
            return voice_encoder(target, **options)
        parts: nn.Module = _importer(target).parts()
        return parts


def layouts_of(target: str) -> tuple[Layout, ...]:
    """The layouts that can be read for an encoder or a method."""
    layouts: tuple[Layout, ...] = _importer(target).LAYOUTS
    return layouts


def metadata_of(target: str, options: dict[str, Any]) -> dict[str, str]:
    """What the safetensors file says of itself."""
    said = {"options": json.dumps(options)}
    if target.startswith(("face_", "voice_")):
        return {"encoder": target, **said}
    return {"method": target, **{f"{kind}_encoder": name for kind, name in _importer(target).ENCODERS.items()}, **said}


def _importer(target: str) -> Any:
    """The module of an encoder's or a method's public weights."""
    name = target if target.startswith(("face_", "voice_")) else f"method_{target}"
    return import_module(f"voiceface.encoders.pretrained.{name}")


def same(tensor: Tensor) -> Tensor:
    """The tensor as it is."""
    return tensor


def hwio(tensor: Tensor) -> Tensor:
    """Convolution of TensorFlow, Keras and MatConvNet: (height, width, in, out) to (out, in, height, width)."""
    return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor


def transposed(tensor: Tensor) -> Tensor:
    """Fully connected layer of TensorFlow and Keras: (in, out) to (out, in)."""
    return tensor.T if tensor.ndim == 2 else tensor


def own_names(ours: Mapping[str, Tensor]) -> Rules:
    """Rules of a file whose names are ours."""
    return {name: (name, same) for name in ours}


def layer(theirs: str, ours: str, names: tuple[str, str] = ("weight", "bias"), turn: Turn = same) -> Rules:
    """Rules of a layer with weight and bias.

    Args:
        theirs: Their layer with the separator, such as `conv1/`.
        ours: Our layer, such as `conv1`.
        names: Their words for weight and bias.
        turn: How the weight is turned.
    """
    return {f"{theirs}{names[0]}": (f"{ours}.weight", turn), f"{theirs}{names[1]}": (f"{ours}.bias", same)}


def batch_norm(theirs: str, ours: str, names: tuple[str, str, str, str] = TORCH) -> Rules:
    """Rules of a batch norm.

    Args:
        theirs: Their layer with the separator, such as `bn1/`.
        ours: Our layer, such as `bn1`.
        names: Their words for scale, shift, mean and variance.
    """
    rules: Rules = {f"{theirs}{their}": (f"{ours}.{our}", same) for their, our in zip(names, TORCH, strict=True)}
    if names == TORCH:
        rules[f"{theirs}num_batches_tracked"] = (f"{ours}.num_batches_tracked", same)
    return rules
