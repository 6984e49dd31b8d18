"""Our scores beside the papers' own numbers, and whether the two are comparable."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from voiceface.compare.published import protocol_of, published
from voiceface.compare.table import Cell, Column, Comparison, Group, Row

TITLE = "ours beside the papers' own"


class Printed(NamedTuple):
    """A value of the literature and where it stands."""

    cell: Cell
    table: str
    """Id of the published table; with `(second-hand)` where that is another paper's."""
    protocol: Mapping[str, Any]
    """What `voiceface.compare.published.protocol_of` gives."""


def against_paper(comparison: Comparison) -> Comparison:
    """Put the numbers of a model's own paper beside those measured here.

    A recipe's numbers are taken from its own paper where they are first-hand, else from a paper that quotes them, never
    from a new implementation by others. Each row says by which table, and that it is NOT COMPARABLE where the people,
    their number, the training data or the gallery differ; nothing is ranked.

    Args:
        comparison: What was measured; groups of another kind are passed over.

    Returns:
        A group of kind `study` for each measured group with a model that has published numbers: the tasks that both
        sides have, the paper's value in `Cell.paper`, and models without such numbers in the notes.
    """
    groups = [_beside(group) for group in comparison.groups if group.kind == "measured"]
    found = tuple(group for group in groups if group is not None)
    notes = () if found else ("None of these models has published numbers in a task that it was scored in here.",)
    return Comparison(found, comparison.left_out, notes)


def paper_tasks(recipes: Iterable[str]) -> list[str]:
    """The tasks, as `--tasks` takes them, in which these recipes have published numbers; in the papers' order."""
    return list(dict.fromkeys(column.name for recipe in recipes for column in printed(recipe)))


def printed(recipe: str) -> dict[Column, Printed]:
    """The published numbers of a recipe, by column.

    First-hand ones come before second-hand ones, those of the table that has most of them before others, and values
    without a mark before those with one, such as those read off a plot.
    """
    own = recipe.split("_")[0]
    rows = [(group, row) for group in published() for row in group.rows if recipe and row.recipe == recipe]
    rows = [(group, row) for group, row in rows if not group.data["again"]]
    rows.sort(key=lambda pair: (pair[0].data["method"] != own, -sum(cell.value is not None for cell in pair[1].cells)))
    found: dict[Column, Printed] = {}
    for marked in (False, True):
        for group, row in rows:
            table = group.data["id"] + ("" if group.data["method"] == own else " (second-hand)")
            for column, cell in zip(group.columns, row.cells, strict=True):
                if cell.value is not None and bool(cell.mark) == marked:
                    found.setdefault(column, Printed(cell, table, protocol_of(group, row)))
    return found


def _beside(group: Group) -> Group | None:
    """The study of a measured group; None where no model of it has published numbers."""
    papers = {row.name: printed(row.recipe) for row in group.rows if row.kind == "model"}
    places = [
        place
        for place, column in enumerate(group.columns)
        if any(row.cells[place].value is not None and column in papers.get(row.name, ()) for row in group.rows)
    ]
    if not places:
        return None
    columns = tuple(group.columns[place] for place in places)
    rows, sources, without = [], dict[str, str](), []
    for row in group.rows:
        ours = replace(row, cells=tuple(row.cells[place] for place in places))
        if row.kind != "model":
            rows.append(ours)
            continue
        paper = {column: one for column, one in papers[row.name].items() if column in columns}
        if paper:
            rows.append(_row(group, ours, columns, paper))
            sources |= {one.protocol["id"]: one.protocol["source"] for one in paper.values()}
        else:
            without.append(row.name)
    notes = [f"{table}: {source}." for table, source in sources.items()]
    if without:
        notes.append(f"No published numbers in these tasks: {', '.join(without)}.")
    title = f"{group.title}: {TITLE}"
    return replace(group, title=title, kind="study", columns=columns, rows=tuple(rows), notes=tuple(notes), results={})


def _row(group: Group, row: Row, columns: Sequence[Column], paper: Mapping[Column, Printed]) -> Row:
    cells = []
    for column, cell in zip(columns, row.cells, strict=True):
        plain = replace(cell, best=False, same=None, p_value=None, difference=None)
        if column in paper:
            theirs = paper[column].cell
            said = f"paper: {theirs.mark}" if theirs.mark else ""
            plain = replace(plain, paper=theirs.value, mark="; ".join(filter(None, (cell.mark, said))))
        cells.append(plain)
    return replace(row, cells=tuple(cells), notes=(*row.notes, *verdicts(group, row, paper)))


def verdicts(group: Group, row: Row, paper: Mapping[Column, Printed]) -> list[str]:
    """Say whether a measured row may be compared with published ones, and why not.

    Args:
        group: The measured group.
        row: A row of it.
        paper: What `printed` gives, of the columns that the group has.

    Returns:
        Lines: the tables that it is comparable with, those that it is not and why, and the same of the galleries of
        retrieval.
    """
    tables: dict[tuple[str, ...], list[str]] = {}
    galleries = []
    for table in dict.fromkeys(one.table for one in paper.values()):
        used = [column for column, one in paper.items() if one.table == table]
        protocol = paper[used[0]].protocol
        ranked = [column for column in used if column.task == "retrieval"]
        if ranked and group.protocol not in protocol["sampling"]:
            tasks = ", ".join(dict.fromkeys(column.what for column in ranked))
            there = protocol["gallery"] or "not stated"
            galleries.append(
                f"NOT COMPARABLE with {table} in {tasks}: {_differ('another gallery', _gallery(group), there)}"
            )
        reasons = (*_people(group.data, protocol), *_training(row, protocol))
        if reasons or ranked != used or group.protocol in protocol["sampling"]:
            tables.setdefault(reasons, []).append(table)
    lines = []
    for reasons, names in tables.items():
        if reasons:
            lines.append(f"NOT COMPARABLE with {' and '.join(names)}: {'; '.join(reasons)}")
        else:
            trained = (
                "people in test and training" if row.training_data else "test people (of its training is not known)"
            )
            lines.append(
                f"comparable with {' and '.join(names)}: the same {trained}, here by protocol {group.protocol}"
            )
    return [*lines, *galleries]


def _differ(what: str, here: object, there: object) -> str:
    return f"{what} (here {here}; there {there})"


def _gallery(group: Group) -> str:
    sizes = [f"{group.data[key]:,} {key}" for key in ("voices", "faces") if group.data.get(key)]
    return f"the whole split, {' and '.join(sizes)}" if group.protocol == "exact" else group.protocol


def _people(data: Mapping[str, Any], paper: Mapping[str, Any]) -> list[str]:
    reasons = []
    if data.get("synthetic"):
        reasons.append("the corpus is synthetic")
    elif not paper["corpus"] or (data.get("corpus"), data.get("split")) != (paper["corpus"], "test"):
        here = " ".join(filter(None, (data.get("corpus"), data.get("split")))) or "clips of no named corpus"
        reasons.append(_differ("other people", here, paper["split"]))
    if paper["identities"] and data.get("identities") != paper["identities"]:
        reasons.append(_differ("another number of people", data.get("identities"), f"{paper['identities']:,}"))
    return reasons


def _training(row: Row, paper: Mapping[str, Any]) -> list[str]:
    if not row.training_data or not paper["training_data"] or row.training_data == f"{paper['corpus']}, train":
        return []
    return [_differ("other training data", row.training_data, paper["training_data"])]
