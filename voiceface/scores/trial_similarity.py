"""The similarities of a trial list's pairs only."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.clips import gathered
from voiceface.scores.kernels.blocks import Rows
from voiceface.scores.similarity import matrix_rows, similarity_rows
from voiceface.utils.errors import UserError

Places = NDArray[np.intp]


class ListSimilarity:
    """Similarities of the voices and faces of a list.

    Args:
        similarity: "cosine", "euclidean" or a matrix (Nv, Nf), larger = more alike.
        voices: float (Nv, D), or None with a matrix.
        voice_at: intp (V,): the row of each of the list's V voices, -1 if there is none.
        voice_key: Nv keys, for messages.
        faces: float (Nf, D), or None with a matrix.
        face_at: intp (F,): likewise for the list's faces.
        face_key: Nf keys.

    Raises:
        UserError: Shapes do not match, or an embedding of the list is not finite or, under cosine, zero.
    """

    def __init__(
        self,
        similarity: Literal["cosine", "euclidean"] | NDArray[Any],
        voices: NDArray[Any] | None,
        voice_at: Places,
        voice_key: Sequence[str],
        faces: NDArray[Any] | None,
        face_at: Places,
        face_key: Sequence[str],
    ) -> None:
        self._similarity = similarity
        if not isinstance(similarity, str):
            shape = len(voice_key), len(face_key)
            if similarity.shape != shape or similarity.dtype.kind not in "fiub":
                wrong = f"{similarity.dtype} of shape {similarity.shape}"
                raise UserError(f"similarity: {wrong} is no matrix of numbers {shape}, voices by faces")
            self._places = voice_at, face_at
            return
        if similarity not in ("cosine", "euclidean"):
            raise UserError(f"similarity: {similarity!r} is not known; use cosine, euclidean or a matrix")
        self._tables = (
            _of_list(voices, voice_at, voice_key, "voices", similarity),
            _of_list(faces, face_at, face_key, "faces", similarity),
        )
        self._places = _renumbered(voice_at), _renumbered(face_at)
        dimensions = [table.shape[1] for table in self._tables]
        if dimensions[0] != dimensions[1]:
            raise UserError(f"voices have {dimensions[0]} dimensions, faces {dimensions[1]}; give both the same space")

    def pairs(self, voices_ask: bool, query: Places, candidates: Places) -> NDArray[Any]:
        """Similarities of queries to their own candidates.

        Args:
            voices_ask: True if the queries are voices of the list and the candidates faces; False for the reverse.
            query: intp (R,): places in the list's voices (or faces).
            candidates: intp (R, C): places in its faces (or voices).

        Returns:
            float32 or float64 (R, C).
        """
        asking, asked = self._places if voices_ask else self._places[::-1]
        if not isinstance(self._similarity, str):
            matrix = self._similarity if voices_ask else self._similarity.T
            return _finite(matrix[asking[query][:, None], asked[candidates]])
        queries, items = self._tables if voices_ask else self._tables[::-1]
        return gathered(queries, items, self._similarity)(asking[query], asked[candidates])

    def rows(self, voices_ask: bool, query: Places, items: Places) -> Rows:
        """Build a function that computes blocks of rows of the similarities of queries to a gallery.

        Args:
            voices_ask: As in `pairs`.
            query: intp (Q,): places of the queries.
            items: intp (N,): places of the items.
        """
        asking, asked = self._places if voices_ask else self._places[::-1]
        if not isinstance(self._similarity, str):
            rows = matrix_rows(self._similarity if voices_ask else self._similarity.T, asking[query], asked[items])
            return lambda some: _finite(rows(some))
        queries, gallery = self._tables if voices_ask else self._tables[::-1]
        return similarity_rows(queries[asking[query]], gallery[asked[items]], self._similarity)


def _of_list(values: NDArray[Any] | None, at: Places, keys: Sequence[str], name: str, kind: str) -> NDArray[Any]:
    """Return the embeddings of those clips of the list that have one."""
    if values is None:
        raise UserError(f"{name}: embeddings are missing; give them, or a matrix as similarity")
    if values.ndim != 2 or len(values) != len(keys) or not values.shape[1] or values.dtype.kind not in "fiu":
        wrong = f"{values.dtype} of shape {values.shape}"
        raise UserError(f"{name}: {wrong} is not numbers ({len(keys)}, dimensions), one row per key")
    rows = at[at >= 0]
    chosen = np.asarray(values[rows], np.result_type(values.dtype, np.float32))
    bad = ~np.isfinite(chosen).all(axis=1)
    if kind == "cosine":
        bad |= ~chosen.any(axis=1)
    if bad.any():
        key = str(keys[rows[np.argmax(bad)]])
        raise UserError(f"{name}: the embedding of {key!r} is not finite, or zero under cosine; correct or drop it")
    return chosen


def _renumbered(at: Places) -> Places:
    """Return the place of each clip among those with an embedding."""
    return np.cumsum(at >= 0) - 1


def _finite(scores: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(scores).all():
        raise UserError("similarity: holds NaN or infinite values where the list needs a number; correct those clips")
    return np.asarray(scores, np.result_type(scores.dtype, np.float32))
