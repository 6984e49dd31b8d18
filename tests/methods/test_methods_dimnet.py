"""DIMNet: one classifier per covariate for both modalities, and covariates that the corpus does not know."""

from typing import Any

import numpy as np
import pytest
import torch
from recipe_support import build
from torch import Tensor

from voiceface.methods.dimnet import DIMNet
from voiceface.utils.errors import UserError

PEOPLE = [
    {"gender": "m", "nationality": "Peru"},
    {"gender": "f", "nationality": ""},
    {"gender": "", "nationality": "Fiji"},
    {"gender": "m"},
    {"gender": "f", "nationality": "Oman"},
]
CLASSES = {"identity": [0, 1, 2, 3, 4], "gender": [1, 0, None, 1, 0], "nationality": [2, None, 0, None, 1]}


def clips(n_voices: int = 9, n_faces: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    voices, faces = (torch.randn(n, 64, generator=generator).requires_grad_() for n in (n_voices, n_faces))
    return voices, faces, torch.arange(n_voices) % 5, torch.arange(n_faces) * 3 % 5


def small(covariates: list[str], **changes: Any) -> DIMNet:
    method = build("dimnet_ig", covariates=covariates, **changes)
    assert isinstance(method, DIMNet)
    method.build_training_heads(PEOPLE)
    return method


def by_hand(method: DIMNet, covariate: str, x: Tensor, identity: Tensor) -> float:
    """Mean cross entropy over the clips of people whose covariate is known."""
    weight, bias = (
        p.detach().double().numpy() for p in method.classifiers[method.covariates.index(covariate)].parameters()
    )
    terms = []
    for row, person in zip(x.detach().double().numpy(), identity.tolist(), strict=True):
        label = CLASSES[covariate][person]
        if label is not None:
            logits = weight @ row + bias
            terms.append(np.log(np.exp(logits).sum()) - logits[label])
    return float(np.mean(terms))


@pytest.mark.parametrize(
    ("covariates", "weights"),
    [
        (["identity"], None),
        (["gender"], None),
        (["nationality"], None),
        (["gender", "nationality"], [0.5, 2.0]),
        (["identity", "gender", "nationality"], None),
        (["identity", "gender", "nationality"], [1.0, 0.0, 3.0]),
    ],
)
def test_the_loss_is_each_covariates_cross_entropy_over_voices_and_over_faces(covariates: list[str], weights: Any):
    method = small(covariates, covariate_weights=weights)
    voices, faces, vi, fi = clips()
    loss, logs = method.loss(voices, faces, vi, fi)
    parts = {c: by_hand(method, c, voices, vi) + by_hand(method, c, faces, fi) for c in covariates}
    assert {c: logs[c].item() for c in covariates} == pytest.approx(parts, rel=1e-5)
    total = sum(w * part for w, part in zip(weights or [1.0] * len(covariates), parts.values(), strict=True))
    assert loss.item() == pytest.approx(total, rel=1e-5)


def test_clips_of_people_whose_covariate_is_unknown_count_as_if_they_were_not_there():
    method = small(["nationality"])
    voices, faces, vi, fi = clips()
    keep_voices, keep_faces = ((i != 1) & (i != 3) for i in (vi, fi))
    assert 0 < keep_voices.sum() < len(vi)
    whole, _ = method.loss(voices, faces, vi, fi)
    part, _ = method.loss(voices[keep_voices], faces[keep_faces], vi[keep_voices], fi[keep_faces])
    assert whole.item() == pytest.approx(part.item(), rel=1e-6)
    whole.backward()
    for x, keep in ((voices, keep_voices), (faces, keep_faces)):
        assert torch.equal(x.grad.abs().sum(1) > 0, keep)  # type: ignore[union-attr]


def test_a_batch_in_which_nobodys_covariate_is_known_costs_nothing():
    method = small(["nationality"])
    voices, faces, _, _ = clips()
    loss, _ = method.loss(voices, faces, torch.ones(9).long(), torch.full((7,), 3))
    loss.backward()
    assert loss.item() == 0
    assert all(x.grad is not None and not x.grad.any() for x in (voices, faces))


def test_both_modalities_share_each_classifier():
    method = small(["identity", "gender"])
    assert [tuple(c.weight.shape) for c in method.classifiers] == [(5, 64), (2, 64)]
    voices, faces, vi, fi = clips()
    one, _ = method.loss(voices, faces, vi, fi)
    other, _ = method.loss(faces, voices, fi, vi)
    assert one.item() == pytest.approx(other.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("people", "known"),
    [
        ([{"gender": "m"}] * 4, 0),
        ([{"nationality": "Peru"}] * 4, 1),
        ([{"nationality": ""}, {"nationality": "Peru"}], 1),
    ],
)
def test_a_corpus_without_two_nationalities_is_refused_in_one_line(people: list[dict[str, str]], known: int):
    method = build("dimnet_in")
    with pytest.raises(UserError) as refused:
        method.build_training_heads(people)
    message = str(refused.value)
    assert f"nationality has {known} known values among the {len(people)} training people" in message
    assert message.startswith("--model.covariates")
    assert "\n" not in message


@pytest.mark.parametrize(
    "changes", [{"covariates": []}, {"covariates": ["gender", "gender"]}, {"covariate_weights": [1.0]}]
)
def test_covariates_and_weights_that_do_not_fit_are_refused(changes: dict[str, Any]):
    with pytest.raises(UserError, match=r"--model\.covariates"):
        build("dimnet_ig", **changes)


def test_the_loss_needs_the_people_first():
    with pytest.raises(RuntimeError, match="call build_training_heads"):
        build("dimnet_i").loss(*clips())


@pytest.mark.parametrize("recipe", ["g", "gn", "i", "ig", "ign", "in", "n"])
def test_each_recipe_trains_the_covariates_of_its_name(recipe: str):
    names = {"i": "identity", "g": "gender", "n": "nationality"}
    assert build(f"dimnet_{recipe}").covariates == [names[letter] for letter in recipe]
