"""Does a 95 % interval hold what it should, 95 % of the time? All kinds of intervals, one command.

    python -m benchmarks.scores.interval_coverage                 about a quarter of an hour on one core
    python -m benchmarks.scores.interval_coverage --only lists    one part anew; the others' results stay
    python -m benchmarks.scores.interval_coverage --scale 0.02    tries everything with few draws; writes nothing
    python -m benchmarks.scores.interval_coverage --table         measures nothing, writes the tables of the docs anew

People are drawn from a population (interval_population.py), their clips are drawn, they are scored with an interval;
this is repeated and the intervals that hold the truth are counted. The parts:

    scores   those of `score`: 1:2, 1:N, AUC, EER, mAP, R@K
    levels   1:2, AUC and EER of good models, whose scores lie near 1 or 0: more dimensions make the population easier
    others   joint scores, protocols' exact ones, relative scorers, pairs of one video and of two
    models   the difference of two models that see parts of the same clips
    lists    trial lists; what they should hold is the mean over all draws of people, clips and lists
    draws    sampled trials, subsets, repeated galleries: of the clips that they are drawn from, and of the population

Writes benchmarks/results/interval_coverage.json and the tables of docs/scores.md, docs/reference/scores.md,
docs/protocols.md and benchmarks/README.md.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, describe, parser
from benchmarks.docs import interval_docs
from benchmarks.scores.interval_population import (
    CLIPS,
    LEVEL,
    OF_CLIPS,
    ROWS,
    SEED,
    SEES,
    WIDE,
    People,
    Result,
    Tally,
    draw,
    drawn_lists,
    genders,
    truth_of,
    win_rates,
)
from voiceface.scores.clips import Clips
from voiceface.scores.confidence import (
    Difference,
    binomial_interval,
    identity_interval,
    paired_difference,
    repeated_subsets,
)
from voiceface.scores.galleries import Gallery, balanced_ranks, draw_gallery, repeats_interval
from voiceface.scores.joint import joint_records
from voiceface.scores.matching import accuracy
from voiceface.scores.protocols import protocol_records
from voiceface.scores.relative import relative_records
from voiceface.scores.retrieval import mean_average_precision
from voiceface.scores.strata import stratum_mask
from voiceface.scores.trials import score_trials

PATH = RESULTS / "interval_coverage.json"
WHAT = ("task", "direction", "metric", "stratum", "protocol")
JOINT_CLIPS, JOINT_MEAN = (5, 14), 5  # all people have one or two means of five clips
RELATIVE_TRIALS = 100_000  # a tenth of the default
DRAWN_TRIALS = 10_000  # drawn one by one
PAPERS_LEVEL = 0.99  # 81.00 +- 1.01 from 10,000 trials
TRIALS = (1_000_000, 30_720_000)  # of so many the number of wins is drawn, which is binomial where nothing ties
SUBSETS = 30
GALLERY = Gallery(people=20, items=2, queries=2, repeats=30)
GALLERY_PEOPLE, GALLERY_DATA, GALLERY_INTERVALS = 60, 40, 50

# What each score of a draw is, with its value and the ends of its interval, and a p-value where there is one.
Scored = Iterator[tuple[Result, tuple[Any, ...]]]


def of_scores(drawn: People, rng: np.random.Generator, number: int) -> Scored:
    records = drawn.score(("U", "G", "male"), (2, 3, 5, 10, 20, 50, 100), genders(drawn.people))
    yield from tagged(r for r in records if r["stratum"] != "male" or (r["task"], r["n"]) == ("matching", 2))


def tagged(records: Iterable[Result], **tags: Any) -> Scored:
    for r in records:
        if r["value"] is not None and r["metric"] != "median_rank":
            # A gallery's size differs from draw to draw.
            yield {**tags, **{key: r[key] for key in WHAT}, "n": r["n"] if r["task"] == "matching" else 1}, ends(r)


def of_levels(dimensions: int, drawn: People, rng: np.random.Generator, number: int) -> Scored:
    for r in drawn.score(("U",), ()):
        if r["protocol"] == "exact" and r["direction"] != "f2v":
            yield {"dimensions": dimensions, "task": r["task"], "metric": r["metric"]}, ends(r)


def of_joint(drawn: People, rng: np.random.Generator, number: int) -> Scored:
    clips = drawn.voices, drawn.voice_names, drawn.faces, drawn.face_names
    yield from tagged(joint_records(*clips, grid=(JOINT_MEAN,), level=LEVEL, seed=number), kind="joint")


def of_protocols(drawn: People, rng: np.random.Generator, number: int) -> Scored:
    """The exact values that stand beside sampled ones; of the latter only two trials are drawn."""
    clips, attributes = (None, drawn.voice_names, None, drawn.face_names), genders(drawn.people)
    for name in ("trinet", "kim", "drl"):
        records = protocol_records(name, *clips, attributes, drawn.similarity(), LEVEL, trials=2)
        yield from tagged((r for r in records if r["protocol"] == f"{name}_exact"), kind="protocols")


def relative(drawn: People, n: int, trials: int, seed: int) -> list[Any]:
    """Records of a relative scorer, which scores candidates one by one."""
    similarity = drawn.similarity()
    names = drawn.voice_names, drawn.face_names
    return relative_records(
        lambda queries, candidates: similarity[queries[:, None], candidates],
        *(*names, None, "v2f", n, trials, ("U",)),
        seed=seed,
        level=LEVEL,
    )


def of_relative(drawn: People, rng: np.random.Generator, number: int) -> Scored:
    for n in (2, 10):
        yield from tagged(relative(drawn, n, RELATIVE_TRIALS, number), kind="relative")


def of_videos(drawn: People, rng: np.random.Generator, number: int) -> Scored:
    """Each person has two videos, from which the clips come at random."""
    videos = [[f"{name}/{rng.integers(2)}" for name in side] for side in (drawn.voice_names, drawn.face_names)]
    records = drawn.score(("U",), (2,), None, *videos)
    yield from tagged((r for r in records if r["protocol"] in ("same_video", "cross_video")), kind="videos")


def of_models(drawn: People, rng: np.random.Generator, number: int) -> Scored:
    """Two models see 8 dimensions, 4 of which they share: equally good, but different. The third sees all 12."""
    rates = {name: win_rates(drawn, *sees) for name, sees in SEES.items()}
    for pair in (("first", "second"), ("all", "first")):
        for stratum in ("U", "G"):
            mask = stratum_mask(stratum, list(genders(drawn.people).values()))
            difference = paired_difference(rates[pair[0]], rates[pair[1]], mask, LEVEL)
            assert isinstance(difference, Difference)
            found = difference.value, difference.low, difference.high, difference.p_value
            yield {"models": pair, "stratum": stratum}, found


def of_lists(rows: str, drawn: People, rng: np.random.Generator, number: int) -> Scored:
    for trials in drawn_lists(drawn.people, ROWS[rows], rng):
        keys = [[clip.name for clip in side] for side in (trials.voices, trials.faces)]
        sides = None, drawn.voice_names, keys[0], None, drawn.face_names, keys[1]
        for r in score_trials(trials, *sides, drawn.similarity(), LEVEL).records:
            yield {"rows_of_a_person": rows, "task": r["task"], "metric": r["metric"], "n": r["n"]}, ends(r)


def of_draws(subset: int, drawn: People, rng: np.random.Generator, number: int) -> Scored:
    """Intervals around the exact accuracy of these clips, and around the population's."""
    mask, rates = ~np.eye(drawn.people, dtype=np.bool_), win_rates(drawn)
    exact, people = accuracy(rates, mask), identity_interval(rates, mask, LEVEL)
    assert exact is not None
    assert people is not None
    value = relative(drawn, 2, DRAWN_TRIALS, number)[0]["value"]
    found: dict[tuple[str, Any], tuple[float, float, float]] = {
        ("identity", "all triplets"): (exact, *people),
        ("binomial 99 %", DRAWN_TRIALS): (value, *binomial_interval(value, DRAWN_TRIALS, PAPERS_LEVEL)),
        ("binomial", DRAWN_TRIALS): (value, *binomial_interval(value, DRAWN_TRIALS, LEVEL)),
    }
    for trials in TRIALS:
        value = rng.binomial(trials, exact) / trials
        found["binomial", trials] = value, *binomial_interval(value, trials, LEVEL)
    subsets = repeated_subsets(rates, mask, subset, SUBSETS, number, LEVEL)
    found["subsets", f"{SUBSETS} of {subset} people"] = subsets.mean, subsets.low, subsets.high
    for (interval, of), values in found.items():
        what = {"interval": interval, "of": of, "metric": "accuracy"}
        if interval != "identity":  # it lies around the value of these clips
            yield {**what, "about": "clips"}, tuple(value - exact for value in values)
        yield what, values


