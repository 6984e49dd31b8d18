"""Networks of the papers' sizes without the time that it takes to draw their first weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

DRAWS = ["kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_", "normal_", "trunc_normal_"]
DRAWS += ["uniform_", "orthogonal_"]


@contextmanager
def constant_weights() -> Iterator[None]:
    """Layers that are built inside start from constants."""

    def constant(layer: Any) -> None:
        nn.init.constant_(layer.weight, 1e-3)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

    with pytest.MonkeyPatch.context() as patch:
        for kind in (nn.Linear, nn.Conv1d, nn.Conv2d):
            patch.setattr(kind, "reset_parameters", constant)
        for name in DRAWS:
            patch.setattr(nn.init, name, lambda weight, *_, **__: nn.init.constant_(weight, 1e-3))
        yield


def fill(module: nn.Module, seed: int = 0) -> None:
    """Set every number of a state dict: a million that are drawn, again and again, from another place in each tensor.

    Variances are in [0.5, 1.5), all others in [-0.05, 0.05).
    """
    drawn = torch.rand(1_000_003, generator=torch.Generator().manual_seed(seed))
    start = 0
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            repeats = (start + tensor.numel()) // len(drawn) + 1
            values = drawn.repeat(repeats)[start : start + tensor.numel()].view(tensor.shape)
            tensor.copy_(values + 0.5 if name.endswith("running_var") else (values - 0.5) / 10)
            start = (start + tensor.numel()) % len(drawn)
