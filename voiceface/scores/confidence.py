"""Confidence intervals: how a score would vary with other people, or with other trials."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtr, stdtrit

from voiceface.utils.errors import UserError

LEAST_IDENTITIES = 3  # two people form one pair, which has no spread
PEOPLE_PER_CANDIDATE = 5  # with fewer, sampled 1:N (N > 2) has no interval: its first-order effects are too small


def identity_interval(
    win_rates: NDArray[np.float64], weights: NDArray[Any], level: float = 0.95
) -> tuple[float, float] | None:
    """Interval of the accuracy sum(m W) / sum(m) when people, not trials, are the sampling unit.

    Accuracy is a U-statistic of order 2 over identities. With theta the accuracy and
    e(a) = sum over b of m[a,b] (W[a,b] - theta) + m[b,a] (W[b,a] - theta), its standard error is
    sqrt(I/(I-1) sum e(a)^2) / sum m; I counts the identities in pairs that have a weight. The quantile is Student's
    with I - 1 degrees of freedom, and the interval is cut at 0 and 1. A model that is always right gets zero width.
    At a nominal 95 % it covers 93.6 to 96 % with 20 to 189 people, 92 % with 20 people of very different clip weights,
    and 90 to 92 % with 20 to 60 people at an accuracy of 97.7 % (docs/reference/scores.md).

    Args:
        win_rates: float64 (I, I): W.
        weights: (I, I): m, a mask or weights, 0 on the diagonal.
        level: Confidence level in (0, 1).

    Returns:
        Lower and upper end, or None with fewer than 3 identities in pairs.
    """
    estimate = _mean_and_influence(win_rates, weights)
    return None if estimate is None else student_interval(*estimate, level)


def identity_effects(win_rates: NDArray[np.float64], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Effect e(a) / sum m of each identity on the accuracy, the basis of `identity_interval`.

    Args:
        win_rates: float64 (I, I): W.
        weights: (I, I): m, a mask or weights, 0 on the diagonal.

    Returns:
        float64 of the identities in pairs, in their order; empty with fewer than 3.
    """
    estimate = _mean_and_influence(win_rates, weights)
    return np.empty(0) if estimate is None else estimate[1]


def student_interval(
    value: float, influence: NDArray[np.float64], level: float = 0.95, least: float = 0.0
) -> tuple[float, float] | None:
    """Interval of a score from the first-order effect of each identity on it (the infinitesimal jackknife).

    The standard error is sqrt(I/(I-1) sum e(a)^2), the quantile Student's with I - 1 degrees of freedom.

    Args:
        value: The score.
        influence: float64 (I,): e(a), the effect of each identity on the score; their sum is 0.
        level: Confidence level in (0, 1).
        least: The least possible score; 1 is the largest.

    Returns:
        Lower and upper end, cut at `least` and 1; None with fewer than 3 identities.
    """
    if len(influence) < LEAST_IDENTITIES:
        return None
    half = float(stdtrit(len(influence) - 1, 0.5 + level / 2)) * _standard_error(influence)
    return _around(value, half, least)


def rate_interval(value: float, influence: NDArray[np.float64], level: float = 0.95) -> tuple[float, float] | None:
    """Interval of a share of queries: `student_interval`, on the logit scale within 0.1 of 0 or 1.

    There the plain interval is cut at 0 or 1 and contains the population's share too rarely.

    Args:
        value: The share, in [0, 1].
        influence: float64 (I,): the effect of each identity on it; their sum is 0.
        level: Confidence level in (0, 1).

    Returns:
        Lower and upper end; None with fewer than 3 identities, or if all queries or none hit, which says nothing about
        the next one.
    """
    if len(influence) < LEAST_IDENTITIES or not 0.0 < value < 1.0:
        return None
    if 0.1 <= value <= 0.9:
        return student_interval(value, influence, level)
    error = _standard_error(influence) / (value * (1.0 - value))
    half = float(stdtrit(len(influence) - 1, 0.5 + level / 2)) * error
    middle = math.log(value / (1.0 - value))
    return float(expit(middle - half)), float(expit(middle + half))


@dataclass(frozen=True)
class Difference:
    """How much more accurate one model is than another on the same clips.

    Attributes:
        value: Difference of the accuracies, in [-1, 1].
        low: Lower end of its interval.
        high: Upper end.
        p_value: Two-sided p-value of "no difference".
    """

    value: float
    low: float
    high: float
    p_value: float


def paired_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], weights: NDArray[Any], level: float = 0.95
) -> Difference | None:
    """Compare two models on the same clips: the U-statistic formula of `identity_interval` applied to W1 - W2.

    Effects of a person that both models share cancel, so the comparison is far sharper than two separate intervals.

    Args:
        first: float64 (I, I): W of the first model.
        second: float64 (I, I): W of the second one, with the identities in the same order.
        weights: (I, I): a mask or weights, 0 on the diagonal.
        level: Confidence level in (0, 1).

    Returns:
        The difference first - second, or None with fewer than 3 identities in pairs.
    """
    estimate = _mean_and_influence(first - second, weights)
    if estimate is None:
        return None
    return difference_of(*estimate, level)