def of_repeats(data: int) -> list[Result]:
    """MAP in repeated galleries. What an interval should hold of these clips is the mean over all other draws."""
    rng = np.random.default_rng(SEED)
    around_clips, around_people = Tally(), Tally()
    for _ in range(data):
        drawn = draw(GALLERY_PEOPLE, rng, (2, 7))
        clips = Clips.of(None, drawn.voice_names, None, drawn.face_names, drawn.similarity())
        values = np.array([gallery_map(clips, rng) for _ in range(GALLERY_INTERVALS * GALLERY.repeats)])
        for line in values.reshape(GALLERY_INTERVALS, GALLERY.repeats):
            others = float((values.sum() - line.sum()) / (values.size - line.size))
            low, high = repeats_interval(line.tolist(), LEVEL)
            around_clips.add(float(line.mean()) - others, low - others, high - others)
            around_people.add(float(line.mean()), low, high)
    what = {"people": GALLERY_PEOPLE, "interval": "repeats", "of": f"{GALLERY.repeats} galleries", "metric": "mAP"}
    of_clips = around_clips.result({**what, "about": "clips"}, 0.0, OF_CLIPS)
    return [of_clips, around_people.result({**what, "about": "people"})]


def gallery_map(clips: Clips, rng: np.random.Generator) -> float:
    rows = clips.rows("v2f", *draw_gallery(clips, "v2f", GALLERY, rng))
    return mean_average_precision(balanced_ranks(rows, GALLERY.people, GALLERY.queries, GALLERY.items))[0]


