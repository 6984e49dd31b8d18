"""DRL: the whole loss against float64 loops, its centres, and its ablations."""

from typing import Any

import numpy as np
import pytest
import torch
from recipe_support import PEOPLE, build, eight_people, losses, met, trainer
from torch import Tensor

from voiceface.methods.drl import DRL


def clips(dim: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Five voices and four faces of people 0, 2 and 3 of four; two clips of some."""
    generator = torch.Generator().manual_seed(0)
    voices, faces = (torch.randn(n, dim, generator=generator).requires_grad_() for n in (5, 4))
    return voices, faces, torch.tensor([0, 0, 2, 3, 3]), torch.tensor([3, 0, 2, 0])


def small(**changes: Any) -> DRL:
    method = build("drl", dim=6, **changes)
    assert isinstance(method, DRL)
    method.build_training_heads([{}] * 4)
    return method


def nearest_other(x: Any, others: Any, person: int, people: list[int]) -> int:
    return min((j for j in range(len(others)) if people[j] != person), key=lambda j: np.linalg.norm(x - others[j]))


def by_hand(method: DRL, voices: Tensor, faces: Tensor, vi: list[int], fi: list[int]) -> dict[str, float]:
    """Each part of the loss before its weight, with the paper's margins and weights of the intra-modal terms."""
    raw = {k: x.detach().double().numpy() for k, x in (("v", voices), ("f", faces))}
    unit = {k: x / np.linalg.norm(x, axis=1, keepdims=True) for k, x in raw.items()}
    v, f = unit["v"], unit["f"]
    pairs = []
    for i, a in enumerate(f):
        for j, o in enumerate(v):
            if fi[i] != vi[j]:
                continue
            d = np.linalg.norm(a - o)
            o_hard, a_hard = nearest_other(a, v, fi[i], vi), nearest_other(o, f, vi[j], fi)
            o_near, a_near = o_hard, a_hard
            if method.intra_negative == "hardest":
                o_near, a_near = nearest_other(o, v, vi[j], vi), nearest_other(a, f, fi[i], fi)
            pairs.append(
                max(0, 0.6 + d - np.linalg.norm(a - v[o_hard]))
                + 0.1 * max(0, 0.2 - np.linalg.norm(o - v[o_near]))
                + max(0, 0.6 + d - np.linalg.norm(o - f[a_hard]))
                + 0.1 * max(0, 0.2 - np.linalg.norm(a - f[a_near]))
            )
    x = np.concatenate([unit["f"], unit["v"]] if method.constrain == "normalised" else [raw["f"], raw["v"]])
    people = [*fi, *vi]
    weight, bias = (p.detach().double().numpy() for p in method.classifier.parameters())  # type: ignore[union-attr]
    logits = x @ weight.T + bias
    own = logits[np.arange(len(x)), people]
    centres = method.centres.detach().double().numpy()  # type: ignore[union-attr]
    return {
        "ranking": float(np.mean(pairs)),
        "identity": float(np.mean(np.log(np.exp(logits).sum(1)) - own)),
        "centre": float(np.mean([0.5 * np.sum((row - centres[p]) ** 2) for row, p in zip(x, people, strict=True)])),
    }


@pytest.mark.parametrize("constrain", ["raw", "normalised"])
@pytest.mark.parametrize("intra_negative", ["hardest", "shared"])
@pytest.mark.parametrize(
    "weights", [(1.0, 1.0, 0.001), (1.0, 0.0, 0.001), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
)
def test_the_loss_is_the_weighted_sum_of_its_parts(constrain: str, intra_negative: str, weights: tuple[float, ...]):
    of_ranking, of_identity, of_centre = weights
    method = small(
        constrain=constrain,
        intra_negative=intra_negative,
        lambda_ranking=of_ranking,
        lambda1=of_identity,
        lambda2=of_centre,
    )
    voices, faces, vi, fi = clips()
    loss, logs = method.loss(voices, faces, vi, fi)
    parts = by_hand(method, voices, faces, vi.tolist(), fi.tolist())
    assert {name: logs[name].item() for name in parts} == pytest.approx(parts, rel=1e-5)
    total = sum(w * parts[name] for w, name in zip(weights, ("ranking", "identity", "centre"), strict=True))
    assert loss.item() == pytest.approx(total, rel=1e-5)
    assert logs["loss"].item() == pytest.approx(total, rel=1e-5)
    assert loss.dtype == torch.float32


def test_the_defaults_are_the_papers_weights_and_margins():
    method = build("drl")
    assert method.margins == {"alpha1": 0.6, "alpha2": 0.6, "beta1": 0.2, "beta2": 0.2}
    assert method.intra_weights == {"lambda3": 0.1, "lambda4": 0.1}
    assert method.lambdas == (1.0, 1.0, 0.001)


@pytest.mark.parametrize("weight", [0.0, 0.001, 10.0])
def test_the_centres_follow_their_people_at_their_own_rate_whatever_the_weight_of_the_constraint(weight: float):
    method = small(lambda2=weight)
    method.trainer = trainer(100)
    optimizer = method.configure_optimizers()["optimizer"]
    voices, faces, vi, fi = clips()
    for _ in range(2):  # twice: momentum would show in the second step
        before = method.centres.detach().double().numpy().copy()  # type: ignore[union-attr]
        optimizer.zero_grad()
        method.loss(voices, faces, vi, fi)[0].backward()
        optimizer.step()
        x, people = torch.cat([faces, voices]).detach().double().numpy(), torch.cat([fi, vi]).tolist()
        wanted = before.copy()
        for row, person in zip(x, people, strict=True):
            wanted[person] -= 0.5 * (before[person] - row) / len(x)
        found = method.centres.detach().double().numpy()  # type: ignore[union-attr]
        assert found == pytest.approx(wanted, abs=1e-6)
        assert np.array_equal(found[1], before[1]), "nobody of the batch is person 1"
        assert not np.array_equal(found[0], before[0])


def test_the_constraint_pulls_embeddings_to_their_centres_by_its_weight():
    voices, faces, vi, fi = clips()
    method = small(lambda_ranking=0.0, lambda1=0.0, lambda2=0.25)
    method.loss(voices, faces, vi, fi)[0].backward()
    for x, identity in ((voices, vi), (faces, fi)):
        apart = x.detach() - method.centres.detach()[identity]  # type: ignore[union-attr]
        assert x.grad.numpy() == pytest.approx((0.25 * apart / 9).numpy(), abs=1e-6)  # type: ignore[union-attr]


def test_one_last_layer_serves_both_modalities_or_each_has_its_own():
    shared, apart = met("drl"), met("drl", shared_fc=False)
    assert apart.count_parameters() - shared.count_parameters() == 128 * 256 + 256
    batch = eight_people(samples=16_000)
    for method, same in ((shared, True), (apart, False)):
        method.eval()
        with torch.no_grad():
            torch.nn.init.zeros_(method.fc.weight)
            torch.nn.init.zeros_(method.fc.bias)
            assert not method.embed_face(batch["faces"]).any()
            assert method.embed_voice(batch["voices"]).any().item() is not same


@pytest.mark.parametrize("dim", [128, 256, 512])
def test_the_embedding_has_the_width_of_the_ablation(dim: int):
    method, batch = build("drl", dim=dim), eight_people(samples=16_000)
    method.build_training_heads(PEOPLE)
    assert method.embed_face(batch["faces"]).shape == (16, dim)
    assert losses(method, batch).isfinite()
    assert method.centres.shape == (8, dim)
    assert method.classifier.weight.shape == (8, dim)


def test_the_loss_needs_the_people_first():
    voices, faces, vi, fi = clips()
    with pytest.raises(RuntimeError, match="call build_training_heads"):
        build("drl", dim=6).loss(voices, faces, vi, fi)