def difference_of(value: float, influence: NDArray[np.float64], level: float = 0.95) -> Difference:
    """Compute `paired_difference` for any score, from the effects of people on it.

    Args:
        value: Score of the first model minus that of the second on the same clips.
        influence: float64 (I,): effect of each identity on the first score minus that on the second; at least 3.
        level: Confidence level in (0, 1).
    """
    error = _standard_error(influence)
    low, high = student_interval(value, influence, level, least=-1.0) or (-1.0, 1.0)
    p_value = 2.0 * float(stdtr(len(influence) - 1, -abs(value) / error)) if error > 0.0 else float(value == 0.0)
    return Difference(value, low, high, p_value)


@dataclass(frozen=True)
class Subsets:
    """Accuracy over repeated subsets of the identities.

    Attributes:
        mean: Mean accuracy over the subsets.
        low: Lower end of the t-interval of that mean.
        high: Upper end. Both describe this data set only: more repeats make the interval arbitrarily narrow.
        spread: Standard deviation of a single subset's accuracy.
    """

    mean: float
    low: float
    high: float
    spread: float


def repeated_subsets(
    win_rates: NDArray[np.float64],
    weights: NDArray[Any],
    size: int,
    repeats: int = 30,
    seed: int = 0,
    level: float = 0.95,
) -> Subsets:
    """Accuracy on repeated random subsets of the identities (TriNet section 5.4 and figure 4b).

    Args:
        win_rates: float64 (I, I): W.
        weights: (I, I): a mask or weights, 0 on the diagonal. A subset in which no pair has a weight is drawn anew.
        size: Identities in a subset, 2 to I.
        repeats: Subsets, at least 2.
        seed: Seed of the draws.
        level: Confidence level in (0, 1).

    Returns:
        The mean with its t-interval, and the spread of a single subset.

    Raises:
        UserError: `size` or `repeats` is out of range, or no pair has a weight in any of many subsets.
    """
    identities = len(win_rates)
    if not 2 <= size <= identities or repeats < 2:
        raise UserError(f"subsets: need 2 to {identities} identities and at least 2 repeats, not {size} and {repeats}")
    rng = np.random.default_rng(seed)
    values: list[float] = []
    for _ in range(100 * repeats):
        chosen = rng.choice(identities, size, replace=False)
        part = weights[np.ix_(chosen, chosen)].astype(np.float64)
        if part.any():
            values.append(float((part * win_rates[np.ix_(chosen, chosen)]).sum() / part.sum()))
        if len(values) == repeats:
            break
    else:
        raise UserError(f"subsets: subsets of {size} identities hardly ever hold a pair of the stratum; enlarge them")
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    low, high = _around(mean, float(stdtrit(repeats - 1, 0.5 + level / 2)) * spread / math.sqrt(repeats))
    return Subsets(mean, low, high, spread)


def binomial_interval(accuracy: float, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Interval p +- u sqrt(p (1 - p) / n) of the TriNet paper (section 3.2).

    It covers only the drawing of trials from fixed clips, not the choice of people: use `identity_interval` for that.

    Args:
        accuracy: p in [0, 1].
        trials: n, at least 1.
        level: Confidence level in (0, 1).

    Returns:
        Lower and upper end.
    """
    quantile = NormalDist().inv_cdf(0.5 + level / 2)
    return _around(accuracy, quantile * math.sqrt(accuracy * (1.0 - accuracy) / trials))


def identities_in(weights: NDArray[Any]) -> int:
    """How many identities occur in a pair with a weight; `weights` is (I, I)."""
    used = weights > 0
    return int((used.any(axis=0) | used.any(axis=1)).sum())


def _mean_and_influence(values: NDArray[np.float64], weights: NDArray[Any]) -> tuple[float, NDArray[np.float64]] | None:
    """The weighted mean of (I, I) values, and the effect on it of each identity in pairs; None with fewer than 3."""
    weights = weights.astype(np.float64)
    used = (weights > 0).any(axis=0) | (weights > 0).any(axis=1)
    if used.sum() < LEAST_IDENTITIES:
        return None
    total = float(weights.sum())
    mean = float((weights * values).sum()) / total
    deviation = weights * (values - mean)
    return mean, ((deviation.sum(axis=1) + deviation.sum(axis=0)) / total)[used]


def _standard_error(influence: NDArray[np.float64]) -> float:
    return math.sqrt(len(influence) / (len(influence) - 1) * float((influence**2).sum()))


def _around(centre: float, half: float, least: float = 0.0) -> tuple[float, float]:
    return max(least, centre - half), min(1.0, centre + half)
