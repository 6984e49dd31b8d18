"""The tables of a study: our scores in the rows and columns of the paper's, with the paper's values beside them."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from voiceface.compare.plans import Plan
from voiceface.compare.published import published_row
from voiceface.compare.study import Line, Study, StudyTable, results_of, stands_for
from voiceface.compare.study_scores import ANALYSIS, SCORES
from voiceface.compare.table import EMPTY, Cell, Column, Comparison, Group, Row
from voiceface.errors import UserError
from voiceface.results import read_results
from voiceface.words import expand

Record = Mapping[str, Any]

NOT_TRAINED = "not trained"
SYNTHETIC = "The corpus is synthetic: no number of ours is one about people, and none is to be ranked with the paper's."
SEEDS = "Means of {n} trainings; σ is their spread."


@dataclass(frozen=True)
class Scored:
    """All scores of one training.

    Attributes:
        path: Its result file.
        results: The content.
        records: Its scores and those made for the study.
        absent: Why a protocol has no scores, by protocol and direction.
        probes: Of `voiceface analyze`.
    """

    path: Path
    results: Mapping[str, Any]
    records: Sequence[Record]
    absent: Mapping[tuple[str, str], str] = field(default_factory=dict)
    probes: Sequence[Record] = ()


def read_scored(path: Path) -> Scored:
    """Read a run's result, and beside it the scores and the analysis that a study made."""
    results = read_results(path)
    records, absent, probes = list(results["scores"]), {}, []
    if (path.parent / SCORES).exists():
        scored = read_results(path.parent / SCORES)
        if scored["model"]["checkpoint"] == results["model"]["checkpoint"]:
            records = [*scored["scores"], *records]
            absent = {(one["protocol"], one["direction"]): one["reason"] for one in scored["absent"]}
    if (path.parent / ANALYSIS / "analysis.json").exists():
        probes = json.loads((path.parent / ANALYSIS / "analysis.json").read_text())["scores"]
    return Scored(path, results, records, absent, probes)


def study_comparison(study: Study, plan: Plan) -> Comparison:
    """The tables of a study, from what is there of its runs.

    Args:
        study: The study.
        plan: What was trained.

    Returns:
        A group of kind `study` for each table of the paper.
    """
    scored = {run.name: [read_scored(path) for path in results_of(plan, run.name)] for run in study.runs}
    preset = expand(plan.fit_words(plan.runs[0]))[1]["preset"]
    notes = {}
    for run in study.runs:
        other = stands_for(plan, run.name)
        if preset in run.apart:
            notes[run.name] = run.apart[preset]
        elif not scored[run.name]:
            notes[run.name] = f"{NOT_TRAINED}: see {plan.out / other}"
        elif other != run.name:
            notes[run.name] = f"the {preset} preset makes it the same as {other}: trained once"
    return tables_of(study, scored, notes)


def tables_of(study: Study, scored: Mapping[str, Sequence[Scored]], notes: Mapping[str, str]) -> Comparison:
    """The tables of a study.

    Args:
        study: The study.
        scored: Trainings of each run, by its name.
        notes: What is to be said of a run.

    Returns:
        A group of kind `study` for each table of the paper; in a cell the paper's value stands beside ours.
    """
    groups = [_probes(study, t, scored) if t.probes else _group(study, t, scored, notes) for t in study.tables]
    said = [f"{study.title}. Shows {study.shows}. Paper: {study.paper}.", *study.notes]
    runs = [run for trainings in scored.values() for run in trainings]
    said += [SEEDS.format(n=most)] if (most := max(map(len, scored.values()), default=0)) > 1 else []
    said += [SYNTHETIC] if any(run.results["data"]["synthetic"] for run in runs) else []
    return Comparison(tuple(groups), notes=tuple(said))


def _group(study: Study, table: StudyTable, scored: Mapping[str, Sequence[Scored]], notes: Mapping[str, str]) -> Group:
    rows, missing, used = [], [], {}
    for line in table.lines:
        cells, reasons = [], []
        for column in table.columns:
            cell, protocol, reason = _cell(line, column, _wanted(table, line, column), scored)
            cells.append(replace(cell, paper=_paper(table, line).get(column)))
            reasons.append(reason)
            if protocol:
                used.setdefault(column, {}).setdefault(protocol, []).append(line.name)
        rows.append(_row(line, cells, scored, [notes[line.run]] if line.run in notes else []))
        missing.append([None if line.run in notes and not scored[line.run] else reason for reason in reasons])
    rows, said = _explained(table, rows, missing)
    if table.ranked:
        rows = _best(rows, table.columns)
    said = [*table.notes, *_protocols(table, used), *said]
    return _made(study, table, [*rows, *_chance(table, scored)], said, scored)


