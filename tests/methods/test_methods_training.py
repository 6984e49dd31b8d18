"""Training of every recipe by a real trainer: resumed to the bit, and the same losses as ever.

The golden losses of 20 steps lie in `tests/golden`. For a change that is meant to change them,
`pytest tests/methods/test_methods_training.py --update-golden` writes them anew.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from recipe_support import DISTINCT, FIRST, Fixed, Losses, build, eight_people, same, trainer
from tests_support import tone_person

from voiceface.data.module import VoxVGGDataModule
from voiceface.data.prepare.engine.build import CorpusOptions
from voiceface.data.prepare.engine.build import build as build_corpus
from voiceface.encoders.audio import spectrograms
from voiceface.utils.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden"
STEPS = 20
# Measured: 7e-5 at most between kernels with and without vector instructions, 1e-7 for most recipes.
TOLERANCE = 1e-3
VARIANT = pytest.mark.slow(reason="another recipe of a method whose first recipe is resumed in the quick tests")


class WholeNumbers(pl.Callback):
    """First weights from whole random numbers: torch's own draws differ in the last bit between processors."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in pl_module.parameters():
                if weight.dim() > 1:
                    drawn = torch.randint(-999, 1000, weight.shape, generator=generator)
                    weight.copy_(drawn / (1000 * weight[0].numel() ** 0.5))


class StopAt(pl.Callback):
    """Ends a training before its time, which its schedules do not see."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        trainer.should_stop = trainer.global_step >= self.step


def golden_losses(recipe: str, steps: int) -> list[float]:
    """Losses of the first of 20 steps of the recipe's own optimiser on batches of eight people, two with two clips.

    In float64: training doubles a rounding error every step or two, and processors round differently.
    """
    batches = [
        eight_people(1, 16_000, seed=step, people=[*range(8), step % 8, (step + 3) % 8]) for step in range(STEPS)
    ]
    kept, method = Losses(), build(recipe)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "0")
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        patch.setattr(spectrograms, "_mel_filters", spectrograms._mel_filters.__wrapped__)  # no float64 in its cache
        run = trainer(STEPS, None, kept, WholeNumbers(), StopAt(steps), precision="64-true")
        run.fit(method, datamodule=Fixed(batches))
    assert {p.dtype for p in method.parameters()} == {torch.float64}
    return kept.seen


@pytest.mark.parametrize("recipe", DISTINCT)
@pytest.mark.parametrize(
    ("steps", "different"),
    [
        (6, 3),
        pytest.param(STEPS, 8, marks=pytest.mark.slow(reason="20 steps of every recipe in float64; the quick ones: 6")),
    ],
)
def test_the_losses_of_the_first_steps_are_the_golden_ones(
    recipe: str, steps: int, different: int, pytestconfig: pytest.Config
):
    update = pytestconfig.getoption("--update-golden")
    steps = STEPS if update else steps
    found = golden_losses(recipe, steps)
    assert len(found) == steps
    assert np.isfinite(found).all()
    assert len(set(found)) >= different, "the losses hardly change: the golden file would show nothing"
    file = GOLDEN / f"{recipe}.json"
    if update:
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(json.dumps({"losses": [float(f"{loss:.8g}") for loss in found]}, indent=1) + "\n")
    if not file.exists():
        pytest.fail(
            f"no {file.name}; make it: pytest tests/methods/test_methods_training.py -k {recipe} --update-golden"
        )
    assert found == pytest.approx(json.loads(file.read_text())["losses"][:steps], rel=TOLERANCE, abs=1e-6)


def test_every_golden_file_is_of_a_recipe():
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(DISTINCT)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training people of two genders and three nationalities, one of them unknown."""
    out = tmp_path_factory.mktemp("resume") / "corpus"
    people = [("train", 2, 2)] * 12 + [("val", 1, 1)] * 2 + [("test", 1, 1)] * 2
    known = {f"p{i:03d}": {"gender": "mf"[i % 2], "nationality": ("Fiji", "Peru", "")[i % 3]} for i in range(16)}
    options = CorpusOptions(name="tones", face_size=40, face_margin=1.25, max_voices=2, max_faces=2)
    build_corpus(out, list(enumerate(people)), tone_person, known, options, {"command": "test"}, workers=1)
    return out


class SaveAt(pl.Callback):
    """Keeps the whole state after some step."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def train(recipe: str, corpus: Path, start: Path | None, end: Path, *callbacks: pl.Callback) -> None:
    """Six steps, over several epochs, from nothing or from a state; the state after them is written to `end`."""
    stream = {"voices": 2, "faces": 2, "voice_seconds": 1.0, "flip": True, "workers": 0, "seed": 3}
    gallery = {"gallery": 4} if recipe == "svhf_nway" else {}
    run = trainer(6, None, *callbacks)
    run.fit(
        build(recipe, **gallery),
        datamodule=VoxVGGDataModule(str(corpus), people=4, **stream),
        ckpt_path=start,
        weights_only=True,
    )
    run.save_checkpoint(end)


@pytest.mark.parametrize("recipe", [pytest.param(r, marks=[] if r in FIRST else VARIANT) for r in DISTINCT])
def test_a_resumed_run_ends_with_the_same_bits(
    recipe: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    train(recipe, corpus, None, tmp_path / "whole", SaveAt(3, tmp_path / "half"))
    train(recipe, corpus, tmp_path / "half", tmp_path / "resumed")
    half, whole, resumed = (torch.load(tmp_path / name, weights_only=True) for name in ("half", "whole", "resumed"))
    assert (half["global_step"], whole["global_step"], whole["epoch"] > half["epoch"]) == (3, 6, True)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch", "hyper_parameters"):
        same(whole[part], resumed[part], part)
    trained = build(recipe).training_only
    assert all(any(name.startswith(part) for name in whole["state_dict"]) for part in trained)
    moved = [n for n, w in whole["state_dict"].items() if not torch.equal(w, half["state_dict"][n])]
    assert all(any(name.startswith(part) for name in moved) for part in trained)
    assert {name.split(".")[0] for name in moved} >= {"face_encoder", "voice_encoder"}


def test_a_run_that_is_resumed_for_more_steps_keeps_its_schedule_and_stays_at_the_last_rate(tmp_path: Path):
    batches = [eight_people(samples=16_000)] * 3
    short = trainer(6)
    short.fit(build("drl", stages=3), datamodule=Fixed(batches))
    short.save_checkpoint(tmp_path / "state")
    more = trainer(8)
    more.fit(build("drl", stages=3), datamodule=Fixed(batches), ckpt_path=tmp_path / "state", weights_only=True)
    rate = more.lr_scheduler_configs[0].scheduler
    assert more.global_step == 8
    assert [round(0.03 * rate.lr_lambdas[0](step), 6) for step in range(8)] == [0.03] * 2 + [0.009487] * 2 + [0.003] * 4


def test_a_training_without_an_end_has_no_falling_rate():
    with pytest.raises(UserError, match=r"--trainer\.max_steps"):
        trainer(-1, max_epochs=-1).fit(build("drl"), datamodule=Fixed([eight_people(samples=16_000)]))
