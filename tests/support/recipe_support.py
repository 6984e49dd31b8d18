"""What the tests of all recipes share: small encoders, eight people whom anybody could tell apart, a trainer."""

import functools
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader

from voiceface.methods.base import Method
from voiceface.methods.recipes import list_recipes, recipe_files

SMALL = {"face_encoder": "face_small", "voice_encoder": "voice_small", "face_options": None, "voice_options": None}
PEOPLE = [{"gender": "mf"[i % 2], "nationality": ["Fiji", "Peru", "Oman", "Mali"][i // 2]} for i in range(8)]
"""Gender has two values, nationality four; both together tell all eight people apart."""


@functools.cache
def _settings(recipe: str, preset: str, encoders: str) -> str:
    merged: dict[str, Any] = {"model": {"init_args": {}}, "data": {}, "trainer": {}, "metrics": {}}
    for file in recipe_files(recipe, preset, encoders):
        for group, values in yaml.safe_load(file.read_text()).items():
            merged[group] |= {k: v for k, v in values.items() if k != "init_args"}
            merged[group].setdefault("init_args", {}).update(values.get("init_args", {}))
    return json.dumps(merged, sort_keys=True)


def settings(recipe: str, preset: str, encoders: str = "paper") -> dict[str, Any]:
    """The recipe's YAML files merged, as LightningCLI would."""
    merged: dict[str, Any] = json.loads(_settings(recipe, preset, encoders))
    return merged


def build(recipe: str, preset: str = "demo", encoders: str = "paper", **changes: Any) -> Method:
    """The recipe's method with weights from seed 0; it has met nobody."""
    chosen = settings(recipe, preset, encoders)["model"]
    module, name = chosen["class_path"].rsplit(".", 1)
    torch.manual_seed(0)
    method: Method = getattr(importlib.import_module(module), name)(**{**chosen["init_args"], **changes})
    return method


def met(recipe: str, **changes: Any) -> Method:
    """The demo preset's method, which has met the eight people."""
    method = build(recipe, **changes)
    method.build_training_heads(PEOPLE)
    return method


def twin(recipe: str) -> str:
    """The first recipe with the same settings in the demo preset: what holds of it holds of this one."""
    return next(r for r in list_recipes() if _settings(r, "demo", "paper") == _settings(recipe, "demo", "paper"))


DISTINCT = sorted({twin(recipe) for recipe in list_recipes()})
"""One recipe for each different demo preset: TriNet's rows that differ in their encoders alone share one."""
FIRST = sorted({settings(r, "demo")["model"]["class_path"]: r for r in reversed(DISTINCT)}.values())
"""The first of them for each method."""


def eight_people(
    clips: int = 2, samples: int = 24_000, seed: int = 0, people: Sequence[int] = range(8)
) -> dict[str, Any]:
    """A batch: a triangle wave and a bright square for each person, with a little noise.

    All by whole numbers: the same on every processor.
    """
    t = torch.arange(samples)
    generator = torch.Generator().manual_seed(seed)
    identity = torch.tensor(people).repeat_interleave(clips)
    voices = [2 * ((150 + 90 * i) * t % 16_000 - 8_000).abs() - 8_000 for i in identity.tolist()]
    voices = [v + torch.randint(-500, 500, (samples,), generator=generator) for v in voices]
    faces = torch.full((len(identity), 3, 64, 64), 60)
    for face, i in zip(faces, identity.tolist(), strict=True):
        face[:, 16 * (i % 4) : 16 * (i % 4) + 16, 32 * (i // 4) : 32 * (i // 4) + 32] = 200
    faces += torch.randint(0, 20, faces.shape, generator=generator)
    return {
        "voices": torch.stack(voices).short(),
        "voice_lengths": torch.full((len(identity),), samples),
        "faces": faces.byte(),
        "voice_identity": identity,
        "face_identity": identity,
    }


def losses(method: Method, batch: dict[str, Any]) -> Tensor:
    """The loss of a batch."""
    voices, faces = method.embed_voice(batch["voices"], batch["voice_lengths"]), method.embed_face(batch["faces"])
    return method.loss(voices, faces, batch["voice_identity"], batch["face_identity"])[0]


class Fixed(pl.LightningDataModule):
    """Batches of the eight people, the same ones every time."""

    def __init__(self, batches: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        self.batches = list(batches)

    def training_people(self) -> list[dict[str, str]]:
        return PEOPLE

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]


class Losses(pl.Callback):
    """Keeps the loss of every training step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append(float(outputs["loss"]))


def trainer(max_steps: int, folder: Path | None = None, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    """A real trainer that neither validates nor writes."""
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
        "accelerator": "cpu",
        "devices": 1,
    }
    return pl.Trainer(
        max_steps=max_steps,
        callbacks=list(callbacks),
        default_root_dir=folder,
        **{**quiet, **options},  # type: ignore[arg-type]
    )


def same(one: Any, two: Any, where: str) -> None:
    """Everything in two nested states is equal to the bit."""
    assert type(one) is type(two), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            same(one[key], two[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), where
        for index, (a, b) in enumerate(zip(one, two, strict=True)):
            same(a, b, f"{where}/{index}")
    else:
        assert one == two, where
