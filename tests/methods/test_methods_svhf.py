"""SVHF-Net: what is concatenated, the N-way network, directions, the released networks' sizes."""

from typing import Any

import numpy as np
import pytest
import torch
from recipe_support import build
from torch import nn

from voiceface.utils.errors import UserError


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_hand(fusion: nn.Sequential, x: Any) -> Any:
    """The layers after fusion in float64."""
    x = np.asarray(x, np.float64)
    linear = [m for m in fusion if isinstance(m, nn.Linear)]
    for k, layer in enumerate(linear):
        x = layer.weight.detach().double().numpy() @ x + layer.bias.detach().double().numpy()
        if k < len(linear) - 1:
            x = np.maximum(x, 0)
    return x


def test_the_sizes_are_those_of_the_released_networks():
    with torch.device("meta"):
        method = build("svhf", "paper")
    assert sum(p.numel() for p in method.fusion.parameters()) == 3_672_578
    face = [*method.face_encoder.parameters(), *method.face_fc.parameters()]
    assert sum(p.numel() for p in face) == 103_027_008
    assert [tuple(m.weight.shape) for m in method.fusion if isinstance(m, nn.Linear)] == [
        (1024, 3072),
        (512, 1024),
        (2, 512),
    ]


@pytest.mark.parametrize("query_first", [False, True])
def test_the_static_network_sees_both_candidates_and_the_query(query_first: bool):
    method = build("svhf", query_first=query_first)
    queries, candidates = numbers(4, 128), numbers(4, 2, 128, seed=1)
    with torch.no_grad():
        found = method.choose(queries, candidates, "v2f")
    for k in range(4):
        parts = [candidates[k, 0], candidates[k, 1]]
        parts = [queries[k], *parts] if query_first else [*parts, queries[k]]
        assert found[k].numpy() == pytest.approx(by_hand(method.fusion, torch.cat(parts)), abs=1e-5)


def test_the_n_way_network_sees_each_candidate_with_the_query_and_the_mean_candidate():
    method = build("svhf_nway")
    queries, candidates = numbers(3, 128), numbers(3, 7, 128, seed=1)
    with torch.no_grad():
        found = method.choose(queries, candidates, "v2f")
        order = torch.randperm(7, generator=torch.Generator().manual_seed(2))
        moved = method.choose(queries, candidates[:, order], "v2f")
    assert found.shape == (3, 7)
    for k in range(3):
        mean = candidates[k].mean(0)
        for j in range(7):
            x = torch.cat([candidates[k, j], queries[k], mean])
            assert found[k, j].item() == pytest.approx(by_hand(method.fusion, x)[0], abs=1e-5)
    assert moved.numpy() == pytest.approx(found[:, order].numpy(), abs=1e-5)
    assert (found[:, 0] - found[:, 1]).abs().min() > 1e-4


@pytest.mark.parametrize("galleries", [1, 3])
@pytest.mark.parametrize("recipe", ["svhf", "svhf_f2v", "svhf_nway"])
def test_a_gallery_holds_the_querys_person_once_among_other_people(
    recipe: str, galleries: int, monkeypatch: pytest.MonkeyPatch
):
    method = build(recipe, galleries=galleries)
    identity = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3])
    seen = {}

    def choose(queries: Any, candidates: Any, direction: str) -> Any:
        seen.update(queries=queries[:, 0], candidates=candidates[..., 0], direction=direction, kind=queries[0, 1])
        return numbers(*candidates.shape[:2])

    monkeypatch.setattr(method, "choose", choose)
    voices = torch.stack([identity.float(), torch.zeros(9)], dim=1)
    faces = torch.stack([identity.float(), torch.ones(9)], dim=1)
    loss, logs = method.loss(voices, faces, identity, identity)
    assert seen["direction"] == ("f2v" if recipe == "svhf_f2v" else "v2f")
    assert seen["kind"] == (recipe == "svhf_f2v")
    assert seen["queries"].tolist() == identity.repeat_interleave(galleries).tolist()
    assert seen["candidates"].shape == (9 * galleries, 4 if recipe == "svhf_nway" else 2)
    own = seen["candidates"] == seen["queries"][:, None]
    assert own.sum(1).tolist() == [1] * 9 * galleries
    assert all(len(set(row)) == len(row) for row in seen["candidates"].tolist())
    logits = numbers(*own.shape).double()
    assert loss.item() == pytest.approx(-(logits.log_softmax(1)[own]).mean().item(), rel=1e-5)
    assert logs["right"].item() == pytest.approx((logits.argmax(1) == own.int().argmax(1)).double().mean().item())


def test_a_batch_of_one_person_costs_nothing():
    method = build("svhf")
    voices, faces = numbers(3, 128).requires_grad_(), numbers(3, 128, seed=1).requires_grad_()
    loss, _ = method.loss(voices, faces, torch.zeros(3).long(), torch.zeros(3).long())
    loss.backward()
    assert loss.item() == 0
    assert not voices.grad.any()  # type: ignore[union-attr]


@pytest.mark.parametrize(("fusion", "gallery"), [("concatenate", 3), ("concatenate", 1), ("mean", 1)])
def test_numbers_of_candidates_that_do_not_fit_are_refused(fusion: str, gallery: int):
    with pytest.raises(UserError, match=f"--model.gallery {gallery}: give 2"):
        build("svhf", fusion=fusion, gallery=gallery)
