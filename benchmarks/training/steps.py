"""Training steps under a bare `Trainer.fit`, timed: the method's own step, optimiser and schedule, nothing else."""

import copy
import gc
import importlib
import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.flop_counter import FlopCounterMode

from voiceface.data.module import VoxVGGDataModule
from voiceface.methods.base import Method
from voiceface.methods.recipes import load_recipe
from voiceface.training.acceleration import compile_encoders, keep_channels_last
from voiceface.training.non_finite import NonFinite

BATCHES = 4  # different ones in memory
WARM_UP, WINDOWS = 3, 5


@dataclass(frozen=True)
class Mode:
    """A way to train, by its name in the table."""

    name: str
    precision: str  # of Lightning's Trainer
    channels_last: bool = False  # of images
    compile: bool = False  # the encoders
    check: bool = True  # losses and gradients, as `voiceface fit` does


MODES = (
    Mode("float32", "32-true"),
    Mode("bf16", "bf16-mixed"),
    Mode("bf16 unchecked", "bf16-mixed", check=False),
    Mode("bf16 channels-last", "bf16-mixed", channels_last=True),
    Mode("bf16 channels-last compiled", "bf16-mixed", channels_last=True, compile=True),
)


class Memory(pl.LightningDataModule):
    """A data module, and its loader, of batches in memory, round and round."""

    def __init__(self, batches: list[dict[str, Any]], people: list[dict[str, str]], steps: int = 1000) -> None:
        super().__init__()
        self.batches, self._people, self.steps = batches, people, steps
        self.people = len(set(batches[0]["voice_identity"].tolist()))

    def training_people(self) -> list[dict[str, str]]:
        return self._people

    def train_dataloader(self) -> "Memory":
        return self

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self.batches[i % len(self.batches)] for i in range(len(self)))


class Ends(pl.Callback):
    """When each step ends, by the clock and by the processor's."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))

    def per_step(self, first: int) -> tuple[float, float]:
        """Mean seconds of the steps after the first ones."""
        wall, processor = (
            (b - a) / (len(self.ends) - first) for a, b in zip(self.ends[first - 1], self.ends[-1], strict=True)
        )
        return wall, processor


class Clock(pl.Callback):
    """Time windows of steps, each from a moment at which the device is idle to another one; weights stay as they are.

    Args:
        seconds: How long to time, about.
        each: Wait for the device after each step, so that waiting for data is not hidden behind its work.
    """

    def __init__(self, seconds: float, each: bool = False) -> None:
        self.seconds, self.each, self.window = seconds, each, 1
        self.steps = 0
        self.per_step: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for config in trainer.lr_scheduler_configs:
            config.scheduler.base_lrs = [0.0 for _ in config.scheduler.base_lrs]  # type: ignore[union-attr]
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = 0.0  # random weights at the papers' rates may run away

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.steps += 1
        timed = self.steps - WARM_UP
        ends = timed >= -1 and timed % self.window == 0
        cuda = pl_module.device.type == "cuda"
        if cuda and (self.each or ends):
            torch.cuda.synchronize()
        if not ends:
            return
        now, waited = time.perf_counter(), getattr(trainer.train_dataloader, "waited", 0.0)
        if timed == 0:  # the last step of warming up says how many steps make a window
            self.window = max(1, round(self.seconds / WINDOWS / (now - self.start)))
            self.first, self.waited = now, waited
            if cuda:
                torch.cuda.reset_peak_memory_stats()
        elif timed > 0:
            self.per_step.append((now - self.start) / self.window)
        self.start = now
        if len(self.per_step) == WINDOWS:
            self.wall, self.waited = now - self.first, waited - self.waited
            trainer.should_stop = True


class Flops(pl.Callback):
    """Count one step: floating-point operations of its matrix products and convolutions, and the clips embedded."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.clips = {"voices": 0, "faces": 0}
        for kind, encoder in (("voices", pl_module.voice_encoder), ("faces", pl_module.face_encoder)):
            encoder.register_forward_pre_hook(lambda _, x, kind=kind: self.clips.__setitem__(kind, len(x[0])))
        self.counter = FlopCounterMode(display=False)
        self.counter.__enter__()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.counter.__exit__(None, None, None)
        self.flops = self.counter.get_total_flops()


