"""Linear probes: which attributes of a person are linearly separable in the embedding space (Kim et al. 2018, 4.5).

One linear SVM per attribute value, one value against all others, on voices and on faces separately. People, not clips,
are split: no person is in both training and holdout. The holdout has as many people and clips with the value as
without.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from voiceface.scores.records import record
from voiceface.scores.strata import values_of
from voiceface.utils.errors import UserError

LEAST_PEOPLE = 5  # with the value, and without it
HOLDOUT = 0.2  # share of the rarer side's people
MARGIN = 0.05  # a score this near to chance counts as chance
SWAPS = 64  # relabellings of a holdout over which chance is averaged
NOT_ATTRIBUTES = ("identity", "split", "set")  # columns that identify or place a person, not describe them

Identities = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Probe:
    """One value of one attribute, and the people who have it.

    Attributes:
        attribute: Column of the identities table.
        value: The value, in lower case; ages are bands.
        people: Sorted names of those with the value.
        others: Sorted names of those with another known value.
    """

    attribute: str
    value: str
    people: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def stratum(self) -> str:
        """Name in a record, such as `gender=m`."""
        return f"{self.attribute}={self.value}"


def attribute_values(names: Sequence[str], identities: Identities) -> dict[str, list[str]]:
    """Collect the known values of every attribute, in the form that strata compare.

    Args:
        names: People, in any order.
        identities: Attributes of each; empty or missing = unknown.

    Returns:
        Attribute to one value per name, in lower case, numbers as age by decade, "" if unknown. The columns `identity`,
        `split` and `set` are not attributes.
    """
    rows = [identities.get(name, {}) for name in names]
    columns = [c for c in dict.fromkeys(c for row in rows for c in row) if c not in NOT_ATTRIBUTES]
    found = {column: values_of(rows, column) for column in columns}
    return {column: values for column, values in found.items() if any(values)}


def rows_by_person(identity: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """Map each name, sorted, to the indices of that person's clips, ascending."""
    names = np.asarray(identity).astype(np.str_)
    order = np.argsort(names, kind="stable")
    people, starts = np.unique(names[order], return_index=True)
    return dict(zip(people.tolist(), np.split(order, starts)[1:], strict=True))


def plan_probes(names: Sequence[str], identities: Identities) -> tuple[list[Probe], list[dict[str, str]]]:
    """List the values that can be probed.

    Args:
        names: People who have a clip of the modality; duplicates are ignored.
        identities: Attributes of each; empty or missing = unknown, which excludes the person from that attribute.

    Returns:
        The probes, attribute by attribute, and the values left out for lack of people: dicts with the keys attribute,
        value (empty: all of its values), reason.
    """
    people = sorted(set(names))
    probes: list[Probe] = []
    left_out: list[dict[str, str]] = []
    for attribute, own in attribute_values(people, identities).items():
        known = [(name, value) for name, value in zip(people, own, strict=True) if value]
        values = sorted({value for _, value in known})
        sides = {v: (tuple(n for n, w in known if w == v), tuple(n for n, w in known if w != v)) for v in values}
        few = [value for value, side in sides.items() if min(map(len, side)) < LEAST_PEOPLE]
        probes += [Probe(attribute, value, *side) for value, side in sides.items() if value not in few]
        if few == values:
            reason = f"none of its {len(values)} values has {LEAST_PEOPLE} people with it and {LEAST_PEOPLE} without"
            left_out.append({"attribute": attribute, "value": "", "reason": reason})
            continue
        for value in few:
            has, others = map(len, sides[value])
            reason = f"{has} people with it and {others} without; needs {LEAST_PEOPLE} of each"
            left_out.append({"attribute": attribute, "value": value, "reason": reason})
    return probes, left_out


