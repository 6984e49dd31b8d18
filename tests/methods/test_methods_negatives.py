"""Two clips of one person are never each other's negative, whatever the method."""

from typing import Any

import pytest
import torch
from recipe_support import DISTINCT, build

from voiceface.methods.base import Method

# Methods whose loss can be 0. DIMNet has no pairs; SVHF's galleries are in test_methods_svhf.py, Kim's classifier of
# pairs is below.
ZERO = {"trinet", "kim", "drl", "pins", "horiguchi", "infonce"}
OTHERWISE = {"dimnet", "svhf"}
BY_DISTANCE = [r for r in DISTINCT if r.split("_")[0] not in OTHERWISE and r != "kim_classifier"]
IDENTITY = torch.tensor([0, 0, 0, 1, 1, 1])


def ranking(recipe: str) -> Method:
    """The method with its ranking loss alone."""
    if recipe.split("_")[0] not in ZERO:
        pytest.skip(f"{recipe}: add it to ZERO if its loss can be 0, else to OTHERWISE, with a test of its negatives")
    method = build(recipe, **({"lambda1": 0.0, "lambda2": 0.0, "dim": 4} if recipe == "drl" else {}))
    method.build_training_heads([{}, {}])
    if recipe == "drl":
        torch.nn.init.zeros_(method.centres)
    return method


@pytest.mark.parametrize("recipe", BY_DISTANCE)
def test_equal_clips_of_one_person_far_from_all_others_cost_nothing(recipe: str):
    side = 1.0 if recipe in ("drl", "pins") else 10.0
    points = torch.zeros(6, 4)
    points[:, 0] = torch.where(IDENTITY == 0, side, -side)
    method = ranking(recipe)
    best, _ = method.loss(points, points, IDENTITY, IDENTITY)
    mixed, _ = method.loss(points, points.roll(1, 0), IDENTITY, IDENTITY)
    assert best.item() == pytest.approx(0, abs=1e-6)
    assert mixed.item() > 0.1


@pytest.mark.parametrize("recipe", BY_DISTANCE)
def test_one_person_alone_has_no_negatives(recipe: str):
    generator = torch.Generator().manual_seed(0)
    voices, faces = (torch.randn(4, 4, generator=generator).requires_grad_() for _ in range(2))
    alone = torch.zeros(4, dtype=torch.int64)
    loss, _ = ranking(recipe).loss(voices, faces, alone, alone)
    loss.backward()
    assert loss.item() == 0
    for x in (voices, faces):
        assert x.grad is not None
        assert not x.grad.any()


@pytest.mark.parametrize("anchor", ["voice", "face"])
def test_the_classifiers_negative_pairs_are_of_two_people(anchor: str, monkeypatch: pytest.MonkeyPatch):
    method, seen = build("kim_classifier", anchor=anchor), []

    def of_triplets(anchors: Any, positives: Any, negatives: Any) -> Any:
        seen.append((anchors[:, 0], positives[:, 0], negatives[:, 0]))
        return anchors[:, 0], anchors[:, 0] > 0

    monkeypatch.setattr(method, "_of_triplets", of_triplets)
    for _ in range(20):
        method.loss(IDENTITY[:, None].float(), IDENTITY[:, None].float(), IDENTITY, IDENTITY)
    a, p, n = (torch.cat(x) for x in zip(*seen, strict=True))
    assert len(a) == 120
    assert torch.equal(a, p)
    assert (a != n).all()
