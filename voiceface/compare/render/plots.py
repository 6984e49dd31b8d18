"""The plots of a leaderboard as figures of matplotlib, and as SVG that follows the colours of its page."""

import io
import re
import warnings
from collections.abc import Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from voiceface.compare.render.plot_data import CHANCE, IDEAL, PLOTS, Panel, Plot, Results, Series, plot_data
from voiceface.compare.table import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.8, 2.9  # of a panel, inches: narrow, so that its text is read on a phone
LEFT, RIGHT, TOP, BOTTOM = 0.55, 1.2, 0.32, 0.5  # around the axes, inches
ROW = 0.19  # of a line of text, inches
# Told apart by people of any colour vision (after Okabe and Ito); lines differ in dashes and markers too. A circle is a
# voice and a triangle a face, here and in every other picture, so neither stands for a model.
COLOURS = ("#0072b2", "#d55e00", "#00866a", "#a8408a", "#8c6d00", "#2a93c9", "#7a4a2b", "#5b5fc7")
DARK = ("#58aee8", "#ff8a4d", "#2fcba3", "#e58ac8", "#e0b93b", "#9bdcff", "#d3a27f", "#a9abff")
INK, GREY, FAINT = "#1c1e21", "#6b7075", "#dcdfe2"
DASHES = ((), (5, 2), (1, 1.5), (6, 2, 1, 2))
MARKERS = "sDPX*dph"
ASKS = "o^"  # which of voice and face is asked about
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
STYLE: dict[Any, Any] = {"font.size": 8.5, "axes.linewidth": 0.7, "text.parse_math": False}
STYLE |= {"svg.fonttype": "none", "svg.hashsalt": "voiceface"}
STYLE |= dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)


def plots_of(group: Group) -> "dict[str, Figure]":
    """All plots that a group has data for, by the names of the functions here."""
    return {name: draw(plot) for name, plot in plot_data(group).items()}


def _of(name: str, group: Group) -> "Figure":
    return draw(PLOTS[name](Results(group)))


many_curves = partial(_of, "many_curves")
"""1:N accuracy by N with bands, both directions."""
forest = partial(_of, "forest")
"""1:2 accuracy with intervals, both directions, anybody and same gender."""
roc_curves = partial(_of, "roc_curves")
"""ROC curves, anybody and same gender."""
recall_curves = partial(_of, "recall_curves")
"""R@K by K, both directions."""
strata_dots = partial(_of, "strata_dots")
"""1:2 accuracy by stratum, both directions."""
training_curves = partial(_of, "training_curves")
"""Validation accuracy by training step."""


