"""The ROC of positives and negatives sorted into places, its area and its equal error rate."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voiceface.utils.errors import UserError

NEAR = 0.1  # range of |misses - false alarms| over which the slope of the ROC at the EER is taken

Floats = NDArray[np.float64]

HITS = 101  # points kept of a curve


class Curve:
    """An ROC whose points are joined by straight lines.

    Attributes:
        lower: float64 (P,): share of the negatives below each place, those in it counted half.
        auc: Area under the ROC, in [0, 1]: P(positive > negative) + 1/2 P(same place).
        auc_bound: Half the share of pairs within a gap: the maximum distance of `auc` from the exact area.
        eer: Equal error rate, in [0, 1].
        eer_bound: Maximum distance of `eer` from the exact rate.
        threshold: The place where misses and false alarms are equal.
        miss_share: Derivative of the EER by the misses at a fixed threshold; by the false alarms it is 1 - miss_share.
        hits: float64 (101,): share of positives accepted at 0, 1, ... 100 % of accepted negatives.
    """

    def __init__(self, positive: Floats, negative: Floats) -> None:
        """Build the curve.

        Args:
            positive: float64 (P,): weight of the positives in each of P = 2 U + 1 ascending places; each odd place is
                one similarity, the even ones are the gaps before, between and after them.
            negative: float64 (P,): likewise for the negatives. Both must have a positive sum.
        """
        positive, negative = positive / positive.sum(), negative / negative.sum()
        self.lower = np.cumsum(negative) - negative / 2
        self.auc = min(1.0, float(positive @ self.lower))
        self.auc_bound = float((positive * negative)[0::2].sum()) / 2
        alarms = np.concatenate([[0.0], np.cumsum(negative[::-1])])
        misses = 1.0 - np.concatenate([[0.0], np.cumsum(positive[::-1])])
        # At equal x, np.interp takes the highest point at that x and the lowest point to the left of it.
        self.hits = np.interp(np.linspace(0.0, 1.0, HITS), alarms, 1.0 - misses)
        excess = alarms - misses
        after = min(max(int(np.searchsorted(excess, 0.0)), 1), len(positive))
        width = excess[after] - excess[after - 1]
        share = -excess[after - 1] / width if width > 0 else 0.0
        self.eer = float(np.clip(alarms[after - 1] + share * (alarms[after] - alarms[after - 1]), 0.0, 1.0))
        self.threshold = len(positive) - after
        in_gap = self.threshold % 2 == 0
        self.eer_bound = float(min(positive[self.threshold], negative[self.threshold])) if in_gap else 0.0
        near = np.abs(excess) <= NEAR
        near[after - 1 : after + 1] = True
        rise, fall = float(np.ptp(alarms[near])), float(np.ptp(misses[near]))
        self.miss_share = rise / (rise + fall) if rise + fall > 0 else 0.5


def auc(scores: Sequence[float], labels: Sequence[bool], weights: Sequence[float] | None = None) -> float:
    """Area under the ROC: P(positive > negative) + 1/2 P(=), computed exactly, without a grid of thresholds.

    Args:
        scores: n finite numbers, larger = more alike.
        labels: n booleans: whether the trial is positive.
        weights: n numbers, at least 0; None: equal weights.

    Returns:
        The area, in [0, 1].

    Raises:
        UserError: Lengths differ, a score is not finite, a weight is negative, or a class has no weight.

    Example:
        >>> auc([0.9, 0.4, 0.4, 0.1], [True, True, False, False])
        0.875
    """
    return _list_curve(scores, labels, weights).auc


def eer(scores: Sequence[float], labels: Sequence[bool], weights: Sequence[float] | None = None) -> float:
    """Equal error rate: where the line through the points of the exact ROC has equal false alarms and misses.

    Args:
        scores: n finite numbers, larger = more alike.
        labels: n booleans: whether the trial is positive.
        weights: n numbers, at least 0; None: equal weights.

    Returns:
        The rate, in [0, 1].

    Raises:
        UserError: Lengths differ, a score is not finite, a weight is negative, or a class has no weight.

    Example:
        >>> eer([0.9, 0.3, 0.4, 0.1], [True, True, False, False])
        0.5
    """
    return _list_curve(scores, labels, weights).eer


def _list_curve(scores: Sequence[float], labels: Sequence[bool], weights: Sequence[float] | None) -> Curve:
    values, truth = np.asarray(scores, np.float64), np.asarray(labels).astype(np.bool_)
    shares = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    if values.ndim != 1 or values.shape != truth.shape or values.shape != shares.shape:
        raise UserError(f"scores, labels and weights have shapes {values.shape}, {truth.shape}, {shares.shape}")
    if not np.isfinite(values).all() or not np.isfinite(shares).all() or (shares < 0).any():
        raise UserError("scores and weights must be finite and weights not negative; drop or correct those trials")
    distinct, place = np.unique(values, return_inverse=True)
    positive, negative = (
        np.bincount(2 * place + 1, shares * side, 2 * len(distinct) + 1).astype(np.float64) for side in (truth, ~truth)
    )
    if not positive.sum() or not negative.sum():
        raise UserError("labels: both positive and negative trials (with a weight) are needed")
    return Curve(positive, negative)
