"""Draw docs/images/leaderboard.svg: 1:2 accuracy of every method from the results that the package carries.

python -m docs.images.methods
"""

from pathlib import Path
from typing import Any

from benchmarks.common import drawing
from voiceface.compare.reading import REFERENCE, find_results
from voiceface.evaluation.cells import DIRECTIONS, Scores, stratum_name
from voiceface.evaluation.plots import ASKS
from voiceface.evaluation.tsne import COLOURS, GREY

OUT = Path(__file__).with_name("leaderboard.svg")
STRATA = ("U", "G")


def panel(axes: Any, found: list[Any], ideal: Scores, stratum: str) -> None:
    """A row per method, the best above: a voice asks (circle) and a face asks (triangle)."""
    for i, scores in enumerate(found):
        for (way, marker), colour, shift in zip(ASKS.items(), COLOURS, (-0.17, 0.17), strict=False):
            record = scores.matching(way, stratum)
            ends = [100 * record["ci_low"], 100 * record["ci_high"]]
            axes.plot(ends, [i + shift] * 2, color=colour, linewidth=1.3)
            axes.plot(100 * record["value"], i + shift, marker, color=colour, markersize=4)
    best = max(100 * ideal.matching(way, stratum)["value"] for way in DIRECTIONS)
    top = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center", "fontsize": 8, "color": "#444444"}
    for value, words, style in ((50, "chance", ":"), (best, f"best possible\n{best:.1f}", "--")):
        axes.axvline(value, color=GREY, linestyle=style, linewidth=1.2)
        axes.annotate(words, (value, 1), xycoords=("data", "axes fraction"), **top)
    axes.set_title(f"the other person is {stratum_name(stratum).replace('same', 'of the same')}", pad=30, fontsize=10)
    axes.set(xlabel="1:2 accuracy, per cent", xlim=(44, 96), ylim=(len(found) - 0.4, -0.6))
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)


def main() -> None:
    """Read the stored results and draw those that answer in both directions."""
    results = [one.results for one in find_results([REFERENCE])[0]]
    ideal = next(Scores(r["ideal_observer"]) for r in results if r.get("ideal_observer"))
    scored = {r["model"]["recipe"]: Scores(r["scores"]) for r in results}
    both = {n: s for n, s in scored.items() if all(s.matching(way, x) for way in DIRECTIONS for x in STRATA)}
    one_way = sorted(scored.keys() - both.keys())
    order = sorted(both, key=lambda name: -sum(both[name].matching(way)["value"] for way in DIRECTIONS))
    with drawing(OUT, 2, figsize=(9.6, 1.9 + 0.27 * len(order)), sharey=True) as panels:
        for axes, stratum in zip(panels, STRATA, strict=True):
            panel(axes, [both[name] for name in order], ideal, stratum)
        panels[0].set_yticks(range(len(order)), order)
        for (way, marker), colour in zip(ASKS.items(), COLOURS, strict=False):
            panels[1].plot([], [], marker, color=colour, linestyle="-", markersize=5, label=DIRECTIONS[way])
        level = 100 * next(iter(both.values())).matching("v2f")["ci_level"]
        title = f"Choosing between two: {len(order)} methods on the synthetic corpus"
        title += f", with {level:g} % intervals over people"
        panels[0].figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        panels[0].figure.legend(loc="outside lower center", ncols=2, frameon=False)
    print(f"{OUT.name}: {len(order)} methods; not drawn, as they answer in one direction alone: {', '.join(one_way)}")


if __name__ == "__main__":
    main()
