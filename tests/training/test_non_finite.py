"""Steps whose loss or gradient is not finite: named, stopped at or left out exactly, by all processes alike."""

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from recipe_support import Fixed, build, eight_people, same, trainer
from tests_support import in_processes

import voiceface.training.non_finite
from voiceface.methods.base import Method
from voiceface.training.non_finite import MOST_IN_A_ROW, NonFinite
from voiceface.utils.errors import UserError

STEPS = 5


def batches(steps: int = STEPS) -> list[dict[str, Any]]:
    """Batches of eight people with keys, each its own."""
    made = []
    for step in range(steps):
        batch = eight_people(1, 16_000, seed=step)
        for kind in ("voice", "face"):
            batch[f"{kind}_keys"] = [f"{kind}-{step}-{i}" for i in range(8)]
        made.append(batch)
    return made


class Poison(pl.Callback):
    """Makes the loss of chosen batches NaN, or, with finite losses, one weight's gradient infinite.

    Args:
        at: Batches, counted from the start of training.
        what: `loss` or `gradient`.
    """

    def __init__(self, *at: int, what: str = "loss") -> None:
        self.at, self.what, self.count = set(at), what, 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        pl_module.poison = self.what if self.count in self.at else None
        self.count += 1


def method(recipe: str = "trinet") -> Method:
    """A real method; where it is poisoned, the loss is divided by zero, or has an infinite slope and a finite value."""
    built = build(recipe)
    clean = built.loss

    def loss(voices: Any, faces: Any, *identities: Any) -> Any:
        value, logs = clean(voices, faces, *identities)
        if getattr(built, "poison", None) == "loss":
            value = value * (voices.sum() * 0) / 0
        elif getattr(built, "poison", None) == "gradient":
            value = value + (voices[0, 0] * 0).sqrt()
        return value, logs

    built.loss = loss  # type: ignore[method-assign]
    return built


class LeaveOut(pl.Callback):
    """The reference: steps that are left out without a look at their losses, by undoing everything by hand."""

    def __init__(self, *at: int) -> None:
        self.at = set(at)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step in self.at and batch_idx % trainer.accumulate_grad_batches == 0:
            self.before = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if trainer.global_step in self.at:
            pl_module.load_state_dict(self.before)
            optimizer.zero_grad()


def fit(callbacks: list[pl.Callback], steps: int = STEPS, recipe: str = "trinet", **options: Any) -> dict[str, Any]:
    """The whole state after a training."""
    built = method(recipe)
    run = trainer(steps, None, *callbacks, **options)
    run.fit(built, datamodule=Fixed(batches(steps * options.get("accumulate_grad_batches", 1))))
    assert run.global_step == steps
    return {
        "weights": built.state_dict(),
        "optimizer": run.optimizers[0].state_dict(),
        "schedule": [c.scheduler.state_dict() for c in run.lr_scheduler_configs],
    }


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_by_default_a_run_stops_and_says_where(what: str, tmp_path: Path):
    built, file = method(), tmp_path / "non_finite.jsonl"
    first = {name: weight.clone() for name, weight in built.state_dict().items()}
    with pytest.raises(UserError) as stop:
        trainer(STEPS, None, Poison(0, what=what), NonFinite("stop", file)).fit(built, datamodule=Fixed(batches()))
    text = str(stop.value)
    assert len(text.splitlines()) == 1
    assert text.startswith("step 0: the loss is nan" if what == "loss" else "step 0: the gradient of voice_encoder.")
    for words in ("voice-0-0, voice-0-1, voice-0-2, face-0-0", str(file), "gradient_clip_val", "--non_finite skip"):
        assert words in text
    (found,) = records(file)
    assert found["step"] == found["rank"] == found["batch"] == 0
    assert (found["loss"] == "nan") is (what == "loss")
    assert found["voice_keys"] == [f"voice-0-{i}" for i in range(8)]
    assert found["face_keys"] == [f"face-0-{i}" for i in range(8)]
    for name, weight in built.named_parameters():
        assert torch.equal(weight, first[name]), "the step was not taken"


