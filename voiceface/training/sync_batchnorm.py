"""Batch norm over the clips of all processes, on CPUs as well as GPUs."""

from typing import cast

import torch
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from voiceface.utils.distributed import gather


class GatheredBatchNorm(_BatchNorm):
    """Batch norm with mean and variance in training taken over the clips of all processes.

    Equivalent to `torch.nn.BatchNorm1d` and its variants on the joined batch: value, gradient, and running statistics,
    whose variance is unbiased. `torch.nn.SyncBatchNorm` does the same, but does not support the CPU. In eval mode it is
    an ordinary batch norm.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any shape (N, C, ...): the original layer was built for it."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, ...); in training all processes must call this, each with its own clips."""
        if not self.training:
            return super().forward(input)
        x = input if input.dtype == torch.float64 else input.float()
        variance, mean = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
        count = torch.full_like(mean, x.numel() / x.shape[1])
        means, variances, counts = gather(torch.stack([mean, variance, count])[None]).unbind(1)
        total = counts.sum(0)
        share = counts / total
        mean = (share * means).sum(0)
        variance = (share * (variances + (means - mean).square())).sum(0)
        self._follow(mean.detach(), (variance * total / (total - 1)).detach())
        shape = [1, -1] + [1] * (x.dim() - 2)
        out = (x - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics."""
        if not self.track_running_stats:
            return
        seen = cast(Tensor, self.num_batches_tracked)
        seen += 1
        weight = 1 / float(seen) if self.momentum is None else self.momentum
        cast(Tensor, self.running_mean).lerp_(mean, weight)
        cast(Tensor, self.running_var).lerp_(variance, weight)


class BatchNormSync(TorchSyncBatchNorm):
    """Lightning's plugin behind `--sync-batchnorm`: torch's own layers on GPUs, `GatheredBatchNorm` elsewhere."""

    def __init__(self) -> None:
        self._were: dict[_BatchNorm, type[_BatchNorm]] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Make the model's batch norms normalise over all processes."""
        if model.trainer.strategy.root_device.type == "cuda":  # type: ignore[union-attr]
            return super().apply(model)
        self._were = {layer: type(layer) for layer in model.modules() if isinstance(layer, _BatchNorm)}
        for layer in self._were:
            layer.__class__ = GatheredBatchNorm
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Restore the original layers."""
        if not self._were:
            return super().revert(model)
        while self._were:
            layer, was = self._were.popitem()
            layer.__class__ = was
        return model
