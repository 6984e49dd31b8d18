"""What does Lightning cost per step? The same steps in a plain loop and in `Trainer.fit`, in one run.

Both take the same batches from memory, with the same optimiser and schedule; Lightning also logs, to a CSV. The
difference is the overhead per step. A method whose step is nearly nothing shows it undiluted, the demo TriNet shows
its share.

    python benchmarks/lightning_overhead.py [--steps 40]
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from machine import describe
from torch import Tensor, nn

from voiceface.data.module import VoxVGGDataModule
from voiceface.fit import RunLogger, keep_memory, quiet
from voiceface.method import Method
from voiceface.methods.trinet import TriNet

REPEATS = 5


class Tiny(Method):
    """A method whose step is nearly nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.face_encoder, self.voice_encoder = nn.Linear(16, 4), nn.Linear(16, 4)

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.voice_encoder(waveforms[:, :16].float())

    def embed_face(self, faces: Tensor) -> Tensor:
        return self.face_encoder(faces[:, 0, 0, :16].float())

    def loss(
        self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (voices.mean() - faces.mean()) ** 2
        return loss, {"loss": loss.detach(), "active": loss.detach()}

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-6)


def plain(method: Method, batches: list[dict[str, Any]]) -> float:
    configured = method.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    method.train()
    start = time.perf_counter()
    for batch in batches:
        voices, faces = method.embed_voice(batch["voices"], batch["voice_lengths"]), method.embed_face(batch["faces"])
        loss, _ = method.loss(voices, faces, batch["voice_identity"], batch["face_identity"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if isinstance(configured, dict):
            configured["lr_scheduler"]["scheduler"].step()
    return (time.perf_counter() - start) / len(batches)


class Memory:
    """A loader of batches in memory; a plain list would be taken for a list of loaders."""

    def __init__(self, batches: list[dict[str, Any]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.batches)


class Clock(pl.Callback):
    """Times the training epoch alone."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = time.perf_counter() - self.start


def lightning(method: Method, batches: list[dict[str, Any]], folder: str) -> float:
    clock = Clock()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=RunLogger(folder),
        log_every_n_steps=25,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(method, train_dataloaders=Memory(batches))
    if trainer.global_step != len(batches):
        raise RuntimeError(f"{trainer.global_step} steps instead of {len(batches)}")
    return clock.seconds / len(batches)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="corpus; default: the built-in one")
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    quiet()
    keep_memory()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    module = VoxVGGDataModule(options.data, people=32, workers=0)
    sampling = replace(module.sampling(), face_size=64, face_margin=1.0)
    module.sampling = lambda: sampling  # type: ignore[method-assign]
    batches = list(islice(module.train_dataloader(), 8))
    batches = [batches[i % len(batches)] for i in range(options.steps)]
    times: dict[str, list[float]] = {f"{m}, {w}": [] for m in ("tiny", "trinet demo") for w in ("plain", "lightning")}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(REPEATS):
            for name in ("tiny", "trinet demo"):
                steps = batches * 10 if name == "tiny" else batches
                for way in ("plain", "lightning"):
                    method = Tiny() if name == "tiny" else TriNet("face_small", "voice_small", freeze_voice=False)
                    seconds = (
                        plain(method, steps) if way == "plain" else lightning(method, steps, f"{folder}/{name}{repeat}")
                    )
                    times[f"{name}, {way}"].append(seconds)
    medians = {name: 1000 * median(values) for name, values in times.items()}
    overhead = {
        name: {
            "milliseconds_per_step": round(
                median(
                    1000 * (b - a) for a, b in zip(times[f"{name}, plain"], times[f"{name}, lightning"], strict=True)
                ),
                3,
            ),
            "ratio": round(
                median(b / a for a, b in zip(times[f"{name}, plain"], times[f"{name}, lightning"], strict=True)), 3
            ),
        }
        for name in ("tiny", "trinet demo")
    }
    for name, value in medians.items():
        print(f"{name:24s} {value:9.3f} ms/step")
    print(overhead)
    result = {
        "question": "Lightning's overhead per step against a plain loop",
        "milliseconds_per_step_median": {name: round(value, 3) for name, value in medians.items()},
        "overhead_median": overhead,
        "machine": describe(),
    }
    out = Path(__file__).parent / "results" / "lightning_overhead.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()