def probe_records(
    voices: NDArray[Any] | None,
    voice_identity: Sequence[str],
    faces: NDArray[Any] | None,
    face_identity: Sequence[str],
    identities: Identities,
    trials: int = 20,
    level: float = 0.99,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Probe every attribute value with enough people (`plan_probes`), in voices and in faces.

    Args:
        voices: float (Nv, D), finite; None: faces only.
        voice_identity: Nv names.
        faces: float (Nf, D), finite; None: voices only. D may differ from that of the voices.
        face_identity: Nf names.
        identities: Attributes of each identity; empty or missing = unknown.
        trials: Random holdouts, at least 2.
        level: Confidence level in (0, 1).
        seed: Seed of the draws; each attribute has its own draws, whatever the others and their order.

    Returns:
        Records of task `probe`, direction `voice` or `face`; see `probe`.

    Raises:
        UserError: Embeddings are not one finite row per name, or `trials` or `level` is out of range.
    """
    sides = {"voice": (voices, voice_identity), "face": (faces, face_identity)}
    for direction, (embeddings, names) in sides.items():
        if embeddings is not None and (len(embeddings) != len(names) or not np.isfinite(embeddings).all()):
            raise UserError(f"{direction}s: need one row of finite numbers for each of the {len(names)} names")
    return [
        probe(embeddings, names, planned, direction, trials, level, seed)
        for direction, (embeddings, names) in sides.items()
        if embeddings is not None
        for planned in plan_probes(names, identities)[0]
    ]


def probe(
    embeddings: NDArray[Any],
    identity: Sequence[str],
    planned: Probe,
    direction: str,
    trials: int = 20,
    level: float = 0.99,
    seed: int = 0,
    people: int = 200,
    clips: int = 5,
) -> dict[str, Any]:
    """Probe one attribute value.

    A trial draws up to `people` people with the value and as many without. A fifth of the rarer side (at least 2) and
    as many of the other side are held out in pairs; both of a pair have the same number of clips (up to `clips`). The
    rest trains a linear SVM (C = 1, balanced class weights) on features standardised over the training clips and
    divided by the square root of D. The value is the mean over trials of the average precision of the holdout's
    decision values, with ties in random order.

    Chance is the same mean when the two of a pair swap labels at random: 0.5 for a large holdout and more for a small
    one, where the average precision of a random order exceeds the share of positives.

    Args:
        embeddings: float (N, D), finite.
        identity: N names.
        planned: The value and its people, from `plan_probes` of the same names.
        direction: `voice` or `face`, for the record.
        trials: Random holdouts, at least 2.
        level: Confidence level of the t-interval over trials, in (0, 1). It describes how these people are split, not
            other people.
        seed: Seed of the draws.
        people: Maximum number of people per side in a trial.
        clips: Maximum number of clips per person.

    Returns:
        A record: task probe, metric mAP, protocol kim_probe, n the mean number of holdout clips, identities the number
        of people with a known value, ties the trials in which a clip with the value ties with one without.

    Raises:
        UserError: `trials` or `level` is out of range.
    """
    if trials < 2 or not 0.0 < level < 1.0:
        raise UserError(f"probes: {trials} trials at level {level}; need at least 2 and a level between 0 and 1")
    rng = np.random.default_rng([seed, zlib.crc32(planned.stratum.encode())])
    rows_of = rows_by_person(identity)
    values, chances, sizes, ties = [], [], [], 0
    for _ in range(trials):
        train, positive, held, pair, has = _draw(planned, rows_of, rng, people, clips)
        decisions = _decisions(embeddings[train], positive, embeddings[held])
        swapped = has ^ (rng.random((SWAPS, pair[-1] + 1)) < 0.5)[:, pair]
        scores = average_precision(decisions, np.concatenate([has[None], swapped]))
        values.append(scores[0])
        chances.append(scores[1:].mean())
        sizes.append(len(held))
        ties += bool(np.isin(decisions[has], decisions[~has]).any())
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stdtrit(trials - 1, 0.5 + level / 2)) * spread / math.sqrt(trials)
    return record(
        "probe",
        direction,
        "mAP",
        mean,
        n=round(float(np.mean(sizes))),
        chance=float(np.mean(chances)),
        identities=len(planned.people) + len(planned.others),
        trials=trials,
        ties=ties,
        protocol="kim_probe",
        stratum=planned.stratum,
        interval=(max(0.0, mean - half), min(1.0, mean + half)),
        level=level,
        method="trials",
    )


def is_chance(probed: Mapping[str, Any]) -> bool:
    """Return whether the interval of a probe's record reaches chance +- 0.05."""
    return bool(
        probed["ci_low"] is not None
        and probed["ci_low"] <= probed["chance"] + MARGIN
        and probed["ci_high"] >= probed["chance"] - MARGIN
    )


def average_precision(decisions: NDArray[Any], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Average precision of one ranking under several labellings, in expectation over the order of tied items.

    In a group of m tied items with g positives, after i items and r positives, place p (from 0) is positive with
    probability g/m and then has an expected precision of (r + 1 + p (g - 1) / (m - 1)) / (i + p + 1).

    Args:
        decisions: (N,): larger = more positive.
        positive: bool (K, N): K labellings, each with at least one positive item.

    Returns:
        float64 (K,) in (0, 1].
    """
    order = np.argsort(-decisions, kind="stable")
    labels = positive[:, order].astype(np.float64)
    ordered = decisions[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    size = np.diff(np.r_[starts, len(order)])
    group = np.repeat(np.arange(len(starts)), size)
    place = np.arange(len(order)) - starts[group]
    inside = np.add.reduceat(labels, starts, axis=1)
    before = np.cumsum(inside, axis=1) - inside
    share = (inside / size)[:, group]
    each = ((inside - 1.0) / np.maximum(size - 1, 1))[:, group]
    precision = share * (before[:, group] + 1.0 + place * each) / np.arange(1, len(order) + 1)
    found: NDArray[np.float64] = precision.sum(axis=1) / labels.sum(axis=1)
    return found


def _draw(
    planned: Probe, rows_of: Mapping[str, NDArray[np.intp]], rng: np.random.Generator, people: int, clips: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Draw rows and labels of the training clips, and rows, pairs and labels of the holdout."""
    sides = [
        [rng.permutation(rows_of[name])[:clips] for name in _pick(side, rng, people)]
        for side in (planned.people, planned.others)
    ]
    out = max(2, round(HOLDOUT * min(map(len, sides))))
    held, pair, has = [], [], []
    for number, couple in enumerate(zip(*(side[:out] for side in sides), strict=True)):
        each = min(map(len, couple))
        held += [rows[:each] for rows in couple]
        pair += [number] * (2 * each)
        has += [True] * each + [False] * each
    train = [np.concatenate(side[out:]) for side in sides]
    positive = np.repeat([True, False], [len(rows) for rows in train])
    return np.concatenate(train), positive, np.concatenate(held), np.array(pair), np.array(has)


def _pick(names: Sequence[str], rng: np.random.Generator, most: int) -> list[str]:
    return [names[index] for index in rng.permutation(len(names))[:most]]


def _decisions(train: NDArray[Any], positive: NDArray[np.bool_], held: NDArray[Any]) -> NDArray[np.float64]:
    from sklearn.svm import LinearSVC  # slow to import

    mean, spread = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0.0, spread, 1.0) * np.sqrt(train.shape[1])
    machine = LinearSVC(  # type: ignore[no-untyped-call]
        C=1.0, dual="auto", class_weight="balanced", random_state=0, max_iter=10_000
    )
    machine.fit((train - mean) / scale, positive)
    decisions: NDArray[np.float64] = machine.decision_function((held - mean) / scale)  # type: ignore[no-untyped-call]
    return decisions
