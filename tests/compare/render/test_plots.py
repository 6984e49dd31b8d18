"""Plots: every point is the record it stands for."""

import copy
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest
from compare_support import result

from voiceface.compare.render import plots
from voiceface.compare.render.plot_data import Plot, Series, plot_data
from voiceface.compare.table import Cell, Group, Row, columns_of
from voiceface.evaluation.cells import stratum_name

COLUMNS = tuple(columns_of("1:2"))
DIRECTIONS = ("v2f", "f2v")
NAMES = [f"model_{i}" for i in range(10)]


def of_runs(runs: dict[str, list[dict[str, Any]]], protocol: str = "exact") -> Group:
    rows = [Row(name, (Cell(0.5), Cell(0.5))) for name in runs] + [Row("chance", (Cell(0.5), Cell(0.5)), kind="chance")]
    results = {name: tuple((f"{name}.json", r) for r in of) for name, of in runs.items()}
    return Group("clips", "measured", protocol, COLUMNS, tuple(rows), results=results)


@pytest.fixture(scope="module")
def runs() -> dict[str, list[dict[str, Any]]]:
    """Ten models, the first of two runs, some with a training curve; the ideal observer is a model's scores."""
    made = {name: [result(name, 0.5 + 0.3 * i, seed=i)] for i, name in enumerate(NAMES)}
    made[NAMES[0]].append(result(NAMES[0], 0.7, seed=77))
    for i in (0, 3):
        made[NAMES[i]][0]["training"] = {"steps": 40, "curve": [[10, 0.5 + i / 20], [20, 0.6], [40, 0.7]]}
    made[NAMES[1]][0]["ideal_observer"] = copy.deepcopy(result("ideal", 0.1)["scores"])
    return made


@pytest.fixture(scope="module")
def group(runs: dict[str, list[dict[str, Any]]]) -> Group:
    return of_runs(runs)


