"""Retrieval scores against averages over orders of the tied items, and chance against enumeration."""

from itertools import combinations, permutations
from math import comb
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.scores.ranking import rank
from voiceface.scores.retrieval import available_k, mean_average_precision, median_rank, recall_at


def ranks_of(scores, query_identity, items):
    return rank(lambda rows: scores[rows], np.asarray(query_identity), np.asarray(items), threads=1)[0].ranks


def orders(line):
    """All orders of the gallery that rank `line` from high to low, tied items in every order."""
    return [order for order in permutations(range(len(line))) if all(np.diff(np.take(line, order)) <= 0)]


def average_precision(order, relevant):
    hits = [place for place, item in enumerate(order, 1) if item in relevant]
    return float(np.mean([number / place for number, place in enumerate(hits, 1)]))


def first_hit(order, relevant):
    return next(place for place, item in enumerate(order, 1) if item in relevant)


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
def test_tied_items_are_in_random_order(seed, relevant, levels):
    items = [relevant, 6 - relevant]
    scores = np.random.default_rng(seed).integers(0, levels, (3, 6)).astype(np.float32)
    owners = [0, 1, 1]
    sets = [set(range(relevant)), *[set(range(relevant, 6))] * 2]
    ranks = ranks_of(scores, owners, items)
    lines = [orders(line) for line in scores]
    precision = [np.mean([average_precision(o, own) for o in line]) for line, own in zip(lines, sets, strict=True)]
    np.testing.assert_allclose(ranks.average_precision, precision, rtol=1e-12)
    assert mean_average_precision(ranks)[0] == pytest.approx(np.mean(precision))
    hits = [[first_hit(o, own) for o in line] for line, own in zip(lines, sets, strict=True)]
    for k in range(1, 7):
        assert recall_at(ranks, k)[0] == pytest.approx(np.mean([np.mean(np.array(line) <= k) for line in hits]))
    copies = int(np.lcm.reduce([len(line) for line in hits]))  # queries weigh alike, however many orders each has
    assert median_rank(ranks)[0] == median([place for line in hits for place in line * (copies // len(line))])
    is_open = [
        any(line[item] == line[other] for item in own for other in set(range(6)) - own)
        for line, own in zip(scores, sets, strict=True)
    ]
    assert ranks.open.tolist() == is_open


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=2, max_size=6))
def test_without_ties_equals_sorting(seed, sizes):
    queries, items = np.array(sizes).T
    scores = np.random.default_rng(seed).normal(size=(queries.sum(), items.sum())).astype(np.float32)
    owner, query_identity = np.repeat(np.arange(len(items)), items), np.repeat(np.arange(len(items)), queries)
    ranks = ranks_of(scores, query_identity, items)
    sorted_hits = [owner[np.argsort(-line)] == a for line, a in zip(scores, query_identity, strict=True)]
    precision = [(np.cumsum(h) / np.arange(1, len(h) + 1))[h].mean() for h in sorted_hits]
    firsts = [int(np.argmax(h)) + 1 for h in sorted_hits]
    np.testing.assert_allclose(ranks.average_precision, precision, rtol=1e-12)
    assert median_rank(ranks)[0] == np.median(firsts)
    for k in available_k(ranks.items):
        assert recall_at(ranks, k)[0] == pytest.approx(np.mean(np.array(firsts) <= k))


@pytest.mark.parametrize("items", [[1, 1], [3, 5, 2], [40, 1, 300]])
def test_a_constant_model_scores_exactly_chance(items):
    query_identity = np.repeat(np.arange(len(items)), 2)
    ranks = ranks_of(np.full((len(query_identity), sum(items)), 0.25, np.float32), query_identity, items)
    value, chance = mean_average_precision(ranks)
    assert value == pytest.approx(chance, rel=1e-12)
    for k in available_k(sum(items)):
        value, chance = recall_at(ranks, k)
        assert value == chance
    value, chance = median_rank(ranks)
    assert value == chance


@pytest.mark.parametrize(
    ("relevant", "items", "expected"),
    [(5, 500, 0.02149), (1, 100, 0.05187)],  # the TriNet paper's 2.15 and about its 5.25
)
def test_chance_of_map(relevant, items, expected):
    gallery = [relevant] * (items // relevant)
    ranks = ranks_of(np.zeros((len(gallery), items), np.float32), np.arange(len(gallery)), gallery)
    assert mean_average_precision(ranks)[1] == pytest.approx(expected, abs=5e-6)


def test_chance_equals_enumeration_and_averages_over_queries():
    items = [2, 5]  # of N = 7
    ranks = ranks_of(np.zeros((4, 7), np.float32), [0, 0, 0, 1], items)
    weights = {2: 3 / 4, 5: 1 / 4}
    places = range(1, 8)
    precision = {
        r: np.mean([np.mean([n / p for n, p in enumerate(c, 1)]) for c in combinations(places, r)]) for r in items
    }
    assert mean_average_precision(ranks)[1] == pytest.approx(sum(weights[r] * precision[r] for r in items))
    for k in (1, 2, 5):
        hit = sum(weights[r] * (1 - comb(7 - r, k) / comb(7, k)) for r in items)
        assert recall_at(ranks, k)[1] == pytest.approx(hit)


def test_a_random_model_scores_about_chance():
    items = np.array([5] * 100)
    owners = np.repeat(np.arange(100), 20)
    ranks = ranks_of(np.random.default_rng(0).normal(size=(2000, 500)).astype(np.float32), owners, items)
    for (value, chance), tolerance in [
        (mean_average_precision(ranks), 0.002),  # about 4 standard errors each
        (recall_at(ranks, 10), 0.026),
        (median_rank(ranks), 10.0),
    ]:
        assert value == pytest.approx(chance, abs=tolerance)


def test_a_perfect_model_scores_one():
    owner = np.repeat(np.arange(4), 3)
    ranks = ranks_of((np.arange(4)[:, None] == owner).astype(np.float32), np.arange(4), [3] * 4)
    assert mean_average_precision(ranks)[0] == 1.0
    assert recall_at(ranks, 1)[0] == 1.0
    assert median_rank(ranks)[0] == 1.0
    assert not ranks.open.any()


def test_k_never_exceeds_the_gallery():
    assert available_k(10) == [1, 5, 10]
    assert available_k(4) == [1]
