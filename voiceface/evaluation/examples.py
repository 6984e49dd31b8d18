"""Ranked examples: a few queries and each model's best candidates for them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from voiceface.methods.base import Method
    from voiceface.scores.kernels.blocks import Rows

QUERIES = 6  # per direction
SHOWN = 5  # candidates per query
AT_ONCE = 1 << 22  # gallery values compared at once
SIDES = {"v2f": ("voice", "face"), "f2v": ("face", "voice")}


def ranked_examples(
    rows: Mapping[str, "Rows"], keys: Mapping[str, Sequence[str]], people: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Rank all candidates for some queries.

    The queries are chosen by a hash of the clips' keys, each of a different person if there are enough people, and
    never by a model's performance: all models on the same clips show the same queries.

    Args:
        rows: By direction (`v2f`, `f2v`): maps indices of queries, intp (B,), to their similarities to every candidate,
            (B, N), larger = more alike.
        keys: Clip key of each `voice` and each `face`.
        people: Likewise the identity.

    Returns:
        For each direction and query: `direction`, `query` (its key), `candidates` (their number), `rank` of the first
        candidate of the same person, from 1 (with ties the expected rank in random order), its key `right`, and `best`:
        the first five candidates, each with `key`, `same` (of the query's person) and `similarity`.
    """
    examples = []
    for direction, similarities in rows.items():
        asking, asked = SIDES[direction]
        chosen = _queries(direction, keys[asking], people[asking], set(people[asked]))
        candidates = np.asarray(people[asked], dtype=object)
        for query, row in zip(chosen, similarities(np.array(chosen, np.intp)) if chosen else (), strict=True):
            same = candidates == people[asking][query]
            best = np.argsort(-row, kind="stable")[:SHOWN].tolist()
            right = int(np.flatnonzero(same)[row[same].argmax()])
            level = row == row[right]
            # Of r correct items among t in random order, the first has the expected place (t + 1) / (r + 1).
            place = (row > row[right]).sum() + (level.sum() + 1) / ((level & same).sum() + 1)
            examples.append(
                {
                    "direction": direction,
                    "query": str(keys[asking][query]),
                    "candidates": len(candidates),
                    "rank": round(float(place), 2),
                    "right": str(keys[asked][right]),
                    "best": [
                        {"key": str(keys[asked][i]), "same": bool(same[i]), "similarity": float(f"{row[i]:.4g}")}
                        for i in best
                    ],
                }
            )
    return examples


def _queries(direction: str, keys: Sequence[str], people: Sequence[str], answerable: set[str]) -> list[int]:
    """Select clips of people who are among the candidates, in hash order: first one per person, then more."""
    able = [i for i, person in enumerate(people) if person in answerable]
    able.sort(key=lambda i: hashlib.sha256(f"{direction} {keys[i]}".encode()).digest())
    first = {people[i]: i for i in reversed(able)}
    return sorted(able, key=lambda i: first[people[i]] != i)[:QUERIES]


def embedding_rows(voices: NDArray[Any], faces: NDArray[Any], kind: str) -> dict[str, "Rows"]:
    """Compute similarities of a few queries to every candidate in float64; equal embeddings get bit-identical values.

    Args:
        voices: Finite numbers (Nv, D); without zero vectors for cosine.
        faces: Likewise (Nf, D).
        kind: "cosine", or "euclidean": the negative distance.

    Returns:
        The `rows` of `ranked_examples`.
    """
    from voiceface.scores.similarity import unit  # imports numba, which a page does not need

    def compare(queries: NDArray[Any], gallery: NDArray[Any]) -> NDArray[np.float64]:
        step = max(1, AT_ONCE // gallery.shape[1])
        table = np.empty((len(queries), len(gallery)))
        for start in range(0, len(gallery), step):
            part = gallery[start : start + step].astype(np.float64)
            part = unit(part) if kind == "cosine" else part
            for row, query in zip(table, queries, strict=True):
                products = part * query if kind == "cosine" else (part - query) ** 2
                row[start : start + step] = products.sum(axis=1)
        return table if kind == "cosine" else -np.sqrt(table)

    def rows(queries: NDArray[Any], gallery: NDArray[Any]) -> "Rows":
        def of(numbers: NDArray[np.intp]) -> NDArray[np.float64]:
            asked = queries[numbers].astype(np.float64)
            return compare(unit(asked) if kind == "cosine" else asked, gallery)

        return of

    return {"v2f": rows(voices, faces), "f2v": rows(faces, voices)}


def matrix_rows(matrix: NDArray[Any]) -> dict[str, "Rows"]:
    """Like `embedding_rows` for a similarity matrix (Nv, Nf); only the queries' rows and columns are read."""
    return {"v2f": lambda voices: np.asarray(matrix[voices]), "f2v": lambda faces: np.asarray(matrix[:, faces]).T}


def method_examples(method: "Method", gathered: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Compute `ranked_examples` of a method that was just evaluated.

    Args:
        method: Any method except a relative one, which has no similarities.
        gathered: Result of `EvaluationTable.gather`.
    """
    voices, faces = gathered["voices"], gathered["faces"]
    if method.space == "pairwise":
        from voiceface.evaluation.network_scores import similarity_matrix  # imports torch

        rows: Mapping[str, Rows] = {
            "v2f": lambda chosen: similarity_matrix(method, voices[chosen], faces),
            "f2v": lambda chosen: similarity_matrix(method, voices, faces[chosen]).T,
        }
    else:
        rows = embedding_rows(voices, faces, method.space)
    keys, people = ({kind: gathered[f"{kind}_{of}"].tolist() for kind in SIDES["v2f"]} for of in ("keys", "people"))
    return ranked_examples(rows, keys, people)
