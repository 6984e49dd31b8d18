"""InfoNCE: the loss against plain loops, and its temperature."""

import math

import numpy as np
import pytest
import torch
from recipe_support import Fixed, build, eight_people, trainer


def plain(voices: np.ndarray, faces: np.ndarray, who_speaks: list[int], who_is_seen: list[int], scale: float) -> float:
    """Of each positive pair, in both directions: minus log of its share among itself and all other people."""
    v = voices / np.linalg.norm(voices, axis=1, keepdims=True)
    f = faces / np.linalg.norm(faces, axis=1, keepdims=True)
    means = []
    for a, b, ai, bi in ((v, f, who_speaks, who_is_seen), (f, v, who_is_seen, who_speaks)):
        terms = []
        for i in range(len(a)):
            for j in range(len(b)):
                if ai[i] == bi[j]:
                    own = math.exp(scale * a[i] @ b[j])
                    others = sum(math.exp(scale * a[i] @ b[n]) for n in range(len(b)) if bi[n] != ai[i])
                    terms.append(-math.log(own / (own + others)))
        means.append(sum(terms) / len(terms))
    return sum(means) / 2


@pytest.mark.parametrize(
    ("who_speaks", "who_is_seen"),
    [([0, 1, 2, 3], [0, 1, 2, 3]), ([0, 1, 2], [2, 0, 1]), ([0, 0, 1, 2], [1, 0, 2, 2, 5])],
    ids=["one each", "in another order", "further clips"],
)
def test_the_loss_is_that_of_plain_loops(who_speaks: list[int], who_is_seen: list[int]):
    generator = torch.Generator().manual_seed(1)
    voices, faces = (torch.randn(len(who), 6, generator=generator) for who in (who_speaks, who_is_seen))
    loss, logs = build("infonce").loss(voices, faces, torch.tensor(who_speaks), torch.tensor(who_is_seen))
    wanted = plain(voices.double().numpy(), faces.double().numpy(), who_speaks, who_is_seen, 1 / 0.07)
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    assert logs["temperature"].item() == pytest.approx(0.07)


def test_of_one_clip_each_it_is_the_mean_cross_entropy_of_rows_and_columns():
    voices, faces, who = torch.randn(5, 4), torch.randn(5, 4), torch.arange(5)
    method = build("infonce", temperature=0.5)
    logits = 2 * method.similarity(voices, faces)
    both = [torch.nn.functional.cross_entropy(rows, who) for rows in (logits, logits.T)]
    assert torch.allclose(method.loss(voices, faces, who, who)[0], sum(both) / 2)


def test_the_temperature_is_learned_and_bounded():
    method = build("infonce")
    before = method.log_scale.item()
    assert before == pytest.approx(math.log(1 / 0.07))
    trainer(2).fit(method, datamodule=Fixed([eight_people(samples=16_000)] * 2))
    assert method.log_scale.item() != before
    with torch.no_grad():
        method.log_scale.fill_(9.0)
    points, who = torch.eye(3), torch.arange(3)
    loss, logs = method.loss(points, points.roll(1, 0), who, who)
    assert logs["temperature"].item() == pytest.approx(0.01)
    assert loss.item() == pytest.approx(100 + math.log(1 + 2 * math.exp(-100)), rel=1e-4)
    loss.backward()
    assert method.log_scale.grad is not None
    assert method.log_scale.grad > 0, "at the bound it can still fall"
