"""How long does it take to search a million faces, exactly and by FAISS?

    python -m benchmarks.inference.search retrieve     [--faces 1000000] [--repeats 7] [--threads 2]
    python -m benchmarks.inference.search approximate  likewise

A gallery of 1,000,000 x 256 float32 in a .npy file, opened by `np.load(mmap_mode="r")` as an index is; top 10, cosine.

retrieve: `voiceface` is the search of `voiceface retrieve --index`. A product with a gallery is bound by memory: one
query reads 1 GB, and so do many at once. "product" leaves out the choice of the nearest. Start it with as many threads
for numpy's BLAS too, by OMP_NUM_THREADS.

approximate: what `voiceface index --faiss` builds; what it finds is compared anew, from the memory-mapped rows, in the
time given. How many lists FAISS must read hangs on the gallery, so there are two: "no structure", the same in all
directions, is the worst; "people" has 20 faces of each of 50,000 people, the k-th of the 256 dimensions with variance
1/k, both between people and between two faces of one (0.7 of that spread). Its queries are voices whose correlation
with their person's mean face is about 0.3. Recall is of the exact 10 nearest, over other queries than those by which
the number of lists was chosen. Seconds to build leave out embedding. Writes benchmarks/results/QUESTION.json.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import Runs, Ways, answer, in_turn, medians, summary
from voiceface.inference.faiss_index import build, read
from voiceface.inference.search import nearest_points, unit

DIM = 256
BLOCK = 65_536
Points = NDArray[np.float32]


@numba.njit(parallel=True, fastmath=True)
def products(gallery: Points, query: Points) -> Points:
    """Each row times the query, the rows shared among the threads: reads each once, in order."""
    out = np.empty(len(gallery), np.float32)
    for row in numba.prange(len(gallery)):
        total = np.float32(0)
        for column in range(gallery.shape[1]):
            total += gallery[row, column] * query[column]
        out[row] = total
    return out


def store(path: Path, faces: int, drawn: Callable[[int], NDArray[Any]]) -> Points:
    """Write faces, block by block and each of length 1, and map them."""
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(faces, DIM))
    for start in range(0, faces, BLOCK):
        stored[start : start + BLOCK] = unit(drawn(min(BLOCK, faces - start)))
    stored.flush()
    mapped: Points = np.load(path, mmap_mode="r")
    return mapped


def nearest(queries: Points, gallery: Points) -> list[tuple[Any, Any]]:
    return nearest_points(queries, gallery, 10, "cosine")


def milliseconds_per_query(ways: Ways, repeats: int) -> Runs:
    """The names begin with the number of queries."""
    runs = in_turn(ways, repeats)
    return {name: [1000 * s / int(name.split()[0]) for s in values] for name, values in runs.items()}


def retrieve(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    path = folder / "faces.npy"
    mapped = store(path, options.faces, lambda count: rng.standard_normal((count, DIM), dtype=np.float32))
    gallery = torch.from_numpy(np.load(path, mmap_mode="c"))  # copy on write: torch warns of read-only memory
    asked = unit(rng.standard_normal((64, DIM), dtype=np.float32))
    query = torch.from_numpy(asked[0])
    ways: Ways = {
        "1 query, reading alone: sum of all values": lambda: gallery.sum(),
        "1 query, product, torch": lambda: gallery @ query,
        "1 query, product, numpy": lambda: mapped @ asked[0],
        "1 query, product, numba": lambda: products(mapped, asked[0]),
        "1 query, voiceface": lambda: nearest(asked[:1], mapped),
        "64 queries, voiceface": lambda: nearest(asked, mapped),
    }
    found = summary("ms_per_query", milliseconds_per_query(ways, options.repeats))
    return {"gallery": [options.faces, DIM], "threads": options.threads, "target": 150, **found}


def approximate(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from faiss import omp_set_num_threads

    omp_set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    falling = (1 / np.sqrt(1 + np.arange(DIM))).astype(np.float32)
    means = rng.standard_normal((max(1, options.faces // 20), DIM), dtype=np.float32) * falling
    even = rng.standard_normal((256, DIM))
    voices = 0.3 * means[rng.integers(0, len(means), 256)] + 0.95 * falling * rng.standard_normal((256, DIM))
    results = {}
    for name, centres, spread, queries in (
        ("no structure", np.zeros((1, DIM), np.float32), np.ones(DIM, np.float32), even),
        ("people", means, 0.7 * falling, voices),
    ):

        def drawn(count: int, centres: Points = centres, spread: Points = spread) -> NDArray[Any]:
            own = centres[rng.integers(0, len(centres), count)]
            return own + spread * rng.standard_normal((count, DIM))

        gallery = store(folder / f"{name}.npy", options.faces, drawn)
        results[name] = by_faiss(gallery, unit(queries), folder / "faiss", options.repeats)
    return {"gallery": [options.faces, DIM], "threads": options.threads, "approximate": results}


def by_faiss(gallery: Points, asked: Points, path: Path, repeats: int) -> dict[str, Any]:
    """Build an approximate index of a gallery, and compare it with the exact search."""
    start = time.perf_counter()
    about = build(path, gallery, "cosine")
    built = time.perf_counter()
    index = read(path, about, gallery, "cosine")
    loaded = time.perf_counter()
    right, found = nearest(asked[64:], gallery), index.search(asked[64:], 10)
    recall = np.mean([np.isin(few, all_).mean() for (few, _), (all_, _) in zip(right, found, strict=True)])
    # One query after another, each another one: the lists that the last one read are in the cache.
    turn = iter(np.resize(np.arange(64, len(asked)), 2 * repeats + 2))
    ways: Ways = {
        "1 query, exact": lambda: nearest(asked[(at := next(turn)) : at + 1], gallery),
        "1 query, FAISS": lambda: index.search(asked[(at := next(turn)) : at + 1], 10),
        "64 queries, exact": lambda: nearest(asked[:64], gallery),
        "64 queries, FAISS": lambda: index.search(asked[:64], 10),
    }
    return {
        "lists": about["lists"],
        "lists_read": about["probes"],
        "recall_at_10": round(float(recall), 4),
        "ms_per_query_median": medians(milliseconds_per_query(ways, repeats)),
        "seconds_to_build": round(built - start, 1),
        "seconds_to_read": round(loaded - built, 2),
        "megabytes": round(path.stat().st_size / 1e6),
    }


if __name__ == "__main__":
    answer(__doc__, {"retrieve": retrieve, "approximate": approximate}, faces=1_000_000, repeats=7, threads=2)
