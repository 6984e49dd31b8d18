"""Confidence intervals: what a score would be on other people, or on other trials."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

LEAST_IDENTITIES = 3  # two people are one pair, which has no spread


def identity_interval(
    win_rates: NDArray[np.float64], weights: NDArray[Any], level: float = 0.95
) -> tuple[float, float] | None:
    """Interval of the accuracy sum(m W) / sum(m) when people, not trials, are the sampling unit.

    Accuracy is a U-statistic of order 2 over identities. With theta the accuracy and
    e(a) = sum over b of m[a,b] (W[a,b] - theta) + m[b,a] (W[b,a] - theta), its standard error is
    sqrt(I/(I-1) sum e(a)^2) / sum m; I counts the identities in pairs that have a weight. The quantile is Student's
    with I - 1 degrees of freedom, and the interval is cut at 0 and 1. A model that is never wrong gets no width.
    At a nominal 95 % it covers 93 to 96 % from ten people up, and 91 to 92 % where clip weights differ much among ten
    to thirty people (benchmarks/interval_coverage.py).

    Args:
        win_rates: float64 (I, I): W.
        weights: (I, I): m, a mask or weights, 0 on the diagonal.
        level: Confidence level in (0, 1).

    Returns:
        Lower and upper end, or None with fewer than 3 identities in pairs.
    """
    weights = weights.astype(np.float64)
    identities = identities_in(weights)
    if identities < LEAST_IDENTITIES:
        return None
    total = weights.sum()
    theta = float((weights * win_rates).sum() / total)
    deviation = weights * (win_rates - theta)
    influence = deviation.sum(axis=1) + deviation.sum(axis=0)
    error = math.sqrt(identities / (identities - 1) * float((influence**2).sum())) / float(total)
    return _around(theta, float(stdtrit(identities - 1, 0.5 + level / 2)) * error)


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


def _around(centre: float, half: float) -> tuple[float, float]:
    return max(0.0, centre - half), min(1.0, centre + half)
