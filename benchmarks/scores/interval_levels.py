"""Do the intervals of 1:2, AUC and EER hold for good models, whose scores lie near 1 or 0?

More dimensions make the population easier. Part of `python -m benchmarks.scores.interval_coverage`.
"""

import numpy as np

from benchmarks.scores.interval_population import LEVEL, SEED, Result, Tallies, draw, true_accuracy
from voiceface.scores import score

CASES = [(20, 2000), (60, 1000), (189, 400)]  # people, draws
DIMENSIONS = (32, 64)  # the other benchmarks have 8


def measure(scale: float) -> list[Result]:
    return [
        result
        for dimensions in DIMENSIONS
        for people, draws in CASES
        for result in of_people(people, dimensions, max(2, round(draws * scale)))
    ]


def of_people(people: int, dimensions: int, draws: int) -> list[Result]:
    rng, tallies = np.random.default_rng([SEED, people, dimensions]), Tallies()
    for _ in range(draws):
        drawn = draw(people, rng, dimensions=dimensions)
        names = drawn.voice_names, drawn.face_names
        for r in score(None, names[0], None, names[1], None, drawn.similarity(), ("U",), LEVEL, candidates=()):
            if r["protocol"] == "exact" and r["direction"] != "f2v":
                tallies[r["task"], r["metric"]].add(r["value"], r["ci_low"], r["ci_high"])
    results = []
    for (task, metric), tally in tallies.items():
        what = {"people": people, "dimensions": dimensions, "task": task, "metric": metric, "about": "people"}
        results.append(tally.result(what, true_accuracy(dimensions) if task == "matching" else None))
    return results
