"""The exact search of a gallery for what is most like a query."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voiceface.inference.media import Kind
from voiceface.inference.model import Model
from voiceface.utils.errors import UserError

CHUNK = 1 << 13  # rows that are compared at once
FEW = 4  # queries for which einsum, which reads the rows once each, is quicker than BLAS: twice for one query
QUERIES = 256  # with so many queries
PAIRS = 256  # likewise, where each pair runs through a network
Found = tuple[NDArray[np.int64], NDArray[np.float64]]


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of length 1; zero rows stay."""
    length = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)


def check_top(top: int) -> None:
    """Refuse to find none.

    Raises:
        UserError: `top` is below 1.
    """
    if top < 1:
        raise UserError(f"--top {top}: give 1 or more")


def nearest(model: Model, queries: Tensor, kind: Kind, gallery: NDArray[Any], top: int) -> Found:
    """The items of a gallery that are most like each query: an exact search, the memory of a chunk of it.

    Args:
        model: Knows how embeddings compare.
        queries: (Q, D), of the other kind than the gallery.
        kind: What the gallery holds.
        gallery: (N, D), float32 or float16; of length 1 where they compare by cosine. May be a memory map.
        top: How many; all where there are fewer.

    Returns:
        Places in the gallery, int64 (Q, K), the most alike first, of equal ones the first; and their similarities,
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
    """What was found for each query, as two arrays."""
    return np.stack([places for places, _ in found]), np.stack([scores for _, scores in found])


def nearest_points(queries: NDArray[np.float32], gallery: NDArray[Any], top: int, space: str) -> list[Found]:
    """`nearest` by cosine or Euclidean distance.

    A matrix product in float32 says which items may be among the nearest; those are compared anew in float64, so that
    equal items tie whatever their place, and no nearer one is lost by rounding.
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
        # A bound on the rounding of D products and their sum.
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


def _nearest_pairs(model: Model, query: Tensor, kind: Kind, gallery: NDArray[Any], top: int) -> Found:
    """`nearest` by a network of each pair."""
    best: Found = (np.empty(0, np.int64), np.empty(0))
    for start in range(0, len(gallery), PAIRS):
        items = torch.from_numpy(np.array(gallery[start : start + PAIRS], np.float32))
        one = query[None]
        scores = model.similarity(one, items)[0] if kind == "face" else model.similarity(items, one)[:, 0]
        best = _best(*best, np.arange(start, start + len(items)), scores.double().cpu().numpy(), top)
    return best


def _best(places: NDArray[Any], scores: NDArray[Any], more: NDArray[Any], theirs: NDArray[Any], top: int) -> Found:
    """The best of both, of equal ones the first."""
    places, scores = np.concatenate([places, more]), np.concatenate([scores, theirs])
    order = np.lexsort((places, -scores))[:top]
    return places[order], scores[order]
