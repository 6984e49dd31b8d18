"""Kernels compile with and without a place for their cache."""

import numpy as np

from voiceface.scores.kernels.jit import compiled, usable_threads


def double(values):
    return values * 2


def test_compiled_function_is_cached_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    np.testing.assert_array_equal(compiled(double)(np.arange(3)), [0, 2, 4])
    assert list(tmp_path.rglob("*.nbc"))


def test_without_a_place_for_a_cache_it_compiles_anew():
    namespace = {}
    exec("def triple(values): return values * 3", namespace)  # has no file, so numba finds no place beside it
    np.testing.assert_array_equal(compiled(namespace["triple"])(np.arange(3)), [0, 3, 6])


def test_there_is_a_thread():
    assert usable_threads() >= 1
