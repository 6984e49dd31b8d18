from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.methods.losses import take_rows, triplet_loss


def brute_force(v, f, vi, fi, margin):
    return [
        max(np.linalg.norm(v[a] - f[p]) - np.linalg.norm(v[a] - f[n]) + margin, 0.0)
        for a in range(len(v))
        for p in range(len(f))
        for n in range(len(f))
        if vi[a] == fi[p] != fi[n]
    ]


@given(st.integers(2, 4), st.integers(1, 3), st.integers(1, 3), st.floats(0, 2), st.integers(0, 99))
@settings(max_examples=examples(60), deadline=None)
def test_triplet_loss_is_the_sum_over_all_triplets(people, voices, faces, margin, seed):
    rng = np.random.default_rng(seed)
    v, f = rng.standard_normal((people * voices, 5)), rng.standard_normal((people * faces, 5))
    vi, fi = np.repeat(np.arange(people), voices), rng.permutation(np.repeat(np.arange(people), faces))
    total, hinge = triplet_loss(*map(torch.tensor, (v, f, vi, fi)), margin)
    wanted = brute_force(v, f, vi, fi, margin)
    assert len(hinge) == len(wanted) == people * voices * faces * (people - 1) * faces
    assert np.allclose(sorted(hinge.numpy()), sorted(wanted), atol=1e-5)
    assert np.isclose(float(total), sum(wanted), rtol=1e-5, atol=1e-6 * len(wanted))


def test_its_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    v, f = torch.randn(4, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    vi, fi = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1, 0, 1])
    v.requires_grad_()
    triplet_loss(v, f, vi, fi, 1.0)[0].backward()
    for i, j in ((0, 0), (2, 1), (3, 2)):
        shift = torch.zeros_like(v)
        shift[i, j] = 1e-3
        up, down = (float(triplet_loss((v + s).detach(), f, vi, fi, 1.0)[0]) for s in (shift, -shift))
        assert abs((up - down) / 2e-3 - float(v.grad[i, j])) < 1e-2 * max(1, abs(float(v.grad[i, j])))


def test_it_is_float32_under_autocast_and_without_positives_zero():
    v = torch.randn(4, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = triplet_loss(v, v.detach(), torch.arange(4), torch.arange(4), 0.2)
        none, _ = triplet_loss(v, v.detach(), torch.arange(4), torch.arange(4, 8), 0.2)
    assert total.dtype == torch.float32
    assert float(none) == 0


def test_rows_are_those_of_indexing_and_their_gradient_repeats_to_the_bit():
    torch.manual_seed(0)
    table, index = torch.randn(40, 256), torch.randint(40, (64, 20))
    weight = torch.randn(64, 20, 256)

    def gradient(take: Any, table: torch.Tensor) -> torch.Tensor:
        table = table.clone().requires_grad_()
        (take(table, index) * weight.to(table.dtype)).sum().backward()
        return table.grad

    assert torch.equal(take_rows(table, index), table[index])
    expected = gradient(lambda t, i: t[i], table.double())
    assert torch.allclose(gradient(take_rows, table).double(), expected, rtol=1e-4, atol=1e-4)
    assert len({gradient(take_rows, table).numpy().tobytes() for _ in range(20)}) == 1
