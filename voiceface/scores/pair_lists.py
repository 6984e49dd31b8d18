"""AUC of pair lists as drawn by the PINs authors: sampled, and over all lists that could have been drawn.

Every voice is in one row of the list. A random half of the rows has a face of the voice's own person, the other half a
face of a person whom the stratum allows; all such faces are equally likely. So people with more clips have more weight,
which the AUC of `voiceface.scores.verification` avoids.
"""

from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.clips import Scorer, Side
from voiceface.scores.kernels.blocks import Rows, map_blocks
from voiceface.scores.kernels.jit import compiled
from voiceface.scores.kernels.thresholds import Cuts
from voiceface.scores.roc import Floats


@dataclass(frozen=True)
class ListAuc:
    """The AUC over all lists of one stratum.

    Attributes:
        auc: Expected share of pairs of a positive and a negative row in which the positive row scores higher, ties
            counted half.
        bound: The exact AUC is within this of `auc`; 0 with at most `MOST_CUTS` distinct positive similarities.
        influence: float64 (J,): first-order effect of each of the J people on the AUC; the sum is 0.
        pairs: Pairs of a voice and a face that a list can contain.
        ties: Negative pairs with the similarity of a positive pair; if `bound` is not 0, only those at a cut.
    """

    auc: float
    bound: float
    influence: NDArray[np.float64]
    pairs: int
    ties: int


