"""The data of a leaderboard's plots: models, scores and intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, NamedTuple

from voiceface.compare.table import Group
from voiceface.evaluation.cells import DIRECTIONS, Scores, letters, stratum_name

SHOWN = 8  # models that lines can be told apart of
LISTED = 40  # models of the plot that has a line of text for each
RECALLS = (1, 5, 10, 50, 100)
FALSE_ALARMS = tuple(i / 100 for i in range(101))
READ_AT = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
CHANCE, IDEAL = "chance", "ideal observer"


class Point(NamedTuple):
    """A score with its interval; fractions."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points of one model, or of `chance` or the `ideal observer`; of a forest plot, of one direction."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """Series in one pair of axes."""

    title: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        title: What is shown.
        text: How to read it, in a sentence or two.
        kind: `lines`; or `forest` and `dots`, which have a row for each label: their points have the score as `y` and
            the number of their row as `x`.
        x_name: Name of the horizontal axis.
        y_name: Name of the vertical axis.
        panels: Pairs of axes that share their names.
        labels: What the whole numbers on the x axis stand for; empty: themselves.
        read_at: Values of x to write out in a table; empty: all.
        models: Names of the models in it, in the order of their styles.
        log: Which axes are logarithmic.
    """

    title: str
    text: str
    kind: Literal["lines", "dots", "forest"]
    x_name: str
    y_name: str
    panels: tuple[Panel, ...]
    labels: tuple[str, ...] = ()
    read_at: tuple[float, ...] = ()
    models: tuple[str, ...] = ()
    log: Literal["", "x", "xy"] = ""


def models_of(group: Group) -> list[str]:
    """The models of a group whose results are at hand, in the order of its rows."""
    return [row.name for row in group.rows if row.kind == "model" and group.results.get(row.name)]


class Results:
    """The results of a group's rows: of several runs the mean score, with the mean ends of its intervals."""

    def __init__(self, group: Group) -> None:
        with_results = models_of(group)
        self.listed, self.shown = with_results[:LISTED], with_results[:SHOWN]
        self.left_out = len(with_results) - len(self.shown)
        self.protocol = group.protocol
        self.of = {name: [results for _, results in group.results[name]] for name in self.listed}
        self._scores = {name: [Scores(results["scores"]) for results in self.of[name]] for name in self.listed}
        every = [results.get("ideal_observer") or [] for runs in group.results.values() for _, results in runs]
        ideal: list[Mapping[str, Any]] = next(filter(None, every), [])
        self.ideal = [IDEAL] if ideal and self.protocol in ("exact", "sampled") else []
        self._scores[IDEAL] = [Scores(ideal)]

    def strata(self) -> list[str]:
        """Strata in which models were matched, in the order of the first one's."""
        found = [s for n in self.shown for s in self._scores[n][0].different("stratum", protocol=self.protocol, n=2)]
        return list(dict.fromkeys(found))

    def numbers(self) -> list[int]:
        """The N of 1:N."""
        ns = {
            n
            for name in self.shown
            for n in self._scores[name][0].different("n", task="matching", protocol=self.protocol, stratum="U")
        }
        return sorted(ns)

    def matching(self, name: str, x: float, direction: str, stratum: str = "U", n: int = 2) -> Point | None:
        """1:N accuracy at a place x."""
        exact = "exact" if name == IDEAL else self.protocol
        return self._point(name, x, ("matching", "accuracy", direction, stratum, exact, n))

    def recall(self, name: str, k: int, direction: str) -> Point | None:
        """R@K at x = K."""
        protocol = "whole_split" if self.protocol == "exact" else self.protocol
        return self._point(name, k, ("retrieval", f"R@{k}", direction, "U", protocol))

    def chance_of(self, metric: str, direction: str, n: int = 0) -> float | None:
        """What a model that knows nothing scores, by the first result that says so."""
        for name in self.shown:
            for record in self._scores[name][0].records:
                same = (record["metric"], record["direction"], record["stratum"]) == (metric, direction, "U")
                if same and record["chance"] is not None and (not n or record["n"] == n):
                    return float(record["chance"])
        return None

    def _point(self, name: str, x: float, wanted: tuple[Any, ...]) -> Point | None:
        records = [scores.find(*wanted) for scores in self._scores[name]]
        known = [r for r in records if r is not None and r["value"] is not None]
        if not known or len(known) < len(records):
            return None
        ends = [[r[end] for r in known] for end in ("ci_low", "ci_high")]
        low, high = (None if None in end else fmean(end) for end in ends)
        return Point(x, fmean(r["value"] for r in known), low, high)

    def chosen(self, what: str = "") -> str:
        """Which models are shown, where not all are."""
        if not self.left_out:
            return what
        return f"{what} The best {len(self.shown)} by the table's first column are shown, {self.left_out} are not."


def many(r: Results) -> Plot:
    """1:N accuracy by N, both directions."""
    ns = r.numbers()
    guess = [Point(n, 1 / n) for n in ns]
    panels = _both_ways(r, lambda m, d: [r.matching(m, n, d, n=n) for n in ns], lambda _: guess)
    text = r.chosen("Share of trials in which the right one of N candidates is chosen; bands are the intervals.")
    return _plot("1:N matching", text, "lines", "candidates N", "accuracy, %", panels, r, log="xy")


