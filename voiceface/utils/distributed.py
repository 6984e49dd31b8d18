"""Differentiable gathering of tensors from all processes."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """Return the world size: 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(tensor: Tensor) -> Tensor:
    """Concatenate the tensors of all processes, in rank order.

    The gradient of a process's own part is the sum of the gradients from all processes. If each of W processes computes
    the same loss on the whole batch, the weights' gradients, which data-parallel training averages over the processes,
    are therefore those of one process with the whole batch.

    Args:
        tensor: Shape (N, ...), equal on all processes, which must all call this.

    Returns:
        Shape (W * N, ...), equal on all processes.
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
