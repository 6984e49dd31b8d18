"""What Watch counts and logs, against counting by hand in a real training."""

import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from recipe_support import build

from voiceface.data.module import VoxVGGDataModule
from voiceface.data.stream.batches import TrainingBatches
from voiceface.data.stream.loader import Loader
from voiceface.evaluation.result_schema import DATA, MODEL, SCHEMA
from voiceface.evaluation.results import read_results, write_results
from voiceface.training.loggers import Guarded, RunLogger
from voiceface.training.monitor import Watch, device_name, peak_gib

PEOPLE, VOICES, FACES = 6, 2, 3
STEPS, EVERY = 7, 2


class ByHand(pl.Callback):
    """Norm and rates of every optimiser step, and clips after it, computed plainly."""

    def __init__(self) -> None:
        self.batches = self.voices = self.faces = 0
        self.clips: dict[int, int] = {0: 0}
        self.norms: list[float] = []
        self.rates: list[dict[str, float]] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: Any) -> None:
        whole = np.concatenate([p.grad.numpy().ravel() for p in module.parameters() if p.grad is not None])
        self.norms.append(float(np.sqrt((whole.astype(np.float64) ** 2).sum())))
        self.rates.append({group["name"]: group["lr"] for group in optimizer.param_groups})

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, out: Any, batch: Any, i: int) -> None:
        self.batches += 1
        self.voices += len(batch["voice_keys"])
        self.faces += len(batch["face_keys"])
        self.clips.setdefault(trainer.global_step, self.voices + self.faces)


def fit(
    root: Path, folder: Path, watch: Watch, *callbacks: pl.Callback, start: Path | None = None, **options: Any
) -> pl.Trainer:
    settings: dict[str, Any] = {"max_steps": STEPS, "gradient_clip_val": 1e-3, "accumulate_grad_batches": 2}
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=[Guarded(RunLogger(str(folder)))],
        callbacks=[*callbacks, watch],
        log_every_n_steps=EVERY,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{**settings, **options},
    )
    data = VoxVGGDataModule(str(root), PEOPLE, VOICES, FACES, workers=0, evaluation_bundles=100)
    torch.manual_seed(0)
    # The rate falls at the second step.
    method = build("trinet", milestones=[1], face_margin=1.25)
    trainer.fit(method, datamodule=data, ckpt_path=start, weights_only=True)
    return trainer


@pytest.fixture(scope="module")
def trained(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.Trainer, Watch, ByHand, list[dict]]:
    folder, watch, by_hand = tmp_path_factory.mktemp("watched"), Watch(), ByHand()
    trainer = fit(tones, folder, watch, by_hand, limit_val_batches=0)
    return trainer, watch, by_hand, list(csv.DictReader((folder / "metrics.csv").open()))


def test_norm_and_rates_are_those_of_the_step_before_clipping(trained) -> None:
    _, _, by_hand, rows = trained
    assert [int(r["step"]) for r in rows] == [1, 3, 5]
    assert len(by_hand.norms) == STEPS
    for row in rows:
        step = int(row["step"])
        assert float(row["train/grad_norm"]) == pytest.approx(by_hand.norms[step], rel=1e-5)
        assert by_hand.norms[step] > 0.1, "clipped to a thousandth, were it taken too late"
        assert {name: float(row[f"lr/{name}"]) for name in by_hand.rates[step]} == by_hand.rates[step]
    assert by_hand.rates[0]["fc"] == pytest.approx(10 * by_hand.rates[1]["fc"])


def test_clips_steps_and_epochs_are_counted(trained) -> None:
    trainer, watch, by_hand, _ = trained
    training = watch.summary(trainer, {"step": 4, "by": None, "value": None})
    assert training["steps"] == STEPS
    assert STEPS < by_hand.batches <= 2 * STEPS, "two batches per step, but at the end of an epoch"
    assert (training["voices"], training["faces"]) == (by_hand.voices, by_hand.faces)
    assert by_hand.voices == by_hand.batches * PEOPLE * VOICES
    assert training["epochs"] == pytest.approx(by_hand.batches / len(trainer.train_dataloader), abs=1e-3)
    assert training["chosen"] == {"step": 4, "by": None, "value": None}
    assert training["validation_seconds"] == 0
    assert (training["resumed"], training["skipped_steps"]) == (0, None)


def test_speed_and_memory_are_plausible(trained) -> None:
    _, watch, by_hand, rows = trained
    clips = [by_hand.clips[int(r["step"]) + 1] - by_hand.clips[int(r["step"]) + 1 - EVERY] for r in rows]
    assert min(clips) >= EVERY * PEOPLE * (VOICES + FACES)
    seconds = [n / float(r["speed/samples_per_second"]) for n, r in zip(clips, rows, strict=True)]
    assert sum(seconds) <= watch.totals["seconds"], "the last step is not logged"
    assert all(0 < float(r["speed/data_wait"]) < 1 for r in rows)
    memory = [float(r["memory/peak_gib"]) for r in rows]
    assert memory == sorted(memory)
    assert 0.05 < memory[-1] <= peak_gib(torch.device("cpu")) < 1000
    assert device_name(torch.device("cpu"))


class SlowBatches(TrainingBatches):
    """Takes a tenth of a second more for each batch, at least."""

    def __getitem__(self, place: tuple[int, int]) -> Any:
        time.sleep(0.1)
        return super().__getitem__(place)


class SlowData(VoxVGGDataModule):
    def _loader(self, batches: Any) -> Loader:
        if isinstance(batches, TrainingBatches):
            batches.__class__ = SlowBatches
        return super()._loader(batches)


def test_waiting_for_data_is_what_next_takes(tones: Path) -> None:
    loader = SlowData(str(tones), PEOPLE, VOICES, FACES, workers=0).train_dataloader()
    began = time.perf_counter()
    for _, _ in zip(range(3), loader, strict=False):
        time.sleep(0.2)
    assert 0.3 <= loader.waited <= time.perf_counter() - began - 3 * 0.2


def test_totals_go_on_over_a_resume_and_validation_is_apart(trained, tones: Path, tmp_path: Path) -> None:
    trainer, first, before, _ = trained
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    resumed, after = Watch(), ByHand()
    more = {"max_steps": STEPS + 3, "limit_val_batches": 1, "val_check_interval": 1}
    again = fit(tones, tmp_path, resumed, after, start=tmp_path / "last.ckpt", **more)
    training = resumed.summary(again, {})
    assert (training["steps"], training["resumed"]) == (STEPS + 3, 1)
    assert (training["voices"], training["faces"]) == (before.voices + after.voices, before.faces + after.faces)
    assert after.batches > 0
    assert training["validation_seconds"] > 0
    assert first.totals["seconds"] < resumed.totals["seconds"]
    assert first.totals["waited"] < resumed.totals["waited"] < resumed.totals["seconds"]


def test_result_files_with_and_without_the_section_are_read(tmp_path: Path) -> None:
    model = dict.fromkeys(MODEL) | {"method": "mine"}
    data = dict.fromkeys(DATA) | {"clips_sha256": "", **dict.fromkeys(("identities", "voices", "faces", "skipped"), 0)}
    without = {"schema": SCHEMA, "model": model, "data": data, "environment": {}, "scores": []}
    for name, results in (("without", without), ("with", {**without, "training": {"steps": 3}})):
        write_results(tmp_path / f"{name}.json", results)
        read = read_results(tmp_path / f"{name}.json")
        assert {k: v for k, v in read.items() if k != "sha256"} == results