def draw(plot: Plot) -> "Figure":
    """Draw a plot, its panels below each other.

    What shows the model number N of the plot has the gid `series-N`; its row in a forest plot `row-N`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    of_rows = plot.kind != "lines"
    legend = [*plot.models, *({s.name for p in plot.panels for s in p.series} & {IDEAL})] if plot.kind == "dots" else []
    left, right = (1.35, 0.2) if of_rows else (LEFT, RIGHT)
    row = ROW if plot.kind == "forest" else max(ROW, 0.055 * len(legend) + 0.06)
    axes_height = row * len(plot.labels) + 0.1 if of_rows else HEIGHT - TOP - BOTTOM
    panel_height = TOP + axes_height + BOTTOM
    foot = ROW * ((len(legend) + 1) // 2) + 0.1 if legend else 0.0
    height = panel_height * max(1, len(plot.panels)) + foot
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        for number, panel in enumerate(plot.panels):
            bottom = height - (number + 1) * panel_height + BOTTOM
            box = (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, axes_height / height)
            axes = figure.add_axes(box)
            axes.set_title(panel.title, loc="left", fontsize=9, fontweight="bold")
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(color=FAINT, linewidth=0.6)
            axes.set_axisbelow(True)
            {"lines": _lines, "dots": _dots, "forest": _forest}[plot.kind](axes, panel, plot)
        if legend:
            _legend(figure, legend, foot / height)
    return figure


def _style(name: str, models: Sequence[str]) -> dict[str, Any]:
    if name not in models:
        return {"color": GREY, "dashes": (1, 2) if name == CHANCE else (4, 2), "marker": ""}
    i = models.index(name)
    return {"color": COLOURS[i], "dashes": DASHES[i % len(DASHES)], "marker": MARKERS[i], "gid": f"series-{i}"}


def _percent(series: Series) -> tuple[list[float], list[float], list[float], list[float]]:
    """Columns x, y, low and high, in per cent; a value without an interval is its own."""
    x, y = [p.x for p in series.points], [100 * p.y for p in series.points]
    low = [100 * (p.y if p.low is None else p.low) for p in series.points]
    high = [100 * (p.y if p.high is None else p.high) for p in series.points]
    return x, y, low, high


def _lines(axes: "Axes", panel: Panel, plot: Plot) -> None:
    share = plot.x_name.endswith("%")
    ends = []
    for series in panel.series:
        x, y, low, high = _percent(series)
        x = [100 * value for value in x] if share else x
        every = max(1, len(x) // 6)
        axes.plot(x, y, linewidth=1.4, markersize=3.5, markevery=every, **_style(series.name, plot.models), zorder=3)
        if low != y or high != y:
            floor = [max(value, TICKS[0]) for value in low]
            style = _style(series.name, plot.models)
            axes.fill_between(x, floor, high, color=style["color"], alpha=0.13, linewidth=0, gid=style.get("gid"))
        ends.append((series.name, x[-1], y[-1], sum(y)))
    axes.set_xlabel(plot.x_name)
    axes.set_ylabel(plot.y_name)
    axes.margins(x=0.02)
    ticks = sorted({point.x for series in panel.series for point in series.points})
    if plot.log:
        axes.set_xscale("log")
        few = [t for t in ticks if t in (1, 2, 3, 5, 10, 20, 50, 100)]
        axes.set_xticks(few, [f"{t:g}" for t in few])
        axes.minorticks_off()
    if plot.log == "xy":
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(TICKS[0], 0.7 * min(y for _, _, y, _ in ends)), top=105)
        few = [t for t in TICKS if t >= axes.get_ylim()[0]]
        axes.set_yticks(few, [f"{t:g}" for t in few])
        axes.minorticks_off()
    elif plot.log or share:
        axes.set_ylim(0, 102)
    if not (plot.log or share):
        axes.locator_params(axis="x", integer=True, nbins=6)
    axes.autoscale_view()  # or the ends of lines are not yet where they will be
    _name_ends(axes, ends, plot.models)


def _name_ends(axes: "Axes", ends: list[tuple[str, float, float, float]], models: Sequence[str]) -> None:
    """Write each line's name beside its end, apart from each other, joined to it by a thin line."""
    to_axes = axes.transData + axes.transAxes.inverted()
    gap = 0.155 / (HEIGHT - TOP - BOTTOM)
    ends = sorted(ends, key=lambda end: (round(end[2], 6), end[3]))  # ROC curves all end in one point
    placed = [(to_axes.transform((x, y)), name) for name, x, y, _ in ends]
    heights: list[float] = []
    for (_, y), _ in placed:
        heights.append(max(float(y), heights[-1] + gap) if heights else max(float(y), 0.0))
    over = heights[-1] - 1.0 if heights else 0.0
    for i in range(len(heights) - 1, -1, -1):  # what stands above the axes moves down, and pushes what is below
        limit = 1.0 if i == len(heights) - 1 else heights[i + 1] - gap
        heights[i] = min(heights[i], limit) if over > 0 else heights[i]
    for ((x, y), name), level in zip(placed, heights, strict=True):
        style = _style(name, models)
        own: dict[str, Any] = {"color": style["color"], "gid": style.get("gid"), "transform": axes.transAxes}
        axes.plot([x, 1.035], [y, level], linewidth=0.6, clip_on=False, **own)
        if style["marker"]:
            axes.plot([1.06], [level], style["marker"], markersize=3.5, clip_on=False, **own)
        axes.text(1.09, level, _short(name, 17), va="center", fontsize=7.5, **own)


def _dots(axes: "Axes", panel: Panel, plot: Plot) -> None:
    series = [s for s in panel.series if s.name != CHANCE]
    for number, one in enumerate(series):
        at, y, low, high = _percent(one)
        rows = [value + 0.76 * ((number + 0.5) / len(series) - 0.5) for value in at]
        style = _style(one.name, plot.models)
        own: dict[str, Any] = {"color": style["color"], "gid": style.get("gid")}
        axes.hlines(rows, low, high, linewidth=0.8, alpha=0.55, **own)
        axes.plot(y, rows, style["marker"] or "|", markersize=3.2, **own)
    _rows(axes, plot)
    axes.hlines([i + 0.5 for i in range(len(plot.labels) - 1)], 0, 1, color=FAINT, linewidth=0.6, transform=(
        axes.get_yaxis_transform()))  # fmt: skip
    axes.grid(visible=False, axis="y")


