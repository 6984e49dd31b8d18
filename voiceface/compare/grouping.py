"""Grouping of result files: what may be ranked together, what is best, and by how much."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from voiceface.compare.clip_names import keys_differ
from voiceface.compare.reading import Found
from voiceface.compare.scored import EXACT, SAMPLED, TASKS, WITHIN, Line, Scored, about_model, column_of
from voiceface.compare.significance import paired_tests
from voiceface.compare.table import DRAWN, EMPTY, Cell, Column, Comparison, Group, Row, columns_of
from voiceface.evaluation.cells import DIRECTIONS

DEFAULT = (
    *("AUC", "AUC/G", "AUC/N", "AUC/A", "AUC/GNA"),
    *(f"1:2/{stratum}/{d}" for d in ("v2f", "f2v") for stratum in ("U", "G", "N", "GN")),
    *("1:10/v2f", "1:10/f2v", "mAP/v2f", "R@10/v2f", "mAP/f2v", "R@10/f2v"),
)
ABOUT_PEOPLE = ("identity", "jackknife")  # methods of intervals

SAMPLED_NOTE = (
    "These models only compare candidates with each other: they are scored on seeded trials, where the others of these "
    "clips are scored on every one, so the two are not ranked together."
)
ONE_RUN = "One training run each: the test is about other people, not about training anew, which moves scores too."


def compare_results(
    found: Sequence[Found],
    tasks: Sequence[str] | None = None,
    protocols: Sequence[str] = (EXACT, SAMPLED),
    level: float = 0.95,
) -> Comparison:
    """Put results that may be ranked together into tables.

    A table holds results of the same clips (by hash) under the same protocol. In each column the best value is marked,
    and every other one tested against it on the same people (`voiceface.compare.significance`). Results that differ in
    the seed of their training alone become one row, their mean.

    Args:
        found: What `voiceface.compare.reading.find_results` gives.
        tasks: Columns, as `--tasks` takes them; None: those of the literature.
        protocols: `exact`, `sampled`, or names of samplings and trial lists, as the records have them.
        level: 1 minus the level of the tests, in (0, 1).

    Returns:
        The tables, those with most models first.

    Raises:
        UserError: A task is none.
    """
    asked = None if tasks is None else [column for word in tasks for column in columns_of(word)]
    by_clips: dict[tuple[str, int, str], list[Scored]] = {}
    for protocol in protocols:
        for one in found:
            run = Scored(one, protocol)
            if run.columns:
                data = one.results["data"]  # the same clips may be said to be of more or fewer people
                by_clips.setdefault((data["clips_sha256"], data["identities"], protocol), []).append(run)
    groups = [_group(runs, protocol, asked, level) for (*_, protocol), runs in by_clips.items()]
    groups.sort(key=lambda group: (group.protocol == SAMPLED, -len(group.rows)))
    return Comparison(tuple(groups), notes=_why_apart(groups))


def _group(runs: Sequence[Scored], protocol: str, asked: Sequence[Column] | None, level: float) -> Group:
    lines = _lines(runs)
    there = {column for run in runs for column in run.columns}
    if asked is not None:
        wanted = list(dict.fromkeys(asked))
    elif protocol in (EXACT, SAMPLED):
        wanted = [column for word in DEFAULT for column in columns_of(word)]
    else:
        wanted = list(dict.fromkeys(column for run in runs for column in run.columns))
    columns = tuple(column for column in wanted if column in there)
    rows = [_row(line, columns) for line in lines]
    rows = _marked(rows, lines, columns, level)
    rows = [*_ordered(rows, columns), *_measures(runs, columns, protocol)]
    # Embeddings of the clips of a corpus do not say its name.
    data = next((run for run in runs if run.results["data"]["corpus"]), runs[0]).results["data"]
    shown = [run.record(c) for run in runs for c in run.columns if c in columns]
    levels = {record["ci_level"] for record in shown} - {None}
    notes = [SAMPLED_NOTE] if protocol == SAMPLED else []
    if len(levels) > 1:
        notes.append(f"The intervals are of different levels: {', '.join(f'{100 * x:g} %' for x in sorted(levels))}.")
    if len(lines) > 1 and any(run.results["model"]["training_data"] for run in runs):
        notes += [ONE_RUN] if all(len(line.runs) == 1 for line in lines) else []
    if not {record["ci_method"] for record in shown} <= {*ABOUT_PEOPLE, None}:
        notes.append(DRAWN)
    if any(line.name != line.runs[0].name for line in lines):
        notes.append("In brackets after a name: the folder or file of the result, where several have one name.")
    absent = [column.name for column in wanted if column not in there] if asked is not None else []
    if absent:
        notes.append(f"No model was scored in {', '.join(absent)}.")
    if data["synthetic"]:
        notes.append("The corpus is synthetic: these numbers say nothing about real people.")
    return Group(
        _title(data),
        "measured",
        protocol,
        columns,
        tuple(rows),
        {key: value for key, value in data.items() if key != "leaking_identities"} | {"test_level": level},
        tuple(notes),
        max(levels, default=level),
        {line.name: tuple((str(run.found.path), run.results) for run in line.runs) for line in lines},
    )


def _title(data: Mapping[str, Any]) -> str:
    size = f"{data['identities']:,} people, {data['voices']:,} voices, {data['faces']:,} faces"
    return f"{data['corpus']}, {data['split']} split: {size}" if data["corpus"] else f"clips of no named corpus: {size}"


def _lines(runs: Sequence[Scored]) -> list[Line]:
    """Rows of runs: those that differ in their seed alone share one; names are made different."""
    alike: dict[str, list[Scored]] = {}
    for run in runs:
        alike.setdefault(run.settings, []).append(run)
    merged: list[tuple[Scored, ...]] = []
    for same in alike.values():
        seeds = [run.seed for run in same]
        together = None not in seeds and len(set(seeds)) == len(seeds)
        merged += [tuple(same)] if together else [(run,) for run in same]
    names = [rows[0].name for rows in merged]
    for label in (_folder, lambda run: str(run.found.path)):
        often = Counter(names)
        names = [
            f"{rows[0].name} ({label(rows[0])})" if often[name] > 1 else name
            for name, rows in zip(names, merged, strict=True)
        ]
    return [Line(name, rows) for name, rows in zip(names, merged, strict=True)]


def _folder(run: Scored) -> str:
    """The name that its user gave it: of its file, or of its run folder."""
    path = Path(run.found.path)
    if path.name.split(".")[0] != "results":
        return path.name.split(".")[0]
    folder = path.resolve().parent
    return folder.parent.name if folder.name.startswith("seed-") or folder.name == "checkpoint" else folder.name


def _row(line: Line, columns: Sequence[Column]) -> Row:
    first = line.runs[0].results
    data = first["data"]
    notes = []
    leaking = max(run.results["data"].get("leaking_identities") or 0 for run in line.runs)
    if leaking:
        notes.append(f"trained on {leaking} of these {data['identities']} people: not ranked")
    trained_for = first["model"].get("directions") or []
    if len(trained_for) == 1:
        notes.append(f"trained for {DIRECTIONS[trained_for[0]]} alone")
    if data["skipped"]:
        notes.append(f"{data['skipped']} damaged clips were left out")
    partial = [c.name for c in columns if len({run.has(c) for run in line.runs}) > 1]
    notes += [f"not every run was scored in {', '.join(partial)}"] if partial else []
    notes += dict.fromkeys(f"not tested against others: {why}" for run in line.runs if (why := run.found.unpaired))
    return Row(
        line.name,
        tuple(line.cell(column) for column in columns),
        notes=tuple(notes),
        ranked=not leaking,
        **about_model([(run.found.path, run.results) for run in line.runs]),
    )


def _marked(rows: Sequence[Row], lines: Sequence[Line], columns: Sequence[Column], level: float) -> list[Row]:
    """Mark the best of each column, and which differences to it are not significant."""
    cells = [list(row.cells) for row in rows]
    for place, column in enumerate(columns):
        ranked = [i for i, row in enumerate(rows) if row.ranked and row.cells[place].value is not None]
        if len(ranked) < 2:
            continue
        values = {i: float(rows[i].cells[place].value or 0.0) for i in ranked}
        best = (min if column.lower_is_better else max)(ranked, key=values.__getitem__)
        effects = [lines[i].effects(column) if lines[i].same_sample(lines[best], column) else None for i in ranked]
        tests = paired_tests([values[i] for i in ranked], effects, ranked.index(best), level)
        for i, test in zip(ranked, tests, strict=True):
            cell = replace(cells[i][place], best=values[i] == values[best])
            if test is not None:
                difference, p_value = test
                cell = replace(
                    cell,
                    same=p_value >= 1.0 - level,
                    p_value=p_value,
                    difference=(difference.value, difference.low, difference.high),
                )
            cells[i][place] = cell
    return [replace(row, cells=tuple(own)) for row, own in zip(rows, cells, strict=True)]


def _ordered(rows: Iterable[Row], columns: Sequence[Column]) -> list[Row]:
    """By the first column, best first; rows that lack it last."""
    sign = -1.0 if columns and not columns[0].lower_is_better else 1.0

    def place(row: Row) -> tuple[bool, float, str]:
        value = row.cells[0].value if row.cells else None
        return value is None, sign * (value or 0.0), row.name

    return sorted(rows, key=place)


def _measures(runs: Sequence[Scored], columns: Sequence[Column], protocol: str) -> list[Row]:
    """What a model that knows nothing scores, and the best that anything can."""
    chances = []
    for column in columns:
        known = (run.record(column)["chance"] for run in runs if run.has(column))
        chances.append(Cell(next((value for value in known if value is not None), None)))
    rows = [Row("chance", tuple(chances), kind="chance", ranked=False)]
    best = next((run.results["ideal_observer"] for run in runs if run.results.get("ideal_observer")), None)
    if best is not None:
        # Trials that are drawn estimate what the exact scores are; any other protocol asks for something else.
        same = WITHIN.get(EXACT if protocol == SAMPLED else protocol, (protocol,))
        ideal = {column_of(r): r for r in reversed(best) if r["protocol"] in same and r["task"] in TASKS}
        cells = [
            Cell(ideal[c]["value"], ideal[c]["ci_low"], ideal[c]["ci_high"]) if c in ideal else EMPTY for c in columns
        ]
        if any(cell.value is not None for cell in cells):
            rows.append(Row("ideal observer", tuple(cells), kind="ideal", ranked=False))
    return rows


def _why_apart(groups: Sequence[Group]) -> tuple[str, ...]:
    """Why there are several tables."""
    if len({(group.data["clips_sha256"], group.data["identities"]) for group in groups}) < 2:
        return ()
    pairs = ((one, other) for i, one in enumerate(groups) for other in groups[:i])
    keys = next((line for one, other in pairs if (line := keys_differ(one.results, other.results))), "")
    return (
        *([keys] if keys else []),
        "Tables of different clips or people are not ranked with each other: a split with other people, or with more "
        "of them in its galleries, is easier or harder for every model.",
    )
