"""The tables of a study: our scores in the rows and columns of the paper's, with the paper's values beside them."""

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from voiceface.compare.experiments.plans import Plan
from voiceface.compare.experiments.study import Line, Study, StudyTable, read_study, results_of, stands_for
from voiceface.compare.experiments.study_rows import NOT_TRAINED, cell_of, mean_of, named, paper_of, row_of
from voiceface.compare.experiments.study_scores import Record, Scored, read_scored
from voiceface.compare.published import published_row
from voiceface.compare.table import EMPTY, Cell, Column, Comparison, Group, Row, mark_best
from voiceface.scores.probes import is_chance
from voiceface.training.arguments import expand
from voiceface.utils.errors import UserError

INSTEAD = {
    "whole_split": "not the paper's gallery but the whole split; compare with chance, not with the paper",
    "sampled": "seeded trials, the only scores of a model that compares candidates with each other",
    "exact": "every trial, all people alike, where the paper weighs people by its sampling",
}
SYNTHETIC = (
    "The corpus is synthetic: our numbers say nothing about real people and cannot be compared with the paper's."
)
SEEDS = "Values are means of {n} trainings."


def study_comparison(name: str, plan: Plan) -> Comparison:
    """The tables of a study, from what is there of its runs.

    Args:
        name: Study.
        plan: What was trained.

    Returns:
        A group of kind `study` for each table of the paper.

    Raises:
        UserError: There is no such study, or a file of it is damaged.
    """
    study = read_study(name)
    scored = {run.name: [read_scored(path) for path in results_of(plan, run.name)] for run in study.runs}
    preset = expand(plan.fit_words(plan.runs[0]))[1].preset
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
    said = [f"{study.title}. What it shows: {study.shows}. Paper: {study.paper}.", *study.notes]
    runs = [run for trainings in scored.values() for run in trainings]
    said += [SEEDS.format(n=most)] if (most := max(map(len, scored.values()), default=0)) > 1 else []
    said += [SYNTHETIC] if any(run.results["data"]["synthetic"] for run in runs) else []
    return Comparison(tuple(groups), notes=tuple(said))


def _group(study: Study, table: StudyTable, scored: Mapping[str, Sequence[Scored]], notes: Mapping[str, str]) -> Group:
    rows: list[Row] = []
    missing: list[list[str]] = []
    shown: dict[tuple[str, Column], Record] = {}
    for line in table.lines:
        cells, reasons = [], []
        for column in table.columns:
            cell, record, reason = cell_of(table, line, column, scored)
            cells.append(replace(cell, paper=paper_of(table, line).get(column)))
            reasons.append(reason)
            if record is not None:
                shown[line.name, column] = record
        said = [notes[line.run]] if line.run in notes else []
        # What is said of a run that is there is whose result it shares: the best is marked once.
        rows.append(replace(row_of(line, cells, scored, said), ranked=not (said and scored[line.run])))
        missing.append([""] * len(reasons) if said and not scored[line.run] else reasons)
    chances, varied = _chances(table.columns, shown)
    rows, absent = _explained(table.columns, rows, missing)
    if table.ranked:
        rows = mark_best(rows, table.columns)
    levels = [record["ci_level"] for record in shown.values() if record["ci_level"]]
    return _made_of(
        study,
        table,
        [*rows, *chances],
        [*table.notes, *varied, *_protocols(table, shown), *absent],
        {line.name: scored.get(line.run, ()) for line in table.lines},
        levels[0] if levels else 0.95,
    )


def _explained(
    columns: Sequence[Column], rows: Sequence[Row], missing: Sequence[Sequence[str]]
) -> tuple[list[Row], list[str]]:
    """Say why values are missing: of a whole column below the table, of others at their row."""
    said: dict[str, list[Column]] = {}
    whole = set()
    for place, column in enumerate(columns):
        reasons = {own[place] for own in missing}
        if len(reasons) == 1 and (reason := reasons.pop()):
            said.setdefault(reason, []).append(column)
            whole.add(place)
    explained = []
    for row, own in zip(rows, missing, strict=True):
        here: dict[str, list[Column]] = {}
        for place, reason in enumerate(own):
            if reason and place not in whole:
                here.setdefault(reason, []).append(columns[place])
        everywhere = len(here) == 1 and all(own)
        notes = [reason if everywhere else f"{named(own, columns)}: {reason}" for reason, own in here.items()]
        explained.append(replace(row, notes=(*row.notes, *notes)))
    return explained, [f"No {named(own, columns)}: {reason}." for reason, own in said.items()]


