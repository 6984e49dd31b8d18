"""The device path against the CPU kernels on the same similarities, and against plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.scores import on_device
from voiceface.scores.matching import count
from voiceface.scores.on_device import count_on_device, verify_on_device
from voiceface.scores.ranking import rank
from voiceface.scores.roc import auc, eer
from voiceface.scores.similarity import similarity_rows
from voiceface.scores.verification import verify
from voiceface.utils.errors import UserError

SIZES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), min_size=2, max_size=5)
COUNTS = ("wins", "ties", "pairs", "gallery_sizes")
RANKS = ("items", "relevant", "average_precision", "above", "tied_relevant", "tied_irrelevant", "open")


def draw(seed, sizes, distractors=(), values=None, dimensions=16):
    """Queries, gallery, query identities, gallery sizes; with `values`, few distinct entries, so that much ties.

    Entries of +-1 in 16 dimensions have the norm 4, so every cosine is a multiple of 1/16 and exact in any order of
    summation.
    """
    rng = np.random.default_rng(seed)
    clips, items = np.array(sizes).T
    items = np.append(items, np.array(distractors, np.int64))

    def embeddings(number):
        shape = (number, dimensions)
        drawn = rng.normal(size=shape) if values is None else rng.choice(values, shape)
        return drawn.astype(np.float32)

    return embeddings(clips.sum()), embeddings(items.sum()), np.repeat(np.arange(len(clips)), clips), items


def on_cpu_kernels(rows, identity, items):
    """Counts and ranks by the compiled kernels."""
    return count(rows, identity, items, threads=1), rank(rows, identity, items, threads=1)[0].ranks


def assert_same(found, expected):
    for names, mine, other in zip((COUNTS, RANKS), found, expected, strict=True):
        for name in names:
            np.testing.assert_array_equal(getattr(mine, name), getattr(other, name), err_msg=name)


@settings(max_examples=examples(40), deadline=None)
@given(
    st.integers(0, 10**6),
    SIZES,
    st.lists(st.sampled_from([0, 1, 3]), max_size=3),
    st.sampled_from(["cosine", "euclidean"]),
    st.sampled_from([None, 1, 2]),
)
def test_counts_of_exact_similarities_equal_those_of_the_cpu_kernel(seed, sizes, distractors, similarity, block):
    queries, gallery, identity, items = draw(seed, sizes, distractors, values=[-1.0, 1.0])
    expected = on_cpu_kernels(similarity_rows(queries, gallery, similarity), identity, items)
    assert_same(count_on_device(queries, gallery, identity, items, similarity, "cpu", block), expected)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_counts_of_any_similarities_equal_those_of_the_cpu_kernel_given_the_same_ones(similarity):
    queries, gallery, identity, items = draw(1, [(3, 5), (9, 80), (1, 1), (4, 33)], [7, 0, 2], dimensions=24)
    gallery[90:100] = gallery[0:10]  # copies: they tie
    rows, low = on_device._similarities(queries, gallery, similarity, torch.device("cpu"))
    scores = rows(slice(None)).numpy()
    assert scores.min() >= low
    found = count_on_device(queries, gallery, identity, items, similarity, "cpu")
    assert_same(found, on_cpu_kernels(lambda index: scores[index], identity, items))
    assert found[0].ties.sum() > 0
    assert found[1].open.any()
    # numpy's product is rounded otherwise, which may move a triplet that all but ties
    plain = count(similarity_rows(queries, gallery, similarity), identity, items, threads=1)
    np.testing.assert_allclose(found[0].win_rates, plain.win_rates, atol=1e-3)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_equal_gallery_embeddings_tie_to_the_last_bit(similarity):
    queries, gallery, identity, items = draw(2, [(5, 11)] * 6, dimensions=13)
    gallery[:] = gallery[0]
    gallery[:, 3] = 0.0
    gallery[::2, 3] = -0.0
    found, ranks = count_on_device(queries, gallery, identity, items, similarity, "cpu")
    assert ranks.open.all()
    assert found.wins.sum() == 0
    np.testing.assert_array_equal(found.ties, found.triplets)
    assert (found.win_rates == 0.5).all()


def test_long_running_sums_take_int64(monkeypatch):
    queries, gallery, identity, items = draw(3, [(3, 4), (2, 9), (5, 2)], [3], values=[-1.0, 1.0])
    expected = count_on_device(queries, gallery, identity, items, device="cpu")
    monkeypatch.setattr(on_device, "INT32_END", 1)
    assert_same(count_on_device(queries, gallery, identity, items, device="cpu"), expected)


def pairs(queries, gallery, identity, items):
    """Cosines of all pairs with truth and weight, by a loop."""
    owner = np.repeat(np.arange(len(items)), items)
    clips = np.bincount(identity)
    scores, labels, weights = [], [], []
    for q, a in enumerate(identity):
        for g, b in enumerate(owner):
            if b < len(clips):
                scores.append(queries[q] @ gallery[g] / np.linalg.norm(queries[q]) / np.linalg.norm(gallery[g]))
                labels.append(a == b)
                weights.append(1 / (clips[a] * items[b]))
    return scores, labels, weights


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 10**6), SIZES, st.sampled_from([None, (-1.0, 1.0)]), st.sampled_from([2, 64, 1 << 16]))
def test_the_histogram_is_as_near_to_the_exact_curve_as_it_says(seed, sizes, values, cells):
    queries, gallery, identity, items = draw(seed, sizes, [2], values)
    found = verify_on_device(queries, gallery, identity, items, device="cpu", block=3, cells=cells)
    listed = pairs(queries, gallery, identity, items)
    for value, bound, exact in (
        (found.auc, found.auc_bound, auc(*listed)),
        (found.eer, found.eer_bound, eer(*listed)),
    ):
        assert 0 <= bound <= 1
        assert abs(value - exact) <= bound + 1e-5, (value, bound, exact)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_a_fine_histogram_gives_what_the_exact_verification_gives(similarity):
    queries, gallery, identity, items = draw(4, [(6, 9), (3, 20), (8, 4), (5, 5)] * 3)
    gallery += np.repeat(np.random.default_rng(0).normal(size=(12, 16)), items, axis=0).astype(np.float32)
    mask = ~np.eye(12, dtype=bool)[None]
    (expected,) = verify(similarity_rows(queries, gallery, similarity), identity, items, mask, threads=1)
    found = verify_on_device(queries, gallery, identity, items, similarity, "cpu")
    assert found.auc_bound < 1e-5
    assert found.eer_bound < 2e-3
    assert found.auc == pytest.approx(expected.auc, abs=found.auc_bound + 1e-6)
    assert found.eer == pytest.approx(expected.eer, abs=found.eer_bound + 1e-6)


def test_a_constant_model_has_half_of_everything():
    ones = np.ones((6, 4))
    found = verify_on_device(ones, ones, np.array([0, 0, 1, 2, 2, 2]), np.array([3, 1, 2]), "euclidean", "cpu")
    assert found.auc == found.eer == 0.5


def test_products_are_taken_in_full_precision_and_settings_are_left_as_they_were():
    queries, gallery, _, _ = draw(5, [(30, 40)] * 4, dimensions=64)
    rows, _ = on_device._similarities(queries, gallery, "cosine", torch.device("cpu"))
    before = rows(slice(None))
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(rows(slice(None)), before, atol=1e-6, rtol=0)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_tables_that_do_not_fit_are_refused():
    queries, gallery, identity, items = draw(6, [(2, 3), (2, 2)])
    for function in (count_on_device, verify_on_device):
        with pytest.raises(UserError, match="5 gallery items should be 6"):
            function(queries, gallery, identity, items + np.array([1, 0]), device="cpu")
        with pytest.raises(UserError, match="similarity: 'dot' is not known"):
            function(queries, gallery, identity, items, "dot", "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_cuda_counts_the_same_but_for_the_last_bit_of_a_similarity(similarity):
    queries, gallery, identity, items = draw(7, [(20, 90), (31, 41), (9, 130)] * 20, [50, 0], dimensions=128)
    on_cpu, on_cuda = (count_on_device(queries, gallery, identity, items, similarity, d)[0] for d in ("cpu", "cuda"))
    np.testing.assert_allclose(on_cuda.win_rates, on_cpu.win_rates, rtol=0, atol=1e-6)
    exact = draw(8, [(3, 9), (4, 2)] * 5, [3, 0], values=[-1.0, 1.0])
    on_cpu, on_cuda = (count_on_device(*exact, similarity, device) for device in ("cpu", "cuda"))
    assert_same(on_cuda, on_cpu)
    curves = [verify_on_device(*exact, similarity, device) for device in ("cpu", "cuda")]
    assert curves[0].auc == pytest.approx(curves[1].auc, abs=1e-9)
    assert curves[0].eer == pytest.approx(curves[1].eer, abs=1e-9)