def _wanted(table: StudyTable, line: Line, column: Column) -> tuple[str, ...]:
    return (line.protocol,) if line.protocol else table.protocols.get(column.task, ())


def _asked(line: Line, column: Column) -> str:
    return line.f2v if line.f2v and column.direction == "f2v" else line.run


def _cell(
    line: Line, column: Column, protocols: Sequence[str], scored: Mapping[str, Sequence[Scored]]
) -> tuple[Cell, str, str | None]:
    """A cell, the protocol of its scores, and where it is empty the reason."""
    trainings = scored.get(_asked(line, column), ())
    for protocol in protocols:
        records = [find(run.records, column, protocol) for run in trainings]
        known = [record for record in records if record is not None and record["value"] is not None]
        if known and len(known) == len(trainings):
            return _mean(known, trainings, column, protocol), protocol, None
    if line.why:
        return EMPTY, "", line.why
    return EMPTY, "", _reason(trainings, column, protocols)


def find(records: Sequence[Record], column: Column, protocol: str, metric: str = "") -> Record | None:
    """The record of a column under a protocol; a joint score is one of matching or retrieval."""
    for record in records:
        n = record["n"] if record["task"].removeprefix("joint_") == "matching" else 0
        named = Column(record["metric"], n, record["stratum"], record["direction"])
        if record["protocol"] == protocol and named == column._replace(metric=metric or column.metric):
            return record
    return None


def _mean(known: Sequence[Record], trainings: Sequence[Scored], column: Column, protocol: str) -> Cell:
    """Mean over the trainings; of each the same people are the sample, so its interval is about as wide as one's."""
    values = [record["value"] for record in known]
    value = statistics.fmean(values)
    low = high = None
    if all(record["ci_low"] is not None for record in known):
        low, high = (statistics.fmean(record[end] for record in known) for end in ("ci_low", "ci_high"))
    spread = statistics.stdev(values) if len(values) > 1 else None
    single = [find(run.records, column, protocol, "accuracy_spread") for run in trainings]
    deviations = [record["value"] for record in single if record is not None]
    mark = f"SD {100 * statistics.fmean(deviations):.1f} of a single set" if deviations else ""
    return Cell(value, low, high, spread, mark=mark)


def _reason(trainings: Sequence[Scored], column: Column, protocols: Sequence[str]) -> str:
    if not trainings:
        return NOT_TRAINED
    first = trainings[0]
    for protocol in protocols:
        for name in (protocol, protocol.split(",")[0]):
            if (name, column.direction) in first.absent:
                return first.absent[name, column.direction]
        record = find(first.records, column, protocol)
        if record is not None:
            clips = protocol.replace("=", " ").replace(",", " and ")
            return f"{record['identities']} people have as many clips as {clips} needs"
    if not any(record["stratum"] == column.stratum for record in first.records):
        return "what these people would have to share is not known of enough of them"
    return "this model is not scored so"


def _paper(table: StudyTable, line: Line) -> dict[Column, float]:
    found: dict[Column, float] = {}
    for row in line.row:
        for column, cell in published_row(line.published or table.published, row).items():
            if cell.value is not None:
                found.setdefault(column, cell.value)
    return found


def _row(line: Line, cells: Sequence[Cell], scored: Mapping[str, Sequence[Scored]], notes: Sequence[str]) -> Row:
    trainings = scored.get(line.run, ())
    if not trainings:
        return Row(line.name, tuple(cells), notes=tuple(notes), ranked=False)
    first = trainings[0].results
    model, trained = first["model"], first["model"]["training_data"] or {}
    return Row(
        line.name,
        tuple(cells),
        recipe=str(model["recipe"] or ""),
        parameters=model["parameters"],
        training_data=", ".join(str(trained[key]) for key in ("corpus", "split") if trained.get(key)),
        steps=(first.get("training") or {}).get("steps"),
        seeds=len(trainings),
        source=", ".join(str(run.path) for run in trainings),
        notes=tuple(notes),
    )


def _explained(
    table: StudyTable, rows: Sequence[Row], missing: Sequence[Sequence[str | None]]
) -> tuple[list[Row], list[str]]:
    """Say why values are missing: of a whole column below the table, of others at their row."""
    said: dict[str, list[str]] = {}
    whole = set()
    for place, column in enumerate(table.columns):
        reasons = {own[place] for own in missing}
        if len(reasons) == 1 and (reason := reasons.pop()):
            said.setdefault(reason, []).append(column.name)
            whole.add(place)
    explained = []
    for row, own in zip(rows, missing, strict=True):
        here: dict[str, list[str]] = {}
        for place, reason in enumerate(own):
            if reason and place not in whole:
                here.setdefault(reason, []).append(table.columns[place].name)
        notes = [f"{', '.join(names)}: {reason}" for reason, names in here.items()]
        if len(here) == 1 and all(own):
            notes = list(here)
        explained.append(replace(row, notes=(*row.notes, *notes)))
    return explained, [f"No {', '.join(names)}: {reason}." for reason, names in said.items()]


