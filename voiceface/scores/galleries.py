"""Retrieval in the galleries of the literature: repeated seeded draws of people and their clips.

mAP and R@K depend on the gallery size and on the relevant items in it, so scores are comparable only within one kind
of gallery. docs/protocols.md says what each paper states and what it leaves open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from voiceface.scores.clips import Clips, Places, Side, both_sides
from voiceface.scores.kernels.blocks import Rows
from voiceface.scores.ranking import rank
from voiceface.scores.records import record
from voiceface.scores.retrieval import Ranks, available_k, mean_average_precision, median_rank, recall_at
from voiceface.utils.errors import UserError


@dataclass(frozen=True)
class Gallery:
    """How one gallery is drawn.

    Attributes:
        people: Random people in it.
        items: Gallery items per person.
        queries: Queries per person.
        repeats: Number of draws.
    """

    people: int
    items: int
    queries: int
    repeats: int


GALLERIES: Mapping[str, Mapping[str, Gallery]] = {
    # TriNet, section 5: 100 people, 5 faces and 40 voices each; chance mAP 2.149 %.
    "trinet": {"trinet_gallery": Gallery(100, 5, 40, 30)},
    # Kim, table 5: 25,000 samples of 250 people in sets; random R@K of a set of 250 is K / 250, one item per person.
    "kim": {
        f"kim_gallery_{size}": Gallery(250, size // 250, size // 250, 25_000 // size) for size in (250, 1000, 5000)
    },
}


def gallery_records(
    kind: str,
    voices: NDArray[Any] | None,
    voice_identity: Sequence[str],
    faces: NDArray[Any] | None,
    face_identity: Sequence[str],
    similarity: Literal["cosine", "euclidean"] | NDArray[Any] = "cosine",
    level: float = 0.95,
    seed: int = 0,
    repeats: int | None = None,
) -> list[dict[str, Any]]:
    """Score retrieval in the galleries of one paper, in both directions.

    A draw takes random people and random clips of both modalities of each, without replacement; in `f2v` faces query a
    gallery of voices.

    Args:
        kind: trinet or kim.
        voices: float (Nv, D); None where `similarity` is a matrix.
        voice_identity: Nv names.
        faces: float (Nf, D); None where `similarity` is a matrix.
        face_identity: Nf names.
        similarity: "cosine", "euclidean" or a matrix (Nv, Nf).
        level: Confidence level, in (0, 1).
        seed: Seed of the draws; each gallery and direction starts from it.
        repeats: Number of draws, at least 2; None: 30 for trinet, 25,000 / size for kim.

    Returns:
        Records of mAP, R@K and the median rank: means over the draws, with the t-interval of that mean (method
        `repeats`), which describes these clips only. `trials` counts the queries of all draws. A gallery with too few
        people or clips has no record; `missing_galleries` gives the reason.

    Raises:
        UserError: An unknown kind, too few repeats, or input that `voiceface.scores.score` rejects.
    """
    if kind not in GALLERIES:
        raise UserError(f"gallery: {kind!r} is not known; use one of {', '.join(GALLERIES)}")
    return records_of(Clips.of(voices, voice_identity, faces, face_identity, similarity), kind, level, seed, repeats)


def records_of(clips: Clips, kind: str, level: float, seed: int, repeats: int | None = None) -> list[dict[str, Any]]:
    """Compute `gallery_records` of sorted clips."""
    missing = reasons(clips.voices, clips.faces, kind)
    records = []
    for name, gallery in GALLERIES[kind].items():
        draws = gallery.repeats if repeats is None else repeats
        if draws < 2:
            raise UserError(f"repeats: {draws} draws have no interval; use at least 2")
        for direction in ("v2f", "f2v"):
            if (name, direction) in missing:
                continue
            rng = np.random.default_rng(seed)
            ranks = []
            for _ in range(draws):
                rows = clips.rows(direction, *draw_gallery(clips, direction, gallery, rng))
                ranks.append(balanced_ranks(rows, gallery.people, gallery.queries, gallery.items))
            records += draw_records(ranks, "retrieval", direction, name, gallery.people, level)
    return records


def missing_galleries(
    kind: str, voice_identity: Sequence[str], face_identity: Sequence[str]
) -> dict[tuple[str, str], str]:
    """Explain which galleries of a paper cannot be drawn from these clips.

    Returns:
        A sentence for each (protocol, direction) that `gallery_records` omits.

    Raises:
        UserError: An unknown kind, or fewer than two people with both modalities.
    """
    if kind not in GALLERIES:
        raise UserError(f"gallery: {kind!r} is not known; use one of {', '.join(GALLERIES)}")
    return reasons(*both_sides(voice_identity, face_identity)[1:], kind)


def reasons(voices: Side, faces: Side, kind: str) -> dict[tuple[str, str], str]:
    """Compute `missing_galleries` of sorted clips."""
    missing = {}
    for name, gallery in GALLERIES[kind].items():
        for direction, asking, asked in (("v2f", voices, faces), ("f2v", faces, voices)):
            enough = len(_eligible(asking, asked, gallery))
            if enough < gallery.people:
                kinds = ("voice", "face") if direction == "v2f" else ("face", "voice")
                query, item = (
                    f"{n} {kind}{'s' * (n != 1)}"
                    for n, kind in zip((gallery.queries, gallery.items), kinds, strict=True)
                )
                missing[name, direction] = f"needs {gallery.people} people with {query} and {item}, there are {enough}"
    return missing


def repeats_interval(
    values: Sequence[float], level: float, least: float = 0.0, most: float = 1.0
) -> tuple[float, float]:
    """T-interval of the mean over repeated draws; it describes drawing from these clips, not sampling people.

    Args:
        values: One score per draw, at least 2.
        level: Confidence level, in (0, 1).
        least: The smallest possible score; the interval is cut there.
        most: The largest possible score, likewise.
    """
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stdtrit(len(values) - 1, 0.5 + level / 2)) * spread / len(values) ** 0.5
    return max(least, mean - half), min(most, mean + half)


def draw_gallery(clips: Clips, direction: str, gallery: Gallery, rng: np.random.Generator) -> tuple[Places, Places]:
    """Draw people and their clips: return the places of the queries and of the gallery items, person by person."""
    asking, asked = clips.sides(direction)
    people = rng.choice(_eligible(asking, asked, gallery), gallery.people, replace=False)
    queries = np.concatenate([asking.draw(rng, person, gallery.queries) for person in people])
    return queries, np.concatenate([asked.draw(rng, person, gallery.items) for person in people])


def _eligible(asking: Side, asked: Side, gallery: Gallery) -> Places:
    return np.flatnonzero((asking.sizes >= gallery.queries) & (asked.sizes >= gallery.items))


def balanced_ranks(rows: Rows, people: int, queries: int, items: int) -> Ranks:
    """Rank a gallery of `items` items per person, at least two people, for `queries` queries per person."""
    ranking = rank(rows, np.repeat(np.arange(people), queries), np.full(people, items))[0]
    assert ranking is not None  # there are other people's items
    return ranking.ranks


def draw_records(
    draws: Sequence[Ranks], task: str, direction: str, protocol: str, people: int, level: float
) -> list[dict[str, Any]]:
    """Build records of mAP, R@K and the median rank: means over the draws of a gallery of `people` people."""
    items = int(np.max(draws[0].items))
    metrics = {"mAP": [mean_average_precision(ranks) for ranks in draws]}
    metrics |= {f"R@{k}": [recall_at(ranks, k) for ranks in draws] for k in available_k(items)}
    metrics["median_rank"] = [median_rank(ranks) for ranks in draws]
    ends = {"median_rank": (1.0, float(items))}
    return [
        record(
            task,
            direction,
            metric,
            float(np.mean([value for value, _ in found])),
            n=items,
            chance=float(np.mean([chance for _, chance in found])),
            identities=people,
            trials=sum(len(ranks.relevant) for ranks in draws),
            ties=sum(int(ranks.open.sum()) for ranks in draws),
            protocol=protocol,
            interval=repeats_interval([value for value, _ in found], level, *ends.get(metric, (0.0, 1.0))),
            level=level,
            method="repeats",
        )
        for metric, found in metrics.items()
    ]
