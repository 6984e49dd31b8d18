"""Losses of pairs, triplets and centres against plain loops in float64, values and gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples
from torch.nn import functional as F

from voiceface.methods.losses import (
    centre_loss,
    contrastive_loss,
    distances,
    mean_or_zero,
    n_pair_loss,
    ranking_loss,
    softmax_ratio_loss,
    triplet_loss,
)

identities = st.lists(st.integers(0, 3), min_size=1, max_size=6)
PAPER = {"alpha1": 0.6, "alpha2": 0.6, "beta1": 0.2, "beta2": 0.2, "lambda3": 0.1, "lambda4": 0.1}


def plain_distance(x, y):
    """Euclidean, with a zero gradient at zero, written out."""
    squares = ((x - y) ** 2).sum()
    return squares.sqrt() if squares > 0 else squares


def plain_n_pair(a, o, ai, oi):
    terms, nothing = [], (a.sum() + o.sum()) * 0
    for i in range(len(a)):
        for p in range(len(o)):
            if ai[i] == oi[p]:
                others = [torch.exp(a[i] @ o[n] - a[i] @ o[p]) for n in range(len(o)) if oi[n] != ai[i]]
                terms.append(torch.log(1 + sum(others, nothing)))
    return sum(terms) / len(terms) if terms else nothing


def agree(ours, plain, *inputs, tolerance=2e-5):
    """The same value and the same gradients for float32 inputs as for their float64 copies."""
    single = [x.clone().float().requires_grad_() for x in inputs]
    double = [x.detach().double().requires_grad_() for x in single]
    found, wanted = ours(*single), plain(*double)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), wanted, rtol=tolerance, atol=tolerance)
    weights = torch.linspace(0.5, 1.5, found.numel(), dtype=torch.float64).reshape(found.shape)
    (found * weights.float()).sum().backward()
    (wanted * weights).sum().backward()
    for x, y in zip(single, double, strict=True):
        assert torch.allclose(x.grad.double(), y.grad, rtol=tolerance, atol=tolerance)


def batch(anchor_identity, other_identity, seed, copies=False):
    """Embeddings; with `copies`, some rows of both modalities are equal."""
    torch.manual_seed(seed)
    a, o = torch.randn(len(anchor_identity), 5), torch.randn(len(other_identity), 5)
    if copies:
        o[0] = a[0]
        o[-1] = a[-1]
        a[-1] = a[0]
    return a, o, torch.tensor(anchor_identity), torch.tensor(other_identity)


@given(st.integers(0, 6), st.integers(0, 99))
@settings(max_examples=examples(15), deadline=None)
def test_distances_of_rows_and_none_at_equal_rows(rows, seed):
    torch.manual_seed(seed)
    a, b = torch.randn(rows, 4), torch.randn(rows, 4)
    b[::2] = a[::2]

    def plain(x, y):
        terms = [plain_distance(p, q) for p, q in zip(x, y, strict=True)]
        return torch.stack(terms) if terms else (x + y).sum(1)

    agree(distances, plain, a, b)
    x = a.clone().requires_grad_()
    distances(x, b).sum().backward()
    assert torch.all(x.grad[::2] == 0)
    assert torch.all((x.grad[1::2].norm(dim=1) - 1).abs() < 1e-5)


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300)), max_size=8))
@settings(max_examples=examples(40), deadline=None)
def test_softmax_ratio_is_the_printed_norm_of_the_softmax(pairs):
    near, far = torch.tensor(pairs).reshape(-1, 2).T

    def printed(p, n):
        return ((torch.softmax(torch.stack([p, n]), 0) - torch.tensor([[0.0], [1.0]])) ** 2).sum(0)

    agree(softmax_ratio_loss, printed, near, far, tolerance=1e-4)


def test_softmax_ratio_by_hand():
    found = softmax_ratio_loss(torch.tensor([3.0, 0.0, 500.0, 0.0]), torch.tensor([3.0, math.log(3), 0.0, 500.0]))
    assert torch.allclose(found, torch.tensor([0.5, 0.125, 2.0, 0.0]))


@given(st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=8), st.sampled_from([0.0, 0.6, 1.0]))
@settings(max_examples=examples(40), deadline=None)
def test_contrastive_loss_is_the_formula(pairs, margin):
    distance, same = torch.tensor([d for d, _ in pairs]), torch.tensor([s for _, s in pairs], dtype=torch.bool)

    def formula(d):
        terms = [x**2 if s else max(margin - x, x * 0) ** 2 for x, s in zip(d, same.tolist(), strict=True)]
        return torch.stack(terms) if terms else d * 1

    agree(lambda d: contrastive_loss(d, same, margin), formula, distance)
    agree(lambda d: contrastive_loss(d, same.float(), margin), formula, distance)


def test_contrastive_loss_by_hand():
    found = contrastive_loss(torch.tensor([0.5, 0.5, 0.7]), torch.tensor([True, False, False]), 0.6)
    assert torch.allclose(found, torch.tensor([0.25, 0.01, 0.0]))


@given(identities, identities, st.integers(0, 99), st.booleans())
@settings(max_examples=examples(50), deadline=None)
def test_n_pair_loss_is_the_mean_over_positive_pairs(anchor_identity, other_identity, seed, copies):
    a, o, ai, oi = batch(anchor_identity, other_identity, seed, copies)
    agree(lambda x, y: n_pair_loss(x, y, ai, oi), lambda x, y: plain_n_pair(x, y, ai.tolist(), oi.tolist()), a, o)


def test_n_pair_loss_of_one_clip_each_is_the_cross_entropy_of_the_rows():
    a, o, ai, _ = batch(list(range(6)), list(range(6)), 3)
    turned = torch.tensor([3, 0, 5, 1, 4, 2])
    wanted = F.cross_entropy(a @ o.T, ai)
    assert torch.allclose(n_pair_loss(a, o, ai, ai), wanted)
    assert torch.allclose(n_pair_loss(a, o[turned], ai, ai[turned]), wanted)


def test_n_pair_loss_of_large_similarities_is_finite():
    a = torch.tensor([[300.0], [-300.0]], requires_grad=True)
    loss = n_pair_loss(a, -a.detach(), torch.arange(2), torch.arange(2))
    loss.backward()
    assert float(loss.detach()) == 180_000
    assert torch.equal(a.grad, torch.tensor([[300.0], [-300.0]]))
    assert float(n_pair_loss(a, a.detach(), torch.arange(2), torch.arange(2))) == 0


@given(identities, st.integers(0, 99))
@settings(max_examples=examples(25), deadline=None)
def test_centre_loss_is_half_the_mean_square(identity, seed):
    torch.manual_seed(seed)
    x, centres = torch.randn(len(identity), 3), torch.randn(5, 3)
    x[0] = centres[identity[0]]

    def plain(e, c):
        return sum(((e[i] - c[y]) ** 2).sum() for i, y in enumerate(identity)) / len(identity) / 2

    agree(lambda e, c: centre_loss(e, torch.tensor(identity), c), plain, x, centres)


def test_centre_loss_refuses_identities_that_are_no_row():
    for identity in (-1, 2):
        with pytest.raises(IndexError):
            centre_loss(torch.zeros(1, 3), torch.tensor([identity]), torch.zeros(2, 3))


def test_the_mean_of_no_terms_is_zero_with_a_gradient():
    x = torch.ones(3, requires_grad=True)
    mean_or_zero(x[:0]).backward()
    assert torch.all(x.grad == 0)
    assert float(mean_or_zero(torch.tensor([[1, 2], [3, 6]], dtype=torch.bfloat16))) == 3


def both_readings(a, o, ai, oi):
    unit = F.normalize(a.float(), dim=1), F.normalize(o.float(), dim=1)
    return sum(ranking_loss(*unit, ai, oi, **PAPER, intra_negative=which)[0] for which in ("hardest", "shared"))


BATCH_LOSSES = {
    "triplet": lambda a, o, ai, oi: triplet_loss(a, o, ai, oi, 0.2)[0],
    "n_pair": n_pair_loss,
    "ranking": both_readings,
    "softmax_ratio": lambda a, o, ai, oi: mean_or_zero(softmax_ratio_loss(distances(a, o), distances(a, o.flip(0)))),
    "contrastive": lambda a, o, ai, oi: mean_or_zero(contrastive_loss(distances(a, o), ai == oi, 0.6)),
    "centre": lambda a, o, ai, oi: centre_loss(a, ai, o),
}
of_every_batch_loss = pytest.mark.parametrize("loss", BATCH_LOSSES.values(), ids=BATCH_LOSSES)


@of_every_batch_loss
def test_autocast_changes_nothing(loss):
    inputs = batch([0, 1, 2, 0], [0, 1, 2, 3], 0)
    wanted = loss(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(*inputs)
    assert float(wanted) > 0
    assert torch.equal(found, wanted)


@of_every_batch_loss
def test_bf16_embeddings_are_taken_as_float32(loss):
    a, o, ai, oi = batch([0, 1, 2, 0], [0, 1, 2, 3], 0)
    half = [x.bfloat16().requires_grad_() for x in (a, o)]
    single = [x.detach().float().requires_grad_() for x in half]
    found, wanted = loss(*half, ai, oi), loss(*single, ai, oi)
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)
    found.backward()
    wanted.backward()
    for x, y in zip(half, single, strict=True):
        # The gradients of one embedding are added up in its own precision.
        assert torch.allclose(x.grad.float(), y.grad, rtol=0.05, atol=0.02 * float(y.grad.abs().max()))


@pytest.mark.parametrize("loss", [BATCH_LOSSES[name] for name in ("triplet", "n_pair", "ranking")])
@pytest.mark.parametrize(
    ("anchor_identity", "other_identity"), [([0, 0, 0], [0, 0]), ([0, 1, 1], [2, 3]), ([0], [0]), ([0], [1])]
)
@pytest.mark.parametrize("equal", [False, True])
def test_without_positives_or_negatives_the_loss_is_zero_and_so_are_its_gradients(
    loss, anchor_identity, other_identity, equal
):
    a, o, ai, oi = batch(anchor_identity, other_identity, 1)
    if equal:
        a[:], o[:] = 1, 1
    a.requires_grad_()
    o.requires_grad_()
    with torch.autograd.set_detect_anomaly(True):
        found = loss(a, o, ai, oi)
        found.backward()
    assert float(found.detach()) == 0
    assert torch.all(a.grad == 0)
    assert torch.all(o.grad == 0)


@of_every_batch_loss
def test_equal_embeddings_of_all_people_have_finite_gradients(loss):
    a, o = (torch.ones(4, 3, requires_grad=True) for _ in range(2))
    found = loss(a, o, torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 2, 3]))
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(a.grad).all()
    assert torch.isfinite(o.grad).all()
