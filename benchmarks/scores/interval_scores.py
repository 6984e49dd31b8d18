"""Do the intervals of `score` hold the population's value: 1:2, 1:N, AUC, EER, mAP, R@K?

Part of `python -m benchmarks.scores.interval_coverage`.
"""

from typing import Any

import numpy as np

from benchmarks.scores.interval_population import LEVEL, SEED, Result, Tallies, draw, genders, true_accuracy
from voiceface.scores import score

CASES = [(20, 2000), (60, 1500), (189, 500)]  # people, draws
STRATA = ("U", "G", "male")
CANDIDATES = (2, 3, 5, 10, 20, 50, 100)
WHAT = ("task", "direction", "metric", "stratum", "protocol")


def measure(scale: float) -> list[Result]:
    return [result for people, draws in CASES for result in of_people(people, max(2, round(draws * scale)))]


def of_people(people: int, draws: int) -> list[Result]:
    rng, attributes = np.random.default_rng([SEED, people]), genders(people)
    tallies = Tallies()
    for _ in range(draws):
        drawn = draw(people, rng)
        records = score(
            None, drawn.voice_names, None, drawn.face_names, attributes, drawn.similarity(), STRATA, LEVEL, CANDIDATES
        )
        for r in filter(wanted, records):
            n = r["n"] if r["task"] == "matching" else 1  # a gallery's size differs from draw to draw
            tallies[(*(r[key] for key in WHAT), n)].add(r["value"], r["ci_low"], r["ci_high"])
    results = []
    for (*what, n), tally in tallies.often().items():
        named = {"people": people, **dict(zip(WHAT, what, strict=True)), "n": n, "about": "people"}
        results.append(tally.result(named, true_accuracy() if n == 2 else None))
    return results


def wanted(r: dict[str, Any]) -> bool:
    only_pairs = r["stratum"] == "male" and (r["task"], r["n"]) != ("matching", 2)
    return r["value"] is not None and r["metric"] != "median_rank" and not only_pairs
