"""Gathering of tensors over all processes, with gradients."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many processes train together: 1 where nobody has started any others."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(tensor: Tensor) -> Tensor:
    """Join the tensors of all processes, in the order of their ranks.

    The gradient of a process's own part is the sum over what all processes make of it. Where each of W processes takes
    the same loss of the whole, the mean over the processes that data-parallel training takes of the gradients of the
    weights is therefore that of one process with the whole batch.

    Args:
        tensor: Shape (N, ...), the same on all processes, which must all call this.

    Returns:
        Shape (W * N, ...), the same on all processes.
    """
    joined: Tensor = _Gather.apply(tensor)  # type: ignore[no-untyped-call]
    return joined


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(processes())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(processes())[dist.get_rank()]
