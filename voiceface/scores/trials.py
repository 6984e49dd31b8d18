"""Score embeddings on the rows of a trial list."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.clip_keys import Clip, locate
from voiceface.scores.confidence import PEOPLE_PER_CANDIDATE, student_interval
from voiceface.scores.ranking import rank
from voiceface.scores.records import record
from voiceface.scores.retrieval import available_k
from voiceface.scores.roc import Curve
from voiceface.scores.tasks import ranking_records
from voiceface.scores.trial_formats import Trials
from voiceface.scores.trial_similarity import ListSimilarity
from voiceface.utils.errors import UserError

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

Interval = Callable[[float, Floats], tuple[float, float] | None]
"""Computes the interval of a score from the score and the effect of each row on it."""

MOST_MISSING = 0.01  # maximum share of a list without embeddings


@dataclass(frozen=True)
class ListScore:
    """The scores of one trial list, and its coverage.

    Attributes:
        records: Records of `voiceface.scores.score`; `protocol` is the list's name.
        rows: Rows of the list: pairs, matching trials, or queries.
        scored: Rows whose clips all have an embedding. A query needs one, and an item of its person needs one.
        positives: Positive pairs among the scored rows; in retrieval pairs of a query and an item of its person.
        missing: Distinct clips of the list without an embedding.
    """

    records: list[dict[str, Any]]
    rows: int
    scored: int
    positives: int
    missing: int


def score_trials(
    trials: Trials,
    voices: NDArray[Any] | None,
    voice_identity: Sequence[str],
    voice_key: Sequence[str],
    faces: NDArray[Any] | None,
    face_identity: Sequence[str],
    face_key: Sequence[str],
    similarity: Literal["cosine", "euclidean"] | NDArray[Any] = "cosine",
    level: float = 0.95,
    people: Mapping[str, str] | None = None,
) -> ListScore:
    """Score embeddings on one trial list.

    Verification gives AUC and EER; matching gives accuracy, where tied candidates share the win; retrieval gives mAP,
    R@K and the median rank within the list's gallery. Rows that name a clip without an embedding are left out, up to 1
    %.

    Intervals use people as the sampling unit: `student_interval` of the first-order effect e(a) of each person. AUC
    (`identity`): a's positive rows add (share of negatives below - AUC) / positives, the negative rows of a's voice or
    face (share of positives above - AUC) / negatives; EER likewise with the misses and false alarms at its threshold,
    in the proportion of the slopes there. Accuracy (`identity`): rows with a as the person of the probe or of another
    candidate add (credit - accuracy) / rows, which for 1:2 is `identity_interval` with row counts as weights; 1:N has
    an interval from 5 N people up. mAP and R@K (`identity (queries)`): a's queries, with the gallery fixed. The median
    rank has no interval.

    Args:
        trials: The list.
        voices: float (Nv, D): embeddings; None where `similarity` is a matrix.
        voice_identity: Nv names: identity of each voice.
        voice_key: Nv keys: the clip of each voice, in any spelling that `parse_clip` understands.
        faces: float (Nf, D): embeddings; None where `similarity` is a matrix.
        face_identity: Nf names: identity of each face.
        face_key: Nf keys: the image of each face.
        similarity: "cosine", "euclidean" (the negative distance), or a matrix (Nv, Nf) of any similarities, larger =
            more alike. The matrix, or the embeddings, may be a memory map: only the parts that the list needs are read.
        level: Confidence level of the intervals, in (0, 1).
        people: Canonical name for each alias of a person, as in `read_trials`.

    Returns:
        The records, all in stratum U (the list's name tells how it was sampled), and the coverage.

    Raises:
        UserError: Sizes differ, two keys name one clip, more than 1 % of the list has no embeddings, the identities
            contradict the list, or an embedding that the list needs is not finite or, under cosine, zero.
    """
    if not 0.0 < level < 1.0:
        raise UserError(f"level: {level} is not between 0 and 1; use a fraction such as 0.95")
    aliases = people or {}
    voice_at = _find(trials.voices, "voice", voice_identity, voice_key, aliases)
    face_at = _find(trials.faces, "face", face_identity, face_key, aliases)
    voice_owner, face_owner = _owners(trials, voice_at, voice_identity, face_at, face_identity, aliases)
    asks, met = (face_owner, voice_owner) if trials.direction == "f2v" else (voice_owner, face_owner)
    if trials.kind == "retrieval":
        there = np.isin(asks[trials.query], met[met >= 0])
        lacking = max(float(np.mean(~there)), float(np.mean(met < 0)))
    else:
        there = (asks[trials.query] >= 0) & (met[trials.candidates] >= 0).all(axis=1)
        lacking = float(np.mean(~there))
    lost = [clip.name for clip, owner in zip(trials.queries, asks, strict=True) if owner < 0]
    lost += [clip.name for clip, owner in zip(trials.gallery, met, strict=True) if owner < 0]
    if lacking > MOST_MISSING:
        hint = (
            ""
            if aliases
            else "; if keys and list name people in two ways, give vox1_meta.csv as the table of identities"
        )
        raise UserError(
            f"{trials.source}: {int((~there).sum())} of {len(there)} rows cannot be scored, the embeddings lack"
            f" {len(lost)} of its clips, such as {lost[0]!r}; embed them, 1 % may lack{hint}"
        )
    similar = ListSimilarity(similarity, voices, voice_at, voice_key, faces, face_at, face_key)
    query = trials.query[there]
    if trials.kind == "retrieval":
        records, positives = _retrieval(trials, similar, query, asks, met, level)
    else:
        candidates, labels = trials.candidates[there], trials.labels[there]
        records, positives = _rows(trials, similar, query, candidates, labels, asks, met, level), int(labels.sum())
    return ListScore(records, len(there), int(there.sum()), positives, len(lost))


def _rows(
    trials: Trials,
    similar: ListSimilarity,
    query: Places,
    candidates: Places,
    labels: NDArray[np.bool_],
    asks: Places,
    met: Places,
    level: float,
) -> list[dict[str, Any]]:
    """Compute the records of verification and matching."""
    people = np.column_stack([asks[query], met[candidates]])
    wrong = ((people[:, :1] == people[:, 1:]) != labels).any(axis=1)
    if wrong.any():
        first = int(np.argmax(wrong))
        clips = [trials.queries[query[first]].name, *(trials.gallery[item].name for item in candidates[first])]
        raise UserError(f"{trials.source}: whose {', '.join(clips)} are differs between the list and the embeddings")
    scores = similar.pairs(trials.direction != "f2v", query, candidates)
    used, place = np.unique(people, return_inverse=True)
    place = place.reshape(people.shape)
    # A row affects its query's person and the people of the other candidates.
    row, column = np.nonzero(~labels)
    concerned = np.concatenate([place[:, 0], place[row, column + 1]])
    by = np.concatenate([np.arange(len(query)), row])

    def interval(value: float, effect: Floats) -> tuple[float, float] | None:
        return student_interval(value, _sums(concerned, effect[by]), level)

    common = {"identities": len(used), "trials": len(query), "protocol": trials.name, "level": level}
    common["method"] = "identity"
    if trials.kind == "matching":
        return [_accuracy(trials, scores, labels, interval, common)]
    return _verification(scores[:, 0], labels[:, 0], interval, common)


def _accuracy(
    trials: Trials, scores: NDArray[Any], labels: NDArray[np.bool_], interval: Interval, common: dict[str, Any]
) -> dict[str, Any]:
    best, own = scores.max(axis=1), scores[labels]
    shared = (scores == best[:, None]).sum(axis=1)
    credit = np.where(own == best, 1.0 / shared, 0.0)
    value = float(credit.mean())
    enough = scores.shape[1] == 2 or common["identities"] >= PEOPLE_PER_CANDIDATE * scores.shape[1]
    return record(
        "matching",
        trials.direction,
        "accuracy",
        value,
        n=scores.shape[1],
        chance=1.0 / scores.shape[1],
        ties=int(((own == best) & (shared > 1)).sum()),
        interval=interval(value, (credit - value) / len(credit)) if enough else None,
        **common,
    )


def _verification(
    scores: NDArray[Any], positive: NDArray[np.bool_], interval: Interval, common: dict[str, Any]
) -> list[dict[str, Any]]:
    distinct, place = np.unique(scores, return_inverse=True)
    spot, spots = 2 * place + 1, 2 * len(distinct) + 1
    positives, negatives = (
        np.bincount(spot[side], minlength=spots).astype(np.float64) for side in (positive, ~positive)
    )
    curve = Curve(positives, negatives)
    number = np.where(positive, positives.sum(), negatives.sum())
    higher = 1.0 - (np.cumsum(positives) - positives / 2) / positives.sum()
    won = np.where(positive, curve.lower[spot], higher[spot])
    wrong = np.where(positive, spot < curve.threshold, spot > curve.threshold) + 0.5 * (spot == curve.threshold)
    wrong -= np.where(positive, wrong[positive].mean(), wrong[~positive].mean())
    error = wrong * np.where(positive, curve.miss_share, 1.0 - curve.miss_share)
    common |= {"n": 1, "chance": 0.5, "ties": int((positives + negatives)[(positives > 0) & (negatives > 0)].sum())}
    return [
        record(
            "verification", "both", "AUC", curve.auc, interval=interval(curve.auc, (won - curve.auc) / number), **common
        ),
        record("verification", "both", "EER", curve.eer, interval=interval(curve.eer, error / number), **common),
    ]


def _retrieval(
    trials: Trials, similar: ListSimilarity, query: Places, asks: Places, met: Places, level: float
) -> tuple[list[dict[str, Any]], int]:
    """Compute the retrieval records, and the number of pairs of a query and an item of its person."""
    asking = np.unique(asks[query])
    number = np.full(int(max(asks.max(), met.max())) + 1, -1, np.int64)
    number[asking] = np.arange(len(asking))
    others = np.setdiff1d(met[met >= 0], asking)
    number[others] = len(asking) + np.arange(len(others))
    query = query[np.argsort(number[asks[query]], kind="stable")]
    items = np.flatnonzero(met >= 0)
    items = items[np.argsort(number[met[items]], kind="stable")]
    person, sizes = number[asks[query]], np.bincount(number[met[items]])
    rows = similar.rows(trials.direction == "v2f", query, items)
    (ranking,) = rank(rows, person, sizes, ks=available_k(len(items)))
    if ranking is None:
        raise UserError(f"{trials.source}: all items are of one person; give a gallery of at least two people")
    records = ranking_records(ranking, trials.direction, level, trials.name, "U")
    return records, int(ranking.ranks.relevant.sum())


def _find(
    clips: Sequence[Clip], kind: str, identity: Sequence[str], key: Sequence[str], people: Mapping[str, str]
) -> Places:
    if len(identity) != len(key):
        raise UserError(f"{kind}_key: {len(key)} keys for {len(identity)} identities; give one of each per embedding")
    return locate(clips, key, people, f"{kind}_key")


def _owners(
    trials: Trials,
    voice_at: Places,
    voice_identity: Sequence[str],
    face_at: Places,
    face_identity: Sequence[str],
    aliases: Mapping[str, str],
) -> tuple[Places, Places]:
    """Number the person of each of the list's voices and faces by the embeddings' identities; -1 = no embedding.

    Names may differ between list and embeddings, but must correspond one to one.
    """
    number: dict[str, int] = {}
    listed: dict[str, str] = {}
    given: dict[str, str] = {}
    owners = []
    for clips, places, identity in (
        (trials.voices, voice_at, voice_identity),
        (trials.faces, face_at, face_identity),
    ):
        owner = np.full(len(clips), -1, np.intp)
        for index, (clip, place) in enumerate(zip(clips, places.tolist(), strict=True)):
            if place < 0:
                continue
            name = str(identity[place])
            name = aliases.get(name, name)
            owner[index] = number.setdefault(name, len(number))
            if clip.person and (
                listed.setdefault(name, clip.person) != clip.person or given.setdefault(clip.person, name) != name
            ):
                others = f"{given.get(clip.person, clip.person)!r} or {listed[name]!r}"
                raise UserError(
                    f"{trials.source}: {clip.name!r} is of {clip.person!r}, but its embedding's identity is {name!r};"
                    f" other clips say {others}; correct the identities, or give the table of identities"
                )
        owners.append(owner)
    return owners[0], owners[1]


def _sums(groups: Places, values: Floats) -> Floats:
    """Sum the values of each group 0, 1, ..."""
    sums: Floats = np.bincount(groups, values).astype(np.float64)
    return sums
