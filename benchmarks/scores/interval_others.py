"""Do the other intervals over people hold the population's value: joint, protocols' exact, relative, by video?

Joint scores take people with 5 to 14 clips of a modality, so that all have one or two means of five, by cosine. A
relative scorer has 100,000 trials, a tenth of the default. Each person has two videos, from which their clips come at
random.

Part of `python -m benchmarks.scores.interval_coverage`.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.scores.interval_population import LEVEL, SEED, People, Result, Tallies, draw, genders, true_accuracy
from voiceface.scores import score
from voiceface.scores.joint import joint_records
from voiceface.scores.protocols import protocol_records
from voiceface.scores.relative import relative_records

CASES = [(20, 1000), (60, 600), (189, 300)]  # people, draws
JOINT_CLIPS, JOINT_MEAN = (5, 14), 5
RELATIVE_TRIALS = 100_000
RELATIVE_CASES = [(20, 500), (60, 500), (189, 300)]
RELATIVE_CANDIDATES = (2, 10)
VIDEO_CASE = (60, 500)
PROTOCOLS = ("trinet", "kim", "drl")
WHAT = ("task", "direction", "metric", "stratum", "protocol")


def measure(scale: float) -> list[Result]:
    results = []
    for people, draws in CASES:
        number = max(2, round(draws * scale))
        results += joint(people, number) + protocols(people, number)
    for people, draws in RELATIVE_CASES:
        results += relative(people, max(2, round(draws * scale)))
    return results + videos(VIDEO_CASE[0], max(2, round(VIDEO_CASE[1] * scale)))


def joint(people: int, draws: int) -> list[Result]:
    rng, tallies = np.random.default_rng([SEED, people]), Tallies()
    for seed in range(draws):
        drawn = draw(people, rng, JOINT_CLIPS)
        clips = drawn.voices, drawn.voice_names, drawn.faces, drawn.face_names
        for r in joint_records(*clips, grid=(JOINT_MEAN,), level=LEVEL, seed=seed):
            tallies[(*(r[key] for key in WHAT), 2)].add(r["value"], r["ci_low"], r["ci_high"])
    return named(tallies, people, "joint")


def protocols(people: int, draws: int) -> list[Result]:
    """The exact values that stand beside sampled ones; of the latter only two trials are drawn."""
    rng, tallies, attributes = np.random.default_rng([SEED, people]), Tallies(), genders(people)
    for _ in range(draws):
        drawn = draw(people, rng)
        clips = None, drawn.voice_names, None, drawn.face_names
        for name in PROTOCOLS:
            for r in protocol_records(name, *clips, attributes, drawn.similarity(), LEVEL, trials=2):
                if r["protocol"] == f"{name}_exact":
                    tallies[(*(r[key] for key in WHAT), r["n"])].add(r["value"], r["ci_low"], r["ci_high"])
    return named(tallies, people, "protocols")


def relative(people: int, draws: int) -> list[Result]:
    rng, tallies = np.random.default_rng([SEED, people]), Tallies()
    for seed in range(draws):
        drawn = draw(people, rng)
        scorer = PairScorer(drawn)
        for n in RELATIVE_CANDIDATES:
            names = drawn.voice_names, drawn.face_names
            for r in relative_records(scorer, *names, None, "v2f", n, RELATIVE_TRIALS, ("U",), seed=seed, level=LEVEL):
                tallies[(*(r[key] for key in WHAT), n)].add(r["value"], r["ci_low"], r["ci_high"])
    return named(tallies, people, "relative")


def videos(people: int, draws: int) -> list[Result]:
    rng, tallies = np.random.default_rng([SEED, people]), Tallies()
    for _ in range(draws):
        drawn = draw(people, rng)
        names = drawn.voice_names, drawn.face_names
        video = [[f"{name}/{rng.integers(2)}" for name in side] for side in names]
        for r in score(None, names[0], None, names[1], None, drawn.similarity(), ("U",), LEVEL, (2,), *video):
            if r["protocol"] in ("same_video", "cross_video") and r["metric"] != "median_rank":
                n = r["n"] if r["task"] == "matching" else 1
                tallies[(*(r[key] for key in WHAT), n)].add(r["value"], r["ci_low"], r["ci_high"])
    return named(tallies, people, "videos")


class PairScorer:
    """Scores candidates one by one, as a relative scorer may."""

    def __init__(self, people: People) -> None:
        self.similarity = people.similarity()

    def __call__(self, queries: NDArray[np.intp], candidates: NDArray[np.intp]) -> NDArray[np.float32]:
        return self.similarity[queries[:, None], candidates]


def named(tallies: Tallies, people: int, kind: str) -> list[Result]:
    results = []
    for (*what, n), tally in tallies.often().items():
        found = {"people": people, "kind": kind, **dict(zip(WHAT, what, strict=True)), "n": n, "about": "people"}
        known = n == 2 and kind != "joint"  # a mean of clips is not a clip, and a cosine not an inner product
        results.append(tally.result(found, true_accuracy() if known else None))
    return results
