"""The leaderboard as one page of HTML that needs nothing else: no network, no other file."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any

from voiceface.compare.render.blocks import SAME, UNTESTED, sign_of
from voiceface.compare.render.legend import about, left_out_lines, legend
from voiceface.compare.render.pictures import SIDE, Clips, clips_of, embeddings_picture, shown_voice, shrunk
from voiceface.compare.render.plot_data import CHANCE, LISTED, Plot, models_of, plot_data
from voiceface.compare.render.plot_data import SHOWN as MODELS
from voiceface.compare.render.plots import draw, style_variables, to_svg
from voiceface.compare.table import Cell, Column, Comparison, Group, Row
from voiceface.evaluation.cells import cell as written
from voiceface.evaluation.cells import percent, plain
from voiceface.utils.version import __version__

TITLE = "Voice-face association: leaderboard"
COLUMNS = 12  # of a plot's numbers
LONG = 40  # letters of a text that has a wide column
WORDS = {"v2f": "Whose voice is this?", "f2v": "Whose face is this?"}
FOUND = {"v2f": "face", "f2v": "voice"}
SAMPLED = " on seeded trials"
KINDS = {"measured": "measured", "published": "published", "study": "measured, beside the paper"}
ARROW_WORDS = ("v→f: a voice picks among faces; f→v: a face picks among voices.",)


def to_html(comparison: Comparison, clips: Clips | None = None) -> str:
    """Write a leaderboard as a page: ranked examples, tables that sort and filter, plots.

    Args:
        comparison: The leaderboard.
        clips: From a clip's key to its bytes (a picture or a sound), or None where it may not be shown; asked for
            groups of synthetic clips alone. None: the built-in corpus' clips where they are at hand (`clips_of`).

    Returns:
        HTML, light and dark as its reader's system is.
    """
    from jinja2 import Environment
    from markupsafe import Markup

    here = files("voiceface.compare.render")
    page, style, script = (here.joinpath(f"page.{end}").read_text("utf-8") for end in ("html", "css", "js"))
    light, dark = ("".join(f"{name}:{value};" for name, value in part.items()) for part in style_variables())
    style += f":root{{{light}}}@media (prefers-color-scheme: dark){{:root{{{dark}}}}}"
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(page)
    return template.render(
        signs={SAME: "not significantly different from the best", UNTESTED: "not tested against the best"},
        title=TITLE,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(style),
        groups=[_group(group, f"table-{i + 1}", clips) for i, group in enumerate(comparison.groups)],
        notes=comparison.notes,
        left_out=left_out_lines(comparison),
        legend=[*legend(comparison.groups, "bold"), *ARROW_WORDS],
        version=__version__,
    )


def _group(group: Group, name: str, clips: Clips | None) -> dict[str, Any]:
    said_of_rows = [note for row in group.rows for note in row.notes]
    said_of_cells = [cell.mark for row in group.rows for cell in row.cells if cell.mark]
    footnotes = list(dict.fromkeys(said_of_rows + said_of_cells))
    extra = _extra_columns(group)
    models = [row for row in group.rows if row.kind == "model"]
    pinned = [row for row in group.rows if row.kind != "model"]
    shown = Shown(name, clips or clips_of(group) if group.data.get("synthetic") else None)
    places = {model: i for i, model in enumerate(models_of(group)[:LISTED])}
    examples = _examples(group, shown, places)
    said = about(group)
    how = KINDS[group.kind] + (SAMPLED if group.protocol == "sampled" else "")
    return {
        "id": name,
        "title": group.title,
        "about": said,
        "size": f"{len(models)} {'row' if len(models) == 1 else 'rows'}, {how}",
        "caption": ", ".join(filter(None, (group.title, said))),
        "blocks": list(dict.fromkeys(column.what for column in group.columns)),
        "heads": [
            {"what": "model", "name": "model", "kind": "name word", "first": "ascending"},
            *(_head(column, i == 0 and _is_sorted(models, column)) for i, column in enumerate(group.columns)),
            *({"what": what, "name": what, "kind": EXTRA[what][0], "first": "ascending"} for what in extra),
        ],
        "bodies": [
            [_row(row, group, extra, footnotes) | {"series": places.get(row.name)} for row in part]
            for part in (models, pinned)
            if part
        ],
        "highlights": list(places),
        "signs": any(cell.same is not None for row in group.rows for cell in row.cells),
        "footnotes": footnotes,
        "notes": group.notes,
        "plots": [_figure(plot, f"{name}-{key}") for key, plot in plot_data(group).items()],
        "pictures": _pictures(group, models),
        "examples": examples,
        "sounds": shown.sounds,
        "clips_note": "" if shown.clips else "Names of clips stand for those that may not be shown or are not at hand.",
    }


def _head(column: Column, first: bool) -> dict[str, Any]:
    what, arrow, stratum = column.words
    anybody = column.stratum == "U" and column.task != "retrieval"
    more = " ".join(filter(None, (arrow, "anybody" if anybody else stratum)))
    name = " ".join(filter(None, (what, more)))
    order = "ascending" if column.lower_is_better else "descending"
    head = {"what": what, "more": more, "name": name, "kind": "number", "first": order}
    return head | {"block": column.what, "sorted": first}


def _is_sorted(models: Sequence[Row], first: Column) -> bool:
    """Whether rows stand in the order of their first column, best first and those without a value last."""
    values = [row.cells[0].value for row in models]
    known = [value for value in values if value is not None]
    return bool(known) and values[: len(known)] == sorted(known, reverse=not first.lower_is_better)


def _extra_columns(group: Group) -> list[str]:
    """The heads of `EXTRA` of which some row says anything; of the runs, more than one."""
    told = {what: {value(row) for row in group.rows} - {None, ""} for what, (_, value, _) in EXTRA.items()}
    told["runs"].discard(1)
    if group.kind == "measured":
        del told["source"]
    return [what for what, values in told.items() if values]


def _row(row: Row, group: Group, extra: Sequence[str], footnotes: Sequence[str]) -> dict[str, Any]:
    cells: list[dict[str, Any]] = [{"value": row.name, "sort": row.name}]
    cells += [
        _cell(column, cell, group.level, footnotes) | {"sign": sign_of(row, number, group)}
        for number, (column, cell) in enumerate(zip(group.columns, row.cells, strict=True))
    ]
    for kind, value_of, shown in map(EXTRA.__getitem__, extra):
        value = value_of(row)
        text = "" if value is None else shown(value)
        long = " long" if len(text) > LONG else ""
        cells.append({"value": text, "sort": "" if value is None else value, "kind": kind + long})
    words = " ".join((row.name, row.recipe, row.training_data, row.source if group.kind != "measured" else ""))
    notes = [footnotes.index(note) + 1 for note in row.notes]
    return {"words": words.lower(), "cells": cells, "footnotes": notes}


def _cell(column: Column, cell: Cell, level: float, footnotes: Sequence[str]) -> dict[str, Any]:
    value = {"metric": column.metric, "value": cell.value, "ci_low": cell.low, "ci_high": cell.high}
    text, _, interval = written(value).partition(" ")
    return {
        "value": "-" if cell.value is None else text,
        "interval": interval,
        "sort": "" if cell.value is None else f"{cell.value:.6g}",
        "kind": "number",
        "block": column.what,
        "best": cell.best,
        "paper": "" if cell.paper is None else (plain if column.metric == "median_rank" else percent)(cell.paper),
        "footnotes": [footnotes.index(cell.mark) + 1] if cell.mark else [],
        "title": _said(column, cell, level),
    }


def _said(column: Column, cell: Cell, level: float) -> str:
    """A cell in words, for whoever rests on it."""
    if cell.value is None or column.metric == "median_rank":
        return ""
    parts = []
    if cell.low is not None and cell.high is not None:
        parts.append(f"{100 * level:g} % interval {percent(cell.low)} to {percent(cell.high)}")
    if cell.spread is not None:
        parts.append(f"standard deviation over runs {100 * cell.spread:.2f}")
    if cell.difference is not None and not cell.best:
        value, low, high = (100 * d for d in cell.difference)
        parts.append(f"{value:+.1f} ({low:+.1f} to {high:+.1f}) from the best")
    if cell.p_value is not None and not cell.best:
        same = "not significantly different from the best" if cell.same else "significantly different from the best"
        parts.append(f"{same} (p {'< 0.001' if cell.p_value < 0.001 else f'= {cell.p_value:.3f}'})")
    return "; ".join(parts)


def _size(parameters: int) -> str:
    return f"{parameters / 1e6:,.1f} M" if parameters >= 1_000_000 else f"{parameters / 1e3:,.0f} k"


# What is said of a row beside its scores, by the head of its column: kind of column, value to sort by, and its text.
EXTRA: dict[str, tuple[str, Callable[[Row], Any], Callable[[Any], str]]] = {
    "parameters": ("number", lambda row: row.parameters, _size),
    "steps": ("number", lambda row: row.steps, plain),
    "runs": ("number", lambda row: row.seeds if row.kind == "model" else None, str),
    "trained on": ("word", lambda row: row.training_data, str),
    "source": ("word", lambda row: row.source, str),
}


def _figure(plot: Plot, name: str) -> dict[str, Any]:
    from markupsafe import Markup

    svg = to_svg(draw(plot), name, plot.title, f"{plot.text} The numbers stand in a table below.")
    return {
        "title": plot.title,
        "text": plot.text,
        "svg": Markup(svg),
        "tables": _numbers(plot),
        "x_name": "" if plot.labels else plot.x_name,
        "y_name": plot.y_name,
    }


def _numbers(plot: Plot) -> list[dict[str, Any]]:
    """The points of a plot: a table per panel, a row per series; of the forest plot a row per model."""
    tables = []
    for panel in plot.panels:
        series = [one for one in panel.series if not (plot.labels and one.name == CHANCE)]
        found = {one.name: {point.x: point for point in one.points} for one in series}
        places = plot.read_at or sorted({x for points in found.values() for x in points})
        step = -(-len(places) // COLUMNS)
        places = places if plot.labels else places[::step]
        heads = [plot.labels[int(x)] if plot.labels else f"{100 * x:g}" if plot.read_at else f"{x:g}" for x in places]
        rows = [(model, [_point(points.get(x)) for x in places]) for model, points in found.items()]
        if plot.read_at:
            rows = [row for row in rows if row[0] != CHANCE]
        if plot.kind == "forest":
            columns = list(zip(*(values for _, values in rows), strict=True))
            heads, rows = [name for name, _ in rows], [(h, list(c)) for h, c in zip(heads, columns, strict=True)]
        tables.append({"title": panel.title, "heads": heads, "rows": rows})
    return tables


def _point(point: Any) -> str:
    if point is None:
        return "-"
    return written({"metric": "accuracy", "value": point.y, "ci_low": point.low, "ci_high": point.high})


def _pictures(group: Group, models: Sequence[Row]) -> list[tuple[str, str]]:
    tested = [(row.name, runs[0][0]) for row in models if (runs := group.results.get(row.name))]
    found = ((name, picture) for name, path in tested if (picture := embeddings_picture(path)))
    return [(name, _data(picture, "image/webp")) for name, picture in islice(found, MODELS)]


class Shown:
    """Clips of a group as the page shows them: faces as pictures, voices as spectrograms with sounds to play.

    Attributes:
        sounds: Sounds of the clips that were asked for, by ids of the page.
    """

    def __init__(self, name: str, clips: Clips | None) -> None:
        self.name, self.clips = name, clips
        self.sounds: dict[str, str] = {}
        self.clip = cache(self._clip)

    def _clip(self, key: str, voice: bool) -> dict[str, str]:
        """Its picture and the id of its sound; empty: none."""
        data = self.clips(key) if self.clips else None
        sound, found = b"", {"picture": "", "sound": ""}
        if data:
            with suppress(OSError):
                picture, sound = shown_voice(data) if voice else (shrunk(data, SIDE, "WEBP", 75), b"")
                found["picture"] = _data(picture, "image/webp")
        if sound:
            found["sound"] = f"{self.name}-sound-{len(self.sounds) + 1}"
            self.sounds[found["sound"]] = _data(sound, "audio/mpeg")
        return found


def _examples(group: Group, shown: Shown, places: Mapping[str, int]) -> list[dict[str, Any]]:
    """By query what the first models put first; the first query of each direction comes first."""
    queries: dict[tuple[str, str], dict[str, Any]] = {}
    runs = {row.name: group.results.get(row.name, ()) for row in group.rows}
    found = {model: own[0][1].get("examples") or [] for model, own in runs.items() if own}
    for model in [model for model, examples in found.items() if examples][:MODELS]:
        for example in found[model]:
            key, direction = example["query"], example["direction"]
            asks = direction == "v2f"  # a voice
            query = queries.setdefault(
                (direction, key),
                {
                    "words": WORDS[direction],
                    "key": key,
                    "candidates": f"{example['candidates']:,} {'faces' if asks else 'voices'}",
                    "first": not any(d == direction for d, _ in queries),
                    "places": [*range(1, len(example["best"]) + 1), "first right one"],
                    "rows": [],
                    **shown.clip(key, asks),
                },
            )
            best = [*example["best"], {"key": example["right"], "same": True, "similarity": None}]
            whose = {True: "right", False: "another"}
            candidates = [
                {**one, **shown.clip(one["key"], not asks), "alt": f"{whose[one['same']]} person's {FOUND[direction]}"}
                for one in best
            ]
            rank = plain(example["rank"])
            query["rows"].append({"model": model, "series": places.get(model), "rank": rank, "best": candidates})
    return sorted(queries.values(), key=lambda query: not query["first"])


def _data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
