"""How do time and memory of the full report grow with the pairs of a voice and a face?

Each size is run once, in a process of its own, and left out if it would take too long. The memory of the positive
pairs, which the verification pass keeps, is the slope over numbers of people at one size.

Run `python -m benchmarks.scores.scores_growth`; writes benchmarks/results/scores_growth.json.
"""

import os
from typing import Any

import numpy as np

from benchmarks.scores.score_clips import (
    DIMENSIONS,
    THREADS,
    Clips,
    cost,
    draw_attributes,
    draw_clips,
    in_fresh_process,
    write,
)
from voiceface.scores import score
from voiceface.scores.similarity import similarity_rows
from voiceface.scores.verification import verify

PAIRS = (1e6, 3e6, 1e7, 3e7, 1e8, 2e8, 5e8, 1e9)
PEOPLE = 250
MOST_SECONDS = 480.0
VERIFIED = (10_000, 20_000, (250, 50, 10))  # voices, faces, people: fewer of them have more positive pairs


def measure(voices: int, faces: int) -> dict[str, Any]:
    """Cost of the full report."""
    score(*draw_clips(48, 96, 12).named(), draw_attributes(12))  # compiles, or loads what is compiled
    clips, attributes = draw_clips(voices, faces, PEOPLE).named(), draw_attributes(PEOPLE)
    found = cost(lambda: score(*clips, attributes))
    return {"voices": voices, "faces": faces, "pairs": voices * faces, **found}


def measure_verification(voices: int, faces: int, people: int) -> dict[str, Any]:
    """Memory of verification alone, one stratum."""

    def verified(clips: Clips) -> None:
        sizes = np.bincount(clips.face_owner)
        masks = ~np.eye(len(sizes), dtype=np.bool_)[None]
        verify(similarity_rows(clips.voices, clips.faces), clips.voice_owner, sizes, masks)

    verified(draw_clips(48, 96, 12))
    clips = draw_clips(voices, faces, people)
    pairs = int((np.bincount(clips.voice_owner) * np.bincount(clips.face_owner)).sum())
    return {"people": people, "positive_pairs": pairs, "mib": cost(lambda: verified(clips))["mib"]}


def slope(rows: list[dict[str, Any]], name: str) -> float:
    """Bytes of memory for each one more."""
    return float(np.polyfit([row[name] for row in rows], [row["mib"] for row in rows], 1)[0]) * 2**20


def exponent(rows: list[dict[str, Any]], name: str) -> float:
    """Slope of the straight line through the points on logarithmic scales."""
    steepness = np.polyfit(np.log([row["pairs"] for row in rows]), np.log([row[name] for row in rows]), 1)[0]
    return round(float(steepness), 3)


def main(scale: float = 1.0) -> None:
    load = os.getloadavg()[0]
    print(f"{'voices x faces':>16} {'pairs':>8} {'seconds':>8} {'MiB':>7} {'peak':>7}")
    rows: list[dict[str, Any]] = []
    left_out = []
    for pairs in PAIRS:
        voices = round(scale * (pairs / 2) ** 0.5)
        if rows and rows[-1]["seconds"] * 2 * voices**2 / rows[-1]["pairs"] > MOST_SECONDS:
            left_out.append(pairs)
            continue
        row = in_fresh_process(measure, voices, 2 * voices)
        rows.append(row)
        print(
            f"{f'{voices} x {2 * voices}':>16} {row['pairs']:8.1e} {row['seconds']:8.2f} {row['mib']:7.1f}"
            f" {row['mib_peak']:7.1f}",
            flush=True,
        )
    voices, faces, numbers = VERIFIED
    kept = [in_fresh_process(measure_verification, round(scale * voices), round(scale * faces), n) for n in numbers]
    large = rows[len(rows) // 2 :]
    growth = {
        "seconds_exponent": exponent(large, "seconds"),
        "memory_exponent": exponent(large, "mib"),
        "exponents_from_pairs": large[0]["pairs"],
        "bytes_per_pair": round(slope(large, "pairs"), 3),
        "verification_bytes_per_positive_pair": round(slope(kept, "positive_pairs"), 1),
    }
    print(growth, flush=True)
    settings = {"people": PEOPLE, "dimensions": DIMENSIONS, "threads": THREADS, "runs": 1, "load_average": load}
    report = {**settings, "sizes": rows, "left_out_pairs": left_out, "growth": growth, "verification_alone": kept}
    write("scores_growth", report, scale)


if __name__ == "__main__":
    main()
