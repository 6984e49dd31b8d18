"""Calibration of 1:2 matching against scikit-learn, brute force, and what must hold whatever the scores."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from tests_support import examples

from voiceface.evaluation.calibration import (
    balanced_triplets,
    calibration_error,
    differences,
    fit_calibration,
    fit_slope,
    measure_calibration,
    probabilities,
)
from voiceface.methods.kim import Kim
from voiceface.methods.svhf import SVHF
from voiceface.methods.trinet import TriNet

SMALL = {"face_encoder": "face_small", "voice_encoder": "voice_small"}
apart = arrays(np.float64, st.integers(4, 60), elements=st.floats(-3, 3, width=32))


def overlapping(seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return scale * (0.5 + np.random.default_rng(seed).standard_normal(500))


def embeddings(people: int, clips: int, dim: int, noise: float = 1.0) -> dict[str, np.ndarray]:
    """Voices and faces around one point per person."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((people, dim))
    identity = np.repeat(np.arange(people), clips)
    rows = {k: (centres[identity] + noise * rng.standard_normal((people * clips, dim))) for k in ("voices", "faces")}
    floats = {kind: table.astype(np.float32) for kind, table in rows.items()}
    return {**floats, "voice_identity": identity, "face_identity": identity}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_the_slope_is_that_of_logistic_regression(scale: float):
    apart = overlapping(scale=scale)
    both = np.concatenate([apart, -apart])[:, None]
    told = np.repeat([1, 0], len(apart))
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000).fit(both / scale, told)
    assert fit_slope(apart) == pytest.approx(model.coef_.item() / scale, rel=1e-4)


@given(apart, st.floats(0.01, 100))
@settings(max_examples=examples(50), deadline=None)
def test_the_slope_has_the_most_likelihood_and_scales_with_the_scores(apart: np.ndarray, scale: float):
    slope = fit_slope(apart)
    if slope is None:
        assert (apart >= 0).all() or apart[apart < 0].sum() > -1e-6 * apart[apart > 0].sum()
        return

    def likelihood(slope: float) -> float:
        return float(-np.logaddexp(0, -slope * apart).mean())

    assert slope >= 0
    for other in (0.0, 0.9 * slope, 1.1 * slope, slope + 0.1):
        assert likelihood(slope) >= likelihood(other) - 1e-12
    assert fit_slope(scale * apart) == pytest.approx(slope / scale, rel=1e-6, abs=1e-12)
    assert fit_slope(apart[::-1]) == pytest.approx(slope, rel=1e-6, abs=1e-12)


def test_scores_without_a_slope():
    assert fit_slope(np.array([])) is None
    assert fit_slope(np.array([0.1, 0.2, 0.0])) is None, "no mistake: the steeper, the likelier"
    assert fit_slope(np.zeros(5)) == 0.0
    assert fit_slope(np.array([-1.0, -2.0, 0.5])) == 0.0, "worse than chance"


@given(arrays(np.float64, (4, 2), elements=st.floats(-5, 5)), st.floats(0, 20), st.floats(-3, 3))
@settings(max_examples=examples(50), deadline=None)
def test_probabilities_are_symmetric_monotone_and_of_differences(scores: np.ndarray, slope: float, shift: float):
    found = probabilities(scores, slope)
    np.testing.assert_allclose(found[:, 0], expit(slope * (scores[:, 0] - scores[:, 1])), atol=1e-12)
    np.testing.assert_allclose(probabilities(scores[:, ::-1], slope), found[:, ::-1], atol=1e-12)
    np.testing.assert_allclose(probabilities(scores + shift, slope), found, atol=1e-9)
    assert (probabilities(scores + np.array([0.5, 0]), slope)[:, 0] >= found[:, 0] - 1e-12).all()


def test_the_calibration_error_is_that_of_a_loop():
    right = np.random.default_rng(1).random(1_003)
    right[:9] = 0.5
    chosen = sorted((max(p, 1 - p), 0.5 if p == 0.5 else float(p > 0.5)) for p in right)
    total, start = 0.0, 0
    for b in range(15):
        end = start + 1_003 // 15 + (b < 1_003 % 15)
        part = chosen[start:end]
        total += len(part) / 1_003 * abs(sum(c for c, _ in part) / len(part) - sum(k for _, k in part) / len(part))
        start = end
    assert calibration_error(right) == pytest.approx(total, abs=1e-12)
    assert calibration_error(right[::-1]) == pytest.approx(total, abs=1e-12)


def test_the_calibration_error_knows_good_from_bad():
    rng = np.random.default_rng(2)
    first = rng.random(50_000)
    drawn = rng.random(50_000) < first
    assert calibration_error(np.where(drawn, first, 1 - first)) < 0.01
    assert calibration_error(np.full(100, 0.5)) == 0.0
    assert calibration_error(np.array([1.0] * 60 + [0.0] * 40), bins=1) == pytest.approx(0.4)


