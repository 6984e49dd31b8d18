"""Watch: the cost of a run (time, waiting for data, memory), logged and summarised in the result file."""

import os
import platform
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn

from voiceface.utils.lightning_private import logs_this_step


class Watch(pl.Callback):
    """Log learning rates, gradient norm, speed, waiting and memory on logging steps; keep totals across resumes.

    Logged every `--trainer.log_every_n_steps` steps:
    - `lr/NAME`: learning rate of each group, as used by the step.
    - `train/grad_norm`: Euclidean norm of the whole gradient before clipping, over all parameters.
    - `speed/samples_per_second`: clips, voices plus faces, of the training batches of all processes, per second of
      training since the last logged step. The first process counts its own; all have batches of one size.
    - `speed/data_wait`: share of that time in which the first process waited for its next batch, from 0 to 1.
    - `memory/peak_gib`: peak memory so far, GiB: allocated by torch on the GPU; without a GPU, the resident memory
      of the training process without its workers.

    Training time runs from the first to the last step, without validations; saving counts. On a GPU the process runs
    ahead of the device, so part of its waiting may cost nothing. The callback waits for the GPU on logging steps only.
    """

    def __init__(self) -> None:
        self.totals = {"batches": 0.0, "voices": 0.0, "faces": 0.0}
        self.totals |= {"seconds": 0.0, "validation_seconds": 0.0, "waited": 0.0}
        self.resumed = 0
        self.curve: dict[int, float] = {}  # validation accuracy by step
        self.epoch_batches: int | None = None
        self._values: dict[str, Any] = {}
        self._last: dict[str, float] = {}
        self._clock: float | None = None
        self._loader: Any = None
        self._waited_before = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the totals so far."""
        self._count("seconds")
        return {
            "totals": dict(self.totals),
            "resumed": self.resumed,
            "epoch_batches": self.epoch_batches,
            "curve": self.curve,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the totals of the resumed run."""
        self.totals |= state_dict["totals"]
        self.resumed, self.epoch_batches = state_dict["resumed"] + 1, state_dict["epoch_batches"]
        self.curve = dict(state_dict.get("curve", {}))

    def _count(self, what: str) -> None:
        """Add the time since the last call to a total, and update the waiting time."""
        if self._clock is None:
            return
        now, waited = time.perf_counter(), getattr(self._loader, "waited", 0.0)
        self.totals[what] += now - self._clock
        self.totals["waited"] += waited - self._waited_before
        self._clock, self._waited_before = now, waited

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._loader = trainer.train_dataloader
        self.epoch_batches = len(self._loader)
        self._clock, self._waited_before = time.perf_counter(), getattr(self._loader, "waited", 0.0)
        self._last = dict(self.totals)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        """On a logging step, record the learning rates and the gradient of this step."""
        if not logs_this_step(trainer):
            return
        groups = optimizer.param_groups
        self._values = {f"lr/{group.get('name', number)}": group["lr"] for number, group in enumerate(groups)}
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if gradients:
            self._values["train/grad_norm"] = torch.nn.utils.get_total_norm(gradients)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; on a logging step, log."""
        self._count("seconds")
        self.totals["batches"] += 1
        for kind in ("voice", "face"):
            self.totals[f"{kind}s"] += len(batch[f"{kind}_identity"]) * trainer.world_size
        if self._values:
            since = {name: total - self._last[name] for name, total in self.totals.items()}
            seconds = max(since["seconds"], 1e-9)
            self._values |= {
                "speed/samples_per_second": (since["voices"] + since["faces"]) / seconds,
                "speed/data_wait": since["waited"] / seconds,
                "memory/peak_gib": peak_gib(pl_module.device),
            }
            # Lightning would convert plain numbers to float32, and 0.001 to a long row of digits.
            exact = {k: torch.tensor(v, dtype=torch.float64) for k, v in self._values.items() if isinstance(v, float)}
            pl_module.log_dict({**self._values, **exact}, rank_zero_only=True)
            self._values, self._last = {}, dict(self.totals)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the time so far as training."""
        self._count("seconds")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the time since the start of the validation, and record its accuracy."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._count("validation_seconds")
            accuracy = trainer.callback_metrics.get("val/accuracy")
            if accuracy is not None and not trainer.sanity_checking:
                self.curve[trainer.global_step] = float(accuracy)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        self._count("seconds")
        self._clock = None

    def summary(self, trainer: pl.Trainer, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Build the `training` section of the result file, once training has ended; see docs/reference/scores.md.

        Args:
            trainer: Trainer that has finished training.
            chosen: The selected weights: their `step`, the score that they were chosen `by` and its `value`.
        """
        totals, device = self.totals, trainer.strategy.root_device
        skipped = [c.skipped for c in trainer.callbacks if hasattr(c, "skipped")]  # type: ignore[attr-defined]
        return {
            "steps": trainer.global_step,
            "epochs": round(totals["batches"] / self.epoch_batches, 3) if self.epoch_batches else None,
            "voices": int(totals["voices"]),
            "faces": int(totals["faces"]),
            "seconds": round(totals["seconds"], 3),
            "validation_seconds": round(totals["validation_seconds"], 3),
            "data_wait": round(totals["waited"] / totals["seconds"], 6) if totals["seconds"] else None,
            "devices": {
                "kind": device.type,
                "name": device_name(device),
                "count": trainer.world_size if device.type != "cpu" else trainer.num_nodes,
            },
            "processes": trainer.world_size,
            "precision": str(trainer.precision),
            "seed": int(seed) if (seed := os.environ.get("PL_GLOBAL_SEED")) is not None else None,
            "chosen": dict(chosen),
            # Validation accuracy (1:2, of the trained directions) after the given steps.
            "curve": [[step, round(value, 6)] for step, value in sorted(self.curve.items())],
            "skipped_steps": int(sum(skipped)) if skipped else None,
            "resumed": self.resumed,
        }


def peak_gib(device: torch.device) -> float:
    """Return the peak memory of this process so far, GiB: on its GPU, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def device_name(device: torch.device) -> str:
    """Return the model of a GPU, or of the processor if available, else its architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()
