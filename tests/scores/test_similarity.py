"""Similarities in blocks against float64, and exact ties of equal embeddings."""

import numpy as np
import pytest

from voiceface.scores.similarity import matrix_rows, similarity_rows


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_cosine(scale):
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(7, 5)) * scale, rng.normal(size=(9, 5)) * scale
    expected = (queries / scale) @ (gallery / scale).T
    expected /= np.linalg.norm(queries / scale, axis=1)[:, None] * np.linalg.norm(gallery / scale, axis=1)
    rows = similarity_rows(queries, gallery)(np.array([1, 5]))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected[[1, 5]], atol=5e-7)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_euclidean_ranks_as_the_distance_does(offset):
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(7, 5)) + offset, rng.normal(size=(40, 5)) + offset
    distances = np.linalg.norm(queries[:, None] - gallery[None], axis=2)
    rows = similarity_rows(queries, gallery, "euclidean")(np.arange(7))
    np.testing.assert_array_equal(np.argsort(-rows, axis=1), np.argsort(distances, axis=1))


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
@pytest.mark.parametrize("block", [1, 2, 5, 20])
@pytest.mark.parametrize("items", [2, 8, 18, 34, 1002])
def test_equal_embeddings_tie_to_the_last_bit(kind, items, block):
    """A plain product breaks such ties at the edges of its tiles for most of these sizes."""
    rng = np.random.default_rng(items)
    gallery = np.repeat(rng.normal(size=(2, 37)), [1, items - 1], axis=0).astype(np.float32)
    rows = similarity_rows(rng.normal(size=(20, 37)).astype(np.float32), gallery, kind)(np.arange(block))
    assert (rows[:, 1:] == rows[:, 1:2]).all()
    assert (rows[:, 0] != rows[:, 1]).all()


def test_minus_zero_is_zero():
    rows = similarity_rows(np.ones((1, 2)), np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 1.0]]))(np.array([0]))
    assert rows[0, 0] == rows[0, 1] != rows[0, 2]


def test_matrix_rows_reorders():
    matrix = np.arange(12.0).reshape(3, 4)
    rows = matrix_rows(matrix, np.array([2, 0]), np.array([3, 1, 0]))
    np.testing.assert_array_equal(rows(np.array([0])), [[11, 9, 8]])
