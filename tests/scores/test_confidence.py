"""Intervals against slow loops and against a population whose accuracy is known."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from voiceface.scores import score
from voiceface.scores.confidence import (
    binomial_interval,
    identities_in,
    identity_interval,
    paired_difference,
    rate_interval,
    repeated_subsets,
    student_interval,
)
from voiceface.scores.matching import count
from voiceface.utils.errors import UserError


def slow_interval(win_rates, weights, level):
    identities = len(win_rates)
    total = sum(weights[a][b] for a in range(identities) for b in range(identities))
    theta = sum(weights[a][b] * win_rates[a][b] for a in range(identities) for b in range(identities)) / total
    squares, used = 0.0, 0
    for a in range(identities):
        effect = 0.0
        for b in range(identities):
            effect += weights[a][b] * (win_rates[a][b] - theta) + weights[b][a] * (win_rates[b][a] - theta)
        squares += effect**2
        used += any(weights[a][b] or weights[b][a] for b in range(identities))
    error = math.sqrt(used / (used - 1) * squares) / total
    half = t.ppf(0.5 + level / 2, used - 1) * error
    return max(0.0, theta - half), min(1.0, theta + half)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("weighting", ["all", "mask", "clips"])
def test_identity_interval_equals_a_loop(weighting, level):
    rng = np.random.default_rng(5)
    win_rates = rng.uniform(size=(9, 9))
    weights = {"all": np.ones((9, 9)), "mask": rng.integers(0, 2, (9, 9)), "clips": rng.integers(0, 50, (9, 9))}[
        weighting
    ]
    weights = weights * ~np.eye(9, dtype=bool)
    if weighting == "mask":
        weights[[2, 4], :] = weights[:, [2, 4]] = 0  # two people in no pair
    expected = slow_interval(win_rates, weights, level)
    assert identity_interval(win_rates, weights, level) == pytest.approx(expected, abs=1e-12)


def test_without_a_mask_it_is_twice_the_spread_of_the_people():
    win_rates = np.random.default_rng(1).uniform(size=(12, 12))
    off_diagonal = ~np.eye(12, dtype=bool)
    effects = [np.mean([(win_rates[a, b] + win_rates[b, a]) / 2 for b in range(12) if b != a]) for a in range(12)]
    half = t.ppf(0.975, 11) * 2 * np.std(effects, ddof=1) / math.sqrt(12)
    low, high = identity_interval(win_rates, off_diagonal)
    assert (high - low) / 2 == pytest.approx(half)
    assert (high + low) / 2 == pytest.approx(win_rates[off_diagonal].mean())


def test_fewer_than_three_people_have_no_interval():
    win_rates = np.full((4, 4), 0.75)
    mask = np.zeros((4, 4), bool)
    assert identity_interval(win_rates, mask) is None
    mask[0, 1] = mask[1, 0] = True
    assert identities_in(mask) == 2
    assert identity_interval(win_rates, mask) is None


def test_binomial_interval():
    half = norm.ppf(0.95) * math.sqrt(0.8 * 0.2 / 1000)
    assert binomial_interval(0.8, 1000, 0.9) == pytest.approx((0.8 - half, 0.8 + half))
    assert binomial_interval(0.99, 10) == (pytest.approx(0.99 - 1.959964 * math.sqrt(0.0099 / 10)), 1.0)


@pytest.mark.parametrize(
    ("draws", "low", "high"),
    [
        (80, 0.85, 1.0),
        pytest.param(400, 0.913, 0.987, marks=pytest.mark.slow(reason="400 populations, scored; the quick one has 80")),
    ],
)
def test_the_identity_interval_covers_the_population_and_the_binomial_does_not(draws: int, low: float, high: float):
    """People drawn from a population of known accuracy; benchmarks/scores/interval_coverage.py is the full size.

    The share of draws at a true coverage of 0.95 stays within the bounds with probability 0.999.
    """
    people, clips, dimensions, agreement = 60, 2, 4, 0.7
    rng = np.random.default_rng(11)
    # Given v, <v, f+> and <v, f-> are normal with means agreement |v|^2 / 2 and 0: the accuracy is Student's cdf.
    spread = agreement**2 / 2 + (1 - agreement**2) + 1
    truth = t.cdf(math.sqrt(dimensions) * agreement / math.sqrt(2) / math.sqrt(spread + 2), dimensions)
    names = [f"{a:03}" for a in np.repeat(np.arange(people), clips)]
    covered = {"identity": 0, "binomial": 0}
    for _ in range(draws):
        voice = rng.normal(size=(people, dimensions))
        face = agreement * voice + math.sqrt(1 - agreement**2) * rng.normal(size=(people, dimensions))
        voices = np.repeat(voice, clips, axis=0) + rng.normal(size=(people * clips, dimensions))
        faces = np.repeat(face, clips, axis=0) + rng.normal(size=(people * clips, dimensions))
        record = score(None, names, None, names, similarity=voices @ faces.T, candidates=(2,))[0]
        ends = binomial_interval(record["value"], record["trials"])
        covered["identity"] += record["ci_low"] <= truth <= record["ci_high"]
        covered["binomial"] += ends[0] <= truth <= ends[1]
    assert low <= covered["identity"] / draws <= high
    assert covered["binomial"] / draws < 0.6


def test_paired_difference_is_the_interval_of_the_difference():
    rng = np.random.default_rng(3)
    first, second = rng.uniform(0, 0.5, (2, 9, 9))
    weights = rng.integers(0, 4, (9, 9)) * ~np.eye(9, dtype=bool)
    found = paired_difference(first, second, weights, 0.9)
    # Half of W1 - W2, and a half more, is within [0, 1] as the loop expects.
    low, high = slow_interval((first - second) / 2 + 0.5, weights, 0.9)
    assert (found.low, found.high) == (pytest.approx(2 * low - 1), pytest.approx(2 * high - 1))
    assert found.value == pytest.approx((weights * (first - second)).sum() / weights.sum())
    back = paired_difference(second, first, weights, 0.9)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert back.p_value == pytest.approx(found.p_value)
    edge = paired_difference(first, second, weights, 1 - found.p_value)  # an interval of this level ends at 0
    assert min(abs(edge.low), abs(edge.high)) == pytest.approx(0.0, abs=1e-9)


def test_paired_difference_without_a_spread():
    win_rates, mask = np.full((4, 4), 0.75), ~np.eye(4, dtype=bool)
    assert paired_difference(win_rates, win_rates, mask).p_value == 1.0
    assert paired_difference(win_rates, win_rates - 0.25, mask).p_value == 0.0
    assert paired_difference(win_rates, win_rates, np.zeros((4, 4), bool)) is None


@pytest.mark.parametrize(
    ("draws", "coverage", "below_half"),
    [
        (80, (0.85, 1.0), (0.312, 0.688)),
        pytest.param(
            600,
            (0.92, 0.98),
            (0.43, 0.57),
            marks=pytest.mark.slow(reason="600 pairs of models; the quick one has 80"),
        ),
    ],
)
def test_paired_difference_covers_and_its_p_value_is_uniform(
    draws: int, coverage: tuple[float, float], below_half: tuple[float, float]
):
    """Two equally good models of the same people; the shares stay within the bounds with probability 0.999."""
    people = 40
    rng = np.random.default_rng(7)
    mask, counts = ~np.eye(people, dtype=bool), np.ones(people, int)
    found = []
    for _ in range(draws):
        shared = rng.normal(size=(people, 4))
        rates = []
        for _ in range(2):
            voice, face = (shared + rng.normal(size=(people, 4)) for _ in range(2))
            scores = voice @ face.T
            rates.append(count(lambda rows, scores=scores: scores[rows], np.arange(people), counts, 1).win_rates)
        found.append(paired_difference(*rates, mask))
    assert coverage[0] <= np.mean([d.low <= 0.0 <= d.high for d in found]) <= coverage[1]
    assert below_half[0] <= np.mean([d.p_value < 0.5 for d in found]) <= below_half[1]


def test_repeated_subsets():
    rng = np.random.default_rng(0)
    win_rates, mask = rng.uniform(0.4, 0.9, (30, 30)), ~np.eye(30, dtype=bool)
    whole = repeated_subsets(win_rates, mask, size=30, repeats=5)
    assert whole.mean == pytest.approx(win_rates[mask].mean())
    assert whole.spread == pytest.approx(0.0, abs=1e-12)
    found = repeated_subsets(win_rates, mask, 10, repeats=400, seed=1, level=0.9)
    assert found == repeated_subsets(win_rates, mask, 10, repeats=400, seed=1, level=0.9)
    assert found != repeated_subsets(win_rates, mask, 10, repeats=400, seed=2, level=0.9)
    assert (found.high - found.low) / 2 == pytest.approx(t.ppf(0.95, 399) * found.spread / 20)
    assert found.mean == pytest.approx(win_rates[mask].mean(), abs=4 * found.spread / 20)
    weights = np.zeros((30, 30))
    weights[3, 4] = 2.0  # one pair alone: every subset that holds it scores its win rate
    single = repeated_subsets(win_rates, weights, 20, repeats=4)
    assert single.mean == pytest.approx(win_rates[3, 4])


def test_subsets_of_two_take_every_pair():
    win_rates = np.array([[0.5, 0.2, 0.4], [0.6, 0.5, 1.0], [0.8, 0.2, 0.5]])
    found = repeated_subsets(win_rates, ~np.eye(3, dtype=bool), 2, repeats=4000)
    accuracies = [0.4, 0.6, 0.6]  # (W[a, b] + W[b, a]) / 2 of the three pairs
    assert found.mean == pytest.approx(np.mean(accuracies), abs=0.006)
    assert found.spread == pytest.approx(np.std(accuracies), abs=0.006)


@pytest.mark.parametrize(("size", "repeats"), [(1, 30), (5, 30), (3, 1)])
def test_subsets_that_cannot_be_drawn(size, repeats):
    with pytest.raises(UserError, match="subsets: need 2 to 4"):
        repeated_subsets(np.full((4, 4), 0.5), ~np.eye(4, dtype=bool), size, repeats)


def test_subsets_without_a_pair():
    with pytest.raises(UserError, match="hardly ever hold a pair"):
        repeated_subsets(np.full((4, 4), 0.5), np.zeros((4, 4)), 2)


def test_a_share_near_its_end_has_an_interval_on_the_logit_scale():
    influence = np.random.default_rng(0).normal(size=30)
    influence = 0.01 * (influence - influence.mean())
    assert rate_interval(0.5, influence) == student_interval(0.5, influence)
    low, high = student_interval(0.5, influence)
    half = (high - low) / 2
    for value in (0.03, 0.97):
        low, high = rate_interval(value, influence)
        assert 0.0 < low < value < high < 1.0
        odds = [np.log(p / (1 - p)) for p in (low, value, high)]
        assert odds[2] - odds[1] == pytest.approx(odds[1] - odds[0])
        assert odds[2] - odds[1] == pytest.approx(half / (value * (1 - value)))
    mirrored = rate_interval(0.03, influence)
    assert rate_interval(0.97, influence) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]))
    assert rate_interval(0.0, influence) is rate_interval(1.0, influence) is None
    # A share that says next to nothing of the next query has the whole range, not an overflow.
    assert rate_interval(1e-6, influence) == pytest.approx((0.0, 1.0))
    assert rate_interval(0.5, influence[:2]) is None
