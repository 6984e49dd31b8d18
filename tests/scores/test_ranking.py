"""Retrieval without each person, against scoring every smaller gallery anew; and the jackknife's coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.scores.confidence import student_interval
from voiceface.scores.ranking import jackknife_influence, rank
from voiceface.scores.retrieval import mean_average_precision, recall_at

SIZES = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5)), min_size=3, max_size=6)
KS = (1, 2, 5)


def ranks_of(scores, query_identity, items):
    return rank(lambda rows: scores[rows], query_identity, items, threads=1)[0].ranks


def without_each(rows, query_identity, items, ks, threads=None):
    return rank(rows, query_identity, items, None, ks, threads)[0].without


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 10**6), SIZES, st.sampled_from([None, 1, 2, 5]), st.integers(0, 2))
def test_equals_scoring_every_smaller_gallery(seed, sizes, levels, distractors):
    rng = np.random.default_rng(seed)
    queries, items = np.array(sizes).T
    people = len(queries)
    items = np.append(items, np.full(distractors, 2))
    shape = queries.sum(), items.sum()
    scores = (rng.normal(size=shape) if levels is None else rng.integers(0, levels, shape) / 7).astype(np.float32)
    query_identity, owner = np.repeat(np.arange(people), queries), np.repeat(np.arange(len(items)), items)
    found = without_each(lambda rows: scores[rows], query_identity, items, KS, threads=1)
    for gone in range(len(items)):
        left = query_identity[query_identity != gone]
        ranks = ranks_of(scores[query_identity != gone][:, owner != gone], left - (left > gone), np.delete(items, gone))
        assert found[gone, 0] == pytest.approx(mean_average_precision(ranks)[0], abs=1e-10)


def test_recall_without_a_person_is_that_of_a_smoothed_bootstrap():
    """Against drawing the people of the gallery anew, each with a little less of one person."""
    people, k, rng = 30, 5, np.random.default_rng(1)
    query_identity, items = np.array([0, 1]), np.append([1, 1], rng.integers(1, 4, people))
    owner = np.repeat(np.arange(len(items)), items)
    scores = rng.normal(size=(2, items.sum())).astype(np.float32)
    scores[:, :2] = [[1.2, -9.0], [-9.0, 1.0]]  # each query's own item
    found = rank(lambda rows: scores[rows], query_identity, items, None, (k,), threads=1)[0]
    above = [[(scores[q, owner == j] > scores[q, q]).sum() * (j != q) for j in range(len(items))] for q in range(2)]
    total = recall_at(found.ranks, k)[0] * 2
    for gone in range(2, len(items)):
        slopes = 0.0
        for line in above:
            x = np.array(line)
            z = (k - 0.5 - x.sum()) / np.sqrt((x**2).sum())
            slopes += np.exp(-z * z / 2) / np.sqrt(2 * np.pi * (x**2).sum()) * x[gone]
        assert found.without[gone, 1] == pytest.approx((total + slopes) / 2, abs=1e-12)
    # The normal form is that of the bootstrap: P(hit) with the weight of the busiest person lowered.
    x = np.array(above[0], float)
    weights = rng.poisson(1.0, (400_000, len(x)))
    busiest = int(x.argmax())
    fewer = weights @ x - x[busiest] * (rng.random(400_000) < 0.5 * (weights[:, busiest] > 0))
    lowered = 0.5 * (weights[:, busiest] > 0).mean()
    slope = ((fewer < k).mean() - (weights @ x < k).mean()) / lowered
    z = (k - 0.5 - x.sum()) / np.sqrt((x**2).sum())
    assert slope == pytest.approx(np.exp(-z * z / 2) / np.sqrt(2 * np.pi * (x**2).sum()) * x[busiest], rel=0.35)


def test_many_tied_items_keep_their_precision():
    query_identity, items = np.arange(3), np.array([400, 7000, 3000])
    scores = np.zeros((3, items.sum()), np.float32)
    found = without_each(lambda rows: scores[rows], query_identity, items, KS, threads=1)
    ranks = ranks_of(scores[:2, :7400], np.arange(2), items[:2])
    assert found[2, 0] == pytest.approx(mean_average_precision(ranks)[1], abs=1e-10)


def test_blocks_and_threads_change_nothing(monkeypatch):
    scores = np.random.default_rng(0).normal(size=(200, 30))
    query_identity, items = np.repeat(np.arange(5), 40), np.full(5, 6)
    expected = without_each(lambda rows: scores[rows], query_identity, items, KS)
    monkeypatch.setattr("voiceface.scores.kernels.blocks.BLOCK_SCORES", 1)
    blocks = [without_each(lambda rows: scores[rows], query_identity, items, KS, threads) for threads in (1, 3)]
    np.testing.assert_array_equal(blocks[0], blocks[1])
    np.testing.assert_allclose(blocks[0], expected, rtol=1e-12)


def test_the_influence_gives_the_variance_of_the_jackknife():
    without = np.random.default_rng(1).uniform(0.4, 0.6, 11)
    variance = 10 / 11 * ((without - without.mean()) ** 2).sum()
    low, high = student_interval(0.5, jackknife_influence(without), 0.95)
    assert (high - low) / 2 == pytest.approx(2.2281388519649385 * np.sqrt(variance))  # t quantile, 10 degrees


@pytest.mark.parametrize(
    ("draws", "low", "high"),
    [
        (80, 0.85, 1.0),
        pytest.param(500, 0.917, 0.983, marks=pytest.mark.slow(reason="500 populations, ranked; the quick one has 80")),
    ],
)
def test_the_interval_covers_the_expected_score(draws: int, low: float, high: float):
    """Draws of 40 people; their share at a true coverage of 0.95 stays within the bounds with probability 0.999.

    R@K moves in steps, for which the jackknife is on the wide side: its coverage has a lower bound only.
    """
    people, clips, agreement = 40, 2, 0.9
    rng = np.random.default_rng(8)
    identity, items = np.repeat(np.arange(people), clips), np.full(people, clips)
    values, bounds = [], []
    for _ in range(draws):
        voice = rng.normal(size=(people, 4))
        face = agreement * voice + np.sqrt(1 - agreement**2) * rng.normal(size=(people, 4))
        voices, faces = (np.repeat(side, clips, axis=0) + 0.5 * rng.normal(size=(80, 4)) for side in (voice, face))
        scores = voices @ faces.T
        ranks = ranks_of(scores, identity, items)
        without = without_each(lambda rows, scores=scores: scores[rows], identity, items, (5, 10), threads=1)
        values.append([mean_average_precision(ranks)[0], recall_at(ranks, 5)[0], recall_at(ranks, 10)[0]])
        bounds.append([student_interval(v, jackknife_influence(without[:, i])) for i, v in enumerate(values[-1])])
    truth, bounds = np.mean(values, axis=0), np.array(bounds)
    covered = ((bounds[..., 0] <= truth) & (truth <= bounds[..., 1])).mean(axis=0)
    assert (covered >= low).all(), covered
    assert covered[0] <= high
    assert (bounds[..., 1] - bounds[..., 0]).mean() < 0.3  # and says something


def test_a_stratum_ranks_its_own_gallery():
    """Against cutting the gallery of each identity's queries by hand."""
    rng = np.random.default_rng(3)
    items = np.array([2, 3, 1, 2, 4, 3])
    query_identity, owner = np.repeat(np.arange(5), 3), np.repeat(np.arange(6), items)
    scores = rng.integers(0, 9, (15, items.sum())).astype(np.float32)
    mask = rng.random((5, 6)) < 0.5
    mask[np.arange(5), np.arange(5)] = False
    mask[2] = False  # nobody to meet: no query of this person is ranked
    found = rank(lambda rows: scores[rows], query_identity, items, mask[None], KS, threads=1)[0]
    precision = []
    for a in np.flatnonzero(mask.any(axis=1)):
        inside = np.flatnonzero(np.isin(owner, [a, *np.flatnonzero(mask[a])]))
        sizes = np.array([(owner[inside] == a).sum(), (owner[inside] != a).sum()])
        order = np.argsort(owner[inside] != a, kind="stable")
        part = scores[np.ix_(query_identity == a, inside[order])]
        precision += rank(lambda rows, part=part: part[rows], np.zeros(3, int), sizes, threads=1)[
            0
        ].ranks.average_precision.tolist()
    np.testing.assert_allclose(found.ranks.average_precision, precision, atol=1e-12)
    assert found.identities == mask.any(axis=1).sum()
    assert rank(lambda rows: scores[rows], query_identity, items, np.zeros((1, 5, 6), bool), threads=1) == [None]
    gone = 1
    left = query_identity[query_identity != gone]
    smaller = rank(
        lambda rows: scores[query_identity != gone][:, owner != gone][rows],
        left - (left > gone),
        np.delete(items, gone),
        np.delete(np.delete(mask, gone, 0), gone, 1)[None],
        threads=1,
    )[0]
    taking_part = np.flatnonzero(np.append(mask.any(axis=1), False) | mask.any(axis=0))
    row = found.without[taking_part.tolist().index(gone)]
    if (
        mask[np.arange(5) != gone][:, np.arange(6) != gone].any(axis=1).sum()
        == mask[np.arange(5) != gone].any(axis=1).sum()
    ):
        assert row[0] == pytest.approx(mean_average_precision(smaller.ranks)[0], abs=1e-12)


def test_queries_without_a_relevant_item_are_left_out():
    scores = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    query_identity, items = np.array([0, 0, 1, 1]), np.array([2, 3])
    scores[1, :2] = np.nan
    scores[2, 3] = np.nan
    found = rank(lambda rows: scores[rows], query_identity, items, threads=1)[0]
    assert found.ranks.relevant.tolist() == [2, 2, 3]
    assert np.asarray(found.ranks.items).tolist() == [5, 4, 5]
