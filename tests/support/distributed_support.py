"""What the tests of several processes run in each of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from recipe_support import eight_people, met
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from voiceface.methods.base import Method
from voiceface.methods.dimnet import UNKNOWN
from voiceface.training.sync_batchnorm import GatheredBatchNorm
from voiceface.utils.distributed import gather

LAYERS: dict[str, tuple[Callable[[], _BatchNorm], tuple[int, ...]]] = {
    "rows": (lambda: nn.BatchNorm1d(3), (3,)),
    "sounds": (lambda: nn.BatchNorm1d(3, momentum=None), (3, 5)),
    "pictures": (lambda: nn.BatchNorm2d(3, eps=1e-3, momentum=0.3), (3, 2, 4)),
    "plain": (lambda: nn.BatchNorm2d(3, affine=False, track_running_stats=False), (3, 2, 2)),
}
"""How to make a batch norm, and the shape of one sample."""


def clips_of(kind: str, rank: int, step: int) -> Tensor:
    """Samples of one rank; ranks have different numbers of them, far from zero."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    return 5 + (1 + rank) * torch.randn(2 + rank, *LAYERS[kind][1], generator=generator)


def share(batch: dict[str, Any], rank: int, world: int) -> dict[str, Any]:
    """A rank's equal part of a batch."""
    return {name: value.chunk(world)[rank] for name, value in batch.items()}


class Step(nn.Module):
    """A training step as DDP wants it: a module whose forward takes the loss."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return self.method.training_step(batch, 0)


def ready(recipe: str, **changes: Any) -> Method:
    """A method that has met the eight people and normalises over all processes."""
    method = met(recipe, **changes).train()
    for layer in [m for m in method.modules() if isinstance(m, _BatchNorm)]:
        layer.__class__ = GatheredBatchNorm
    return method


def step(method: Method, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of one data-parallel step, after another one: DDP misses a weight without gradient only then.

    In the step before, nothing is known of anybody.
    """
    together = DistributedDataParallel(Step(method))
    labels = getattr(method, "labels", torch.empty(0))
    before = labels.clone()
    labels.fill_(UNKNOWN)
    running = {name: buffer.clone() for name, buffer in method.named_buffers() if "running" in name}
    together(batch).backward()
    labels.copy_(before)
    for name, buffer in method.named_buffers():
        if name in running:
            buffer.copy_(running[name])
    method.zero_grad()
    loss = together(batch)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def process(rank: int, world: int, folder: str, recipes: str) -> None:
    """One of `world` processes: train recipes, and write what it found to a file of its own."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    found: dict[str, Any] = {}

    own = (torch.arange(6.0).reshape(2, 3) + 10 * rank).requires_grad_()
    joined = gather(own.t()).t()
    ((rank + 1) * joined[:, :3].square().sum() + joined[rank % 2, -1]).backward()
    found["gather"] = joined.detach(), own.grad, gather(torch.tensor([rank]))

    for kind in LAYERS:
        layer = LAYERS[kind][0]()
        layer.__class__ = GatheredBatchNorm
        outputs = []
        for number in range(2):
            x = clips_of(kind, rank, number).requires_grad_()
            out = layer(x)
            (out * clips_of(kind, rank, 7)).square().sum().backward()
            outputs.append((out.detach(), x.grad))
        gradients = [p.grad for p in layer.parameters()]
        found[kind] = outputs, gradients, layer.state_dict(), layer.eval()(clips_of(kind, rank, 3)).detach()

    batch = eight_people()
    for recipe in recipes.split(","):
        found[recipe] = step(ready(recipe), share(batch, rank, world))

    frozen = ready("trinet", freeze_voice=True)
    before = {name: value.clone() for name, value in frozen.voice_encoder.state_dict().items()}
    step(frozen, share(batch, rank, world))
    after = frozen.voice_encoder.state_dict()
    found["frozen"] = all(torch.equal(before[name], after[name]) for name in before)

    apart = met("trinet").eval()
    apart.negatives = "rank"
    found["rank"] = step(apart, share(batch, rank, world))

    few = met("kim", hard_after=10, keep=3)
    embedded: list[int] = []
    few.face_encoder.register_forward_hook(lambda module, inputs, output: embedded.append(len(output)))
    few.training_step(share(batch, rank, world), 0)
    found["keep"] = embedded

    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