def recall(r: Results) -> Plot:
    """R@K by K, both directions."""

    def guess(direction: str) -> list[Point | None]:
        chances = [r.chance_of(f"R@{k}", direction) for k in RECALLS]
        return [None if y is None else Point(k, y) for k, y in zip(RECALLS, chances, strict=True)]

    panels = _both_ways(r, lambda m, d: [r.recall(m, k, d) for k in RECALLS], guess)
    text = r.chosen("Share of queries that find the right person among the first K of the whole split.")
    return _plot("Recall", text, "lines", "first K", "R@K, %", panels, r, log="x")


def roc(r: Results) -> Plot:
    """ROC curves, of anybody and of pairs of one gender."""
    panels = []
    for stratum in ("U", "G"):
        series = []
        for model in r.shown if r.protocol == "exact" else ():
            curves = [results.get("roc", {}).get(stratum) for results in r.of[model]]
            if all(curves):
                hits = [fmean(column) for column in zip(*curves, strict=True)]
                series.append(Series(model, tuple(map(Point, FALSE_ALARMS, hits))))
        series.append(Series(CHANCE, (Point(0, 0), Point(1, 1))))
        panels.append(_panel(f"pairs of {stratum_name(stratum).replace('same', 'the same')}", series))
    text = r.chosen("Share of people's own voice-face pairs that are accepted, by the share of other pairs that are.")
    return _plot("ROC curves", text, "lines", "false alarms, %", "hits, %", panels, r, read_at=READ_AT)


def training(r: Results) -> Plot:
    """Validation accuracy by training step."""
    series = []
    for model in r.shown:
        for results in r.of[model][:1]:
            curve = (results.get("training") or {}).get("curve") or []
            series.append(_series(model, [Point(step, value) for step, value in curve]))
    text = r.chosen("1:2 accuracy in validation, of the directions that are trained; of several runs the first.")
    return _plot("Training", text, "lines", "training step", "accuracy, %", [_panel("", series)], r)


def strata(r: Results) -> Plot:
    """1:2 accuracy among people alike."""
    names = r.strata()
    guess = [Point(0, 0.5), Point(len(names) - 1, 0.5)]
    panels = _both_ways(r, lambda m, d: [r.matching(m, x, d, s) for x, s in enumerate(names)], lambda _: guess)
    text = "1:2 accuracy where candidates are alike, with intervals; within a row in the order of the legend."
    text = r.chosen(f"{text} {words}." if (words := letters(names)) else text)
    labels = tuple(map(stratum_name, names))
    return _plot("Strata", text, "dots", "", "accuracy, %", panels, r, labels=labels)


def forest(r: Results) -> Plot:
    """1:2 accuracy with its interval of every model."""
    names = [*r.listed, *r.ideal]
    panels = []
    for stratum in ("U", "G"):
        found = {
            words: [r.matching(name, i, direction, stratum) for i, name in enumerate(names)]
            for direction, words in DIRECTIONS.items()
        }
        series = [_series(words, points) for words, points in found.items()]
        panels.append(_panel(stratum_name(stratum), [*series, Series(CHANCE, (Point(0, 0.5),))]))
    text = "1:2 accuracy with its interval over people. Whether two models differ is tested on the same people, so it "
    text += "is not seen in whether these intervals overlap; the table's marks say it."
    return _plot("1:2 intervals", text, "forest", "", "accuracy, %", panels, r, labels=tuple(names))


PLOTS: Mapping[str, Callable[[Results], Plot]] = {
    "many_curves": many,
    "roc_curves": roc,
    "recall_curves": recall,
    "forest": forest,
    "strata_dots": strata,
    "training_curves": training,
}


def plot_data(group: Group) -> dict[str, Plot]:
    """What a group's plots show, by the names of `voiceface.compare.render.plots`; those without data are left out."""
    results = Results(group)
    drawn = {name: make(results) for name, make in PLOTS.items()} if results.shown else {}
    return {name: plot for name, plot in drawn.items() if plot.panels}


def _series(name: str, points: Sequence[Point | None]) -> Series:
    return Series(name, tuple(point for point in points if point is not None))


def _both_ways(
    r: Results, score: Callable[[str, str], Sequence[Point | None]], guess: Callable[[str], Sequence[Point | None]]
) -> list[Panel]:
    """A panel for each direction: `score` gives the points of a model in it, `guess` those of chance."""
    return [
        _panel(words, [*(_series(m, score(m, way)) for m in (*r.shown, *r.ideal)), _series(CHANCE, guess(way))])
        for way, words in DIRECTIONS.items()
    ]


def _panel(title: str, series: list[Series]) -> Panel:
    return Panel(title, tuple(one for one in series if one.points))


def _plot(title: str, text: str, kind: Any, x: str, y: str, panels: list[Panel], r: Results, **more: Any) -> Plot:
    """Leave out panels in which no model is."""
    there = tuple(p for p in panels if {one.name for one in p.series} - {CHANCE, IDEAL})
    return Plot(title, text, kind, x, y, there, models=tuple(r.shown), **more)
