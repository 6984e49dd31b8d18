"""How fast is mAP over the full ranking, against scikit-learn's average precision of every query?

Scikit-learn is timed on a sample of the queries, on its function alone (the similarities are given to it), and scaled
to all of them. The sample is drawn from the queries in which no relevant item ties with another person's: there both
give the same value, asserted to 1e-9; scikit-learn takes tied items as one, here they are in random order.

Run `python -m benchmarks.scores.scores_retrieval`; writes benchmarks/results/scores_retrieval.json.
"""

import os
from importlib.metadata import version
from statistics import median
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from benchmarks.scores.score_clips import DIMENSIONS, THREADS, draw_clips, in_fresh_process, seconds, write
from voiceface.scores.ranking import rank
from voiceface.scores.similarity import similarity_rows

VOICES, FACES, PEOPLE = 20_000, 20_000, 250
SAMPLE = 200
RUNS = 5


def measure(voices: int, faces: int, people: int) -> dict[str, Any]:
    """Medians over runs; the competitors take turns within a run."""
    clips = draw_clips(voices, faces, people)
    sizes = np.bincount(clips.face_owner)

    def ours(threads: int) -> Any:
        return rank(similarity_rows(clips.voices, clips.faces), clips.voice_owner, sizes, threads=threads)

    ranking = ours(THREADS)[0]  # compiles
    assert ranking is not None
    untied = np.flatnonzero(~ranking.ranks.open)
    sample = np.sort(np.random.default_rng(0).choice(untied, SAMPLE, replace=False))
    scores = similarity_rows(clips.voices, clips.faces)(sample)
    relevant = clips.voice_owner[sample, None] == clips.face_owner

    def sklearn() -> list[float]:
        return [float(average_precision_score(*pair)) for pair in zip(relevant, scores, strict=True)]

    difference = float(np.abs(np.array(sklearn()) - ranking.ranks.average_precision[sample]).max())
    assert difference < 1e-9, difference
    times: dict[str, list[float]] = {"two": [], "one": [], "sklearn": []}
    for _ in range(RUNS):
        times["two"].append(seconds(lambda: ours(THREADS)))
        times["one"].append(seconds(lambda: ours(1)))
        times["sklearn"].append(seconds(sklearn) * voices / SAMPLE)
    return {
        "voices": voices,
        "faces": faces,
        "people": people,
        "seconds": round(median(times["two"]), 3),
        "seconds_one_thread": round(median(times["one"]), 3),
        "sklearn_seconds_scaled": round(median(times["sklearn"]), 2),
        "sklearn_sample": SAMPLE,
        "times_sklearn": round(median(b / a for a, b in zip(times["two"], times["sklearn"], strict=True)), 1),
        "times_sklearn_one_thread": round(
            median(b / a for a, b in zip(times["one"], times["sklearn"], strict=True)), 1
        ),
        "largest_difference": difference,
        "queries_with_ties": int(ranking.ranks.open.sum()),
    }


def main(scale: float = 1.0) -> None:
    load = os.getloadavg()[0]
    row = in_fresh_process(measure, round(scale * VOICES), round(scale * FACES), PEOPLE)
    print(
        f"mAP of {row['voices']} x {row['faces']}: {row['seconds']:.2f} s, scikit-learn"
        f" {row['sklearn_seconds_scaled']:.1f} s (scaled from {SAMPLE} queries), {row['times_sklearn']:.0f} times;"
        f" largest difference {row['largest_difference']:.1e}",
        flush=True,
    )
    packages = {"scikit-learn": version("scikit-learn")}
    settings = {"dimensions": DIMENSIONS, "threads": THREADS, "runs": RUNS, "packages": packages, "load_average": load}
    write("scores_retrieval", {**settings, **row}, scale)


if __name__ == "__main__":
    main()