def _forest(axes: "Axes", panel: Panel, plot: Plot) -> None:
    for i in range(len(plot.labels)):
        axes.axhspan(i - 0.5, i + 0.5, facecolor="none", linewidth=0, gid=f"row-{i}")
    asked = [series for series in panel.series if series.name != CHANCE]
    for series, colour, marker, shift in zip(asked, COLOURS, ASKS, (-0.16, 0.16), strict=False):
        at, y, low, high = _percent(series)
        rows = [value + shift for value in at]
        axes.hlines(rows, low, high, color=colour, linewidth=1.1)
        axes.plot(y, rows, marker, color=colour, markersize=3.2, label=series.name)
    _rows(axes, plot)
    axes.legend(loc="lower right", bbox_to_anchor=(1.03, 0.99), ncols=2, frameon=False, fontsize=7.5, handlelength=1)


def _rows(axes: "Axes", plot: Plot) -> None:
    """The axes of a plot with a row for each label: chance, names, limits."""
    axes.axvline(50, color=GREY, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(plot.labels)), [_short(name, 22) for name in plot.labels], fontsize=7.5)
    axes.set_ylim(len(plot.labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"{plot.y_name} (dotted: chance)")


def _legend(figure: "Figure", names: Sequence[str], top: float) -> None:
    """Below the figure, in two columns."""
    from matplotlib.lines import Line2D

    models = [name for name in names if name != IDEAL]
    handles = []
    for name in names:
        style = _style(name, models)
        own = {"color": style["color"], "gid": style.get("gid")}
        handles.append(Line2D([], [], linestyle="", marker=style["marker"] or "|", label=_short(name, 30), **own))
    legend = figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.05, top), ncols=2, frameon=False, fontsize=7.5,
        borderaxespad=0, handlelength=1.2, markerscale=0.7,
    )  # fmt: skip
    for handle, text, given in zip(legend.legend_handles, legend.get_texts(), handles, strict=True):
        text.set_gid(given.get_gid())
        if handle is not None:
            handle.set_gid(given.get_gid())


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def to_svg(figure: "Figure", name: str, title: str, text: str) -> str:
    """A figure as an `<svg>` element whose colours are its page's.

    Its lines and text are `currentColor`, grid and greys `--faint` and `--grey`, series `--s0` to `--s7`. What `draw`
    gave a gid has the class `series` or `row`, and the model's number as `data-series`.

    Args:
        figure: What `draw` gives.
        name: A word that is no other figure's on the page; ids begin with it.
        title: Read out as the figure's name.
        text: Read out as its description.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # text stays text: the reader's fonts have it
        empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=empty)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    size = re.search(r'viewBox="[^"]*"', svg)
    body = svg[svg.index(">") + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    body = re.sub(r' id="[^"]*_\d+"', "", body)  # of groups, which nothing refers to
    body = re.sub(r' id="(series|row)-(\d+)"', r' class="\1" data-series="\2"', body)
    body = re.sub(r'( id="|#)([mpMC][0-9a-f]{10,})', rf"\g<1>{name}-\g<2>", body)
    for colour, variable in [
        (INK, "currentColor"),
        (GREY, "var(--grey)"),
        (FAINT, "var(--faint)"),
        *((colour, f"var(--s{i})") for i, colour in enumerate(COLOURS)),
    ]:
        body = body.replace(colour, variable)
    named = f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(text)}</desc>'
    labels = f'role="img" aria-labelledby="{name}-t" aria-describedby="{name}-d"'
    return f"<svg {size.group() if size else ''} {labels}>{named}{body}"


def style_variables() -> tuple[dict[str, str], dict[str, str]]:
    """Values of the variables that `to_svg` uses, on light and on dark ground."""
    light, dark = ({f"--s{i}": colour for i, colour in enumerate(colours)} for colours in (COLOURS, DARK))
    light |= {"--grey": GREY, "--faint": FAINT, "--pale": "#c9cdd1"}
    return light, dark | {"--grey": "#9aa0a6", "--faint": "#34383d", "--pale": "#474c52"}
