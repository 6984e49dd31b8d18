"""Verification: is this face the speaker? A threshold on the similarity of one voice and one face.

Positives are pairs of one identity, negatives pairs of two identities that agree on the stratum. A pair (v, f) of
identities (a, b) weighs 1 / (voices of a x faces of b), so every identity weighs alike among the positives and every
ordered pair of identities alike among the negatives. Only the positives are sorted; a negative is put between two of
them. Between two positives the ROC is a horizontal line, so these counts hold the exact ROC, whatever the number of
negatives, and nothing is binned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from voiceface.errors import UserError
from voiceface.scores.blocks import for_blocks
from voiceface.scores.compiled import compiled
from voiceface.scores.confidence import student_interval
from voiceface.scores.similarity import Rows

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Verification:
    """Verification scores of one stratum.

    Attributes:
        auc: Area under the ROC, in [0, 1].
        eer: Equal error rate, in [0, 1].
        influence: float64 (J,): first-order effect of each of the J identities on the AUC; it sums to 0.
        pairs: Positive and negative pairs of a voice and a face.
        ties: Those whose similarity both a positive and a negative pair have.
    """

    auc: float
    eer: float
    influence: Floats
    pairs: int
    ties: int

    def interval(self, level: float) -> tuple[float, float] | None:
        """Interval of the AUC when people are the sampling unit; None with fewer than 3 people."""
        return student_interval(self.auc, self.influence, level)


def auc(scores: Sequence[float], labels: Sequence[bool], weights: Sequence[float] | None = None) -> float:
    """Area under the ROC: P(positive > negative) + 1/2 P(=), never a grid of thresholds.

    Args:
        scores: n finite numbers, larger = more alike.
        labels: n truth values: whether the trial is a positive one.
        weights: n numbers, at least 0; None: all alike.

    Returns:
        The area, in [0, 1].

    Raises:
        UserError: Lengths differ, a score is not finite, a weight is negative, or a class has no weight.
    """
    return _area(*_list_curve(scores, labels, weights))


def eer(scores: Sequence[float], labels: Sequence[bool], weights: Sequence[float] | None = None) -> float:
    """Equal error rate: where the line through the points of the exact ROC has as many false alarms as misses.

    Args:
        scores: n finite numbers, larger = more alike.
        labels: n truth values: whether the trial is a positive one.
        weights: n numbers, at least 0; None: all alike.

    Returns:
        The rate, in [0, 1].

    Raises:
        UserError: Lengths differ, a score is not finite, a weight is negative, or a class has no weight.
    """
    return _equal_error(*_list_curve(scores, labels, weights))


def verify(
    similarity_rows: Rows,
    voice_identity: NDArray[np.int64],
    face_counts: NDArray[np.int64],
    masks: NDArray[np.bool_],
    threads: int | None = None,
) -> list[Verification | None]:
    """Verification scores of several strata in one pass over the similarities.

    Args:
        similarity_rows: Gives the similarities (B, N) of B voices (by index) to all faces, which lie identity by
            identity.
        voice_identity: int64 (Nv,), ascending: each voice's identity; all of 0 .. I - 1 occur.
        face_counts: int64 (J,), J >= I: faces of each identity, at least 1 for the first I; the faces of the others
            are not used.
        masks: bool (S, I, I): the pairs (identity of the voice, of the face) of each stratum; False on the diagonal.
            The positives of a stratum are those of the identities that its pairs hold.
        threads: Threads that count; None: as many as numba may use.

    Returns:
        One `Verification` per stratum, None for a stratum without a pair. Memory: the positives' similarities and, per
        stratum, 20 bytes for each distinct one, beside one block of similarities per thread.
    """
    identities = masks.shape[1]
    voice_counts = np.bincount(voice_identity)
    starts = np.concatenate([[0], np.cumsum(face_counts)])
    own_scores: list[NDArray[Any]] = [np.empty(0)] * len(voice_identity)

    def keep_positives(rows: NDArray[np.intp]) -> None:
        for row, line in zip(rows, similarity_rows(rows), strict=True):
            own_scores[row] = line[starts[voice_identity[row]] : starts[voice_identity[row] + 1]].copy()

    for_blocks(keep_positives, len(voice_identity), int(starts[-1]), threads)
    values, place = np.unique(np.concatenate(own_scores), return_inverse=True)
    owner = np.repeat(voice_identity, face_counts[voice_identity])
    weight = 1.0 / (voice_counts * face_counts[:identities])[owner]
    used: NDArray[np.bool_] = np.logical_or(masks.any(axis=1), masks.any(axis=2))
    positives = np.array([np.bincount(place, weight * u[owner], len(values)) for u in used])
    positive_counts = np.array([np.bincount(place[u[owner]], minlength=len(values)) for u in used])
    # Weight of the positives above each of the 2 U + 1 places: before, at, between ... the U distinct similarities.
    survival = np.zeros((len(masks), 2 * len(values) + 1))
    upwards = np.cumsum(positives[:, ::-1], axis=1)[:, ::-1]
    survival[:, 0:-1:2] = upwards
    survival[:, 1::2] = upwards - positives / 2

    table, low, scale = _interval_table(values)
    pairs_at = np.ascontiguousarray(masks.transpose(1, 2, 0))
    negatives = np.zeros_like(survival)
    tie_counts = np.zeros((len(masks), len(values)), np.int64)
    effect = np.zeros((len(masks), identities))

    def add_block(rows: NDArray[np.intp]) -> None:
        scores = np.ascontiguousarray(similarity_rows(rows))
        places = np.empty((len(rows), int(starts[identities])), np.int32)
        _find_places(scores, values, table, low, scale, places)
        own = voice_identity[rows]
        _add_negatives(places, own, voice_counts, starts, pairs_at, survival, negatives, tie_counts, effect)

    # One thread, for a sum of fractions depends on its order, and a result must not change from run to run.
    for_blocks(add_block, len(voice_identity), int(starts[-1]), threads=1)
    results: list[Verification | None] = []
    for s, mask in enumerate(masks):
        if not mask.any():
            results.append(None)
            continue
        curve = positives[s], negatives[s, 1::2], negatives[s, 0::2]
        area = _area(*curve)
        people, pairs = float(used[s].sum()), float(mask.sum())
        # weight of the negatives below each positive, summed per identity
        below = np.cumsum(negatives[s])[0:-1:2] + negatives[s, 1::2] / 2
        own_effect = np.bincount(owner, weight * used[s][owner] * below[place], identities)
        influence = (own_effect / pairs - area * used[s]) / people
        influence += (effect[s] / people - area * (mask.sum(axis=0) + mask.sum(axis=1))) / pairs
        both = tie_counts[s] > 0
        trials = int(positive_counts[s].sum()) + int((voice_counts @ mask @ face_counts[:identities]).sum())
        ties = int(positive_counts[s][both].sum() + tie_counts[s][positive_counts[s] > 0].sum())
        results.append(Verification(area, _equal_error(*curve), influence[used[s]], trials, ties))
    return results


def _list_curve(
    scores: Sequence[float], labels: Sequence[bool], weights: Sequence[float] | None
) -> tuple[Floats, Floats, Floats]:
    values, truth = np.asarray(scores, np.float64), np.asarray(labels).astype(np.bool_)
    shares = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    if values.ndim != 1 or values.shape != truth.shape or values.shape != shares.shape:
        raise UserError(f"scores, labels and weights have shapes {values.shape}, {truth.shape}, {shares.shape}")
    if not np.isfinite(values).all() or not np.isfinite(shares).all() or (shares < 0).any():
        raise UserError("scores and weights must be finite and weights not negative; drop or mend those trials")
    distinct, place = np.unique(values, return_inverse=True)
    sides = [np.bincount(place, shares * side, len(distinct)) for side in (truth, ~truth)]
    positive, negative = (side.astype(np.float64) for side in sides)
    if not positive.sum() or not negative.sum():
        raise UserError("labels: both positive and negative trials (with a weight) are needed")
    return positive, negative, np.zeros(len(distinct) + 1)


def _area(positive: Floats, equal: Floats, between: Floats) -> float:
    """AUC from the weights at U ascending values and of negatives at them and between them (U + 1, ends included)."""
    below = np.cumsum(between)[:-1] + np.cumsum(equal) - equal / 2
    return min(1.0, float(positive @ below) / float(positive.sum() * (equal.sum() + between.sum())))


def _equal_error(positive: Floats, equal: Floats, between: Floats) -> float:
    """EER from the same: false alarms grow from 0 to 1 and misses fall from 1 to 0 as the threshold falls."""
    steps = len(positive)
    alarms, hits = np.zeros((2, 2 * steps + 2))
    alarms[1::2], alarms[2::2] = between[::-1], equal[::-1]
    hits[2::2] = positive[::-1]
    alarms, hits = np.cumsum(alarms) / alarms.sum(), np.cumsum(hits) / hits.sum()
    excess = alarms - (1.0 - hits)
    after = min(max(int(np.searchsorted(excess, 0.0)), 1), len(excess) - 1)
    step = excess[after] - excess[after - 1]
    share = -excess[after - 1] / step if step > 0 else 0.0
    return float(alarms[after - 1] + share * (alarms[after] - alarms[after - 1]))


def _interval_table(values: NDArray[Any]) -> tuple[NDArray[np.int32], float, float]:
    """First value of each of many equal intervals, so that few values remain to be compared with a score."""
    intervals = min(4 * len(values), 1 << 24)
    low, high = float(values[0]), float(values[-1])
    scale = intervals / max(high - low, 1e-300)
    if scale == 0.0 or not math.isfinite(scale) or not math.isfinite(high - low):
        low, scale = 0.0, 0.0
    position = np.clip((values.astype(np.float64) - low) * scale + 1.0, 0.0, intervals + 1.0).astype(np.int64)
    return np.concatenate([[0], np.cumsum(np.bincount(position, minlength=intervals + 2))]).astype(np.int32), low, scale


@compiled
@no_type_check
def _find_places(scores, values, table, low, scale, places):
    """Write the place of each score among the U ascending values: 2 i at a gap before value i, 2 i + 1 at the value."""
    most = np.float64(len(table) - 2)
    for row in range(len(places)):
        for item in range(places.shape[1]):
            score = scores[row, item]
            index = np.int64(min(max((np.float64(score) - low) * scale + 1.0, 0.0), most))
            place, end = table[index], table[index + 1]
            while place < end:
                middle = (place + end) >> 1
                if values[middle] < score:
                    place = middle + 1
                else:
                    end = middle
            hit = place < len(values) and values[place] == score
            places[row, item] = 2 * place + hit


@compiled
@no_type_check
def _add_negatives(places, own, voice_counts, starts, pairs_at, survival, negatives, tie_counts, effect):
    for row in range(len(places)):
        voice = own[row]
        for face in range(pairs_at.shape[1]):
            weight = 1.0 / (voice_counts[voice] * (starts[face + 1] - starts[face]))
            for stratum in range(pairs_at.shape[2]):
                if not pairs_at[voice, face, stratum]:
                    continue
                won = 0.0
                for item in range(starts[face], starts[face + 1]):
                    place = places[row, item]
                    negatives[stratum, place] += weight
                    won += survival[stratum, place]
                    if place & 1:
                        tie_counts[stratum, place >> 1] += 1
                effect[stratum, voice] += weight * won
                effect[stratum, face] += weight * won
