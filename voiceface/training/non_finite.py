"""Detection of non-finite losses and gradients: reports them, then stops or skips the step."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from voiceface.utils.distributed import processes
from voiceface.utils.errors import UserError, reason

log = logging.getLogger(__name__)

MOST_IN_A_ROW = 10
NAMED = 3  # keys of each kind in a message; the file lists all


@dataclass(frozen=True)
class _Seen:
    """A batch of the current optimiser step."""

    batch: int
    loss: Tensor
    keys: dict[str, list[str]]


class NonFinite(pl.Callback):
    """Check the losses and the gradient of every optimiser step before it is taken.

    All processes decide alike: a step is bad if it is bad on any of them. The keys of its batches are written to a
    file, one JSON object per line, process and batch. A bad step stops the run or is skipped: weights, optimiser state
    and batch norm statistics do not change, only the schedule continues. With gradient accumulation, one bad batch
    voids the whole step. The check costs one wait for the gradient per step.

    With fp16 only the losses count: infinite gradients are how its scaler finds its scale, and it skips such steps
    itself.

    Args:
        action: `stop` or `skip`.
        file: File for the keys.

    Attributes:
        skipped: Steps skipped so far, including those before a resume.
    """

    def __init__(self, action: Literal["stop", "skip"], file: Path) -> None:
        self.action, self.file = action, file
        self.skipped = self.in_a_row = 0
        self._seen: list[_Seen] = []
        self._now: tuple[int, dict[str, list[str]]] = (0, {})
        self._statistics: list[list[Tensor]] = []
        self._before: list[list[Tensor]] = []

    def state_dict(self) -> dict[str, int]:
        """Return the counts."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts."""
        self.skipped, self.in_a_row = state_dict["skipped"], state_dict["in_a_row"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Collect what a forward pass changes by itself: buffers, grouped by type so that each group is one copy."""
        if self.action == "skip":
            buffers = list(pl_module.buffers())
            self._statistics = [[b for b in buffers if b.dtype == kind] for kind in {b.dtype for b in buffers}]
            self._before = [[torch.empty_like(b) for b in group] for group in self._statistics]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Record the batch's keys and, before the first batch of a step, the statistics."""
        self._now = batch_idx, {name: batch.get(name, []) for name in ("voice_keys", "face_keys")}
        if not self._seen:
            _copy(self._statistics, self._before)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Record the loss, without waiting for it."""
        self._seen.append(_Seen(self._now[0], loss.detach(), self._now[1]))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Let a finite step pass.

        Raises:
            UserError: The step is not finite and must not be skipped, or too many in a row were skipped.
        """
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        seen, self._seen = self._seen, []
        weights = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        good = torch.stack([s.loss.float() for s in seen]).isfinite().all()
        if scaler is None and weights:
            # The fastest check, also on a CPU; it also detects a gradient longer than 1e19.
            norm = torch.nn.utils.get_total_norm([p.grad for p in weights if p.grad is not None])
            good = good & norm.isfinite()
        bad = (~good).float()
        if processes() > 1:
            dist.all_reduce(bad, dist.ReduceOp.MAX)
        if not bad.item():
            self.in_a_row = 0
            return
        factor = trainer.accumulate_grad_batches / (scaler.get_scale() if scaler else 1)
        records = self._records(trainer.global_step, trainer.global_rank, seen, factor)
        named = _first_bad(pl_module, weights)
        if processes() > 1:
            parts: list[Any] = [None] * processes()
            dist.all_gather_object(parts, records)
            records = [record for part in parts for record in part]
        # A batch with a finite loss is only to blame if all losses are finite.
        records = [r for r in records if not r["finite"]] or records
        if trainer.is_global_zero:
            self._write(records)
        found = self._describe(records, named)
        if self.action == "stop":
            raise UserError(
                f"{found}; lower the learning rates, clip the gradient (--trainer.gradient_clip_val 1), train with "
                "--trainer.precision 32-true, or leave such steps out (--non_finite skip)"
            )
        if self.in_a_row == MOST_IN_A_ROW:
            raise UserError(
                f"{found}; so were the {MOST_IN_A_ROW} steps before it, which were left out; lower the learning rates, "
                "or resume from an earlier state"
            )
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        for weight in weights:
            weight.grad = None  # an optimiser ignores these
        _copy(self._before, self._statistics)
        if trainer.is_global_zero:
            log.warning("left out: %s", found)

    def _records(self, step: int, rank: int, seen: Sequence[_Seen], factor: float) -> list[dict[str, Any]]:
        losses = [(s, factor * float(s.loss)) for s in seen]
        return [
            {
                "step": step,
                "rank": rank,
                "batch": s.batch,
                "loss": loss if math.isfinite(loss) else str(loss),  # JSON has no nan
                "finite": math.isfinite(loss),
                **s.keys,
            }
            for s, loss in losses
        ]

    def _write(self, records: Sequence[dict[str, Any]]) -> None:
        kept = [{name: value for name, value in r.items() if name != "finite"} for r in records]
        try:
            with self.file.open("a") as file:
                file.write("".join(f"{json.dumps(record)}\n" for record in kept))
        except OSError as error:
            log.warning("%s: cannot be written (%s)", self.file, reason(error))

    def _describe(self, records: Sequence[dict[str, Any]], weight: str | None) -> str:
        """Describe the first batch briefly."""
        first = records[0]
        what = f"the loss is {first['loss']}"
        if first["finite"]:
            of = f"gradient of {weight}" if weight else "norm of the gradient"
            what = f"the {of} is not finite (loss {first['loss']:.4g})"
        keys = [key for kind in ("voice_keys", "face_keys") for key in first[kind][:NAMED]]
        return f"step {first['step']}: {what}, with {', '.join(keys)} ... ({self.file} names all)"


def _copy(groups: Sequence[list[Tensor]], to: Sequence[list[Tensor]]) -> None:
    with torch.no_grad():
        for source, target in zip(groups, to, strict=True):
            torch._foreach_copy_(target, source)


def _first_bad(module: pl.LightningModule, weights: Sequence[Tensor]) -> str | None:
    """Return the name of the first weight whose gradient is not finite."""
    looked_at = {id(weight) for weight in weights}
    for name, weight in module.named_parameters():
        if id(weight) in looked_at and weight.grad is not None and not weight.grad.isfinite().all():
            return name
    return None
