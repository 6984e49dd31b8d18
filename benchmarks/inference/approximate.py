"""How much quicker than the exact search is FAISS over a million faces, at which recall?

What `voiceface index --faiss` builds, 1,000,000 x 256, top 10, cosine; what it finds is compared anew, from the
memory-mapped float32 rows, in the time given. How many lists FAISS must read hangs on the gallery, so there are two:
"no structure", the same in all directions, is the worst; "people" has 20 faces of each of 50,000 people, the k-th of
the 256 dimensions with variance 1/k, both between people and between two faces of one (0.7 of that spread). Its queries
are voices whose correlation with their person's mean face is about 0.3. Recall is of the exact 10 nearest, over other
queries than those by which the number of lists was chosen. Seconds to build leave out embedding.

    python -m benchmarks.inference.approximate [--faces 1000000] [--repeats 7] [--threads 2]
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
from benchmarks.machine import describe
from numpy.typing import NDArray

from benchmarks.inference.retrieve import BLOCK, DIM, timed
from voiceface.inference.faiss_index import build, read
from voiceface.inference.search import nearest_points, unit


def write(
    path: Path, means: NDArray[np.float32], spread: NDArray[np.float32], faces: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Write faces around random means, and map them."""
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(faces, DIM))
    for start in range(0, faces, BLOCK):
        count = min(BLOCK, faces - start)
        own = means[rng.integers(0, len(means), count)]
        stored[start : start + count] = unit(own + spread * rng.standard_normal((count, DIM)))
    stored.flush()
    mapped: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return mapped


def by_faiss(gallery: NDArray[np.float32], asked: NDArray[np.float32], path: Path, repeats: int) -> dict[str, Any]:
    """Build an approximate index of a gallery, and compare it with the exact search."""
    start = time.perf_counter()
    about = build(path, gallery, "cosine")
    built = time.perf_counter()
    index = read(path, about, gallery, "cosine")
    loaded = time.perf_counter()
    exact, found = nearest_points(asked[64:], gallery, 10, "cosine"), index.search(asked[64:], 10)
    recall = np.mean([np.isin(few, all_).mean() for (few, _), (all_, _) in zip(exact, found, strict=True)])
    # One query after another, each another one: the lists that the last one read are in the cache.
    turn = iter(np.resize(np.arange(64, len(asked)), 4 * repeats + 2))

    def one(search: Callable[[NDArray[np.float32]], object]) -> float:
        return 1000 * median(timed(lambda: search(asked[(at := next(turn)) : at + 1]), 2 * repeats))

    def many(search: Callable[[NDArray[np.float32]], object]) -> float:
        return 1000 * median(timed(lambda: search(asked[:64]), repeats)) / 64

    return {
        "lists": about["lists"],
        "lists_read": about["probes"],
        "recall_at_10_when_built": about["recall_at_10"],
        "recall_at_10": round(float(recall), 4),
        "ms_per_query_median": {
            "1 query, exact": round(one(lambda query: nearest_points(query, gallery, 10, "cosine")), 1),
            "1 query, FAISS": round(one(lambda query: index.search(query, 10)), 1),
            "64 queries, exact": round(many(lambda query: nearest_points(query, gallery, 10, "cosine")), 1),
            "64 queries, FAISS": round(many(lambda query: index.search(query, 10)), 1),
        },
        "seconds_to_build": round(built - start, 1),
        "seconds_to_read": round(loaded - built, 2),
        "megabytes": round(path.stat().st_size / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    faiss.omp_set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    falling = (1 / np.sqrt(1 + np.arange(DIM))).astype(np.float32)
    means = rng.standard_normal((max(1, options.faces // 20), DIM), dtype=np.float32) * falling
    even = rng.standard_normal((256, DIM))
    voices = 0.3 * means[rng.integers(0, len(means), 256)] + 0.95 * falling * rng.standard_normal((256, DIM))
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, centres, spread, queries in (
            ("no structure", np.zeros((1, DIM), np.float32), np.ones(DIM, np.float32), even),
            ("people", means, 0.7 * falling, voices),
        ):
            gallery = write(Path(folder) / f"{name}.npy", centres, spread, options.faces, rng)
            results[name] = by_faiss(gallery, unit(queries), Path(folder) / "faiss", options.repeats)
            print(name, json.dumps(results[name], indent=1))
    result = {
        "question": "milliseconds per query of top 10, exact and by FAISS, and the recall of the latter",
        "gallery": [options.faces, DIM],
        "threads": options.threads,
        "approximate": results,
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "machine": describe(),
    }
    path = Path(__file__).parents[1] / "results" / "approximate.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
