"""LResNet50-IR: `arcface_torch` of insightface, whose names are ours, and IR_50 of face.evoLVe and TreB1eN."""

from collections.abc import Mapping

from torch import Tensor

from voiceface.encoders.pretrained.layout import Layout, Rules, batch_norm, layer, own_names, same

_UNITS = (3, 4, 14, 3)


def evolve(ours: Mapping[str, Tensor]) -> Rules:
    """Rules of IR_50, and of its squeeze-and-excitation where a unit has it."""
    rules = batch_norm("input_layer.1.", "bn1") | batch_norm("output_layer.0.", "bn2")
    rules |= layer("output_layer.3.", "fc") | batch_norm("output_layer.4.", "features")
    rules |= {f"input_layer.{i}.weight": (f"{name}.weight", same) for i, name in ((0, "conv1"), (2, "prelu"))}
    units = [f"layer{stage}.{unit}" for stage, count in enumerate(_UNITS, 1) for unit in range(count)]
    for index, unit in enumerate(units):
        body = f"body.{index}.res_layer."
        rules |= batch_norm(f"{body}0.", f"{unit}.bn1") | batch_norm(f"{body}4.", f"{unit}.bn3")
        rules |= batch_norm(f"body.{index}.shortcut_layer.1.", f"{unit}.downsample.1")
        rules[f"body.{index}.shortcut_layer.0.weight"] = (f"{unit}.downsample.0.weight", same)
        for place, name in ((1, "conv1"), (2, "prelu"), (3, "conv2")):
            rules[f"{body}{place}.weight"] = (f"{unit}.{name}.weight", same)
        for name in ("fc1", "fc2"):
            if f"{unit}.se.{name}.weight" in ours:
                rules[f"{body}5.{name}.weight"] = (f"{unit}.se.{name}.weight", same)
    return rules


LAYOUTS = (
    Layout("arcface_torch", own_names, options=lambda tensors: {"variant": "arcface", "divisor": 127.5}),
    Layout("IR_50 of face.evoLVe", evolve, options=lambda tensors: {"variant": "evolve"}),
)
