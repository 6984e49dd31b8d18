"""How much faster does TriNet train on cached outputs of its frozen voice network? Ratios within one run.

Both sides train on TriNet's paper batch (4 people x 4 voices x 8 faces, crops of 2.5 s) with the paper's frozen voice
network, under a real Trainer and from the real stream; one has `--cache-frozen`, whose cache is made before and timed
by itself. They take turns. Once with a small face network, which is trained too, and once with the paper's, whose own
cost no cache takes away. The networks have random weights: speed does not depend on them.

    python -m benchmarks.training.cached [--repeats 3] [--steps 3] [--paper-steps 1]
"""

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from benchmarks.machine import describe
from safetensors.torch import save_file

from voiceface.data.module import VoxVGGDataModule
from voiceface.data.prepare.synthetic import prepare_synthetic
from voiceface.data.synthetic import SyntheticOptions
from voiceface.encoders import voice_encoder
from voiceface.methods.recipes import load_recipe
from voiceface.methods.trinet import TriNet
from voiceface.training.fit import keep_memory, quiet

VOICE = "voice_thin_resnet34"
SMALL, PAPER = "face_small", "face_lresnet50_ir"


class Clock(pl.Callback):
    """Steps per second, without the first one, before which workers start."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Look at the clock."""
        self.ends.append(time.perf_counter())

    def rate(self) -> float:
        """Steps per second."""
        return (len(self.ends) - 1) / (self.ends[-1] - self.ends[0])


def train(root: Path, weights: Path, face: str, cached: bool, steps: int) -> tuple[float, list[str]]:
    """Steps per second of some steps, and how long it took to make the cache."""
    clock, said = Clock(), io.StringIO()
    trainer = pl.Trainer(
        max_steps=1 + steps,
        callbacks=[clock],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    data = VoxVGGDataModule(
        str(root), **{**load_recipe("trinet", "paper")["data"], "workers": 1, "cache_frozen": cached}
    )
    with contextlib.redirect_stderr(said):
        trainer.fit(TriNet(face, VOICE, voice_weights=str(weights)), datamodule=data)
    return clock.rate(), [line for line in said.getvalue().splitlines() if line.endswith("per second)")]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="measured steps without the cache; ten times as many with")
    parser.add_argument("--paper-steps", type=int, default=1, help="the same with the paper's face network; 0: none")
    options = parser.parse_args()
    quiet()
    keep_memory()
    torch.set_num_threads(1)
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VOICEFACE_CACHE"] = f"{folder}/cache"
        root, weights = Path(folder) / "corpus", Path(folder) / "voice.safetensors"
        prepare_synthetic(root, SyntheticOptions(identities=18, voices=4, faces=8))
        save_file(voice_encoder(VOICE).state_dict(), weights)
        _, made = train(root, weights, SMALL, True, 1)
        for _ in range(options.repeats):
            for side, steps in (("uncached", options.steps), ("cached", 10 * options.steps)):
                rate, _ = train(root, weights, SMALL, side == "cached", steps)
                rates.setdefault(f"{SMALL}, {side}", []).append(rate)
        for side in ("uncached", "cached") if options.paper_steps else ():
            rate, _ = train(root, weights, PAPER, side == "cached", options.paper_steps)
            rates[f"{PAPER}, {side}"] = [rate]
    ratios = {}
    for face in (SMALL, PAPER):
        if f"{face}, cached" in rates:
            pairs = zip(rates[f"{face}, cached"], rates[f"{face}, uncached"], strict=True)
            ratios[face] = round(median(a / b for a, b in pairs), 2)
    for name, values in rates.items():
        print(f"{name:30s} {median(values):8.3f} steps/s")
    for face, ratio in ratios.items():
        print(f"{face:30s} {ratio:8.2f} times the steps per second with the cache (target: 2)")
    print(*made, sep="\n")
    result = {
        "question": "steps per second of TriNet with cached outputs of its frozen voice network against uncached",
        "setting": f"{VOICE} frozen; 4 people x 4 voices x 8 faces, 2.5 s; one thread, one worker",
        "target": 2,
        "ratios_median": ratios,
        "median_steps_per_second": {name: round(median(values), 4) for name, values in rates.items()},
        "runs_steps_per_second": {name: [round(v, 4) for v in values] for name, values in rates.items()},
        "making_the_cache": made,
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "machine": describe(),
    }
    path = Path(__file__).parents[1] / "results" / "cached.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