def sample_pairs(
    scorer: Scorer,
    voices: Side,
    faces: Side,
    allowed: NDArray[np.bool_],
    rng: np.random.Generator,
    rows: int | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Draw a list and score it.

    Args:
        scorer: Computes the similarities (B, 1) of voices and faces from their places.
        voices: The voices.
        faces: The faces.
        allowed: bool (I, I): the people whose faces may be paired with each person's voices, at least one True.
        rng: Source of the draws.
        rows: Rows of the list, at least 2; None, or more than the number of voices: every voice of the people who have
            an allowed partner.

    Returns:
        The similarity of each row, and whether the row is positive.
    """
    usable = np.flatnonzero(np.logical_or.reduce(allowed, axis=1)[voices.owner])
    number = len(usable) if rows is None else min(rows, len(usable))
    places = np.sort(rng.choice(usable, number, replace=False))
    owner = voices.owner[places]
    positive = np.zeros(number, np.bool_)
    positive[rng.permutation(number)[: (number + 1) // 2]] = True
    pools = np.where(allowed, faces.sizes, 0)
    pools[np.arange(len(pools)), np.arange(len(pools))] = 0
    # The allowed faces of each person, one pool after the other: draw one of them and find its person.
    ends = np.cumsum(pools).reshape(pools.shape)
    first = ends[:, -1] - pools.sum(axis=1)
    drawn = first[owner] + (rng.random(number) * pools.sum(axis=1)[owner]).astype(np.int64)
    cell = np.searchsorted(ends.ravel(), drawn, side="right")
    other = cell % len(pools)
    negative_face = faces.starts[other] + drawn - (ends.ravel() - pools.ravel())[cell]
    own_face = faces.starts[owner] + (rng.random(number) * faces.sizes[owner]).astype(np.int64)
    scores = scorer(places, np.where(positive, own_face, negative_face)[:, None])
    return scores[:, 0], positive


def list_auc(
    similarity_rows: Rows,
    voice_identity: NDArray[np.int64],
    face_counts: NDArray[np.int64],
    masks: NDArray[np.bool_],
    threads: int | None = None,
) -> list[ListAuc | None]:
    """The AUC over all lists of several strata, in two passes over the similarities.

    The positives' similarities are the cuts of the scale, or every n-th of them if there are more than `MOST_CUTS`;
    similarities in the same gap between two cuts count as ties.

    Args:
        similarity_rows: Computes the similarities (B, N) of B voices (by index) to all faces, grouped by person.
        voice_identity: int64 (Nv,), ascending: each voice's identity; all of 0 .. I - 1 occur.
        face_counts: int64 (I,): faces of each person, at least 1.
        masks: bool (S, I, I): the people whose faces may be paired with each person's voices; symmetric, False on the
            diagonal.
        threads: Threads; None: as many as numba may use.

    Returns:
        One AUC per stratum; None if the stratum has no pair of people.
    """
    voices, items = len(voice_identity), int(face_counts.sum())
    starts = np.concatenate([[0], np.cumsum(face_counts)])
    voice_counts = np.bincount(voice_identity)

    def own_scores(rows: NDArray[np.intp], scores: NDArray[Any]) -> NDArray[Any]:
        own = voice_identity[rows]
        return np.concatenate([line[starts[a] : starts[a + 1]] for line, a in zip(scores, own, strict=True)])

    positive_scores = np.concatenate(list(map_blocks(own_scores, similarity_rows, voices, items, threads)))
    cuts = Cuts(positive_scores)
    place = cuts.find(positive_scores)
    owner = np.repeat(voice_identity, face_counts[voice_identity])
    used: NDArray[np.bool_] = np.logical_or.reduce(masks, axis=2)
    voice_weights = used / np.maximum(used @ voice_counts, 1)[:, None]
    own_weights = voice_weights / face_counts  # weight of one positive pair of a person
    other_weights = voice_weights / np.maximum(masks @ face_counts, 1)  # of one negative pair
    positives = np.array([np.bincount(place, own[owner], cuts.places) for own in own_weights])
    higher = np.cumsum(positives[:, ::-1], axis=1)[:, ::-1] - positives / 2  # weight above each place, ties half

    def add_block(rows: NDArray[np.intp], scores: NDArray[Any]) -> tuple[slice, Floats, Floats, NDArray[np.int64]]:
        own = voice_identity[rows]
        owners = slice(int(own[0]), int(own[-1]) + 1)
        part, tied = np.zeros_like(higher), np.zeros(len(masks), np.int64)
        gained = np.zeros((len(masks), owners.stop - owners.start, len(face_counts)))
        _add(cuts.find(scores), own, starts, masks, other_weights, positives, higher, part, gained, tied)
        return owners, part, gained, tied

    negatives, won, ties = np.zeros_like(higher), np.zeros(masks.shape), np.zeros(len(masks), np.int64)
    for owners, part, gained, tied in map_blocks(add_block, similarity_rows, voices, items, threads):
        negatives += part
        won[:, owners] += gained
        ties += tied
    pairs = voice_counts[:, None] * face_counts
    results: list[ListAuc | None] = []
    for s, mask in enumerate(masks):
        if not mask.any():
            results.append(None)
            continue
        auc = float(won[s].sum())
        lower = np.cumsum(negatives[s]) - negatives[s] / 2
        influence = (
            np.bincount(owner, own_weights[s][owner] * lower[place], len(mask)) - auc * voice_weights[s] * voice_counts
        )
        others = won[s] - auc * other_weights[s][:, None] * pairs * mask
        influence += others.sum(axis=0) + others.sum(axis=1)
        bound = float((positives[s] * negatives[s])[0::2].sum()) / 2
        number = int(pairs.diagonal()[used[s]].sum() + pairs[mask].sum())
        results.append(ListAuc(auc, bound, influence[used[s]], number, int(ties[s])))
    return results


@compiled
@no_type_check
def _add(all_places, own, starts, masks, weights, positives, higher, negatives, won, tied):
    for row in range(len(all_places)):
        me = own[row]
        for other in range(masks.shape[2]):
            first, last = starts[other], starts[other + 1]
            places = all_places[row, first:last]
            for stratum in range(len(masks)):
                if masks[stratum, me, other]:
                    weight, above, ties = weights[stratum, me], 0.0, 0
                    for item in range(last - first):
                        place = places[item]
                        negatives[stratum, place] += weight
                        above += higher[stratum, place]
                        ties += place & 1 and positives[stratum, place] > 0.0
                    won[stratum, me - own[0], other] += weight * above
                    tied[stratum] += ties