def _protocols(table: StudyTable, used: Mapping[Column, Mapping[str, Sequence[str]]]) -> list[str]:
    """Say which columns are not scored as the table would have them."""
    instead: dict[tuple[str, str], list[str]] = {}
    for column, protocols in used.items():
        first = table.protocols.get(column.task, ("",))[0]
        for protocol, lines in protocols.items():
            if first and protocol != first and not all(own.protocol for own in table.lines if own.name in lines):
                whom = "" if len(protocols) == 1 else f" of {', '.join(lines)}"
                instead.setdefault((protocol, first), []).append(column.name + whom)
    return [
        f"{', '.join(dict.fromkeys(names))}: protocol {protocol}, where {first} would be the paper's."
        + (" Its gallery is another, so compare with chance, not with the paper." if protocol == "whole_split" else "")
        for (protocol, first), names in instead.items()
    ]


def _best(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    cells = [list(row.cells) for row in rows]
    for place, column in enumerate(columns):
        values = {i: v for i, row in enumerate(rows) if (v := row.cells[place].value) is not None}
        if len(values) > 1:
            best = (min if column.lower_is_better else max)(values.values())
            for i in (i for i, value in values.items() if value == best):
                cells[i][place] = replace(cells[i][place], best=True)
    return [replace(row, cells=tuple(own)) for row, own in zip(rows, cells, strict=True)]


def _chance(table: StudyTable, scored: Mapping[str, Sequence[Scored]]) -> list[Row]:
    """Chance, of those columns in which it is the same for all rows."""
    cells = []
    for column in table.columns:
        known = set()
        for line in table.lines:
            for run in scored.get(_asked(line, column), ()):
                found = (find(run.records, column, protocol) for protocol in _wanted(table, line, column))
                shown = next((r for r in found if r is not None and r["value"] is not None), None)
                known |= set() if shown is None or shown["chance"] is None else {round(shown["chance"], 9)}
        cells.append(Cell(known.pop()) if len(known) == 1 else EMPTY)
    return [Row("chance", tuple(cells), kind="chance", ranked=False)] if any(c.value for c in cells) else []


def _probes(study: Study, table: StudyTable, scored: Mapping[str, Sequence[Scored]]) -> Group:
    """Linear probes: a row for each value of each attribute, and each modality."""
    trainings = [run for run in scored.get(table.probes, ()) if run.probes]
    rows = []
    for first in trainings[0].probes if trainings else ():
        key = first["stratum"], first["direction"]
        same = [r for run in trainings for r in run.probes if (r["stratum"], r["direction"]) == key]
        attribute, _, value = first["stratum"].partition("=")
        side = {"voice": "voices", "face": "faces"}[first["direction"]]
        cell = _mean(same, (), table.columns[0], "")
        paper: dict[Column, Cell] = {}
        try:
            paper = published_row(table.published, f"{attribute}, from {side}")
        except UserError:  # the fact sheets have few of the paper's probes
            pass
        cell = replace(cell, paper=paper[table.columns[0]].value if paper else None)
        line = Line(f"{attribute} {value}, from {side}", table.probes)
        chance = f"chance {100 * statistics.fmean(r['chance'] for r in same):.1f}"
        rows.append(_row(line, [replace(cell, mark=chance)], scored, []))
    notes = [*table.notes, "± is the 99 % interval over 20 splits of these people, not about other people."]
    if not rows:
        notes = [*table.notes, "No probe: no run was analysed, or no attribute of the people is known."]
    return _made(study, table, rows, notes, scored)


def _made(
    study: Study,
    table: StudyTable,
    rows: Sequence[Row],
    notes: Sequence[str],
    scored: Mapping[str, Sequence[Scored]],
) -> Group:
    names = [line.run for line in table.lines] or [table.probes]
    trainings = [run for name in names for run in scored.get(name, ())]
    levels = {r["ci_level"] for run in trainings[:1] for r in (run.probes if table.probes else run.records)} - {None}
    data = {k: v for k, v in trainings[0].results["data"].items() if k != "leaking_identities"} if trainings else {}
    by_row = {line.name: scored.get(line.run, ()) for line in table.lines}
    return Group(
        table.title,
        "study",
        study.score or "exact",
        table.columns,
        tuple(rows),
        data,
        tuple(notes),
        min(levels, default=0.95),
        {name: tuple((str(run.path), run.results) for run in own) for name, own in by_row.items() if own},
    )
