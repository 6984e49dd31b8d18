"""Do the intervals of trial lists hold the mean over all draws of people, clips and lists?

Lists are drawn as the published ones were: a person's voices ask equally often, impostors are random other people, the
clips are random. Part of `python -m benchmarks.scores.interval_coverage`.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.scores.interval_population import LEVEL, SEED, People, Result, Tallies, draw, true_accuracy
from voiceface.scores.clip_keys import Clip, parse_clip
from voiceface.scores.trial_formats import Trials
from voiceface.scores.trials import score_trials

CLIPS = 10  # of a person and modality
ROWS = {"60": (60, 60), "1 to 60": (1, 60), "2": (2, 2)}  # rows of a person; in verification so many of either label
CASES = [(20, "60", 1000), (60, "60", 1000), (250, "60", 250), (60, "1 to 60", 1000), (60, "2", 1000)]
CANDIDATES = (2, 10)

Places = NDArray[np.int64]


def measure(scale: float) -> list[Result]:
    results = []
    for people, rows, draws in CASES:
        results += of_rows(people, rows, max(2, round(draws * scale)))
    return results


def of_rows(people: int, rows: str, draws: int) -> list[Result]:
    rng, tallies = np.random.default_rng([SEED, people, ROWS[rows][0]]), Tallies()
    for _ in range(draws):
        drawn = draw(people, rng, (CLIPS, CLIPS))
        asking = np.repeat(np.arange(people), rng.integers(ROWS[rows][0], ROWS[rows][1] + 1, people))
        lists = [verification(asking, people, rng), *(matching(asking, people, n, rng) for n in CANDIDATES)]
        for trials in lists:
            add(tallies, drawn, trials)
    return named(tallies, people, rows)


def add(tallies: Tallies, drawn: People, trials: Trials) -> None:
    keys = [[clip.name for clip in side] for side in (trials.voices, trials.faces)]
    found = score_trials(
        trials, None, drawn.voice_names, keys[0], None, drawn.face_names, keys[1], drawn.similarity(), LEVEL
    )
    for r in found.records:
        tallies[r["task"], r["metric"], r["n"]].add(r["value"], r["ci_low"], r["ci_high"])


def named(tallies: Tallies, people: int, rows: str) -> list[Result]:
    results = []
    for (task, metric, n), tally in tallies.items():
        what = {"people": people, "rows_of_a_person": rows, "task": task, "metric": metric, "n": n, "about": "people"}
        results.append(tally.result(what, true_accuracy() if n == 2 else None))
    return results


def verification(asking: Places, people: int, rng: np.random.Generator) -> Trials:
    """As many positive rows as negative ones of each person's voices."""
    met = np.concatenate([asking, (asking + rng.integers(1, people, len(asking))) % people])
    positive = np.arange(len(met)) < len(asking)
    return trial_list("verification", np.tile(asking, 2), met[:, None], positive[:, None], people, rng)


def matching(asking: Places, people: int, n: int, rng: np.random.Generator) -> Trials:
    order = rng.random((len(asking), people))
    order[np.arange(len(asking)), asking] = 2.0  # nobody is their own impostor
    met = np.column_stack([asking, np.argpartition(order, n - 2, axis=1)[:, : n - 1]])
    return trial_list("matching", asking, met, np.tile(np.arange(n) == 0, (len(met), 1)), people, rng)


def trial_list(
    kind: str, asking: Places, met: Places, labels: NDArray[np.bool_], people: int, rng: np.random.Generator
) -> Trials:
    """A list of random clips of these people."""
    query, candidates = (who * CLIPS + rng.integers(0, CLIPS, who.shape) for who in (asking, met))
    owner = np.repeat(np.arange(people), CLIPS)
    sides = clips_of("voice", owner), clips_of("face", owner)
    if kind == "verification":
        return Trials("list", "list", "verification", "both", *sides, query, candidates, labels)
    return Trials("list", "list", "matching", "v2f", *sides, query, candidates, labels)


def clips_of(kind: str, owner: Places) -> list[Clip]:
    places = np.arange(len(owner)) - np.searchsorted(owner, owner)  # of each clip among its person's
    return [clip(f"{person:03}/{kind}/{place}") for person, place in zip(owner.tolist(), places.tolist(), strict=True)]


@cache
def clip(name: str) -> Clip:
    return parse_clip(name, {})
