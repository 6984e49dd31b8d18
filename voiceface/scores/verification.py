"""Verification: is this face the speaker? A threshold on the similarity of one voice and one face.

Positives are pairs of one identity, negatives pairs of two identities that agree on the stratum. A pair (v, f) of
identities (a, b) has weight 1 / (voices of a x faces of b), so all identities have equal weight among the positives and
all ordered pairs of identities among the negatives. The positives' similarities are the cuts of the scale: each
distinct one is a place of its own, and so is each gap between two. If there are very many
(`voiceface.scores.kernels.thresholds`), only every n-th is a cut, and positives and negatives in the same gap count as
ties; the error bound says how far that can move a score.
"""

from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.kernels.blocks import Rows, map_blocks, sum_blocks
from voiceface.scores.kernels.jit import compiled
from voiceface.scores.kernels.rank_counts import Score
from voiceface.scores.kernels.thresholds import Cuts
from voiceface.scores.roc import Curve, Floats


@dataclass(frozen=True)
class Verification:
    """Verification scores of one stratum.

    Attributes:
        auc: Area under the ROC, in [0, 1].
        eer: Equal error rate, in [0, 1].
        auc_bound: The exact AUC is within this of `auc`; 0 if it is exact.
        eer_bound: Likewise for `eer`.
        auc_influence: float64 (J,): first-order effect of each of the J identities on the AUC; it sums to 0.
        eer_influence: float64 (J,): likewise on the EER.
        pairs: Positive and negative pairs of a voice and a face.
        ties: Negative pairs that tie with a positive pair (an upper bound if the scores are not exact).
        roc: float64 (101,): share of positives accepted at 0, 1, ... 100 % of accepted negatives.
    """

    auc: float
    eer: float
    auc_bound: float
    eer_bound: float
    auc_influence: Floats
    eer_influence: Floats
    pairs: int
    ties: int
    roc: Floats


