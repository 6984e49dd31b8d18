"""Exact search of a gallery for the items most similar to a query."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voiceface.inference.media import Kind
from voiceface.methods.base import Method
from voiceface.utils.errors import UserError

CHUNK = 1 << 13  # rows compared at once
FEW = 4  # up to so many queries, einsum, which reads each row once, is faster than BLAS: twice for one query
QUERIES = 256  # queries compared at once
PAIRS = 256  # pairs compared at once if each runs through a network
Found = tuple[NDArray[np.int64], NDArray[np.float64]]


class Comparing(Protocol):
    """What a search needs of a `voiceface.inference.model.Model`."""

    method: Method

    def similarity(self, voices: Tensor, faces: Tensor) -> Tensor:
        """See `Model.similarity`."""

    def check_has_similarity(self) -> None:
        """See `Model.check_has_similarity`."""


@runtime_checkable
class Searchable(Protocol):
    """A gallery that is embedded already, such as a `voiceface.inference.gallery.Index`."""

    kind: Kind
    keys: list[str]

    def search(self, queries: Tensor, top: int = 10) -> Found:
        """See `Index.search`."""


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Scale rows to length 1; zero rows stay zero."""
    length = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)


def check_top(top: int) -> None:
    """Check the number of items to find.

    Raises:
        UserError: `top` is below 1.
    """
    if top < 1:
        raise UserError(f"--top {top}: give 1 or more")


def nearest(model: Comparing, queries: Tensor, kind: Kind, gallery: NDArray[Any], top: int) -> Found:
    """Find the gallery items most similar to each query: an exact search, with memory for one chunk of the gallery.

    Args:
        model: The model, which defines the similarity.
        queries: (Q, D), of the opposite kind to the gallery.
        kind: Kind of the gallery's items.
        gallery: (N, D), float32 or float16; of length 1 if compared by cosine. May be a memory map.
        top: Number of items to find; all if there are fewer.

    Returns:
        Places in the gallery, int64 (Q, K), the most similar first, ties in gallery order; and their similarities,
        float64 (Q, K).

    Raises:
        UserError: The method only compares candidates with each other, or `top` is below 1.
    """
    model.check_has_similarity()
    check_top(top)
    if model.method.space == "pairwise":
        found = [_nearest_pairs(model, query, kind, gallery, top) for query in queries]
    else:
        found = nearest_points(queries.float().cpu().numpy(), gallery, top, model.method.space)
    return stacked(found)


def stacked(found: Sequence[Found]) -> Found:
    """Combine the results of all queries into two arrays."""
    return np.stack([places for places, _ in found]), np.stack([scores for _, scores in found])


def nearest_points(queries: NDArray[np.float32], gallery: NDArray[Any], top: int, space: str) -> list[Found]:
    """Compute `nearest` by cosine or Euclidean distance.

    A float32 matrix product selects the items that may be among the nearest; these are compared again in float64, so
    that equal items tie wherever they are, and rounding loses no nearer item.
    """
    if len(queries) > QUERIES:
        parts = [queries[start : start + QUERIES] for start in range(0, len(queries), QUERIES)]
        return [found for part in parts for found in nearest_points(part, gallery, top, space)]
    cosine = space == "cosine"
    if cosine:
        queries = unit(queries)
    best: list[Found] = [(np.empty(0, np.int64), np.empty(0)) for _ in queries]
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    for start in range(0, len(gallery), CHUNK):
        chunk = np.asarray(gallery[start : start + CHUNK], np.float32)
        if len(queries) <= FEW:
            rough = np.stack([np.einsum("ij,j->i", chunk, query) for query in queries])
        else:
            rough = queries @ chunk.T
        longest = 1.01
        if not cosine:
            squares = np.einsum("ij,ij->i", chunk, chunk)
            longest = float(np.sqrt(squares.max()))
            rough -= squares / 2
        # An upper bound on the rounding error of D products and their sum.
        slack = 2.4e-7 * (chunk.shape[1] + 2) * (lengths * longest + longest**2)
        for number, query in enumerate(queries.astype(np.float64)):
            places, scores = best[number]
            near = np.arange(len(chunk))
            if len(scores) == top:
                last = scores[-1] if cosine else (lengths[number] ** 2 - scores[-1] ** 2) / 2
                near = np.flatnonzero(rough[number] >= last - slack[number])
            if len(near) > 2 * top:
                limit = np.partition(rough[number, near], -top)[-top] - slack[number]
                near = near[rough[number, near] >= limit]
            rows = chunk[near].astype(np.float64)
            exact = (rows * query).sum(axis=1) if cosine else -np.sqrt(np.square(rows - query).sum(axis=1))
            best[number] = _best(places, scores, near + start, exact, top)
    return best


def _nearest_pairs(model: Comparing, query: Tensor, kind: Kind, gallery: NDArray[Any], top: int) -> Found:
    """Compute `nearest` with a network that scores each pair."""
    best: Found = (np.empty(0, np.int64), np.empty(0))
    for start in range(0, len(gallery), PAIRS):
        items = torch.from_numpy(np.array(gallery[start : start + PAIRS], np.float32))
        one = query[None]
        scores = model.similarity(one, items)[0] if kind == "face" else model.similarity(items, one)[:, 0]
        best = _best(*best, np.arange(start, start + len(items)), scores.double().cpu().numpy(), top)
    return best


def _best(places: NDArray[Any], scores: NDArray[Any], more: NDArray[Any], theirs: NDArray[Any], top: int) -> Found:
    """Return the best of both, ties in gallery order."""
    places, scores = np.concatenate([places, more]), np.concatenate([scores, theirs])
    order = np.lexsort((places, -scores))[:top]
    return places[order], scores[order]