@pytest.mark.parametrize("recipe", ["trinet", "drl"])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_skipped_step_changes_nothing(recipe: str, what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Adam and SGD with momentum and weight decay; the batch norms' statistics included."""
    look = NonFinite("skip", tmp_path / "n.jsonl")
    with caplog.at_level(logging.WARNING):
        found = fit([Poison(2, what=what), look], recipe=recipe)
    same(found, fit([LeaveOut(2)], recipe=recipe), "state")
    untouched = fit([NonFinite("skip", tmp_path / "none.jsonl")], recipe=recipe)
    same(untouched, fit([], recipe=recipe), "state")
    assert not torch.equal(*(s["weights"]["face_encoder.fc.weight"] for s in (found, untouched)))
    assert (look.skipped, look.in_a_row) == (1, 0)
    assert [r["step"] for r in records(tmp_path / "n.jsonl")] == [2]
    assert not (tmp_path / "none.jsonl").exists()
    assert "left out: step 2: " in caplog.text


def test_a_bad_batch_voids_the_whole_accumulated_step(tmp_path: Path):
    """Three batches make a step; the fifth of them all is bad, so that the second step is left out."""
    look = NonFinite("skip", tmp_path / "n.jsonl")
    found = fit([Poison(4), look], 3, accumulate_grad_batches=3)
    same(found, fit([LeaveOut(1)], 3, accumulate_grad_batches=3), "state")
    (record,) = records(tmp_path / "n.jsonl")
    assert (record["step"], record["batch"], record["voice_keys"][0]) == (1, 4, "voice-4-0")
    assert look.skipped == 1


def test_the_named_loss_is_the_batchs_own_with_accumulation(tmp_path: Path):
    losses: list[float] = []
    built = method()
    inner = built.loss

    def kept(*arguments: Any) -> Any:
        value, logs = inner(*arguments)
        losses.append(float(value.detach()))
        return value, logs

    built.loss = kept  # type: ignore[method-assign]
    run = trainer(1, None, Poison(0, what="gradient"), NonFinite("skip", tmp_path / "n"), accumulate_grad_batches=2)
    run.fit(built, datamodule=Fixed(batches(2)))
    assert [r["loss"] for r in records(tmp_path / "n")] == pytest.approx(losses)


def test_too_many_in_a_row_stop_a_run_that_skips(tmp_path: Path):
    bad = MOST_IN_A_ROW + 1
    look = NonFinite("skip", tmp_path / "n.jsonl")
    fit([Poison(*range(MOST_IN_A_ROW)), look], bad)
    assert look.skipped == MOST_IN_A_ROW
    look = NonFinite("skip", tmp_path / "n.jsonl")
    with pytest.raises(UserError, match=rf"step {MOST_IN_A_ROW}: .*so were the {MOST_IN_A_ROW} steps before it"):
        fit([Poison(*range(bad)), look], bad)


def test_a_corrupted_weight_and_a_rate_beyond_reason_are_found(tmp_path: Path):
    built = build("trinet")
    with torch.no_grad():
        built.face_fc.weight[0, 0] = math.nan
    with pytest.raises(UserError, match="step 0: the loss is nan"):
        trainer(1, None, NonFinite("stop", tmp_path / "n")).fit(built, datamodule=Fixed(batches(1)))
    fast = build("trinet", fc_rate=1e30, face_rate=1e30, voice_rate=1e30)
    with pytest.raises(UserError, match="step 1: "):
        trainer(3, None, NonFinite("stop", tmp_path / "m")).fit(fast, datamodule=Fixed(batches(3)))


def test_a_resumed_run_goes_on_counting(tmp_path: Path):
    short = trainer(2, None, Poison(0, 1), NonFinite("skip", tmp_path / "n.jsonl"))
    short.fit(method(), datamodule=Fixed(batches()))
    short.save_checkpoint(tmp_path / "state")
    look = NonFinite("skip", tmp_path / "n.jsonl")
    seen: list[int] = []

    class First(pl.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            seen.append(look.in_a_row)

    more = trainer(4, None, Poison(0), look, First())
    more.fit(method(), datamodule=Fixed(batches()), ckpt_path=tmp_path / "state", weights_only=True)
    assert seen == [2]
    assert (look.skipped, look.in_a_row) == (3, 0)


def test_a_full_disk_does_not_hide_the_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with pytest.raises(UserError, match="the loss is nan"):
        trainer(1, None, Poison(0), NonFinite("stop", tmp_path / "no" / "n")).fit(
            method(), datamodule=Fixed(batches(1))
        )
    assert "cannot be written (no such file or directory)" in caplog.text


def test_with_a_scaler_only_the_loss_counts(tmp_path: Path):
    """The scaler of fp16, which runs on a CPU too, meets infinite gradients while it looks for its scale."""
    from pytorch_lightning.plugins.precision import MixedPrecision

    def run(poison: Poison) -> tuple[NonFinite, int, float]:
        built, look = method(), NonFinite("skip", tmp_path / "n.jsonl")
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        plugin = MixedPrecision("16-mixed", "cpu", scaler)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plugin, "autocast_context_manager", lambda: torch.autocast("cpu", torch.bfloat16))
            once = trainer(3, None, poison, look, plugins=[plugin])
            once.fit(built, datamodule=Fixed(batches(3)))
        steps = {int(s["step"]) for s in once.optimizers[0].state.values()}
        return look, steps.pop(), scaler.get_scale()

    look, taken, scale = run(Poison(1, what="gradient"))
    assert (look.skipped, taken, scale) == (0, 2, 2.0), "the scaler left the step out by itself"
    look, taken, _ = run(Poison(1))
    assert (look.skipped, taken) == (1, 2)


def process(rank: int, out: str) -> None:
    """One of two processes."""
    voiceface.training.non_finite.MOST_IN_A_ROW = 1
    built, look = method(), NonFinite("skip", Path(out) / "n.jsonl")
    built.negatives = "rank"  # each process's loss is its own; only those of the second one are bad
    two = {"devices": 2, "strategy": "ddp", "use_distributed_sampler": False}
    run = trainer(5, None, *([Poison(1, 3, 4)] if rank else []), look, **two)
    try:
        run.fit(built, datamodule=Fixed(batches(10)[rank::2]))
    except UserError as error:
        state = {"weights": dict(built.named_parameters()), "optimizer": run.optimizers[0].state_dict()}
        found = {"state": state, "skipped": look.skipped, "stopped": str(error), "steps": run.global_step}
        torch.save(found, Path(out) / f"{rank}.pt")


def test_two_processes_decide_alike(tmp_path: Path):
    """Where only one of them has bad batches: both leave out the steps, and both stop at two in a row."""
    in_processes(2, process, tmp_path)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    named = [(r["rank"], r["step"], r["voice_keys"][0]) for r in records(tmp_path / "n.jsonl")]
    assert named == [(1, 1, "voice-3-0"), (1, 3, "voice-7-0"), (1, 4, "voice-9-0")]
    same(one, two, "state")
    assert (one["skipped"], one["steps"]) == (2, 4)
    assert one["stopped"].startswith("step 4: the loss is nan, with voice-9-0")
    assert {int(s["step"]) for s in one["state"]["optimizer"]["state"].values()} == {2}
