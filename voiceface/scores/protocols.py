"""The papers' evaluation protocols: each samples as the paper does and adds the exact value that this estimates.

docs/protocols.md has the counts, their sources, and the choices made where a paper is silent.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.clips import Clips, both_sides
from voiceface.scores.confidence import repeated_subsets, student_interval
from voiceface.scores.galleries import reasons, records_of
from voiceface.scores.matching import Counts
from voiceface.scores.matching_n import match_many
from voiceface.scores.protocol_tasks import Mask, Records, Split
from voiceface.scores.records import record
from voiceface.scores.sampling import draw_counts
from voiceface.scores.strata import GENDERS
from voiceface.utils.errors import UserError

TRINET_TRIPLETS = 30_720_000  # 10,000 test steps of 3,072
TRINET_TUPLES = 10_000  # 1:N
TRINET_LEVEL = 0.99  # its 81.00 +- 1.01 from 10,000 trials
SUBSETS = (100, 189, 500, 1000)
SUBSET_REPEATS = 30
KIM_TRIPLES = 10_000
KIM_STRATA = ("U", "G", "E", "GE", "GEFA")
PROBES_PER_PERSON = 40  # the published lists have 10,000 rows of 250 people, 9,360 of 234, 9,120 of 228
MATCHING_STRATA = ("U", "G", "N", "GN")
VERIFICATION_STRATA = ("U", "G", "N", "A", "GNA")
RETRIEVAL_CLIPS = 20_000


def protocol_records(
    name: str,
    voices: NDArray[Any] | None,
    voice_identity: Sequence[str],
    faces: NDArray[Any] | None,
    face_identity: Sequence[str],
    identities: Mapping[str, Mapping[str, str]] | None,
    similarity: Literal["cosine", "euclidean"] | NDArray[Any] = "cosine",
    level: float = 0.95,
    seed: int = 0,
    trials: int | None = None,
) -> Records:
    """Score by one paper's protocol.

    Args:
        name: trinet, kim, drl or pins.
        voices: float (Nv, D); None where `similarity` is a matrix.
        voice_identity: Nv names.
        faces: float (Nf, D); None where `similarity` is a matrix.
        face_identity: Nf names.
        identities: Attributes of each identity. TriNet needs everybody's gender; strata are scored where their
            attributes are known.
        similarity: "cosine", "euclidean" or a matrix (Nv, Nf).
        level: Confidence level, in (0, 1), of all but TriNet's sampled values, whose level is the paper's 0.99.
        seed: Seed of the draws; each value starts from it.
        trials: Maximum sampled triplets, pairs or queries per value, at least 2; None: the paper's number.
            Galleries and subsets keep their size.

    Returns:
        Records. A sampled value has the protocol `<name>` and an interval for the sampling alone (method `binomial`;
        for an AUC that of a proportion over its smaller class, which is never too narrow). The exact value that it
        estimates follows, with the protocol `<name>_exact` and an interval for people (method `identity`): it weights
        people as the paper's sampling does, unlike `exact` of `voiceface.scores.score`. `trinet_subsets_<size>` are 30
        subsets of the people: metric `accuracy` is the mean, with its t-interval (method `subsets`), and
        `accuracy_spread` the standard deviation of a single subset. Retrieval is that of `voiceface.scores.galleries`;
        for drl it is one draw of 20,000 voices and faces. Parts for which there are too few clips are left out;
        `missing_parts` says why.

    Raises:
        UserError: An unknown protocol, trials below 2, a person without a gender (trinet), or input that
            `voiceface.scores.score` rejects.
    """
    if name not in PROTOCOLS:
        raise UserError(f"protocol: {name!r} is not known; use one of {', '.join(PROTOCOLS)}")
    if trials is not None and trials < 2:
        raise UserError(f"trials: {trials} are too few; use at least 2, or none for the paper's number")
    clips = Clips.of(voices, voice_identity, faces, face_identity, similarity)
    attributes = [(identities or {}).get(person, {}) for person in clips.people]
    return PROTOCOLS[name](Split(name, clips, attributes, level, seed, trials))


def missing_parts(name: str, voice_identity: Sequence[str], face_identity: Sequence[str]) -> dict[tuple[str, str], str]:
    """Explain which parts of a protocol these clips are too few for, apart from strata of unknown attributes.

    Returns:
        A sentence for each (protocol, direction) of which `protocol_records` omits a part.

    Raises:
        UserError: Fewer than two people have both modalities.
    """
    people, voices, faces = both_sides(voice_identity, face_identity)
    missing = reasons(voices, faces, name) if name in ("trinet", "kim") else {}
    if name == "trinet":
        for size in SUBSETS:
            if size >= len(people):
                missing[f"trinet_subsets_{size}", "v2f"] = f"needs more than {size} people, there are {len(people)}"
    clips = len(voices.order), len(faces.order)
    if name == "drl" and min(clips) < RETRIEVAL_CLIPS:
        why = f"retrieval needs {RETRIEVAL_CLIPS} voices and faces, there are {clips[0]} and {clips[1]}"
        missing |= {("drl", direction): why for direction in ("v2f", "f2v")}
    return missing


def _trinet(split: Split) -> Records:
    """Voices choose among faces; men and women are the probe equally often."""
    genders = _genders(split)
    probes = (genders / genders.sum(axis=1, keepdims=True)).sum(axis=0) / 2
    counts = split.counts("v2f")
    everybody = split.masks(["U"])["U"]
    records = split.matching("v2f", counts, "U", everybody, probes, TRINET_TRIPLETS, TRINET_LEVEL)
    for stratum, mask in split.masks(["male", "female"]).items():
        people = np.logical_or.reduce(mask, axis=1)
        records += split.matching("v2f", counts, stratum, mask, people, TRINET_TRIPLETS // 2, TRINET_LEVEL)
    if len(probes) > 2:
        records += _trinet_three(split, genders, probes, everybody)
    for size in SUBSETS:
        if size < len(probes):
            records += _subsets(split, counts, probes[:, None] * everybody, size)
    return records + records_of(split.clips, "trinet", split.level, split.seed)


def _genders(split: Split) -> Mask:
    """Return the masks of men and of women: bool (2, I)."""
    given = [row.get("gender", "").strip().casefold() for row in split.attributes]
    names = np.array([GENDERS.get(gender, gender) for gender in given])
    genders = np.array([names == gender for gender in ("m", "f")])
    unknown = ~genders.any(axis=0)
    if unknown.any():
        person = split.clips.people[int(np.argmax(unknown))]
        raise UserError(
            f"identities: the gender of {person!r} ({unknown.sum()} of {len(names)} people) is not m or f; "
            "protocol trinet balances genders, so add it to the table"
        )
    if not genders.any(axis=1).all():
        raise UserError("identities: all people have one gender; protocol trinet needs probes of both")
    return genders


def _trinet_three(split: Split, genders: Mask, probes: NDArray[np.float64], everybody: Mask) -> Records:
    asking, asked = split.clips.sides("v2f")
    rng = np.random.default_rng(split.seed)
    query_counts = draw_counts(asking, probes, split.at_most(TRINET_TUPLES), rng)
    sampled = split.sampled("v2f", query_counts, everybody, rng, 3)
    masks = genders[:, :, None] & everybody
    found = match_many(split.clips.rows("v2f"), asking.owner, asked.sizes, masks, [3])
    by_gender = [scores[0] for scores in found]
    value = float(np.mean([score.accuracy for score in by_gender]))
    influence = np.mean([score.influence for score in by_gender], axis=0)
    exact: dict[str, Any] = {
        "value": value,
        "identities": sum(score.identities for score in by_gender),
        "trials": sum(score.pairs for score in by_gender),
        "ties": sum(score.ties for score in by_gender),
        "interval": student_interval(value, influence, split.level),
    }
    return split.both("v2f", "U", 3, sampled, exact, TRINET_LEVEL)


def _subsets(split: Split, counts: Counts, weights: NDArray[np.float64], size: int) -> Records:
    found = repeated_subsets(counts.win_rates, weights, size, SUBSET_REPEATS, split.seed, split.level)
    same: dict[str, Any] = {
        "n": 2,
        "identities": size,
        "trials": SUBSET_REPEATS,
        "ties": 0,
        "protocol": f"trinet_subsets_{size}",
    }
    around: dict[str, Any] = {
        "chance": 0.5,
        "interval": (found.low, found.high),
        "level": split.level,
        "method": "subsets",
    }
    return [
        record("matching", "v2f", "accuracy", found.mean, **same, **around),
        record("matching", "v2f", "accuracy_spread", found.spread, **same, chance=None),
    ]


def _kim(split: Split) -> Records:
    """The query is a random clip of anybody, so people with more clips are the probe more often."""
    records = []
    for direction in ("v2f", "f2v"):
        counts, (asking, _) = split.counts(direction), split.clips.sides(direction)
        for stratum, mask in split.masks(KIM_STRATA).items():
            anchors = asking.sizes * mask.any(axis=1)
            records += split.matching(direction, counts, stratum, mask, anchors, KIM_TRIPLES)
    return records + records_of(split.clips, "kim", split.level, split.seed)


def _drl(split: Split) -> Records:
    records = split.verification(VERIFICATION_STRATA)
    for direction in ("v2f", "f2v"):
        records += _lists(split, direction, MATCHING_STRATA)
    return records + split.retrieval(RETRIEVAL_CLIPS)


def _pins(split: Split) -> Records:
    return split.verification(VERIFICATION_STRATA) + _lists(split, "f2v", ("U",))


def _lists(split: Split, direction: str, strata: Sequence[str]) -> Records:
    """Score the 1:2 lists: an equal number of probes for each person who has an impostor."""
    counts = split.counts(direction)
    records = []
    for stratum, mask in split.masks(strata).items():
        people = np.logical_or.reduce(mask, axis=1)
        trials = PROBES_PER_PERSON * int(people.sum())
        records += split.matching(direction, counts, stratum, mask, people, trials, per_person=PROBES_PER_PERSON)
    return records


PROTOCOLS = {"trinet": _trinet, "kim": _kim, "drl": _drl, "pins": _pins}
