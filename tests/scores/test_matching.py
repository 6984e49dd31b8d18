"""The counting kernel against a loop over all triplets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.scores.kernels import rank_counts as places
from voiceface.scores.matching import Counts, accuracy, count

SIZES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), min_size=2, max_size=5)


def draw(seed, sizes, levels=None, dtype=np.float32, distractors=0):
    """Similarities (Q, N) with `levels` distinct values (None: continuous), query identities, gallery sizes."""
    rng = np.random.default_rng(seed)
    queries, items = np.array(sizes).T
    items = np.append(items, np.full(distractors, 2))
    shape = queries.sum(), items.sum()
    scores = rng.normal(size=shape) if levels is None else rng.integers(0, levels, shape) / 7
    return scores.astype(dtype), np.repeat(np.arange(len(queries)), queries), items


def run(scores, query_identity, items, threads=1) -> Counts:
    return count(lambda rows: scores[rows], query_identity, items, threads)


def brute_force(scores, query_identity, items):
    """Wins and ties by a loop over all triplets; above and tied of each relevant item by a loop over all pairs."""
    owner = np.repeat(np.arange(len(items)), items)
    wins = np.zeros((query_identity[-1] + 1, len(items)), int)
    ties = np.zeros_like(wins)
    for q, a in enumerate(query_identity):
        for positive in np.flatnonzero(owner == a):
            for negative in np.flatnonzero(owner != a):
                wins[a, owner[negative]] += scores[q, positive] > scores[q, negative]
                ties[a, owner[negative]] += scores[q, positive] == scores[q, negative]
    return wins, ties


@settings(max_examples=examples(40), deadline=None)
@given(
    st.integers(0, 10**6),
    SIZES,
    st.sampled_from([None, 1, 2, 5]),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 2),
)
def test_counts_equal_a_loop_over_all_triplets(seed, sizes, levels, dtype, distractors):
    scores, query_identity, items = draw(seed, sizes, levels, dtype, distractors)
    counts = run(scores, query_identity, items)
    wins, ties = brute_force(scores, query_identity, items)
    np.testing.assert_array_equal(counts.wins, wins)
    np.testing.assert_array_equal(counts.ties, ties)
    assert ((counts.win_rates >= 0) & (counts.win_rates <= 1)).all()


@pytest.mark.parametrize("spread", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("relevant", [1, 2, 17, 300])
def test_counts_equal_numpy_with_many_relevant_items_and_outliers(relevant, spread):
    scores, query_identity, items = draw(relevant, [(3, relevant), (2, 40), (2, relevant)], dtype=np.float64)
    scores[::2, 0] = 1e6  # an outlier leaves nearly all relevant items in one interval of the table
    scores[:, -5:] = scores[:, :5]  # ties
    scores *= spread
    counts = run(scores, query_identity, items)
    ends = np.concatenate([[0], np.cumsum(items)])
    for a in range(3):
        own = scores[query_identity == a, ends[a] : ends[a + 1], None]
        for b in set(range(3)) - {a}:
            other = scores[query_identity == a, None, ends[b] : ends[b + 1]]
            assert counts.wins[a, b] == (own > other).sum()
            assert counts.ties[a, b] == (own == other).sum()


def test_scores_at_the_ends_of_float64():
    scores = np.array([[-1.7e308, 1.7e308, 0.0, 1.7e308], [1.0, 2.0, 5e-324, 0.0]])
    counts = run(scores, np.array([0, 1]), np.array([2, 2]))
    assert counts.wins.tolist() == [[0, 1], [0, 0]]
    assert counts.ties.tolist() == [[0, 1], [0, 0]]
    swapped = run(scores[::-1, ::-1].copy(), np.array([0, 1]), np.array([2, 2]))
    assert swapped.wins.tolist() == [[0, 0], [1, 0]]


def test_blocks_and_threads_change_nothing(monkeypatch):
    scores, query_identity, items = draw(0, [(60, 3), (70, 5), (90, 1)], levels=9)
    whole = run(scores, query_identity, items)
    monkeypatch.setattr("voiceface.scores.kernels.blocks.BLOCK_SCORES", 1)
    for threads in (1, 2, 5):
        blocks = run(scores, query_identity, items, threads)
        np.testing.assert_array_equal(blocks.wins, whole.wins)
        np.testing.assert_array_equal(blocks.ties, whole.ties)


def test_a_failing_block_is_not_swallowed():
    def broken(rows):
        raise FloatingPointError("block")

    with pytest.raises(FloatingPointError, match="block"):
        count(broken, np.array([0, 1]), np.array([1, 1]), threads=2)


def test_accuracy_is_the_weighted_mean_of_the_win_rates():
    win_rates = np.array([[0.5, 1.0, 0.25], [0.5, 0.5, 0.75], [0.0, 1.0, 0.5]])
    off_diagonal = ~np.eye(3, dtype=bool)
    assert accuracy(win_rates, off_diagonal) == pytest.approx((1 + 0.25 + 0.5 + 0.75 + 0 + 1) / 6)
    assert accuracy(win_rates, np.array([[0, 3, 0], [1, 0, 0], [0, 0, 0]])) == pytest.approx((3 * 1 + 0.5) / 4)
    assert accuracy(win_rates, np.zeros((3, 3), bool)) is None


def test_clip_weighted_accuracy_is_that_of_all_triplets():
    scores, query_identity, items = draw(3, [(1, 4), (3, 2), (2, 5)], levels=6)
    counts = run(scores, query_identity, items)
    wins, ties = brute_force(scores, query_identity, items)
    expected = (wins.sum() + ties.sum() / 2) / counts.triplets.sum()
    assert accuracy(counts.win_rates, counts.triplets) == pytest.approx(expected, abs=1e-14)
    assert counts.triplets.tolist() == [[0, 1 * 4 * 2, 1 * 4 * 5], [3 * 2 * 4, 0, 3 * 2 * 5], [2 * 5 * 4, 2 * 5 * 2, 0]]


def test_a_person_with_very_many_items_takes_no_more_memory_than_a_block(monkeypatch):
    sizes = [(1, 2)] * 30 + [(3, 400)]
    scores, query_identity, items = draw(4, sizes, levels=50)
    expected = run(scores, query_identity, items)
    blocks = []
    place = places._place_rows
    monkeypatch.setattr(places, "BLOCK_SCORES", 40_000)
    monkeypatch.setattr(places, "_place_rows", lambda *a: (blocks.append(a[-1].size), place(*a)))
    found = run(scores, query_identity, items)
    np.testing.assert_array_equal(found.wins, expected.wins)
    np.testing.assert_array_equal(found.ties, expected.ties)
    assert max(blocks) <= 40_000
    assert len(blocks) > 5
