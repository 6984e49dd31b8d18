"""How many matching triplets per second does the exact count take, against a list of sampled trials?

Run `python -m benchmarks.scores.scores_matching`; writes benchmarks/results/scores_matching.json.
"""

import os
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.scores.sampled_trials import accuracy_of_trials, sample_trials
from benchmarks.scores.score_clips import DIMENSIONS, THREADS, draw_clips, in_fresh_process, seconds, write
from voiceface.scores.matching import accuracy, count
from voiceface.scores.similarity import similarity_rows

CASES = [(1_000, 2_000, 250), (10_000, 20_000, 250)]  # voices, faces, people
TRIALS = 1_000_000
RUNS = 5


def measure(voices: int, faces: int, people: int) -> dict[str, Any]:
    """Medians over runs; the competitors take turns within a run."""
    clips = draw_clips(voices, faces, people)
    sizes = np.bincount(clips.face_owner)
    trials = sample_trials(clips.voice_owner, clips.face_owner, TRIALS, np.random.default_rng(0))

    def exact(threads: int) -> Any:
        return count(similarity_rows(clips.voices, clips.faces), clips.voice_owner, sizes, threads)

    counts = exact(THREADS)  # compiles
    triplets = int(counts.triplets.sum())
    value = accuracy(counts.win_rates, counts.triplets)
    assert value is not None
    sampled = accuracy_of_trials(clips.voices, clips.faces, trials)
    assert abs(sampled - value) < 5 * (value * (1 - value) / TRIALS) ** 0.5, (sampled, value)
    competitors: dict[str, Callable[[], Any]] = {
        "exact": lambda: exact(THREADS),
        "exact_one_thread": lambda: exact(1),
        "sampled_trials": lambda: accuracy_of_trials(clips.voices, clips.faces, trials),
    }
    times: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(RUNS):
        for name, work in competitors.items():
            times[name].append(seconds(work))
    numbers = {"exact": triplets, "exact_one_thread": triplets, "sampled_trials": TRIALS}

    def speedup(name: str) -> float:
        pairs = zip(times[name], times["sampled_trials"], strict=True)
        return float(f"{median(triplets / own / (TRIALS / other) for own, other in pairs):.3g}")

    return {
        "voices": voices,
        "faces": faces,
        "people": people,
        "triplets": triplets,
        "seconds": {name: round(median(taken), 4) for name, taken in times.items()},
        "triplets_per_second": {name: float(f"{n / median(times[name]):.3g}") for name, n in numbers.items()},
        "times_sampled_trials": speedup("exact"),
        "times_sampled_trials_one_thread": speedup("exact_one_thread"),
        "accuracy": {"exact": round(value, 6), "sampled_trials": round(sampled, 6)},
    }


def main(scale: float = 1.0) -> None:
    load = os.getloadavg()[0]
    print(f"{'voices x faces':>16} {'triplets':>9} {'seconds':>8} {'triplets/s':>10} {'trials/s':>9} {'ratio':>7}")
    cases = []
    for voices, faces, people in CASES:
        case = in_fresh_process(measure, round(scale * voices), round(scale * faces), people)
        cases.append(case)
        rates, size = case["triplets_per_second"], f"{case['voices']} x {case['faces']}"
        print(
            f"{size:>16} {case['triplets']:9.2e} {case['seconds']['exact']:8.3f} {rates['exact']:10.2e}"
            f" {rates['sampled_trials']:9.2e} {case['times_sampled_trials']:7.0f}",
            flush=True,
        )
    settings = {"dimensions": DIMENSIONS, "threads": THREADS, "trials": TRIALS, "runs": RUNS, "load_average": load}
    write("scores_matching", {**settings, "cases": cases}, scale)


if __name__ == "__main__":
    main()
