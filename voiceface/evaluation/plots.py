"""Figures of a result: matching with its intervals, ROC curves, 1:N matching."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from voiceface.evaluation.cells import DIRECTIONS, Record, Scores, letters, stratum_name
from voiceface.evaluation.tsne import COLOURS, GREY, SHAPES
from voiceface.utils.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ASKS = {"v2f": SHAPES["voice"], "f2v": SHAPES["face"]}  # the marker of a direction: what is asked about


def intervals_figure(results: Mapping[str, Any]) -> "Figure":
    """1:2 accuracy by who competes: the model with its interval, chance and, where it is known, the ideal observer.

    Raises:
        UserError: The result holds no 1:2 matching.
    """
    scores, ideal = Scores(results["scores"]), Scores(results.get("ideal_observer") or [])
    protocol = _protocol(scores)
    strata = scores.different("stratum", task="matching", protocol=protocol, n=2)
    figure, panel = _figure(6.4, 1.4 + 0.42 * len(strata))
    for place, stratum in enumerate(reversed(strata)):
        for shift, (way, colour) in zip((0.14, -0.14), zip(DIRECTIONS, COLOURS, strict=False), strict=True):
            record = scores.find("matching", "accuracy", way, stratum, protocol, 2)
            best = ideal.find("matching", "accuracy", way, stratum, "exact", 2)
            label = DIRECTIONS[way] if place == 0 else None
            if record is not None and record["value"] is not None:
                _dot(panel, record, place + shift, colour, ASKS[way], label)
            if best is not None and best["value"] is not None:
                panel.plot(100 * best["value"], place + shift, "|", color=colour, markersize=9, markeredgewidth=2)
    if ideal.records:
        panel.plot([], [], "|", color="#444444", markersize=9, markeredgewidth=2, label="best possible")
    panel.axvline(50, color=GREY, linestyle="--", linewidth=1, label="chance")
    panel.set_yticks(range(len(strata)), [stratum_name(stratum) for stratum in reversed(strata)])
    named = f"\n({words})" if (words := letters(strata)) else ""
    panel.set(xlabel=f"1:2 accuracy, per cent{named}", ylim=(-0.6, len(strata) - 0.4))
    panel.set_title(f"{_name(results)}: choosing between two", loc="left", fontsize=11)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def roc_figure(results: Mapping[str, Any]) -> "Figure":
    """ROC curves of verification: anybody, and pairs of one gender where that is known.

    Raises:
        UserError: The result holds no curve.
    """
    curves = results.get("roc") or {}
    if not curves:
        raise UserError("this result holds no ROC curve: its method only compares candidates with each other")
    figure, panel = _figure(4.6, 4.8)
    scores = Scores(results["scores"])
    for (stratum, hits), colour in zip(curves.items(), COLOURS, strict=False):
        area = scores.find("verification", "AUC", "both", stratum)
        label = stratum_name(stratum) + ("" if area is None else f", AUC {100 * area['value']:.1f} %")
        panel.plot(
            [100 * i / (len(hits) - 1) for i in range(len(hits))], [100 * h for h in hits], color=colour, label=label
        )
    panel.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1, label="chance")
    panel.set(xlabel="false alarms, per cent", ylabel="hits, per cent", xlim=(0, 100), ylim=(0, 100), aspect="equal")
    panel.set_title(f"{_name(results)}: same person or not", loc="left", fontsize=11)
    panel.legend(loc="lower right", frameon=False, fontsize=9)
    return figure


def many_figure(results: Mapping[str, Any]) -> "Figure":
    """Accuracy of 1:N matching among anybody by the number of candidates, with intervals, chance and the ideal.

    Raises:
        UserError: The result holds no 1:N matching.
    """
    scores, ideal = Scores(results["scores"]), Scores(results.get("ideal_observer") or [])
    protocol = _protocol(scores)
    figure, panel = _figure(6.4, 4.2)
    for (way, words), colour in zip(DIRECTIONS.items(), COLOURS, strict=False):
        found = _by_number(scores, way, protocol)
        ends = [r for r in found if r["ci_low"] is not None]
        numbers, values = [r["n"] for r in found], [100 * r["value"] for r in found]
        panel.plot(numbers, values, f"{ASKS[way]}-", color=colour, markersize=4, label=words)
        panel.fill_between(
            [r["n"] for r in ends],
            [100 * r["ci_low"] for r in ends],
            [100 * r["ci_high"] for r in ends],
            color=colour,
            alpha=0.2,
            linewidth=0,
        )
        best = _by_number(ideal, way, "exact")
        if best:
            panel.plot([r["n"] for r in best], [100 * r["value"] for r in best], ":", color=colour)
    if ideal.records:
        panel.plot([], [], ":", color="#444444", label="best possible")
    numbers = sorted(n for n in scores.different("n", task="matching", protocol=protocol))
    panel.plot(numbers, [100 / n for n in numbers], color=GREY, linestyle="--", linewidth=1, label="chance")
    panel.set(xlabel="candidates", ylabel="accuracy, per cent", xscale="log", ylim=(0, 100))
    panel.set_xticks(numbers, [str(n) if n in (2, 3, 5, 10, 20, 50, 100) else "" for n in numbers], minor=False)
    panel.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    panel.set_title(f"{_name(results)}: one among many", loc="left", fontsize=11)
    panel.legend(frameon=False, fontsize=9)
    return figure


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    from voiceface.utils.figures import Picture  # matplotlib is slow to import

    figure = Picture(figsize=(width, height), layout="constrained")
    panel = figure.add_subplot()
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    return figure, panel


def _dot(panel: "Axes", record: Record, place: float, colour: str, marker: str, label: str | None) -> None:
    if record["ci_low"] is not None:
        panel.plot([100 * record["ci_low"], 100 * record["ci_high"]], [place, place], color=colour, linewidth=1.5)
    panel.plot(100 * record["value"], place, marker, color=colour, markersize=5, label=label)


def _by_number(scores: Scores, way: str, protocol: str) -> list[Record]:
    found = [scores.find("matching", "accuracy", way, "U", protocol, n) for n in scores.different("n", task="matching")]
    return sorted((r for r in found if r is not None and r["value"] is not None), key=lambda r: r["n"])


def _protocol(scores: Scores) -> str:
    """Methods that only compare candidates with each other have sampled trials, all others exact scores."""
    for protocol in ("exact", "sampled"):
        if scores.different("stratum", task="matching", protocol=protocol, n=2):
            return protocol
    raise UserError("this result holds no 1:2 matching")


def _name(results: Mapping[str, Any]) -> str:
    model, corpus = results["model"], results["data"]["corpus"]
    return f"{model['recipe'] or model['method']}{f' on {corpus}' if corpus else ''}"
