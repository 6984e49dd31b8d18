"""Does `paired_difference` hold the true difference of two models, and does it find none where there is none?

The models see parts of the same clips. Two of them see 8 dimensions each, 4 of which they share: equally good, but
different. A third one sees all 12 and is better by a difference known in closed form.

Part of `python -m benchmarks.scores.interval_coverage`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.scores.interval_population import LEVEL, SEED, People, Result, Tallies, draw, genders, true_accuracy
from voiceface.scores.confidence import Difference, paired_difference
from voiceface.scores.matching import count
from voiceface.scores.strata import stratum_mask

CASES = [(20, 2000), (60, 2000), (189, 1000)]  # people, draws
DIMENSIONS = 12
SEES = {"first": (0, 8), "second": (4, 12), "all": (0, 12)}
PAIRS = (("first", "second"), ("all", "first"))


def measure(scale: float) -> list[Result]:
    return [result for people, draws in CASES for result in of_people(people, max(2, round(draws * scale)))]


def of_people(people: int, draws: int) -> list[Result]:
    rng, tallies = np.random.default_rng([SEED, people]), Tallies()
    found: dict[tuple[str, ...], list[bool]] = {}
    masks = {stratum: stratum_mask(stratum, list(genders(people).values())) for stratum in ("U", "G")}
    for _ in range(draws):
        drawn = draw(people, rng, dimensions=DIMENSIONS)
        rates = {name: win_rates(drawn, *sees) for name, sees in SEES.items()}
        for pair in PAIRS:
            for stratum, mask in masks.items():
                difference = paired_difference(rates[pair[0]], rates[pair[1]], mask, LEVEL)
                assert isinstance(difference, Difference)
                tallies[(*pair, stratum)].add(difference.value, difference.low, difference.high)
                found.setdefault((*pair, stratum), []).append(difference.p_value < 1 - LEVEL)
    results = []
    for (one, other, stratum), tally in tallies.items():
        truth = true_accuracy(dimensions(one)) - true_accuracy(dimensions(other))
        what = {"people": people, "models": [one, other], "stratum": stratum, "about": "people"}
        share = float(np.mean(found[one, other, stratum]))
        results.append({**tally.result(what, truth), "share_of_p_below_0.05": round(share, 6)})
    return results


def dimensions(model: str) -> int:
    first, last = SEES[model]
    return last - first


def win_rates(drawn: People, first: int = 0, last: int | None = None) -> NDArray[Any]:
    similarity = drawn.similarity(first, last)
    return count(lambda rows: similarity[rows], drawn.voice_owner, np.bincount(drawn.face_owner)).win_rates