def ends(r: Result) -> tuple[Any, ...]:
    return r["value"], r["ci_low"], r["ci_high"]


@dataclass(frozen=True)
class Case:
    """So many draws of so many people, and what is scored of each; `seed` and `drawn` go to the draws."""

    scored: Callable[[People, np.random.Generator, int], Scored]
    people: int
    draws: int
    seed: tuple[int, ...] = ()
    drawn: dict[str, Any] = field(default_factory=dict)

    def measure(self, scale: float) -> list[Result]:
        """Count the intervals that hold the truth, of scores that at least half of the draws have: R@50 asks for 50."""
        rng, tallies = np.random.default_rng([SEED, self.people, *self.seed]), dict[Any, Tally]()
        draws = at_least_two(self.draws * scale)
        for number in range(draws):
            for what, interval in self.scored(draw(self.people, rng, **self.drawn), rng, number):
                tallies.setdefault(tuple(what.items()), Tally()).add(*interval)
        results = []
        for items, tally in tallies.items():
            if 2 * len(tally.values) >= draws:
                what = {"people": self.people, "about": "people", **dict(items)}
                results.append(tally.result(what, *truth_of(what)))
        return results


def at_least_two(draws: float) -> int:
    return max(2, round(draws))


CASES: dict[str, list[Case]] = {
    "scores": [Case(of_scores, people, draws) for people, draws in ((20, 2000), (60, 1500), (189, 500))],
    "levels": [
        Case(partial(of_levels, dimensions), people, draws, (dimensions,), {"dimensions": dimensions})
        for dimensions in (32, 64)
        for people, draws in ((20, 2000), (60, 1000), (189, 400))
    ],
    "others": [
        *(
            Case(scored, people, draws, (), drawn)
            for people, draws in ((20, 1000), (60, 600), (189, 300))
            for scored, drawn in ((of_joint, {"clips": JOINT_CLIPS}), (of_protocols, {}))
        ),
        *(Case(of_relative, people, draws) for people, draws in ((20, 500), (60, 500), (189, 300))),
        Case(of_videos, 60, 500),
    ],
    "models": [
        Case(of_models, people, draws, (), {"dimensions": WIDE})
        for people, draws in ((20, 2000), (60, 2000), (189, 1000))
    ],
    "lists": [
        Case(partial(of_lists, rows), people, draws, (ROWS[rows][0],), {"clips": (CLIPS, CLIPS)})
        for people, rows, draws in (
            *((20, "60", 1000), (60, "60", 1000), (250, "60", 250)),
            *((60, "1 to 60", 1000), (60, "2", 1000)),
        )
    ],
    "draws": [Case(partial(of_draws, subset), people, 1000) for people, subset in ((20, 10), (60, 20), (189, 100))],
}


def measure(part: str, scale: float) -> list[Result]:
    """Results of a part."""
    results = [result for case in CASES[part] for result in case.measure(scale)]
    return results + (of_repeats(at_least_two(GALLERY_DATA * scale)) if part == "draws" else [])


def main() -> None:
    made = parser(__doc__, scale=1.0, table=False)
    made.add_argument("--only", choices=list(CASES), action="append", help="a part; may be given several times")
    options = made.parse_args()
    parts = json.loads(PATH.read_text())["parts"] if PATH.exists() else {}
    for part in () if options.table else options.only or CASES:
        started = time.process_time()
        results = measure(part, options.scale)
        seconds = round(time.process_time() - started)
        print(part, f"{seconds} s of processor time", json.dumps(results, indent=1), sep="\n", flush=True)
        parts[part] = {"machine": describe(), "processor_seconds": seconds, "results": results}
        if options.scale == 1.0:
            report = {"level": LEVEL, "seed": SEED, "parts": {name: parts[name] for name in CASES if name in parts}}
            PATH.write_text(json.dumps(report, indent=1) + "\n")
    if options.scale == 1.0:
        interval_docs.main()


if __name__ == "__main__":
    main()
