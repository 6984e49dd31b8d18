"""Significance of the differences to a column's best: paired tests on the same clips, corrected for their number."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from voiceface.scores.confidence import LEAST_IDENTITIES, Difference, difference_of

Floats = NDArray[np.float64]


def paired_tests(
    values: Sequence[float], effects: Sequence[Floats | None], best: int, level: float = 0.95
) -> list[tuple[Difference, float] | None]:
    """Compare every model of a column with the best one.

    People are the sampling unit and both models are scored on the same people, so what makes a person easy or hard for
    both cancels (`voiceface.scores.confidence.difference_of`). Which model is the best is known only from looking, so
    all pairs of models are the family of tests whose p-values Holm's method corrects. With the tests against the best
    alone as the family, some difference among twenty models that are alike would be called real far more often than the
    level says.

    Args:
        values: Score of each of K models.
        effects: float64 (I,) of each: the effect of each person on it; None: not known.
        best: Number of the best model.
        level: Confidence level of the intervals, in (0, 1).

    Returns:
        For each model its score minus the best one's, with interval and uncorrected p-value, and the corrected p-value;
        None for the best itself, and where the effects are not known or of other people.
    """
    found: list[tuple[Difference, float] | None] = [None] * len(values)
    reference = effects[best]
    if reference is None or len(reference) < LEAST_IDENTITIES:
        return found
    known = {i: own for i, own in enumerate(effects) if own is not None and len(own) == len(reference)}
    numbers = list(known)
    p_values = pair_p_values(np.array([values[i] for i in numbers]), np.stack(list(known.values())))
    first, second = np.triu_indices(len(numbers), 1)
    corrected = np.zeros((len(numbers), len(numbers)))
    corrected[first, second] = corrected[second, first] = holm(p_values[first, second])
    for place, i in enumerate(numbers):
        if i != best:
            difference = difference_of(values[i] - values[best], known[i] - reference, level)
            found[i] = difference, float(corrected[place, numbers.index(best)])
    return found


def pair_p_values(values: Floats, effects: Floats) -> Floats:
    """Two-sided p-values of "no difference" between all pairs of models.

    Args:
        values: float64 (K,): score of each model.
        effects: float64 (K, I): effect of each of I people on it, I at least 3.

    Returns:
        float64 (K, K); the p-values of `voiceface.scores.confidence.difference_of`, 1 on the diagonal.
    """
    people = effects.shape[1]
    p_values = np.ones((len(values), len(values)))
    for i, (value, own) in enumerate(zip(values, effects, strict=True)):
        error = np.sqrt(people / (people - 1) * ((effects - own) ** 2).sum(axis=1))
        difference = np.abs(values - value)
        with np.errstate(divide="ignore", invalid="ignore"):
            p_values[i] = np.where(error > 0.0, 2.0 * stdtr(people - 1, -difference / error), difference == 0.0)
    return p_values


def holm(p_values: Floats) -> Floats:
    """Correct p-values for their number, by Holm's step-down method (Scandinavian Journal of Statistics 6, 1979).

    The i-th smallest of m is multiplied by m - i + 1; each is at least as large as the smaller ones, at most 1.

    Args:
        p_values: float64 (m,), in [0, 1].

    Returns:
        float64 (m,): the corrected ones, in the given order.
    """
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)))
    return corrected