def test_triplets_are_of_one_person_and_another_and_draw_people_alike():
    voices = np.repeat([3, 1, 7, 9], [1, 50, 4, 2])
    faces = np.repeat([7, 3, 1, 5], [2, 30, 1, 3])
    query, right, wrong = balanced_triplets(voices, faces, 30_000, seed=0)
    assert (voices[query] == faces[right]).all()
    assert (voices[query] != faces[wrong]).all()
    people, counts = np.unique(voices[query], return_counts=True)
    assert people.tolist() == [1, 3, 7], "9 has no face, 5 no voice"
    assert counts / 30_000 == pytest.approx(1 / 3, abs=0.015)
    of_one = faces[wrong[voices[query] == 1]]
    assert {p: (of_one == p).mean() for p in (3, 5, 7)} == pytest.approx(dict.fromkeys((3, 5, 7), 1 / 3), abs=0.02)
    assert set(right) == set(range(33)), "every face of a person with voices"
    again = balanced_triplets(voices, faces, 30_000, seed=0)
    assert all(np.array_equal(one, two) for one, two in zip(again, (query, right, wrong), strict=True))
    assert all(len(part) == 0 for part in balanced_triplets(voices[:1], faces[2:5], 10, seed=0))


@pytest.mark.parametrize("space", ["cosine", "euclidean", "pairwise"])
def test_what_is_fitted_is_what_match_compares(space: str):
    """The share of right choices is that of all triplets, and the differences are those of `similarity`."""
    method = {
        "cosine": lambda: TriNet(**SMALL, freeze_voice=False, dim=8),
        "euclidean": lambda: Kim(**SMALL, width=8),
        "pairwise": lambda: Kim(**SMALL, width=8, loss="classifier"),
    }[space]().eval()
    assert method.space == space
    dim = method.face_encoder.dim if space == "pairwise" else 8
    gathered = embeddings(6, 3, dim)
    with torch.no_grad():
        table = method.similarity(*(torch.from_numpy(gathered[k]) for k in ("voices", "faces"))).double().numpy()
    same = gathered["voice_identity"][:, None] == gathered["face_identity"]
    every = differences(method, gathered, ("v2f", "f2v"))
    for direction, scores in (("v2f", table), ("f2v", table.T)):
        found = every[direction]
        wanted = np.concatenate(
            [np.subtract.outer(row[own], row[~own]).ravel() for row, own in zip(scores, same, strict=True)]
        )
        assert (found > 0).mean() == pytest.approx((wanted > 0).mean(), abs=0.01)
        assert np.isin(found.round(4), np.concatenate([wanted.round(4) + d for d in (-1e-4, 0, 1e-4)]).round(4)).all()


def test_a_method_that_chooses_is_calibrated_on_its_logits():
    torch.manual_seed(0)
    method = SVHF(**SMALL, width=8, hidden=(16, 8)).eval()
    gathered = embeddings(6, 3, 8)
    found = differences(method, gathered, ["v2f"])["v2f"]
    query, right, wrong = balanced_triplets(gathered["voice_identity"], gathered["face_identity"], len(found), 0)
    voices, faces = (torch.from_numpy(gathered[k]) for k in ("voices", "faces"))
    with torch.no_grad():
        ahead = method.choose(voices[query], faces[np.stack([right, wrong], 1)], "v2f")
        behind = method.choose(voices[query], faces[np.stack([wrong, right], 1)], "v2f")
    either = np.stack([ahead[:, 0] - ahead[:, 1], behind[:, 1] - behind[:, 0]], 1)
    nearest = np.abs(either - found[:, None])
    assert nearest.min(1).max() < 1e-5
    turned = nearest.argmin(1)[np.abs(either[:, 0] - either[:, 1]) > 1e-4]
    assert len(turned) > 1_000
    assert turned.mean() == pytest.approx(0.5, abs=0.05), "the right one stands in either place"
    calibration = fit_calibration(method, gathered)
    assert calibration is None or calibration.keys() <= {"v2f"}


def test_on_the_people_that_it_is_fitted_on_the_error_is_small():
    method = TriNet(**SMALL, freeze_voice=False, dim=16).eval()
    gathered = embeddings(40, 4, 16, noise=2.0)
    calibration = fit_calibration(method, gathered)
    assert calibration is not None
    assert calibration.keys() == {"v2f", "f2v"}
    assert all(one["slope"] > 0 and one["error"] is None for one in calibration.values())
    measured = measure_calibration(method, gathered, calibration)
    steeper = {way: {**one, "slope": 5 * one["slope"]} for way, one in calibration.items()}
    for way, one in measured.items():
        assert one["slope"] == calibration[way]["slope"]
        assert one["error"] < 0.03
        assert measure_calibration(method, gathered, steeper)[way]["error"] > 0.05


def test_one_person_gives_no_calibration():
    method = TriNet(**SMALL, freeze_voice=False, dim=8).eval()
    assert fit_calibration(method, embeddings(1, 3, 8)) is None
    measured = measure_calibration(method, embeddings(1, 3, 8), {"v2f": {"slope": 1.0, "intercept": 0.0}})
    assert measured["v2f"]["error"] is None
