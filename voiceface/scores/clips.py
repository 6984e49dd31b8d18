"""The clips of people who have both a voice and a face, and the similarities of any pairs of clips."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.inputs import Sorted, clip_names, similarities
from voiceface.scores.kernels.blocks import BLOCK_SCORES, Rows, one_blas_thread
from voiceface.scores.similarity import centred, directions
from voiceface.utils.errors import UserError

Places = NDArray[np.intp]
Scorer = Callable[[Places, Places], NDArray[Any]]
"""Scores each of B queries (B,) against its own N candidates (B, N): returns (B, N), larger = more alike."""

MATRIX_SCORES = 200_000_000  # up to this many similarities, a matrix product is faster than gathering pairs
GATHERED_NUMBERS = 1 << 24  # embedding values gathered at once


@dataclass(frozen=True)
class Side:
    """The clips of one modality, identity by identity. A place is a position in that order.

    Attributes:
        order: intp (Q,): at each place, the row of the clip in the caller's table.
        sizes: int64 (I,): clips of each person, at least 1.
    """

    order: Places
    sizes: NDArray[np.int64]

    @property
    def starts(self) -> NDArray[np.int64]:
        """int64 (I + 1,): the first place of each person, then Q."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    @property
    def owner(self) -> NDArray[np.int64]:
        """int64 (Q,): the person at each place."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def draw(self, rng: np.random.Generator, person: int, number: int) -> Places:
        """Draw places of `number` random clips of a person, without replacement."""
        chosen = rng.choice(int(self.sizes[person]), number, replace=False)
        return np.asarray(self.sizes[:person].sum() + chosen, np.intp)


def both_sides(voice_identity: Sequence[str], face_identity: Sequence[str]) -> tuple[list[str], Side, Side]:
    """Sort clips by person and leave out people without the other modality.

    Args:
        voice_identity: Nv names.
        face_identity: Nf names.

    Returns:
        The people's names, ascending, then their voices and their faces.

    Raises:
        UserError: The number of names is not the number of clips, or fewer than two people have both modalities.
    """
    voice_names, face_names = clip_names(voice_identity, "voice_identity"), clip_names(face_identity, "face_identity")
    people = sorted(set(voice_names.tolist()) & set(face_names.tolist()))
    if len(people) < 2:
        raise UserError(f"identities: {len(people)} have both a voice and a face; matching needs at least 2")
    voices, faces = Sorted(voice_names, people, None), Sorted(face_names, people, None)
    return people, Side(voices.order, voices.sizes), Side(faces.order, faces.sizes)


@dataclass(frozen=True)
class Clips:
    """Voices and faces of the people who have both, and their similarities.

    Attributes:
        people: Their names, ascending.
        voices: Their voices.
        faces: Their faces.
        similar: Maps a direction, the queries and the gallery items (rows of the caller's tables) to `Rows`.
        similarity: "cosine", "euclidean", or the matrix (Nv, Nf).
        tables: The embeddings of the voices and of the faces; None if `similarity` is a matrix.
    """

    people: list[str]
    voices: Side
    faces: Side
    similar: Callable[[str, Places, Places], Rows]
    similarity: str | NDArray[Any]
    tables: tuple[NDArray[Any], NDArray[Any]] | None

    @classmethod
    def of(
        cls,
        voices: NDArray[Any] | None,
        voice_identity: Sequence[str],
        faces: NDArray[Any] | None,
        face_identity: Sequence[str],
        similarity: Literal["cosine", "euclidean"] | NDArray[Any],
    ) -> "Clips":
        """Sort and check a score's arguments (see `voiceface.scores.score`).

        Raises:
            UserError: Names or shapes do not match, a non-finite value, a zero vector under cosine, an unknown
                similarity, or fewer than two people with both modalities.
        """
        sides = both_sides(voice_identity, face_identity)
        similar = similarities(voices, faces, similarity, len(voice_identity), len(face_identity))
        tables = (np.asarray(voices), np.asarray(faces)) if isinstance(similarity, str) else None
        return cls(*sides, similar, similarity if isinstance(similarity, str) else np.asarray(similarity), tables)

    def sides(self, direction: str) -> tuple[Side, Side]:
        """Return the query side and the gallery side: voices, faces for `v2f`; faces, voices for `f2v`."""
        return (self.voices, self.faces) if direction == "v2f" else (self.faces, self.voices)

    def rows(self, direction: str, queries: Places | None = None, items: Places | None = None) -> Rows:
        """Similarities of the queries at these places to the items at these places; None = all places."""
        asking, asked = self.sides(direction)
        query_clips = asking.order if queries is None else asking.order[queries]
        return self.similar(direction, query_clips, asked.order if items is None else asked.order[items])

    def scorer(self, direction: str) -> Scorer:
        """Return a scorer of pairs of places; within one call the queries must ascend."""
        asking, asked = self.sides(direction)
        if self.tables is None:
            matrix = np.asarray(self.similarity) if direction == "v2f" else np.asarray(self.similarity).T
            return lambda queries, items: matrix[asking.order[queries][:, None], asked.order[items]]
        if len(asking.order) * len(asked.order) <= MATRIX_SCORES:
            return _from_rows(self.rows(direction), len(asked.order))
        query_table, item_table = self.tables if direction == "v2f" else self.tables[::-1]
        return gathered(query_table[asking.order], item_table[asked.order], str(self.similarity))


def gathered(queries: NDArray[Any], items: NDArray[Any], kind: str) -> Scorer:
    """Return a scorer that gathers the embeddings of each pair, in float32: for a small part of very many pairs.

    Args:
        queries: float (Q, D).
        items: float (N, D).
        kind: "cosine" or "euclidean" (the negative squared distance).
    """
    queries, items = (
        (directions(queries), directions(items))
        if kind == "cosine"
        else tuple(table.astype(np.float32) for table in centred(queries, items))
    )

    def score(places: Places, candidates: Places) -> NDArray[Any]:
        scores = np.empty(candidates.shape, np.float32)
        size = max(1, GATHERED_NUMBERS // (candidates.shape[1] * items.shape[1]))
        for first in range(0, len(places), size):
            part = slice(first, first + size)
            asking, asked = queries[places[part]], items[candidates[part]]
            if kind == "cosine":
                scores[part] = np.einsum("bd,bnd->bn", asking, asked)
            else:
                asked -= asking[:, None]
                scores[part] = -np.einsum("bnd,bnd->bn", asked, asked)
        return scores

    return score


def _from_rows(rows: Rows, items: int) -> Scorer:
    size = max(1, BLOCK_SCORES // items)

    def score(places: Places, candidates: Places) -> NDArray[Any]:
        scores = np.empty(candidates.shape, np.float32)
        with one_blas_thread():
            for first in range(int(places[0]), int(places[-1]) + 1, size):
                part = slice(*np.searchsorted(places, [first, first + size]))
                if part.start < part.stop:
                    block = rows(np.arange(first, int(places[part.stop - 1]) + 1))
                    scores[part] = block[(places[part] - first)[:, None], candidates[part]]
        return scores

    return score
