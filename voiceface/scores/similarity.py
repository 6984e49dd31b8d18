"""Similarities of queries to a gallery, computed one block of rows at a time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.kernels.blocks import Rows


def similarity_rows(queries: NDArray[Any], gallery: NDArray[Any], kind: str = "cosine") -> Rows:
    """Build a function that computes any rows of the similarity matrix.

    Cosine: normalised in float64, multiplied in float32. Euclidean: the negative squared distance, which ranks like the
    negative distance, computed in float64 and rounded to float32. Gallery items with equal embeddings get bit-identical
    similarities (which a matrix product alone does not guarantee), so ties are ties.

    Args:
        queries: float (Q, D), finite; without zero vectors for cosine.
        gallery: float (N, D), likewise.
        kind: "cosine" or "euclidean".

    Returns:
        A function from indices intp (B,) of queries to similarities float32 (B, N).
    """
    distinct, copy_of = distinct_rows(gallery)
    if kind == "cosine":
        query_directions, item_directions = directions(queries), directions(distinct)
        return lambda rows: _spread(query_directions[rows] @ item_directions.T, copy_of)

    centred_queries, centred_items = centred(queries, distinct)
    item_norms = (centred_items**2).sum(axis=1)
    query_norms = (centred_queries**2).sum(axis=1)

    def minus_squared_distance(rows: NDArray[np.intp]) -> NDArray[Any]:
        product = 2.0 * (centred_queries[rows] @ centred_items.T) - item_norms - query_norms[rows, None]
        return _spread(product.astype(np.float32), copy_of)

    return minus_squared_distance


def matrix_rows(matrix: NDArray[Any], queries: NDArray[np.intp], gallery: NDArray[np.intp]) -> Rows:
    """Build a function that returns rows of a precomputed similarity matrix.

    Args:
        matrix: float32 or float64, of any shape.
        queries: intp (Q,): the matrix row of each query.
        gallery: intp (N,): the matrix column of each gallery item.

    Returns:
        A function from indices intp (B,) of queries to similarities (B, N) of the matrix's type.
    """
    return lambda rows: matrix[queries[rows][:, None], gallery[None, :]]


def unit(embeddings: NDArray[Any]) -> NDArray[np.float64]:
    """Scale embeddings of any finite size, none of them zero, to length 1."""
    scaled = embeddings / np.abs(embeddings).max(axis=1, keepdims=True).astype(np.float64)
    directions: NDArray[np.float64] = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return directions


def directions(embeddings: NDArray[Any]) -> NDArray[np.float32]:
    """Return `unit` in float32; inner products are the cosines."""
    return unit(embeddings).astype(np.float32)


def centred(queries: NDArray[Any], items: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Subtract the items' mean from both and scale to at most 1, which preserves the order of distances.

    Distances are then resolved to about 1e-7 of the largest coordinate: an outlier far beyond 1e6 times the rest makes
    the rest indistinguishable.
    """
    centre = items.mean(axis=0, dtype=np.float64)
    if not np.isfinite(centre).all():
        centre = (items / len(items)).sum(axis=0, dtype=np.float64)
    moved_queries, moved_items = queries - centre, items - centre
    scale = max(float(np.abs(moved_queries).max()), float(np.abs(moved_items).max())) or 1.0
    return moved_queries / scale, moved_items / scale


def distinct_rows(gallery: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the distinct rows, and for each row its index among them."""
    gallery = np.ascontiguousarray(gallery) + 0.0  # -0.0 becomes 0.0
    index: dict[bytes, int] = {}
    copy_of = np.array([index.setdefault(row.tobytes(), len(index)) for row in gallery])
    return gallery[np.unique(copy_of, return_index=True)[1]], copy_of


def _spread(scores: NDArray[Any], copy_of: NDArray[np.intp]) -> NDArray[Any]:
    return scores if scores.shape[1] == len(copy_of) else scores[:, copy_of]
