"""How long does it take to search a million faces, exactly and by FAISS?

    python -m benchmarks.inference.search retrieve     [--faces 1000000] [--repeats 7] [--threads 2]
    python -m benchmarks.inference.search approximate  likewise

A gallery of 1,000,000 x 256 float32 in a .npy file, opened by `np.load(mmap_mode="r")` as an index is; top 10, cosine.

retrieve: `voiceface` is the search of `voiceface retrieve --index`. A product with a gallery is bound by memory: one
query reads 1 GB, and so do many at once. "product alone" leaves out the choice of the nearest. Start it with as many
threads for numpy's BLAS too, by OMP_NUM_THREADS.

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
from statistics import median
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common import answer, load_average, medians, parser, rounded, timed
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


def blocks(queries: Tensor, gallery: Tensor, k: int, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """A product and a top-k of each block, then the best of these: memory for `block` similarities of each query."""
    best, at = [], []
    for start in range(0, len(gallery), block):
        part = gallery[start : start + block]
        # A product with one vector (gemv) shares a row-major matrix among the threads; gemm with one row does not.
        scores = (part @ queries[0])[None] if len(queries) == 1 else queries @ part.T
        values, places = scores.topk(min(k, len(part)))
        best.append(values)
        at.append(places + start)
    values, places = torch.cat(best, dim=1).topk(k)
    return values, torch.cat(at, dim=1).gather(1, places)


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


def retrieve(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    path = folder / "faces.npy"
    mapped = store(path, options.faces, lambda count: rng.standard_normal((count, DIM), dtype=np.float32))
    gallery = torch.from_numpy(np.load(path, mmap_mode="c"))  # copy on write: torch warns of read-only memory
    asked = unit(rng.standard_normal((64, DIM), dtype=np.float32))
    queries = torch.from_numpy(asked)
    ways: dict[str, Callable[[], object]] = {
        "reading alone: sum of all values": lambda: gallery.sum(),
        "1 query, product alone, torch": lambda: gallery @ queries[0],
        "1 query, product alone, numpy": lambda: mapped @ asked[0],
        "1 query, product alone, numba": lambda: products(mapped, asked[0]),
        "1 query, torch, blocks": lambda: blocks(queries[:1], gallery, 10),
        "1 query, voiceface": lambda: nearest(asked[:1], mapped),
        "64 queries, torch, blocks": lambda: blocks(queries, gallery, 10),
        "64 queries, voiceface": lambda: nearest(asked, mapped),
    }
    runs = {name: [1000 * s for s in timed(way, options.repeats)] for name, way in ways.items()}
    reference = mapped.astype(np.float64) @ asked[:2].astype(np.float64).T
    right = np.argsort(-reference, axis=0)[:10].T
    assert np.array_equal(right, np.stack([places for places, _ in nearest(asked[:2], mapped)]))
    assert np.array_equal(right, blocks(queries[:2], gallery, 10)[1].numpy())
    each = {n: [ms / (int(n.split()[0]) if n[0].isdigit() else 1) for ms in values] for n, values in runs.items()}
    return {
        "question": "milliseconds per query of exact top 10 over a memory-mapped gallery; target 150 on two cores",
        "gallery": [options.faces, DIM],
        "threads": options.threads,
        "ms_per_query_median": medians(each),
        "ms_runs": rounded(runs),
        "load_average": load_average(),
    }


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
    return {
        "question": "milliseconds per query of top 10, exact and by FAISS, and the recall of the latter",
        "gallery": [options.faces, DIM],
        "threads": options.threads,
        "approximate": results,
        "load_average": load_average(),
    }


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
    turn = iter(np.resize(np.arange(64, len(asked)), 4 * repeats + 2))
    milliseconds = {}
    for name, search in (
        ("exact", lambda query: nearest(query, gallery)),
        ("FAISS", lambda query: index.search(query, 10)),
    ):
        one = timed(lambda search=search: search(asked[(at := next(turn)) : at + 1]), 2 * repeats)
        many = timed(lambda search=search: search(asked[:64]), repeats)
        milliseconds[f"1 query, {name}"] = round(1000 * median(one), 1)
        milliseconds[f"64 queries, {name}"] = round(1000 * median(many) / 64, 1)
    return {
        "lists": about["lists"],
        "lists_read": about["probes"],
        "recall_at_10_when_built": about["recall_at_10"],
        "recall_at_10": round(float(recall), 4),
        "ms_per_query_median": milliseconds,
        "seconds_to_build": round(built - start, 1),
        "seconds_to_read": round(loaded - built, 2),
        "megabytes": round(path.stat().st_size / 1e6),
    }


QUESTIONS = {"retrieve": retrieve, "approximate": approximate}


def main() -> None:
    made = parser(__doc__, QUESTIONS)
    made.add_argument("--faces", type=int, default=1_000_000)
    made.add_argument("--repeats", type=int, default=7)
    made.add_argument("--threads", type=int, default=2)
    answer(made.parse_args(), QUESTIONS)


if __name__ == "__main__":
    main()
