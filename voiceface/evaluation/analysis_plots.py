"""Figures of an analysis: what probes find, and how far distance goes with agreement."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from voiceface.evaluation.tsne import COLOURS, GREY, SAID, SHAPES
from voiceface.scores.probes import is_chance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Pairs of a voice and a face are neither, so they have a shape and a colour of their own.
PAIRS = {"voices": ("o", COLOURS[0]), "faces": ("^", COLOURS[1]), "voices and faces": ("D", COLOURS[2])}
SIGNIFICANT = 0.01


def probes_figure(result: Mapping[str, Any], about: str) -> "Figure":
    """The probes of voices and of faces with their intervals, and the chance of each.

    Args:
        result: What `analyze` returns; it holds probes.
        about: Whose embeddings of what.
    """
    found = {(r["stratum"], r["direction"]): r for r in result["scores"]}
    strata = list(dict.fromkeys(r["stratum"] for r in result["scores"]))
    figure, panel = _figure(f"{about}: attributes that a linear probe finds", strata)
    for i, stratum in enumerate(strata):
        for (side, marker), colour, shift in zip(SHAPES.items(), COLOURS, (-0.17, 0.17), strict=False):
            if (record := found.get((stratum, side))) is None:
                continue
            y, inside = i + shift, "white" if is_chance(record) else colour
            ends = [100 * record[end] for end in ("ci_low", "ci_high")]
            panel.plot(ends, [y, y], color=colour, linewidth=1.3)
            panel.plot(100 * record["value"], y, marker, color=colour, markerfacecolor=inside, markersize=5)
            panel.plot(100 * record["chance"], y, "|", color=GREY, markersize=7, markeredgewidth=1.5)
    for (side, marker), colour in zip(SHAPES.items(), COLOURS, strict=False):
        panel.plot([], [], marker, color=colour, markersize=5, label=side)
    panel.plot(
        [],
        [],
        "s",
        color="#444444",
        markerfacecolor="white",
        markersize=5,
        label="hollow: interval within 5 points of chance",
    )
    panel.plot([], [], "|", color=GREY, markersize=7, markeredgewidth=1.5, label="chance")
    panel.set_xlabel(f"mAP on people held out, per cent, with {100 * result['level']:g} % intervals")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def correlations_figure(result: Mapping[str, Any], about: str) -> "Figure":
    """Correlation of distance with agreement, by attribute.

    Args:
        result: What `analyze` returns; it holds correlations.
        about: Whose embeddings of what.
    """
    attributes = list(dict.fromkeys(r["attribute"] for r in result["correlations"]))
    figure, panel = _figure(f"{about}: are people who agree nearer to each other?", [f"{a}=" for a in attributes], 0.5)
    for record in result["correlations"]:
        marker, colour = PAIRS[record["between"]]
        y = attributes.index(record["attribute"]) + 0.22 * (list(PAIRS).index(record["between"]) - 1)
        inside = colour if record["point_biserial_p"] < SIGNIFICANT else "white"
        panel.plot([0, record["point_biserial"]], [y, y], color=colour, linewidth=1.3)
        panel.plot(record["point_biserial"], y, marker, color=colour, markerfacecolor=inside, markersize=6)
    for words, (marker, colour) in PAIRS.items():
        panel.plot([], [], marker, color=colour, markersize=6, label=words)
    panel.plot(
        [], [], "s", color="#444444", markerfacecolor="white", markersize=5, label=f"hollow: p ≥ {SIGNIFICANT:g}"
    )
    panel.axvline(0, color="#444444", linewidth=1)
    panel.set_xlabel("correlation of distance with agreement (below 0: nearer)")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _figure(title: str, strata: list[str], row: float = 0.32) -> "tuple[Figure, Axes]":
    """A row for each `attribute=value`, from the top down, a line between attributes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.5 + row * len(strata)), layout="constrained")
    panel = figure.add_subplot()
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    split = [stratum.split("=", 1) for stratum in strata]
    names = [" ".join([name.replace("_", " "), SAID.get(value, value)]).strip() for name, value in split]
    panel.set_yticks(range(len(strata)), names, fontsize=9)
    panel.set_ylim(len(strata) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="x", color="#e8e8e8", linewidth=0.8)
    panel.set_axisbelow(True)
    for i in range(1, len(split)):
        if split[i][0] != split[i - 1][0]:
            panel.axhline(i - 0.5, color="#cccccc", linewidth=0.8)
    return figure, panel
