"""Exact 1:N against all draws of impostors and of their items."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.scores.confidence import identity_interval
from voiceface.scores.matching import accuracy, count
from voiceface.scores.matching_n import CANDIDATES, match_many

SIZES = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3)), min_size=3, max_size=5)


def draw(seed, sizes, levels, distractors=1):
    rng = np.random.default_rng(seed)
    queries, items = np.array(sizes).T
    items = np.append(items, np.full(distractors, 2))
    shape = queries.sum(), items.sum()
    scores = rng.normal(size=shape) if levels is None else rng.integers(0, levels, shape) / 7
    group = rng.integers(0, 2, len(queries))
    everybody = ~np.eye(len(queries), dtype=bool)
    masks = np.array([everybody, everybody & (group[:, None] == group)])
    return scores.astype(np.float32), np.repeat(np.arange(len(queries)), queries), items, masks


def run(scores, query_identity, items, masks, candidates, threads=1):
    return match_many(lambda rows: scores[rows], query_identity, items, masks, candidates, threads)


def brute_force(scores, query_identity, items, mask, n):
    """Each query, each relevant item, each set of N - 1 impostors, each choice of an item of every one of them."""
    owner = np.repeat(np.arange(len(items)), items)
    total, weight = 0.0, 0
    for a in range(len(mask)):
        impostors = np.flatnonzero(mask[a])
        if len(impostors) < n - 1:
            continue
        shares = []
        for q in np.flatnonzero(query_identity == a):
            for positive in np.flatnonzero(owner == a):
                wins = []
                for chosen in combinations(impostors, n - 1):
                    draws = product(*[scores[q, owner == b] for b in chosen])
                    wins.append(np.mean([_share(scores[q, positive], others) for others in draws]))
                shares.append(np.mean(wins))
        total += len(impostors) * np.mean(shares)
        weight += len(impostors)
    return total / weight if weight else None


def _share(own, others):
    return 0.0 if max(others) > own else 1.0 / (1 + sum(other == own for other in others))


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 10**6), SIZES, st.sampled_from([None, 1, 2, 4]))
def test_equals_all_draws(seed, sizes, levels):
    scores, query_identity, items, masks = draw(seed, sizes, levels)
    candidates = [2, 3, 4, 5]
    for found, mask in zip(run(scores, query_identity, items, masks, candidates), masks, strict=True):
        for result, n in zip(found, candidates, strict=True):
            expected = brute_force(scores, query_identity, items, mask, n)
            assert (result.accuracy is None) == (expected is None)
            assert result.accuracy == pytest.approx(expected, abs=1e-12)
            enough = mask.sum(axis=1) >= n - 1
            assert result.identities == enough.sum()
            assert result.pairs == (np.bincount(query_identity) * items[: len(mask)])[enough].sum()


@settings(max_examples=examples(15), deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 5]))
def test_two_candidates_are_the_mean_of_w(seed, levels):
    sizes = np.random.default_rng(seed).integers(1, 6, (12, 2))
    scores, query_identity, items, masks = draw(seed, sizes, levels)
    win_rates = count(lambda rows: scores[rows], query_identity, items, threads=1).win_rates
    for found, mask in zip(run(scores, query_identity, items, masks, [2]), masks, strict=True):
        assert found[0].accuracy == pytest.approx(accuracy(win_rates, mask), abs=1e-12)


def test_a_constant_model_scores_one_in_n_and_a_perfect_one_scores_one():
    sizes = [(1, 1 + a % 3) for a in range(120)]
    scores, query_identity, items, masks = draw(0, sizes, 1)
    for result, n in zip(run(scores, query_identity, items, masks, CANDIDATES)[0], CANDIDATES, strict=True):
        assert result.accuracy == pytest.approx(1 / n, rel=1e-12)
        assert result.ties == result.pairs == items[:120].sum()
    perfect = (query_identity[:, None] == np.repeat(np.arange(len(items)), items)).astype(np.float32)
    for result in run(perfect, query_identity, items, masks, CANDIDATES)[0]:
        assert result.accuracy == pytest.approx(1.0, abs=1e-12)
        assert result.ties == 0
    assert all(r.accuracy == 0.0 for r in run(1 - perfect, query_identity, items, masks, CANDIDATES)[0])


def test_everybody_as_candidate_is_the_chance_to_be_the_best():
    rng = np.random.default_rng(4)
    scores, items = rng.normal(size=(60, 60)), np.ones(60, int)
    everybody = ~np.eye(60, dtype=bool)[None]
    found = run(scores, np.arange(60), items, everybody, [60, 50, 61])[0]
    best = scores.argmax(axis=1) == np.arange(60)
    assert found[0].accuracy == pytest.approx(best.mean())
    above = (scores > np.diag(scores)[:, None]).sum(axis=1)  # the impostors that beat it are all left out
    chance = [np.prod([(10 - i) / (59 - i) for i in range(m)]) if m <= 10 else 0.0 for m in above]
    assert found[1].accuracy == pytest.approx(np.mean(chance), abs=1e-12)
    assert found[2].accuracy is None
    assert found[2].identities == 0


def test_blocks_threads_and_monotone_transforms_change_nothing(monkeypatch):
    scores, query_identity, items, masks = draw(3, [(20, 3), (15, 2), (40, 4)], 9)
    expected = told(run(scores, query_identity, items, masks, [2, 3]))
    monkeypatch.setattr("voiceface.scores.kernels.blocks.BLOCK_SCORES", 1)
    for other in (scores, np.exp(scores)):
        found = told(run(other, query_identity, items, masks, [2, 3], threads=3))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def told(scores):
    return [x for stratum in scores for s in stratum for x in (s.accuracy, s.pairs, s.ties, *s.influence)]


@pytest.mark.parametrize("levels", [None, 12])
def test_the_interval_of_two_candidates_is_that_of_w(levels):
    scores, query_identity, items, masks = draw(5, [(2, 3)] * 60, levels)
    win_rates = count(lambda rows: scores[rows], query_identity, items, threads=1).win_rates
    for found, mask in zip(run(scores, query_identity, items, masks, [2]), masks, strict=True):
        low, high = found[0].interval(0.95)
        expected = identity_interval(win_rates, mask)
        assert high - low == pytest.approx(expected[1] - expected[0], rel=0.04)


def test_the_influence_is_the_effect_of_a_person():
    """Against leaving each person out of a set large enough for the first-order effect to be all of it."""
    rng = np.random.default_rng(6)
    people, n = 80, 6
    ability, hardness = rng.normal(size=(2, people))
    scores = rng.normal(size=(people, people)) - hardness + np.diag(2 * ability)
    mask = ~np.eye(people, dtype=bool)[None]
    whole = run(scores, np.arange(people), np.ones(people, int), mask, [n])[0][0]
    change = []
    for gone in range(people):
        kept = np.delete(np.delete(scores, gone, 0), gone, 1)
        left = run(kept, np.arange(people - 1), np.ones(people - 1, int), mask[:, 1:, 1:], [n])[0][0]
        change.append(whole.accuracy - left.accuracy)
    assert np.corrcoef(change, whole.influence)[0, 1] > 0.999
    assert np.std(whole.influence) * people / (people - 1) == pytest.approx(np.std(change), rel=0.03)


def test_items_that_take_no_part_are_as_if_they_were_not_there():
    scores, query_identity, items, masks = draw(7, [(2, 3)] * 8, None)
    without_item = np.delete(scores, 4, 1)
    scores[query_identity == 1, 4] = np.nan
    found = run(scores, query_identity, items, masks[:1], [2, 5])[0]
    # For the person's own queries the item is gone; to others it still is an impostor's item.
    own = run(without_item, query_identity, items - (np.arange(len(items)) == 1), masks[:1], [2, 5])[0]
    assert found[0].pairs == own[0].pairs
    mine = masks[:1] & (np.arange(len(masks[0]))[:, None] == 1)
    for a, b in zip(
        run(scores, query_identity, items, mine, [2, 5])[0],
        run(without_item, query_identity, items - (np.arange(len(items)) == 1), mine, [2, 5])[0],
        strict=True,
    ):
        assert a.accuracy == pytest.approx(b.accuracy, abs=1e-12)
