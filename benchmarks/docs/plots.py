"""Draw pictures of the docs.

    python -m benchmarks.docs.plots                  docs/images/speed_*.svg from benchmarks/results/*.json
    python -m benchmarks.docs.plots --intervals      docs/images/why-not-binomial.svg

A picture whose result file is not there is left out, and named. why-not-binomial.svg has 40 draws of 189 people, each
with its binomial and its identity interval; how many intervals hold the population's accuracy is printed too.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import RESULTS, ROOT, drawing, parser
from benchmarks.scores.interval_population import LEVEL, SEED, draw, true_accuracy, win_rates
from voiceface.scores.confidence import binomial_interval, identity_interval
from voiceface.scores.matching import accuracy

IMAGES = ROOT / "docs" / "images"
PEOPLE, DRAWS, TRIALS = 189, 40, 30_720_000
BLUE, ORANGE = "#1f5fa8", "#d1600a"


def bars(axes: Any, values: Mapping[str, float], title: str, unit: str, marked: str = "") -> None:
    """Horizontal bars from the top down, each with its number; those whose name begins with `marked` in orange."""
    colors = [ORANGE if marked and name.startswith(marked) else BLUE for name in values]
    drawn = axes.barh(list(values), list(values.values()), color=colors)
    axes.bar_label(drawn, [f"{value:,.4g}" for value in values.values()], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(title=title, xlabel=unit)


def stream(axes: Any, found: Mapping[str, Any]) -> None:
    """Shares of decoding alone."""
    shares = {name.removesuffix(" / decode alone"): value for name, value in found["ratios_median"].items()}
    shares.pop("raw tar", None)
    bars(axes, shares, "The stream", "samples per second, decoding alone in one process = 1", "decode")
    axes.axvline(0.9, color="#333333", linewidth=1, linestyle="--")


def map_style(axes: Any, found: Mapping[str, Any]) -> None:
    """Rates of both ways."""
    title = "The stream and a map-style dataset"
    bars(axes, found["samples_per_second_median"], title, "samples per second", "map-style")


def lightning(axes: Any, found: Mapping[str, Any]) -> None:
    """Time of a step of the demo TriNet."""
    times = found["milliseconds_per_step_median"]
    own = {name.partition(", ")[2]: value for name, value in times.items() if name.startswith("trinet demo")}
    bars(axes, own, "A step of the demo TriNet", "ms", "plain")


def cached(axes: Any, found: Mapping[str, Any]) -> None:
    """How many times as fast training is with cached features."""
    bars(axes, found["ratios_median"], "TriNet with cached voice features", "steps per second, uncached = 1")
    axes.axvline(1, color="#333333", linewidth=1, linestyle="--")


def cluster(axes: Any, found: Mapping[str, Any]) -> None:
    """Seconds to the first batch."""
    seconds = {
        f"{role}, {corpus['bundles']:,} bundles": corpus[role]["seconds"]
        for corpus in found["corpora"].values()
        for role in ("rank", "worker")
    }
    title = f"Start of an epoch: {found['ranks']} ranks x {found['workers_per_rank']} workers, 10,000 shards"
    bars(axes, seconds, title, "seconds")
    axes.axvline(1, color="#333333", linewidth=1, linestyle="--")


PICTURES = {
    "stream": stream,
    "map_style": map_style,
    "lightning_overhead": lightning,
    "cached": cached,
    "cluster_plan": cluster,
}


def intervals() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Value, lower and upper end in per cent, (DRAWS, 3): of sampled triplets, and of all of them over people."""
    rng, mask = np.random.default_rng(SEED), ~np.eye(PEOPLE, dtype=np.bool_)
    of_trials, of_people = [], []
    for _ in range(DRAWS):
        rates = win_rates(draw(PEOPLE, rng))
        exact = accuracy(rates, mask)
        around = identity_interval(rates, mask, LEVEL)
        assert exact is not None
        assert around is not None
        sampled = rng.binomial(TRIALS, exact) / TRIALS  # nothing ties
        of_trials.append((sampled, *binomial_interval(sampled, TRIALS, LEVEL)))
        of_people.append((exact, *around))
    return 100 * np.array(of_trials), 100 * np.array(of_people)


def panel(axes: Any, found: NDArray[np.float64], truth: float, title: str) -> int:
    """Draw one kind of interval, and give how many hold the truth."""
    value, low, high = found.T
    holds = (low <= truth) & (truth <= high)
    number = np.arange(1, DRAWS + 1)
    for mask, color, marker in ((holds, BLUE, "o"), (~holds, ORANGE, "x")):
        axes.hlines(number[mask], low[mask], high[mask], color=color, linewidth=1.6)
        axes.plot(value[mask], number[mask], marker, color=color, markersize=3.5, linestyle="none")
    axes.axvline(truth, color="#333333", linewidth=1.0)
    half = float((high - low).mean()) / 2
    axes.set(title=f"{title} (± {half:.2g}):\n{holds.sum()} of {DRAWS} hold the true value")
    axes.set(xlabel="1:2 accuracy, per cent")
    return int(holds.sum())


def why_not_binomial() -> None:
    truth = 100 * true_accuracy()
    of_trials, of_people = intervals()
    how = {"figsize": (8.4, 5.0), "sharex": True, "sharey": True}
    with drawing(IMAGES / "why-not-binomial.svg", 2, **how) as (left, right):
        trials = panel(left, of_trials, truth, f"Binomial, {TRIALS:,} sampled triplets")
        people = panel(right, of_people, truth, "Over people, all triplets")
        left.set(ylabel=f"draw of {PEOPLE} people", ylim=(0, DRAWS + 4))
        place = {"xytext": (6, 0), "textcoords": "offset points", "va": "top"}
        left.annotate(f"true value\n{truth:.2f}", (truth, DRAWS + 3.8), color="#333333", **place)
    print(f"true value {truth:.2f}; held by {trials} binomial and {people} identity intervals of {DRAWS}")
    for name, found in (("binomial", of_trials), ("identity", of_people)):
        print(f"{name}: mean half width {float((found[:, 2] - found[:, 1]).mean()) / 2:.3f} points")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--intervals", action="store_true", help="draw why-not-binomial.svg")
    if options.parse_args().intervals:
        why_not_binomial()
        return
    for name, show in PICTURES.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            print(f"no picture of {name}: there is no {path.name}")
            continue
        out = IMAGES / f"speed_{name}.svg"
        with drawing(out, figsize=(7.2, 2.4)) as axes:
            show(axes, json.loads(path.read_text()))
        print(out)


if __name__ == "__main__":
    main()
