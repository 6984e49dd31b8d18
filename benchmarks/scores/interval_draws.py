"""What do the intervals hold that speak of drawing from the clips: of sampled trials, subsets, repeated galleries?

Each is asked twice: does it hold the value of the clips that it was drawn from, and does it hold the population's?
10,000 trials are drawn one by one. Of more only the number of wins is drawn, which is binomial about the exact accuracy
where nothing ties.

Part of `python -m benchmarks.scores.interval_coverage`.
"""

from typing import Any

import numpy as np

from benchmarks.scores.interval_models import win_rates
from benchmarks.scores.interval_others import PairScorer
from benchmarks.scores.interval_population import LEVEL, SEED, Result, Tallies, Tally, draw, true_accuracy
from voiceface.scores.clips import Clips
from voiceface.scores.confidence import binomial_interval, identity_interval, repeated_subsets
from voiceface.scores.galleries import Gallery, balanced_ranks, draw_gallery, repeats_interval
from voiceface.scores.matching import accuracy
from voiceface.scores.relative import relative_records
from voiceface.scores.retrieval import mean_average_precision

CASES = [(20, 10, 1000), (60, 20, 1000), (189, 100, 1000)]  # people, people of a subset, draws
DRAWN_TRIALS = 10_000
PAPERS_LEVEL = 0.99  # 81.00 +- 1.01 from 10,000 trials
TRIALS = (1_000_000, 30_720_000)
SUBSETS = 30
OF_CLIPS = "difference from the value of these clips"
GALLERY = Gallery(people=20, items=2, queries=2, repeats=30)
GALLERY_PEOPLE, GALLERY_DATA, GALLERY_INTERVALS = 60, 40, 50


def measure(scale: float) -> list[Result]:
    results = []
    for people, subset, draws in CASES:
        results += of_people(people, subset, max(2, round(draws * scale)))
    return results + repeats(max(2, round(GALLERY_DATA * scale)))


def of_people(people: int, subset: int, draws: int) -> list[Result]:
    """Intervals around the exact accuracy of these clips, and around the population's."""
    rng = np.random.default_rng([SEED, people])
    mask, truth = ~np.eye(people, dtype=np.bool_), true_accuracy()
    around_clips, around_people = Tallies(), Tallies()
    for seed in range(draws):
        drawn = draw(people, rng)
        scorer = PairScorer(drawn)
        rates = win_rates(drawn)
        exact = accuracy(rates, mask)
        assert exact is not None
        (sampled,) = relative_records(
            scorer, drawn.voice_names, drawn.face_names, None, "v2f", 2, DRAWN_TRIALS, ("U",), seed=seed, level=LEVEL
        )
        people_interval = identity_interval(rates, mask, LEVEL)
        assert people_interval is not None
        found: dict[tuple[str, Any], tuple[float, float, float]] = {
            ("identity", "all triplets"): (exact, *people_interval),
            ("binomial 99 %", DRAWN_TRIALS): binomial(sampled["value"], DRAWN_TRIALS, PAPERS_LEVEL),
            ("binomial", DRAWN_TRIALS): binomial(sampled["value"], DRAWN_TRIALS),
        }
        for trials in TRIALS:
            found["binomial", trials] = binomial(rng.binomial(trials, exact) / trials, trials)
        subsets = repeated_subsets(rates, mask, subset, SUBSETS, seed, LEVEL)
        found["subsets", f"{SUBSETS} of {subset} people"] = subsets.mean, subsets.low, subsets.high
        for name, (value, low, high) in found.items():
            around_clips[name].add(value - exact, low - exact, high - exact)
            around_people[name].add(value, low, high)
    results = []
    for name in around_clips:
        what = {"people": people, "interval": name[0], "of": name[1], "metric": "accuracy"}
        if name[0] != "identity":  # it lies around the value of these clips
            results.append(around_clips[name].result({**what, "about": "clips"}, 0.0, OF_CLIPS))
        results.append(around_people[name].result({**what, "about": "people"}, truth))
    return results


def binomial(value: float, trials: int, level: float = LEVEL) -> tuple[float, float, float]:
    return (value, *binomial_interval(value, trials, level))


def repeats(data: int) -> list[Result]:
    """MAP in repeated galleries. What an interval should hold of these clips is the mean over all other draws."""
    rng = np.random.default_rng(SEED)
    around_clips, around_people = Tally(), Tally()
    for _ in range(data):
        drawn = draw(GALLERY_PEOPLE, rng, (2, 7))
        clips = Clips.of(None, drawn.voice_names, None, drawn.face_names, drawn.similarity())
        values = np.array([gallery_map(clips, rng) for _ in range(GALLERY_INTERVALS * GALLERY.repeats)])
        own = values.reshape(GALLERY_INTERVALS, GALLERY.repeats)
        for line in own:
            others = float((values.sum() - line.sum()) / (values.size - line.size))
            low, high = repeats_interval(line.tolist(), LEVEL)
            around_clips.add(float(line.mean()) - others, low - others, high - others)
            around_people.add(float(line.mean()), low, high)
    what = {"people": GALLERY_PEOPLE, "interval": "repeats", "of": f"{GALLERY.repeats} galleries", "metric": "mAP"}
    clips_result = around_clips.result({**what, "about": "clips"}, 0.0, OF_CLIPS)
    people_result = around_people.result({**what, "about": "people"})
    # The intervals of one data set stand and fall together as to people: the data sets are the sample.
    ends = np.array(around_people.ends).reshape(data, GALLERY_INTERVALS, 2)
    shares = ((ends[:, :, 0] <= people_result["truth"]) & (people_result["truth"] <= ends[:, :, 1])).mean(axis=1)
    people_result["standard_error"] = round(float(shares.std(ddof=1)) / data**0.5, 6)
    return [clips_result, people_result]


def gallery_map(clips: Clips, rng: np.random.Generator) -> float:
    rows = clips.rows("v2f", *draw_gallery(clips, "v2f", GALLERY, rng))
    return mean_average_precision(balanced_ranks(rows, GALLERY.people, GALLERY.queries, GALLERY.items))[0]