def quiet() -> None:
    for name in ("pytorch_lightning", "lightning_fabric", "torch._inductor", "torch._dynamo"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")


def bare_trainer(watch: pl.Callback, *others: pl.Callback, **options: Any) -> pl.Trainer:
    """A trainer that neither validates nor logs nor saves."""
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options = {"accelerator": "cpu", "devices": 1, "limit_val_batches": 0, **dict.fromkeys(off, False), **options}
    return pl.Trainer(callbacks=[watch, *others], **options)


class Recipe:
    """A recipe's networks with random weights and its batches; small: the demo preset's, and batches of 8 people."""

    def __init__(self, name: str, corpus: Path, device: str, small: bool, workers: int) -> None:
        self.settings = load_recipe(name, "demo" if small else "paper")
        self.device = device
        data = {k: v for k, v in self.settings["data"].items() if k != "workers"}
        self.data = VoxVGGDataModule(str(corpus), workers=workers, **{**data, **({"people": 8} if small else {})})
        self.max_steps = int(load_recipe(name, "paper")["trainer"]["max_steps"])
        self.built = self._build()
        encoder = self.built.face_encoder
        sampling = replace(self.data.sampling(), face_size=int(encoder.size), face_margin=float(encoder.margin))
        self.data.sampling = lambda: sampling  # type: ignore[method-assign]
        batches = list(islice(self.data.train_dataloader(), BATCHES))
        self.data.teardown("fit")
        on_device = [{k: v.to(device) if hasattr(v, "to") else v for k, v in batch.items()} for batch in batches]
        self.memory = Memory(on_device, self.data.training_people())

    def _build(self) -> Method:
        """The method, with random weights also in networks that the recipe freezes."""
        arguments = dict(self.settings["model"])
        module, name = arguments.pop("class_path").rsplit(".", 1)
        torch.manual_seed(0)
        method: Method = getattr(importlib.import_module(module), name)(**arguments)
        method.loads_whole_method, method.fall_steps = True, self.max_steps
        return method

    def fit(self, mode: Mode, data: pl.LightningDataModule, watch: pl.Callback, steps: int = -1) -> Method:
        free(self.device)  # what a mode that ran out of memory has left
        method = copy.deepcopy(self.built)
        if mode.channels_last:
            keep_channels_last(method)
        if mode.compile:
            torch._dynamo.reset()
            compile_encoders(method, torch.device(self.device))
        checks = [NonFinite("stop", Path("non_finite.jsonl"))] if mode.check else []
        accelerator = "gpu" if self.device == "cuda" else "cpu"
        limits = {"max_steps": steps, "max_epochs": -1}
        trainer = bare_trainer(watch, *checks, accelerator=accelerator, precision=mode.precision, **limits)
        trainer.fit(method, datamodule=data)
        return method

    def count(self) -> dict[str, Any]:
        """What one step is made of."""
        flops = Flops()
        method = self.fit(MODES[0], self.memory, flops, 1)
        voices, faces = flops.clips["voices"], flops.clips["faces"]
        return {
            "parameters": method.count_parameters(),
            "voices_per_step": voices,
            "faces_per_step": faces,
            "pairs_per_step": (voices + faces) / 2,
            "teraflop_per_step": flops.flops / 1e12,
        }

    def time(self, mode: Mode, seconds: float) -> dict[str, Any]:
        """Seconds per step, from batches on the device; and the most memory, GiB."""
        clock = Clock(seconds)
        self.fit(mode, self.memory, clock)
        return {
            "milliseconds_per_step": 1000 * median(clock.per_step),
            "windows": [round(1000 * s, 3) for s in clock.per_step],
            "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30 if self.device == "cuda" else None,
        }

    def wait(self, mode: Mode, seconds: float) -> dict[str, Any]:
        """Steps whose batches come from the corpus, through the stream's workers."""
        clock = Clock(seconds, each=True)
        try:
            self.fit(mode, self.data, clock)
        finally:
            self.data.teardown("fit")
        return {
            "workers": self.data.workers,
            "milliseconds_per_step": 1000 * median(clock.per_step),
            "data_wait_share": clock.waited / clock.wall,
        }


def free(device: str) -> None:
    """Give memory back that nothing refers to."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