def verify(
    similarity_rows: Rows,
    voice_identity: NDArray[np.int64],
    face_counts: NDArray[np.int64],
    masks: NDArray[np.bool_],
    threads: int | None = None,
    positive_scores: NDArray[Any] | None = None,
) -> list[Verification | None]:
    """Score verification in several strata: two passes over the similarities, and one for the positives.

    Args:
        similarity_rows: Computes the similarities (B, N) of B voices (by index) to all faces, which are grouped by
            identity. They are finite, or NaN for an excluded face of the voice's own identity.
        voice_identity: int64 (Nv,), ascending: each voice's identity; all of 0 .. I - 1 occur.
        face_counts: int64 (J,), J >= I: faces of each identity, at least 1 for the first I; the rest are unused.
        masks: bool (S, I, I): the pairs (identity of the voice, of the face) of each stratum; False on the diagonal.
            The positives of a stratum are those of the identities in its pairs.
        threads: Threads; None: as many as numba may use.
        positive_scores: Result of `positive_pairs` in another pass; None: computed here.

    Returns:
        One `Verification` per stratum, None for a stratum without a pair. Peak memory: about 50 bytes per positive pair
        and, per stratum, 24 for each of at most `MOST_CUTS` cuts, plus one block of similarities per thread.
    """
    identities = masks.shape[1]
    voices, items = len(voice_identity), int(face_counts.sum())
    voice_counts = np.bincount(voice_identity)
    starts = np.concatenate([[0], np.cumsum(face_counts)])

    if positive_scores is None:
        score = positive_pairs(voice_identity, face_counts)
        for own_scores in map_blocks(
            lambda rows, lines: _own(lines, voice_identity[rows], starts), similarity_rows, voices, items, threads
        ):
            score.add(own_scores)
        positive_scores = score.result()
    owner = np.repeat(voice_identity, face_counts[voice_identity])
    valid = ~np.isnan(positive_scores)
    positive_scores, owner = positive_scores[valid], owner[valid]
    own_pairs = np.bincount(owner, minlength=identities)
    used: NDArray[np.bool_] = np.logical_or(masks.any(axis=1), masks.any(axis=2)) & (own_pairs > 0)

    cuts = Cuts(positive_scores)
    place = cuts.find(positive_scores)
    weight = 1.0 / own_pairs[owner]
    positives = np.array([np.bincount(place, weight * u[owner], cuts.places) for u in used])
    higher = np.cumsum(positives[:, ::-1], axis=1)[:, ::-1] - positives / 2  # weight above each place, ties half
    # Pairs that belong to the same strata share one histogram.
    kinds, kind = np.unique(masks.reshape(len(masks), -1), axis=1, return_inverse=True)
    kind = kind.reshape(identities, identities)

    gains, tied_at = higher.astype(np.float32), positives.any(axis=0)
    takes_part = kinds.any(axis=0)

    def start() -> tuple[Floats, NDArray[np.int64], Floats]:
        shape = kinds.shape[1], higher.shape[1]
        return np.zeros(shape), np.zeros(shape[0], np.int64), np.zeros((len(masks), identities))

    def add_block(sums: tuple[Floats, NDArray[np.int64], Floats], rows: NDArray[np.intp], scores: NDArray[Any]) -> None:
        _add_negatives(
            cuts.find(scores),
            voice_identity[rows],
            voice_counts,
            starts,
            kind,
            kinds.T,
            takes_part,
            tied_at,
            gains,
            *sums,
        )

    weights, numbers, effect = start()
    for part in sum_blocks(start, add_block, similarity_rows, voices, items, threads):
        weights += part[0]
        numbers += part[1]
        effect += part[2]
    negatives, ties = kinds @ weights, kinds @ numbers

    curves = [Curve(p, n) if n.any() and p.any() else None for p, n in zip(positives, negatives, strict=True)]
    thresholds = np.array([cuts.values[min(c.threshold // 2, len(cuts.values) - 1)] if c else 0.0 for c in curves])

    pairs_at = np.ascontiguousarray(masks.transpose(1, 2, 0))

    def alarms_of(rows: NDArray[np.intp], scores: NDArray[Any]) -> Floats:
        alarms = np.zeros((len(masks), identities))
        _add_alarms(scores, voice_identity[rows], voice_counts, starts, pairs_at, thresholds, alarms)
        return alarms

    alarms = sum(map_blocks(alarms_of, similarity_rows, voices, items, threads), np.zeros((len(masks), identities)))
    results: list[Verification | None] = []
    for s, (mask, curve) in enumerate(zip(masks, curves, strict=True)):
        if curve is None:
            results.append(None)
            continue
        # The effect of a person: as the owner of positives, and as voice and as face in pairs of negatives.
        people, pairs = float(used[s].sum()), float(mask.sum())
        in_pairs = mask.sum(axis=0) + mask.sum(axis=1)
        own_below = np.bincount(owner, weight * curve.lower[place], identities)
        area = (own_below - curve.auc) * used[s] / people
        area += (effect[s] / people - curve.auc * in_pairs) / pairs
        share = (positive_scores < thresholds[s]) + 0.5 * (positive_scores == thresholds[s])
        missed = np.bincount(owner, weight * share, identities)
        miss = (missed - missed[used[s]].mean()) * used[s] / people
        alarm = (alarms[s] - alarms[s].sum() / 2 / pairs * in_pairs) / pairs
        error = curve.miss_share * miss + (1.0 - curve.miss_share) * alarm
        counted = used[s] | (in_pairs > 0)
        trials = int(own_pairs[used[s]].sum()) + int((voice_counts @ mask @ face_counts[:identities]).sum())
        results.append(
            Verification(
                curve.auc,
                curve.eer,
                curve.auc_bound,
                curve.eer_bound,
                area[counted],
                error[counted],
                trials,
                int(ties[s]),
                curve.hits,
            )
        )
    return results


def positive_pairs(voice_identity: NDArray[np.int64], face_counts: NDArray[np.int64]) -> Score:
    """Collect each voice's similarities to its identity's faces, voice by voice, as a part of a pass."""
    starts = np.concatenate([[0], np.cumsum(face_counts)])
    found: list[NDArray[Any]] = []
    return Score(lambda placed: _own(placed.lines, placed.own, starts), found.append, lambda: np.concatenate(found))


def _own(lines: NDArray[Any], own: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[Any]:
    return np.concatenate([line[starts[a] : starts[a + 1]] for a, line in zip(own, lines, strict=True)])


@compiled
@no_type_check
def _add_negatives(all_places, own, voice_counts, starts, kind, kinds, used, positive, higher, negatives, ties, effect):
    """Process one kind of pairs after the other, for all voices of an identity: its histogram stays in the cache."""
    last_row = 0
    for first_row in range(len(all_places)):
        if first_row < last_row:
            continue
        voice = own[first_row]
        last_row = first_row
        while last_row < len(all_places) and own[last_row] == voice:
            last_row += 1
        for face in np.argsort(kind[voice]):
            group = kind[voice, face]
            if not used[group]:
                continue
            first, last = starts[face], starts[face + 1]
            weight = 1.0 / (voice_counts[voice] * (last - first))
            for row in range(first_row, last_row):
                places = all_places[row, first:last]
                tied = 0
                for item in range(np.uint64(last - first)):
                    place = np.uint64(places[item])
                    negatives[group, place] += weight
                    tied += positive[place]
                ties[group] += tied
                for stratum in range(kinds.shape[1]):
                    if kinds[group, stratum]:
                        won = np.float32(0.0)
                        for item in range(np.uint64(last - first)):
                            won += higher[stratum, np.uint64(places[item])]
                        effect[stratum, voice] += weight * won
                        effect[stratum, face] += weight * won


@compiled
@no_type_check
def _add_alarms(scores, own, voice_counts, starts, pairs_at, thresholds, alarms):
    for row in range(len(scores)):
        voice = own[row]
        for face in range(pairs_at.shape[1]):
            first, last = starts[face], starts[face + 1]
            for stratum in range(pairs_at.shape[2]):
                if pairs_at[voice, face, stratum]:
                    high = 0
                    for item in range(np.uint64(first), np.uint64(last)):
                        high += 2 * (scores[row, item] > thresholds[stratum]) + (
                            scores[row, item] == thresholds[stratum]
                        )
                    share = high / (2.0 * voice_counts[voice] * (last - first))
                    alarms[stratum, voice] += share
                    alarms[stratum, face] += share
