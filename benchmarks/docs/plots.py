"""Draw the pictures of docs/speed.md from benchmarks/results/*.json: docs/images/speed_*.svg.

A picture whose result file is not there is left out, and named.

    python -m benchmarks.docs.plots
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
IMAGES = Path(__file__).parents[2] / "docs" / "images"
BLUE, ORANGE = "#1f5fa8", "#d1600a"


def bars(axes: Any, values: Mapping[str, float], title: str, unit: str, marked: str = "") -> None:
    """Horizontal bars from the top down, each with its number; those whose name begins with `marked` in orange.

    Args:
        axes: Matplotlib's axes.
        values: Length of each bar, by its name.
        title: Of the picture.
        unit: What the bars measure.
        marked: Beginning of names; empty: none.
    """
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


def main() -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    # A white ground, so that the pictures read on a dark page too.
    plt.rcParams |= {"svg.hashsalt": "voiceface", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    plt.rcParams |= {"figure.facecolor": "white", "axes.facecolor": "white"}
    for name, draw in PICTURES.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            print(f"no picture of {name}: run `python benchmarks/{name}.py`")
            continue
        figure, axes = plt.subplots(figsize=(7.2, 2.4), layout="constrained")
        draw(axes, json.loads(path.read_text()))
        out = IMAGES / f"speed_{name}.svg"
        figure.savefig(out, metadata={"Date": None})
        plt.close(figure)
        print(out)


if __name__ == "__main__":
    main()
