"""How long does exact retrieval over a million faces take, from a memory-mapped file?

A gallery of 1,000,000 x 256 float32 in a .npy file, opened by `np.load(mmap_mode="r")` as an index is; top 10, cosine.
`voiceface` is the search of `voiceface retrieve --index`. A product with a gallery is bound by memory: one query reads
1 GB, and so do many at once. "product alone" leaves out the choice of the nearest. Start it with as many threads for
numpy's BLAS too, by OMP_NUM_THREADS.

    python -m benchmarks.inference.retrieve [--faces 1000000] [--repeats 7] [--threads 2]
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numba
import numpy as np
import torch
from benchmarks.machine import describe
from numpy.typing import NDArray
from torch import Tensor

from voiceface.inference.search import nearest_points

DIM = 256
BLOCK = 65_536


@numba.njit(parallel=True, fastmath=True)
def products(gallery: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
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


def timed(call: Callable[[], object], repeats: int) -> list[float]:
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.npy"
        stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(options.faces, DIM))
        for start in range(0, options.faces, BLOCK):
            rows = generator.standard_normal((min(BLOCK, options.faces - start), DIM), dtype=np.float32)
            stored[start : start + BLOCK] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        stored.flush()
        del stored
        mapped = np.load(path, mmap_mode="r")
        gallery = torch.from_numpy(np.load(path, mmap_mode="c"))  # copy on write: torch warns of read-only memory
        asked = generator.standard_normal((64, DIM), dtype=np.float32)
        asked /= np.linalg.norm(asked, axis=1, keepdims=True)
        queries = torch.from_numpy(asked)
        seconds = {
            "reading alone: sum of all values": timed(lambda: gallery.sum(), options.repeats),
            "1 query, product alone, torch": timed(lambda: gallery @ queries[0], options.repeats),
            "1 query, product alone, numpy": timed(lambda: mapped @ asked[0], options.repeats),
            "1 query, product alone, numba": timed(lambda: products(mapped, asked[0]), options.repeats),
            "1 query, torch, blocks": timed(lambda: blocks(queries[:1], gallery, 10), options.repeats),
            "1 query, voiceface": timed(lambda: nearest_points(asked[:1], mapped, 10, "cosine"), options.repeats),
            "64 queries, torch, blocks": timed(lambda: blocks(queries, gallery, 10), options.repeats),
            "64 queries, voiceface": timed(lambda: nearest_points(asked, mapped, 10, "cosine"), options.repeats),
        }
        reference = mapped.astype(np.float64) @ asked[:2].astype(np.float64).T
        exact = np.argsort(-reference, axis=0)[:10].T
        found = [places for places, _ in nearest_points(asked[:2], mapped, 10, "cosine")]
        assert np.array_equal(exact, np.stack(found))
        assert np.array_equal(exact, blocks(queries[:2], gallery, 10)[1].numpy())
    each = {
        name: 1000 * median(values) / (int(name.split()[0]) if name[0].isdigit() else 1)
        for name, values in seconds.items()
    }
    for name, value in each.items():
        print(f"{name:36s} {value:8.1f} ms a query" if name[0].isdigit() else f"{name:36s} {value:8.1f} ms")
    result = {
        "question": "milliseconds per query of exact top 10 over a memory-mapped gallery; target 150 on two cores",
        "gallery": [options.faces, DIM],
        "threads": options.threads,
        "ms_per_query_median": {name: round(value, 1) for name, value in each.items()},
        "ms_runs": {name: [round(1000 * s, 1) for s in values] for name, values in seconds.items()},
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "machine": describe(),
    }
    path = Path(__file__).parents[1] / "results" / "retrieve.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
