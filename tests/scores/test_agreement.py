"""Correlation of distance with agreement against loops over pairs and against all permutations."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import pointbiserialr, spearmanr
from tests_support import examples

from voiceface.scores.agreement import agreement_correlations, correlate, distance_matrix, identity_means


def pairs(count, symmetric):
    return list(itertools.combinations(range(count), 2) if symmetric else itertools.permutations(range(count), 2))


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=9), st.booleans(), st.integers(0, 99))
def test_correlations_are_those_of_a_loop_over_pairs(values, symmetric, seed):
    distances = np.random.default_rng(seed).integers(0, 6, (len(values), len(values))).astype(float)
    if symmetric:
        distances += distances.T
    agree = [values[a] == values[b] for a, b in pairs(len(values), symmetric)]
    apart = [distances[a, b] for a, b in pairs(len(values), symmetric)]
    found = correlate(distances, values, symmetric, permutations=9)
    if len(set(agree)) == 1 or len(set(apart)) == 1:
        assert found is None
        return
    assert found.point_biserial == pytest.approx(pointbiserialr(agree, apart).statistic)
    assert found.spearman == pytest.approx(spearmanr(agree, apart).statistic)
    assert (found.people, found.pairs) == (len(values), len(agree))


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_p_value_is_that_of_all_permutations_of_people(symmetric):
    distances = np.random.default_rng(3).random((6, 6))
    distances[:3, :3] -= 0.5
    distances[3:, 3:] -= 0.5
    if symmetric:
        distances += distances.T
    values = list("xxxyyz")
    apart = [distances[a, b] for a, b in pairs(6, symmetric)]
    exact = [
        abs(pointbiserialr([order[a] == order[b] for a, b in pairs(6, symmetric)], apart).statistic)
        for order in itertools.permutations(values)
    ]
    found = correlate(distances, values, symmetric, permutations=4000)
    expected = np.mean(np.array(exact) >= exact[0] - 1e-9)
    assert 0.005 < expected < 0.3
    assert found.point_biserial_p == pytest.approx(expected, abs=0.02)


def test_p_values_of_nothing_are_uniform():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(150):
        points = rng.standard_normal((16, 3))
        values = rng.choice(["a", "b"], 16).tolist()
        found.append(correlate(cdist(points, points), values, True, permutations=99).point_biserial_p)
    assert np.mean(np.array(found) <= 0.1) < 0.18
    assert 0.4 < np.mean(found) < 0.6


@pytest.mark.parametrize(("similarity", "metric"), [("cosine", "cosine"), ("euclidean", "euclidean")])
def test_people_are_their_mean_embeddings(similarity, metric):
    rng = np.random.default_rng(0)
    embeddings = (100 + rng.standard_normal((7, 4))).astype(np.float32)
    identity = ["b", "a", "b", "c", "a", "b", "c"]
    means = identity_means(embeddings, identity, similarity)
    assert list(means) == ["a", "b", "c"]
    for name, found in means.items():
        own = [row / np.linalg.norm(row) if similarity == "cosine" else row for row in embeddings.astype(float)]
        assert found == pytest.approx(np.mean([row for row, who in zip(own, identity, strict=True) if who == name], 0))
    table = np.array(list(means.values()))
    found = distance_matrix(table[:2], table, similarity)
    assert found == pytest.approx(cdist(table[:2], table, metric), rel=1e-4, abs=1e-7)


def test_every_kind_and_attribute_is_correlated_and_unknown_people_are_not():
    rng = np.random.default_rng(1)
    gender = {f"p{i}": "mf"[i % 2] for i in range(14)} | {"p14": ""}
    identity = [name for name in gender for _ in range(3)]
    centre = np.array([[3.0 if gender[name] == "m" else -3.0, 0.0] for name in identity])
    voices, faces = (centre + rng.standard_normal((45, 2)) for _ in range(2))
    table = {name: {"gender": value, "corpus": "one"} for name, value in gender.items()}
    calls = []
    found = agreement_correlations(
        voices, identity, faces[3:], identity[3:], table, "euclidean", 99, done=lambda: calls.append(0)
    )
    assert [(r["attribute"], r["between"], r["people"], r["pairs"]) for r in found] == [
        ("gender", "voices", 14, 91),
        ("gender", "faces", 13, 78),
        ("gender", "voices and faces", 13, 156),
    ]
    assert all(r["point_biserial"] < -0.8 and r["spearman"] < -0.7 and r["point_biserial_p"] == 0.01 for r in found)
    assert len(calls) == 6


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_rounding_errors_correlate_with_nothing(similarity):
    identity = [f"p{i}" for i in range(8) for _ in range(i + 1)]
    table = {f"p{i}": {"gender": "mf"[i % 2]} for i in range(8)}
    embeddings = np.tile(np.array([0.1, 0.7, -0.3]), (36, 1))
    if similarity == "cosine":
        embeddings *= np.random.default_rng(0).uniform(0.1, 9, (36, 1))
    assert agreement_correlations(embeddings, identity, embeddings, identity, table, similarity) == []
