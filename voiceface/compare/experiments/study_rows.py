"""The rows of a study's tables: our scores, the paper's beside them, and why a value is missing."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from voiceface.compare.experiments.study import Line, StudyTable
from voiceface.compare.experiments.study_scores import Record, Scored
from voiceface.compare.published import published_row
from voiceface.compare.scored import about_model, column_of
from voiceface.compare.table import ARROWS, EMPTY, Cell, Column, Row
from voiceface.evaluation.cells import STRATA

NOT_TRAINED = "not trained"
DRAWS = ("binomial", "subsets", "repeats", "trials")  # methods of intervals that are not about other people
OF_DRAWS = "± covers what is drawn from these people, not other people"


def cell_of(
    table: StudyTable, line: Line, column: Column, scored: Mapping[str, Sequence[Scored]]
) -> tuple[Cell, Record | None, str]:
    """A cell, the record that it shows (of the first training), and where it is empty the reason."""
    trainings = scored.get(line.f2v if line.f2v and column.direction == "f2v" else line.run, ())
    protocols = line.protocol or table.protocols.get(column.task, ())
    for protocol in protocols:
        records = [find(run.records, column, protocol) for run in trainings]
        known = [record for record in records if record is not None and record["value"] is not None]
        if known and len(known) == len(trainings):
            single = [find(run.records, column._replace(metric="accuracy_spread"), protocol) for run in trainings]
            deviations = [record["value"] for record in single if record is not None]
            mark = f"SD {100 * statistics.fmean(deviations):.1f} of a single set" if deviations else ""
            return replace(mean_of(known), mark=mark), known[0], ""
    return EMPTY, None, line.why or _reason(trainings, column, protocols)


def find(records: Sequence[Record], column: Column, protocol: str) -> Record | None:
    """The record of a column under a protocol."""
    return next((r for r in records if r["protocol"] == protocol and column_of(r) == column), None)


def mean_of(known: Sequence[Record]) -> Cell:
    """Mean over trainings. Of each the same people are the sample, so its interval is about as wide as one's."""
    values = [record["value"] for record in known]
    spread = statistics.stdev(values) if len(values) > 1 else None
    mark = OF_DRAWS if any(record["ci_method"] in DRAWS for record in known) else ""
    if any(record["ci_low"] is None for record in known):
        return Cell(statistics.fmean(values), spread=spread)
    low, high = (statistics.fmean(record[end] for record in known) for end in ("ci_low", "ci_high"))
    return Cell(statistics.fmean(values), low, high, spread, mark=mark)


def _reason(trainings: Sequence[Scored], column: Column, protocols: Sequence[str]) -> str:
    if not trainings:
        return NOT_TRAINED
    first = trainings[0]
    for protocol in protocols:
        for name in (protocol, protocol.split(",")[0]):
            if (name, column.direction) in first.absent:
                return first.absent[name, column.direction]
        if find(first.records, column, protocol) is not None:
            return "fewer than 3 of the people have so many clips"
    strata = {record["stratum"] for record in first.records}
    if column.stratum in strata:
        return "this model is not scored so"
    unknown = [STRATA[c].removeprefix("same ") for c in column.stratum if c in STRATA and c not in strata]
    return f"{' and '.join(unknown)} not known of these people" if unknown else "too few people share all of that"


def paper_of(table: StudyTable, line: Line) -> dict[Column, float]:
    """The paper's values of a row, by column."""
    found: dict[Column, float] = {}
    for row in line.row:
        for column, cell in published_row(line.published or table.published, row).items():
            if cell.value is not None:
                found.setdefault(column, cell.value)
    return found


def row_of(line: Line, cells: Sequence[Cell], scored: Mapping[str, Sequence[Scored]], notes: Sequence[str]) -> Row:
    """A row of our values, with what is known of the model."""
    trainings = scored.get(line.run, ())
    about = about_model([(run.path, run.results) for run in trainings]) if trainings else {}
    return Row(line.name, tuple(cells), notes=tuple(notes), **about)


def named(some: Sequence[Column], columns: Sequence[Column]) -> str:
    """Some columns of a table in words, those of one task or one direction together."""
    words = []
    for direction, arrow in ARROWS.items():
        there = [column for column in columns if column.direction == direction]
        left = [column for column in there if column in some]
        if arrow and left == there:
            words += [arrow] if left else []
            continue
        for what in dict.fromkeys(column.what for column in left):
            own = [column for column in left if column.what == what]
            whole = own == [column for column in there if column.what == what]
            words += [f"{what} {arrow}".strip()] if whole else [column.name for column in own]
    return ", ".join(words)