def records(of: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """The one record of each run that has all of these."""
    found = [[r for r in one["scores"] if all(r[k] == v for k, v in wanted.items())] for one in of]
    assert {len(f) for f in found} == {1}, wanted
    return [f[0] for f in found]


def mean(of: list[dict[str, Any]], key: str) -> Any:
    return None if None in [r[key] for r in of] else statistics.fmean(r[key] for r in of)


def by_name(plot: Plot, panel: int) -> dict[str, Series]:
    return {series.name: series for series in plot.panels[panel].series}


def check(series: Series, of: list[dict[str, Any]], wanted: dict[float, dict[str, Any]]) -> None:
    """A series has exactly the points that its runs' records say."""
    there = {}
    for x, what in wanted.items():
        found = records(of, **what)
        if None not in [r["value"] for r in found]:
            there[x] = found
    assert [p.x for p in series.points] == list(there)
    for point in series.points:
        found = there[point.x]
        assert point[1:] == pytest.approx([mean(found, key) for key in ("value", "ci_low", "ci_high")])


def test_many_recall_strata_and_forest_show_the_records(runs: dict[str, list[dict[str, Any]]], group: Group):
    data = plot_data(group)
    assert set(data) == set(plots.PLOTS)
    matching = {"task": "matching", "metric": "accuracy", "protocol": "exact"}
    of_first = runs[NAMES[0]][0]["scores"]
    strata = list(dict.fromkeys(r["stratum"] for r in of_first if r["protocol"] == "exact" and r["n"] == 2))
    assert data["strata_dots"].labels == tuple(map(stratum_name, strata))
    assert "G: gender, N: nationality." in data["strata_dots"].text
    for panel, direction in enumerate(DIRECTIONS):
        lines = {name: by_name(data[name], panel) for name in ("many_curves", "recall_curves", "strata_dots")}
        for drawn in lines.values():
            assert list(drawn) == [*NAMES[:8], "ideal observer", "chance"]
        for name in [*NAMES[:8], "ideal observer"]:
            of = runs[name] if name in runs else [{"scores": runs[NAMES[1]][0]["ideal_observer"]}]
            ns = {n: {**matching, "direction": direction, "stratum": "U", "n": n} for n in range(2, 11)}
            check(lines["many_curves"][name], of, ns)
            one = {**matching, "direction": direction, "n": 2}
            check(lines["strata_dots"][name], of, {x: {**one, "stratum": s} for x, s in enumerate(strata)})
            ks = {k: {"metric": f"R@{k}", "direction": direction, "stratum": "U"} for k in (1, 5, 10, 50, 100)}
            whole = {k: {**what, "protocol": "whole_split"} for k, what in ks.items() if k <= 36}
            found = {
                k: what for k, what in whole.items() if any(r["metric"] == what["metric"] for r in of[0]["scores"])
            }
            check(lines["recall_curves"][name], of, found)
        assert all(p.y == pytest.approx(1 / p.x) for p in lines["many_curves"]["chance"].points)
        chance = {p.x: p.y for p in lines["recall_curves"]["chance"].points}
        for k, value in chance.items():
            (r,) = records(
                [runs[NAMES[2]][0]], metric=f"R@{k:g}", direction=direction, stratum="U", protocol="whole_split"
            )
            assert value == r["chance"]
    for panel, stratum in enumerate("UG"):
        drawn = by_name(data["forest"], panel)
        for words, direction in (("voice → face", "v2f"), ("face → voice", "f2v")):
            assert data["forest"].labels == (*NAMES, "ideal observer")  # all models, not the best alone
            for i, name in enumerate(NAMES):
                found = records(runs[name], **matching, direction=direction, stratum=stratum, n=2)
                assert drawn[words].points[i][:2] == (i, pytest.approx(mean(found, "value")))


def test_roc_and_training_curves_show_what_the_results_hold(runs: dict[str, list[dict[str, Any]]], group: Group):
    data = plot_data(group)
    for panel, stratum in enumerate("UG"):
        drawn = by_name(data["roc_curves"], panel)
        assert list(drawn) == [*NAMES[:8], "chance"]
        for name in NAMES[:8]:
            curves = [r["roc"][stratum] for r in runs[name]]
            assert [p.x for p in drawn[name].points] == pytest.approx([i / 100 for i in range(101)])
            assert [p.y for p in drawn[name].points] == pytest.approx(
                [sum(c) / len(c) for c in zip(*curves, strict=True)]
            )
    trained = by_name(data["training_curves"], 0)
    assert list(trained) == [NAMES[0], NAMES[3]]
    assert [tuple(p[:2]) for p in trained[NAMES[3]].points] == [(10, 0.65), (20, 0.6), (40, 0.7)]
    assert "best 8 by the table's first column are shown, 2 are not" in data["roc_curves"].text


def test_figures_hold_the_points_in_per_cent(group: Group):
    data, figures = plot_data(group), plots.plots_of(group)
    assert list(figures) == list(data)
    for name in ("many_curves", "recall_curves", "training_curves", "roc_curves"):
        scale = 100 if name == "roc_curves" else 1
        assert len(figures[name].axes) == len(data[name].panels)
        for axes, panel in zip(figures[name].axes, data[name].panels, strict=True):
            lines = [[*map(float, line.get_xdata()), *map(float, line.get_ydata())] for line in axes.get_lines()]
            for series in panel.series:
                wanted = [*(scale * p.x for p in series.points), *(100 * p.y for p in series.points)]
                assert wanted in [pytest.approx(line) for line in lines]
    for axes, panel in zip(figures["strata_dots"].axes, data["strata_dots"].panels, strict=True):
        models = [series for series in panel.series if series.name != "chance"]
        for dots, series in zip(axes.get_lines(), models, strict=False):  # the last line is that of chance
            assert list(dots.get_xdata()) == pytest.approx([100 * p.y for p in series.points])
            assert [round(y) for y in dots.get_ydata()] == [p.x for p in series.points]


def test_a_circle_or_a_triangle_stands_for_no_model(group: Group):
    assert not set(plots.MARKERS) & set(plots.ASKS)
    figure = plots.forest(group)
    assert [line.get_marker() for line in figure.axes[0].get_lines()][:2] == ["o", "^"]


def test_all_that_shows_a_model_bears_its_number(group: Group):
    for name, plot in plot_data(group).items():
        svg = ET.fromstring(plots.to_svg(plots.draw(plot), name, "", ""))
        marked: dict[str, list[ET.Element]] = {}
        for element in svg.iter():
            if number := element.get("data-series"):
                assert element.get("class") == ("row" if name == "forest" else "series")
                marked.setdefault(number, []).append(element)
        drawn = [plot.models.index(s.name) for s in plot.panels[0].series if s.name in plot.models]
        assert sorted(map(int, marked)) == (list(range(len(plot.labels))) if name == "forest" else drawn)
        if plot.kind == "lines":
            for number, elements in marked.items():
                words = {text.text for element in elements for text in element.iter() if text.tag.endswith("text")}
                assert words == {plot.models[int(number)]}


def test_each_function_draws_its_plot(group: Group):
    for name in plots.PLOTS:
        titles = [axes.get_title(loc="left") for axes in getattr(plots, name)(group).axes]
        assert titles == [panel.title for panel in plot_data(group)[name].panels]


@pytest.mark.parametrize("name", ["many_curves", "roc_curves", "recall_curves", "training_curves"])
def test_names_of_lines_stand_apart_and_inside(group: Group, name: str):
    figure = getattr(plots, name)(group)
    figure.canvas.draw()
    for axes, panel in zip(figure.axes, plot_data(group)[name].panels, strict=True):
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == len(panel.series)
        middles = sorted((box.y0 + box.y1) / 2 for box in boxes)
        assert min(b - a for a, b in pairwise(middles)) > 0.7 * boxes[0].height
        assert max(box.x1 for box in boxes) < figure.bbox.width
        assert all(axes.bbox.y0 - 20 < middle < axes.bbox.y1 + 20 for middle in middles)


def test_what_has_no_data_is_left_out(runs: dict[str, list[dict[str, Any]]]):
    assert plots.plots_of(Group("t", "published", "p", COLUMNS, (Row("a", (Cell(0.5), Cell(0.5))),))) == {}
    plain = {"a": [{**runs[NAMES[4]][0], "roc": {}}]}
    assert set(plots.plots_of(of_runs(plain))) == {"many_curves", "forest", "recall_curves", "strata_dots"}
    one_way = {"task": "matching", "direction": "v2f", "protocol": "exact"}.items()
    drawn = [{**r, "protocol": "sampled"} for r in runs[NAMES[4]][0]["scores"] if one_way <= r.items()]
    sampled = {"a": [{"scores": drawn}]}
    found = plot_data(of_runs(sampled, "sampled"))
    assert set(found) == {"many_curves", "forest", "strata_dots"}
    assert [panel.title for panel in found["many_curves"].panels] == ["voice → face"]


def test_svg_is_well_formed_named_and_takes_its_colours_from_the_page(runs: dict[str, list[dict[str, Any]]]):
    group = of_runs({"$a<b>&_^{x}$": runs[NAMES[3]]})
    figures = plots.plots_of(group)
    svgs = {name: plots.to_svg(figure, name, "<title>", 'a "text"') for name, figure in figures.items()}
    ids: list[str] = []
    for name, svg in svgs.items():
        root = ET.fromstring(svg)
        assert (root.tag, root.get("role")) == ("svg", "img")
        assert (root[0].text, root[1].text) == ("<title>", 'a "text"')
        assert root.get("aria-labelledby") == root[0].get("id")
        assert root.get("viewBox")
        assert "currentColor" in svg
        assert "var(--s0)" in svg
        for colour in (*plots.COLOURS, plots.INK, plots.GREY, plots.FAINT, "#000000"):
            assert colour not in svg
        own = [e.get("id", "") for e in root.iter() if e.get("id")]
        assert {word for word in svg.replace(")", '"').split("#")[1:] if word.split('"')[0] not in own} == set()
        ids += own
        if name != "forest":
            assert any("$a<b>&_^{x}$" in (e.text or "") for e in root.iter())
    assert len(ids) == len(set(ids))
    assert svgs == {
        name: plots.to_svg(plots.draw(p), name, "<title>", 'a "text"') for name, p in plot_data(group).items()
    }


def test_matplotlib_is_imported_only_to_draw():
    light = "assert not {'matplotlib', 'torch'} & {*sys.modules}"
    code = f"import sys, voiceface.compare.render.plots, voiceface.compare.render.page; {light}"
    subprocess.run([sys.executable, "-c", code], check=True)
