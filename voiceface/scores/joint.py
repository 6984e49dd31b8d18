"""Joint scores: the mean of several voices or faces of a person replaces a single clip (TriNet, table 3).

Means are of disjoint random clips, at most `MOST_MEANS` per person and modality so that the cost does not grow with
the number of clips. Matching over the means is exact, by the matrix W.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.clips import Clips, Places, Side
from voiceface.scores.confidence import LEAST_IDENTITIES, identity_interval, student_interval
from voiceface.scores.galleries import GALLERIES, balanced_ranks, draw_gallery, draw_records, reasons
from voiceface.scores.matching import accuracy, count
from voiceface.scores.ranking import jackknife_influence, rank
from voiceface.scores.records import record
from voiceface.scores.retrieval import mean_average_precision
from voiceface.scores.similarity import similarity_rows, unit
from voiceface.utils.errors import UserError

GRID = (1, 5, 10, 15, 20, 30)
MOST_MEANS = 10
PAPER_CELLS = ((20, 1), (1, 5))  # voices and faces per mean in TriNet's two joint retrievals


def joint_records(
    voices: NDArray[Any] | None,
    voice_identity: Sequence[str],
    faces: NDArray[Any] | None,
    face_identity: Sequence[str],
    similarity: Literal["cosine", "euclidean"] | NDArray[Any] = "cosine",
    grid: Sequence[int] = GRID,
    level: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Score 1:2 matching and retrieval with means of m_v voices and m_f faces, for (1, m), (m, 1) and (m, m).

    Under cosine, embeddings are normalised before and after the mean. Means of the same number of clips use the same
    draw in all cells, and means of fewer clips are drawn from the same order.

    Args:
        voices: float (Nv, D).
        voice_identity: Nv names.
        faces: float (Nf, D).
        face_identity: Nf names.
        similarity: "cosine" or "euclidean".
        grid: The values of m.
        level: Confidence level, in (0, 1).
        seed: Seed of the draws.

    Returns:
        Records of the tasks joint_matching (accuracy, n = 2) and joint_retrieval (mAP), both directions, protocol
        `voices=m_v,faces=m_f`; `identities` counts the people with that many clips, and with fewer than 3 the value is
        None. If there are enough clips, also TriNet's joint retrieval: protocols `trinet_gallery,voices=20,faces=1` and
        `trinet_gallery,voices=1,faces=5`, v2f, in its gallery of 100 people (see `voiceface.scores.galleries`).

    Raises:
        UserError: A similarity matrix, which has no means, an m below 1, or input that `voiceface.scores.score`
            rejects.
    """
    clips = Clips.of(voices, voice_identity, faces, face_identity, similarity)
    if clips.tables is None:
        raise UserError("similarity: a matrix holds no means of clips; give embeddings for the joint scores")
    if any(m != int(m) or m < 1 for m in grid):
        raise UserError(f"grid: {list(grid)} are not all whole numbers from 1 up")
    kind = str(clips.similarity)
    cells = [*((1, m) for m in grid), *((m, 1) for m in grid), *((m, m) for m in grid)]
    rng = np.random.default_rng(seed)
    means = []
    for table, side in zip(clips.tables, (clips.voices, clips.faces), strict=True):
        order = [side.draw(rng, person, int(side.sizes[person])) for person in range(len(side.sizes))]
        means.append({m: _means_of_all(table, side, order, m, kind) for m in sorted({1, *grid})})
    records = []
    for cell in dict.fromkeys(cells):
        sides = [by_number[m] for by_number, m in zip(means, cell, strict=True)]
        for direction in ("v2f", "f2v"):
            records += _cell_records(sides, direction, cell, kind, level)
    if ("trinet_gallery", "v2f") not in reasons(clips.voices, clips.faces, "trinet"):
        for cell in PAPER_CELLS:
            records += _paper_records(clips, cell, kind, level, seed)
    return records


Means = tuple[NDArray[np.float64], NDArray[np.int64]]  # means (K, D), person by person, and the number per person


