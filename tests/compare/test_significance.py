"""Paired tests against the best of a column: by hand, by another formula, and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.compare.significance import holm, pair_p_values, paired_tests
from voiceface.scores.confidence import identity_effects, paired_difference


def rejected(p_values: list[float], alpha: float) -> set[int]:
    """Holm's procedure as its paper tells it: from the smallest p-value up, until one is too large."""
    out: set[int] = set()
    for step, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[number] > alpha / (len(p_values) - step):
            break
        out.add(number)
    return out


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12), st.floats(0.001, 0.5))
@settings(max_examples=examples(200), deadline=None)
def test_holm_rejects_what_its_procedure_rejects(p_values, alpha):
    corrected = holm(np.array(p_values))
    sure = {i for i, p in enumerate(corrected) if abs(p - alpha) > 1e-12}
    assert {i for i in sure if corrected[i] < alpha} == rejected(p_values, alpha) & sure
    assert (corrected >= np.array(p_values)).all()
    assert (corrected <= 1.0).all()


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.empty(0)).shape == (0,)


def models(seed: int, number: int = 4, people: int = 30) -> list[np.ndarray]:
    """Random W of several models on the same people, the first ones better."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=(people, people))
    return [1 / (1 + np.exp(-(hard + rng.normal(size=hard.shape) + 0.4 * (number - m)))) for m in range(number)]


def test_the_difference_to_the_best_is_that_of_the_win_rates():
    tables, mask = models(0), ~np.eye(30, dtype=bool)
    values = [float(w[mask].mean()) for w in tables]
    tests = paired_tests(values, [identity_effects(w, mask) for w in tables], 0)
    raw = []
    for w, test in zip(tables[1:], tests[1:], strict=True):
        expected = paired_difference(w, tables[0], mask)
        assert test is not None
        assert (test[0].value, test[0].low, test[0].high) == pytest.approx(
            (expected.value, expected.low, expected.high), abs=1e-12
        )
        raw.append(expected.p_value)
    assert tests[0] is None
    # Of all pairs, not of those with the best alone.
    every = [paired_difference(tables[i], tables[j], mask).p_value for i in range(4) for j in range(i)]
    assert [test[1] for test in tests[1:]] == pytest.approx([holm(np.array(every))[every.index(p)] for p in raw])


def test_models_that_are_the_same_do_not_differ_and_strangers_are_not_compared():
    w, mask = models(1)[0], ~np.eye(30, dtype=bool)
    effects = identity_effects(w, mask)
    tests = paired_tests([0.7, 0.7, 0.6, 0.5], [effects, effects.copy(), None, effects[:-1]], 0)
    assert tests[0] is None
    assert tests[1][0].value == 0.0
    assert tests[1][1] == 1.0
    assert tests[2:] == [None, None]
    assert paired_tests([0.7, 0.6], [None, effects], 0) == [None, None]


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(3, 20))
@settings(max_examples=examples(50), deadline=None)
def test_p_values_are_symmetric_and_those_of_one_pair(seed, number, people):
    rng = np.random.default_rng(seed)
    values, effects = rng.uniform(size=number), rng.normal(size=(number, people)) / people
    effects -= effects.mean(axis=1, keepdims=True)
    p_values = pair_p_values(values, effects)
    assert p_values == pytest.approx(p_values.T)
    assert (np.diag(p_values) == 1.0).all()
    # Student's test of the mean of paired differences, written out: with effects (x - mean) / I it is exactly that.
    from scipy.stats import ttest_1samp

    x = rng.normal(size=(number, people))
    own = (x - x.mean(axis=1, keepdims=True)) / people
    assert pair_p_values(x.mean(axis=1), own)[0, 1] == pytest.approx(ttest_1samp(x[1] - x[0], 0.0).pvalue)


def test_among_models_that_are_alike_the_best_seldom_differs():
    rng = np.random.default_rng(2)
    alone = all_pairs = 0
    for _ in range(400):
        x = rng.normal(size=(60, 1)) + rng.normal(size=(60, 20))
        values, effects = x.mean(axis=0), ((x - x.mean(axis=0)) / 60).T
        best = int(np.argmax(values))
        tests = [t for t in paired_tests(values.tolist(), list(effects), best) if t is not None]
        all_pairs += min(corrected for _, corrected in tests) < 0.05
        alone += holm(np.array([difference.p_value for difference, _ in tests])).min() < 0.05
    assert all_pairs <= 0.05 * 400 + 3 * (400 * 0.05 * 0.95) ** 0.5
    assert alone > 2 * 0.05 * 400  # what the larger family is for
