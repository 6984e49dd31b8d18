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
    from matplotlib.patheffects import withStroke

    colors = [ORANGE if marked and name.startswith(marked) else BLUE for name in values]
    drawn = axes.barh(list(values), list(values.values()), color=colors, zorder=2)
    over = [withStroke(linewidth=4, foreground="white")]  # no line runs through a number
    axes.bar_label(drawn, [f"{value:,.4g}" for value in values.values()], padding=5, path_effects=over, zorder=4)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(unit)


def line(axes: Any, value: float, words: str) -> None:
    """A dashed line with its name above the axes."""
    axes.axvline(value, color="#333333", linewidth=1, linestyle="--", zorder=3)
    place = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
    axes.annotate(words, (value, 1), xycoords=("data", "axes fraction"), fontsize=8, color="#333333", **place)


def stream(axes: Any, found: Mapping[str, Any]) -> None:
    """Shares of decoding alone."""
    shares = {name.removesuffix(" / decode alone"): value for name, value in found["ratios_median"].items()}
    shares.pop("raw tar", None)
    inside, two = shares["stream, 0 workers"], shares["stream, 2 workers"]
    title = f"The stream gives {inside:.2f} of what decoding alone would; {two:.1f} with two workers"
    bars(axes, shares, title, "samples per second, decoding alone in one process = 1", "decode")
    line(axes, 0.9, "target in one process: 0.9")


def map_style(axes: Any, found: Mapping[str, Any]) -> None:
    """Rates of both ways."""
    none, two = (found["ratios_median"][f"{n} workers"] for n in (0, 2))
    title = f"The stream reads {none:.2f} of what a map-style dataset does, {two:.2f} with two workers"
    bars(axes, found["samples_per_second_median"], title, "samples per second", "map-style")


def lightning(axes: Any, found: Mapping[str, Any]) -> None:
    """Time of a step of the demo TriNet."""
    times = found["milliseconds_per_step_median"]
    own = {name.partition(", ")[2]: value for name, value in times.items() if name.startswith("trinet demo")}
    more = {name: value - own["plain"] for name, value in own.items()}
    memory, from_shards = more["fit on memory"], more["fit on its stream"]
    title = (
        f"Lightning adds {memory:.0f} ms to a step of the demo TriNet, the data stream {from_shards - memory:.0f} more"
    )
    bars(axes, own, title, "ms", "plain")


def cached(axes: Any, found: Mapping[str, Any]) -> None:
    """How many times as fast training is with cached features."""
    ratios = found["ratios_median"]
    small, paper = ratios["face_small"], ratios["face_lresnet50_ir"]
    title = f"Cached voice features: {small:.0f} times as fast with a small face network, {paper:.1f} with the paper's"
    bars(axes, ratios, title, "steps per second, uncached = 1 (logarithmic)")
    axes.set_xscale("log")
    axes.set_xlim(0.8, 2 * max(ratios.values()))
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick < axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick}" for tick in ticks])
    axes.minorticks_off()
    line(axes, 1, "uncached")
    line(axes, found["target"], f"target: {found['target']}")


def cluster(axes: Any, found: Mapping[str, Any]) -> None:
    """Seconds to the first batch."""
    seconds = {
        f"{role}, {corpus['bundles']:,} bundles": corpus[role]["seconds"]
        for corpus in found["corpora"].values()
        for role in ("rank", "worker")
    }
    processes = f"{found['ranks']} ranks with {found['workers_per_rank']} workers each"
    title = f"{processes} start an epoch in {max(seconds.values()):.2g} s at most"
    bars(axes, seconds, title, "seconds before the first batch, corpora of 10,000 shards")
    line(axes, 1, "target: 1 s")


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
        left.set(ylabel=f"number of the draw ({PEOPLE} people each)", ylim=(0, DRAWS + 4))
        for color, marker, words in ((BLUE, "o", "holds the true value"), (ORANGE, "x", "misses it")):
            right.plot([], [], marker, color=color, linestyle="-", label=f"95 % interval that {words}")
        left.figure.legend(loc="outside lower center", ncols=2, frameon=False)
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
