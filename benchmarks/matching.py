"""How many matching triplets per second does the counting pass take, against the matrix product alone and numpy?

Run `python benchmarks/matching.py`; writes benchmarks/results/matching.json.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import describe
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from voiceface.scores.compiled import usable_threads
from voiceface.scores.matching import count
from voiceface.scores.similarity import similarity_rows

DIMENSIONS = 256
BLOCK = 512
CASES = [  # identities, voices of each, faces of each, runs, compare with numpy
    (50, 10, 20, 7, True),
    (250, 4, 5, 7, True),
    (250, 8, 20, 7, True),
    (250, 40, 80, 5, False),
]


def embeddings(identities: int, clips: int, rng: np.random.Generator, centres: NDArray[Any]) -> NDArray[np.float32]:
    """Clips around their identities' centres: (identities * clips, DIMENSIONS)."""
    noise = rng.normal(size=(identities * clips, DIMENSIONS))
    return (np.repeat(centres, clips, axis=0) + 3.0 * noise).astype(np.float32)


def product_only(voices: NDArray[Any], faces: NDArray[Any]) -> None:
    """The cosine similarities, block by block, with all threads of the linear algebra library; nothing is counted."""
    voices = voices / np.linalg.norm(voices, axis=1, keepdims=True)
    faces = faces / np.linalg.norm(faces, axis=1, keepdims=True)
    for first in range(0, len(voices), BLOCK):
        voices[first : first + BLOCK] @ faces.T


def numpy_reference(voices: NDArray[Any], faces: NDArray[Any], identities: int) -> NDArray[np.int64]:
    """Wins by sorting in numpy: for each voice, searchsorted of all faces among its own identity's."""
    clips, images = len(voices) // identities, len(faces) // identities
    voices = voices / np.linalg.norm(voices, axis=1, keepdims=True)
    faces = faces / np.linalg.norm(faces, axis=1, keepdims=True)
    wins = np.zeros((identities, identities), np.int64)
    for row, line in enumerate(voices @ faces.T):
        a = row // clips
        positives = np.sort(line[a * images : (a + 1) * images])
        beaten_by = images - np.searchsorted(positives, line, side="right")
        wins[a] += beaten_by.reshape(identities, images).sum(axis=1)
    np.fill_diagonal(wins, 0)
    return wins


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(identities: int, clips: int, images: int, runs: int, with_numpy: bool) -> dict[str, Any]:
    """Medians over runs; the competitors take turns within a run."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(identities, DIMENSIONS))
    voices, faces = embeddings(identities, clips, rng, centres), embeddings(identities, images, rng, centres)
    owners, sizes = np.repeat(np.arange(identities), clips), np.full(identities, images)
    triplets = identities * (identities - 1) * clips * images**2
    competitors: dict[str, Callable[[], Any]] = {
        "voiceface": lambda: count(similarity_rows(voices, faces), owners, sizes),
        "voiceface_one_thread": lambda: count(similarity_rows(voices, faces), owners, sizes, threads=1),
        "product_only": lambda: product_only(voices, faces),
    }
    if with_numpy:
        competitors["numpy_reference"] = lambda: numpy_reference(voices, faces, identities)
        counted = count(similarity_rows(voices, faces), owners, sizes).wins
        disagreement = np.abs(counted - numpy_reference(voices, faces, identities)).sum() / triplets
        assert disagreement < 1e-4, disagreement  # only the rounding of the product differs
    competitors["voiceface"]()  # compiles
    times: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(runs):
        for name, function in competitors.items():
            times[name].append(seconds(function))
    medians = {name: median(values) for name, values in times.items()}

    def ratio(name: str, other: str) -> float:
        return round(median(a / b for a, b in zip(times[name], times[other], strict=True)), 3)

    return {
        "identities": identities,
        "voices": len(voices),
        "faces": len(faces),
        "triplets": triplets,
        "runs": runs,
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "fastest_seconds": {name: round(min(values), 4) for name, values in times.items()},
        "triplets_per_second": {
            name: round(triplets / value, -6) for name, value in medians.items() if name != "product_only"
        },
        "time_over_product_only": ratio("voiceface", "product_only"),
        "speedup_over_numpy": ratio("numpy_reference", "voiceface") if with_numpy else None,
        "speedup_of_threads": ratio("voiceface_one_thread", "voiceface"),
    }


def main() -> None:
    load = os.getloadavg()[0]  # of other work on this machine, before the first run
    print(f"{'voices x faces':>16} {'triplets':>9} {'voiceface':>10} {'product':>9} {'numpy':>9} {'triplets/s':>11}")
    cases = []
    for case in CASES:
        result = measure(*case)
        cases.append(result)
        taken = result["seconds"]
        numpy_time = f"{taken['numpy_reference']:.3f}s" if "numpy_reference" in taken else "-"
        size = f"{result['voices']} x {result['faces']}"
        print(
            f"{size:>16} {result['triplets']:9.2e} {taken['voiceface']:9.3f}s {taken['product_only']:8.3f}s"
            f" {numpy_time:>9} {result['triplets_per_second']['voiceface']:11.2e}",
            flush=True,
        )
    blas = max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
    threads = {"counting": usable_threads(), "product_only": blas}
    report = {"machine": describe(), "dimensions": DIMENSIONS, "threads": threads, "load_average": load, "cases": cases}
    path = Path(__file__).parent / "results" / "matching.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