def _protocols(table: StudyTable, shown: Mapping[tuple[str, Column], Record]) -> list[str]:
    """Say which values are not scored as the table would have them."""
    instead: dict[str, dict[Column, list[str]]] = {}
    for line in table.lines:
        for column in table.columns:
            wanted = table.protocols.get(column.task, ("",))[0]
            protocol = shown[line.name, column]["protocol"] if (line.name, column) in shown else wanted
            if protocol != wanted and not line.protocol:
                instead.setdefault(protocol, {}).setdefault(column, []).append(line.name)
    notes = []
    for protocol, where in instead.items():
        whom = {name for lines in where.values() for name in lines}
        of = "" if len(whom) == len({name for name, _ in shown}) else f" of {', '.join(sorted(whom))}"
        notes.append(f"{named(list(where), table.columns)}{of}: {INSTEAD.get(protocol, f'protocol {protocol}')}.")
    return notes


def _chances(columns: Sequence[Column], shown: Mapping[tuple[str, Column], Record]) -> tuple[list[Row], list[str]]:
    """A row of chance, of those columns in which it is the same for all rows; a note of the others."""
    cells, notes = [], []
    for column in columns:
        by_row = {name: r["chance"] for (name, own), r in shown.items() if own == column and r["chance"] is not None}
        same = len({round(chance, 9) for chance in by_row.values()}) == 1
        cells.append(Cell(next(iter(by_row.values()))) if same else EMPTY)
        if by_row and not same:
            each = ", ".join(f"{100 * chance:.1f} ({name})" for name, chance in by_row.items())
            notes.append(f"Galleries differ, so compare {column.name} with chance: {each}.")
    rows = [Row("chance", tuple(cells), kind="chance", ranked=False)] if any(c.value for c in cells) else []
    return rows, notes


def _probes(study: Study, table: StudyTable, scored: Mapping[str, Sequence[Scored]]) -> Group:
    """Linear probes: a row for each value of each attribute and each modality."""
    trainings = [run for run in scored.get(table.probes, ()) if run.probes]
    rows = []
    found = sorted(trainings[0].probes, key=_attribute) if trainings else []
    for first in found:
        same = [r for run in trainings for r in run.probes if all(r[k] == first[k] for k in ("stratum", "direction"))]
        attribute, _, value = first["stratum"].partition("=")
        cell = replace(mean_of(same), mark="no better than chance" if is_chance(first) else "")
        with contextlib.suppress(UserError):  # few of the paper's probes are known
            (paper,) = published_row(table.published, f"{attribute}, from {first['direction']}s").values()
            cell = replace(cell, paper=paper.value)
        cells = [cell, Cell(statistics.fmean(record["chance"] for record in same))]
        name = f"{attribute.replace('_', ' ')} {value}, from {first['direction']}s"
        rows.append(row_of(Line(name, table.probes), cells, scored, []))
    notes = list(table.notes) if rows else [*table.notes, "No probe: no attribute of the people is known, or no run."]
    by_row = {row.name: trainings for row in rows}
    columns = (*table.columns, Column("chance", 0, "U", "both"))
    level = found[0]["ci_level"] if found else 0.99
    return _made_of(study, replace(table, columns=columns), rows, notes, by_row, level)


def _attribute(record: Record) -> tuple[bool, str, str]:
    """Gender first, then by name; of each value both modalities together."""
    return not record["stratum"].startswith("gender"), record["stratum"], record["direction"]


def _made_of(
    study: Study,
    table: StudyTable,
    rows: Sequence[Row],
    notes: Sequence[str],
    by_row: Mapping[str, Sequence[Scored]],
    level: float,
) -> Group:
    """The group of a table; `by_row`: the trainings behind each row."""
    first: Mapping[str, Any] = next((own[0].results["data"] for own in by_row.values() if own), {})
    return Group(
        table.title,
        "study",
        study.score or "exact",
        table.columns,
        tuple(rows),
        {key: value for key, value in first.items() if key != "leaking_identities"},
        tuple(notes),
        level,
        {name: tuple((str(run.path), run.results) for run in own) for name, own in by_row.items() if own},
    )