def _means_of_all(table: NDArray[Any], side: Side, order: Sequence[Places], m: int, kind: str) -> Means:
    counts = np.minimum(side.sizes // m, MOST_MEANS)
    places = np.concatenate([own[: number * m] for own, number in zip(order, counts, strict=True)])
    means = _means(table[side.order[places]], m, kind)
    if kind == "euclidean":
        return means, counts
    # Clips that cancel out have no direction: the cell leaves out people with such a mean.
    owner = np.repeat(np.arange(len(counts)), counts)
    gone = np.unique(owner[~means.any(axis=1)])
    counts[gone] = 0
    return means[~np.isin(owner, gone)], counts


def _means(embeddings: NDArray[Any], m: int, kind: str) -> NDArray[np.float64]:
    """Compute the mean of every m consecutive rows."""
    rows = unit(embeddings) if kind == "cosine" else embeddings.astype(np.float64)
    total = np.zeros((len(rows) // m, rows.shape[1]))
    for index in range(m):  # row by row, so that equal rows give bit-identical means
        total += rows[index::m]
    return total / m


def _cell_records(
    means: Sequence[Means], direction: str, cell: tuple[int, int], kind: str, level: float
) -> list[dict[str, Any]]:
    asking, asked = means if direction == "v2f" else means[::-1]
    chosen = (asking[1] > 0) & (asked[1] > 0)
    people = int(chosen.sum())
    protocol = f"voices={cell[0]},faces={cell[1]}"
    if people < LEAST_IDENTITIES:
        none: dict[str, Any] = {"chance": None, "identities": people, "trials": 0, "ties": 0, "protocol": protocol}
        return [
            record("joint_matching", direction, "accuracy", None, n=2, **none),
            record("joint_retrieval", direction, "mAP", None, n=0, **none),
        ]
    (queries, query_sizes), (items, sizes) = (
        (found[np.repeat(chosen, counts)], counts[chosen]) for found, counts in (asking, asked)
    )
    rows, owner = similarity_rows(queries, items, kind), np.repeat(np.arange(people), query_sizes)
    counts = count(rows, owner, sizes)
    mask = ~np.eye(people, dtype=np.bool_)
    ranking = rank(rows, owner, sizes, ks=(1,))[0]
    assert ranking is not None  # there are other people's items
    value, chance = mean_average_precision(ranking.ranks)
    same: dict[str, Any] = {"identities": people, "protocol": protocol, "level": level}
    return [
        record(
            "joint_matching",
            direction,
            "accuracy",
            accuracy(counts.win_rates, mask),
            n=2,
            chance=0.5,
            trials=int(counts.triplets.sum()),
            ties=int(counts.ties.sum()),
            interval=identity_interval(counts.win_rates, mask, level),
            method="identity",
            **same,
        ),
        record(
            "joint_retrieval",
            direction,
            "mAP",
            value,
            n=len(items),
            chance=chance,
            trials=len(queries),
            ties=int(ranking.ranks.open.sum()),
            interval=student_interval(value, jackknife_influence(ranking.without[:, 0]), level),
            method="jackknife",
            **same,
        ),
    ]


def _paper_records(clips: Clips, cell: tuple[int, int], kind: str, level: float, seed: int) -> list[dict[str, Any]]:
    """Score TriNet's joint retrieval: means of the clips that its plain retrieval draws."""
    assert clips.tables is not None
    gallery = GALLERIES["trinet"]["trinet_gallery"]
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(gallery.repeats):
        places = draw_gallery(clips, "v2f", gallery, rng)
        queries, items = (
            _means(table[side.order[own]], m, kind)
            for table, side, own, m in zip(clips.tables, (clips.voices, clips.faces), places, cell, strict=True)
        )
        if kind == "cosine" and not (queries.any(axis=1).all() and items.any(axis=1).all()):
            return []  # clips that cancel out have no direction
        rows = similarity_rows(queries, items, kind)
        draws.append(balanced_ranks(rows, gallery.people, gallery.queries // cell[0], gallery.items // cell[1]))
    protocol = f"trinet_gallery,voices={cell[0]},faces={cell[1]}"
    records = draw_records(draws, "joint_retrieval", "v2f", protocol, gallery.people, level)
    return [found for found in records if found["metric"] == "mAP"]
