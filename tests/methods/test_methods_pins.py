"""Learnable PINs: the curriculum by steps, and the loss against float64 loops."""

from typing import Any

import numpy as np
import pytest
import torch
from recipe_support import Fixed, build, eight_people, trainer

from voiceface.methods.pins import PINs


def test_the_difficulty_grows_with_the_steps_up_to_its_cap():
    method = build("pins", "paper", face_encoder="face_small", voice_encoder="voice_small")
    tau = [method.tau(step) for step in (0, 3_299, 3_300, 6_599, 6_600, 16_499, 16_500, 19_800)]
    assert tau == pytest.approx([0.3, 0.3, 0.4, 0.4, 0.5, 0.7, 0.8, 0.8])
    assert method.tau(10**9) == 0.8


def test_the_difficulty_follows_the_trainers_steps():
    method, seen = build("pins", tau_every=2), []
    loss = method.loss

    def spied(*clips: Any) -> Any:
        value, logs = loss(*clips)
        seen.append(round(logs["tau"].item(), 6))
        return value, logs

    method.loss = spied  # type: ignore[method-assign]
    trainer(6).fit(method, datamodule=Fixed([eight_people(samples=16_000)] * 2))
    assert seen == [0.3, 0.3, 0.4, 0.4, 0.5, 0.5]


@pytest.mark.parametrize("all_negatives", [False, True])
@pytest.mark.parametrize("step", [0, 4, 20])
def test_the_loss_is_that_of_plain_loops(all_negatives: bool, step: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PINs, "global_step", property(lambda self: step))
    method = build("pins", all_negatives=all_negatives, margin=1.5, tau_every=2)
    rng = np.random.default_rng(step)
    fi, vi = np.arange(10) % 5, np.arange(11) % 6
    f, v = (rng.normal(size=(n, 3)) for n in (10, 11))
    f, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (f, v))
    near, far = [], []
    for face, person in zip(f, fi, strict=True):
        for voice in v[vi == person]:
            positive = np.linalg.norm(face - voice)
            near.append(positive**2)
            negatives = sorted((np.linalg.norm(face - x) for x in v[vi != person]), reverse=True)
            rank = min(int(min(0.3 + 0.1 * (step // 2), 0.8) * len(negatives) + 1e-6), len(negatives) - 1)
            while rank > 0 and negatives[rank] < positive:
                rank -= 1
            far += [max(0.0, 1.5 - d) ** 2 for d in (negatives[: rank + 1] if all_negatives else [negatives[rank]])]
    tensors = [torch.from_numpy(x).float() for x in (v, f)]
    loss, _ = method.loss(*tensors, torch.from_numpy(vi), torch.from_numpy(fi))
    assert loss.item() == pytest.approx(np.mean(near) + np.mean(far), rel=1e-4)
    assert np.sum(far) > 0


def test_the_margin_is_the_one_that_was_read():
    assert build("pins", "paper", face_encoder="face_small", voice_encoder="voice_small").margin == 0.6
