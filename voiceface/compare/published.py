"""The literature's numbers as leaderboards, one per published table; they stand in `published.yaml`.

Nothing is ranked across tables: papers differ in the people they test, in the galleries and in the samplings.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from voiceface.compare.table import EMPTY, Cell, Column, Group, Row, columns_of, mark_best
from voiceface.methods.recipes import nearest
from voiceface.utils.errors import UserError

FILE = Path(__file__).parent / "published.yaml"
PEOPLE = ("split", "identities", "corpus", "training_data")
NO_LEVEL = "The level of the intervals is not stated here."


def published(tables: Sequence[str] | None = None) -> tuple[Group, ...]:
    """The published tables, in the order of `published.yaml`.

    Args:
        tables: Their ids, such as `trinet-5`; None: all.

    Returns:
        A group of kind `published` per table; values are fractions. `Group.data` holds id, method (first word of the
        recipes of the paper that first printed the numbers), source, people, split, identities, corpus (what
        `voiceface prepare` calls just these people; empty: their list is not known), training_data, gallery, sampling
        (protocols of result files that draw alike), again (whether others implemented the method anew), and under
        `rows` what differs for a row, by its name. A chance row is there where chance is printed or plain.

    Raises:
        UserError: There is no such table.
    """
    groups = _all()
    if tables is None:
        return tuple(groups.values())
    for table in tables:
        if table not in groups:
            raise UserError(
                f"published table {table}: there is none{nearest(table, groups)}; there are: {', '.join(groups)}"
            )
    return tuple(group for name, group in groups.items() if name in tables)


def published_row(table: str, row: str) -> dict[Column, Cell]:
    """A row of a published table, by column; columns without a value are left out.

    Args:
        table: Id of the table, such as `trinet-5`.
        row: Name of the row, such as `face VGG-M`.

    Raises:
        UserError: There is no such table, or no such row in it.
    """
    (group,) = published([table])
    for one in group.rows:
        if one.name == row:
            return {c: cell for c, cell in zip(group.columns, one.cells, strict=True) if cell.value is not None}
    names = [one.name for one in group.rows]
    raise UserError(f"published table {table}: no row {row}{nearest(row, names)}; there are: {', '.join(names)}")


def protocol_of(group: Group, row: Row) -> dict[str, Any]:
    """What is known of a published row: the table's `Group.data`, and what differs for this row."""
    return {**group.data, **group.data["rows"].get(row.name, {})}


def column(word: str) -> Column:
    """A column of `published.yaml`: a word of `--tasks` that means one, or what is only found in the literature.

    That is `probe_mAP`, the mAP of a linear probe, and an AUC with a direction, for lists that have one.
    """
    if word == "probe_mAP":
        return Column("probe mAP", 0, "U", "both")
    what, _, rest = word.partition("/")
    if what == "AUC" and rest[-4:] in ("/v2f", "/f2v"):
        return columns_of(word[:-4])[0]._replace(direction=rest[-3:])
    (one,) = columns_of(word)
    return one


@cache
def _all() -> dict[str, Group]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(FILE.read_text(encoding="utf-8"), loader)
    return {table["id"]: _group(table, content["people"]) for table in content["tables"]}


def _group(table: Mapping[str, Any], people: Mapping[str, Mapping[str, Any]]) -> Group:
    words: list[str] = table["columns"]
    columns = tuple(column(word) for word in words)
    rows = mark_best([_row(row, table, words, people) for row in table["rows"]], columns)
    chances = [_chance(c, table.get("chance", {}).get(word)) for word, c in zip(words, columns, strict=True)]
    if any(cell.value is not None for cell in chances):
        rows.append(Row("chance", tuple(chances), kind="chance", ranked=False))
    who = _people(table["people"], people)
    own = {row["name"]: _people(row["people"], people) for row in table["rows"] if "people" in row}
    data = {key: table[key] for key in ("id", "method", "source")} | who
    data |= {"gallery": table.get("gallery", ""), "sampling": tuple(table.get("sampling", ()))}
    data |= {"again": table.get("again", False), "rows": own}
    notes = [f"Source: {table['source']}.", table["protocol"], *table.get("notes", [])]
    if any("half" in row for row in table["rows"]) and "level" not in table:
        notes.append(NO_LEVEL)
    return Group(
        table["title"],
        "published",
        data["sampling"][0] if data["sampling"] else "as published",
        columns,
        tuple(rows),
        data,
        tuple(notes),
        table.get("level", 0.95),
    )


def _people(name: str, people: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {"people": name, **dict.fromkeys(PEOPLE, ""), **people[name]}


def _row(
    row: Mapping[str, Any], table: Mapping[str, Any], words: Sequence[str], people: Mapping[str, Mapping[str, Any]]
) -> Row:
    kind, recipe = row.get("kind", "model"), row.get("recipe", "")
    second_hand = recipe and recipe.split("_")[0] != table["method"] and not table.get("again")
    who = _people(row.get("people", table["people"]), people)
    notes = []
    if who["people"] != table["people"]:
        number = f" ({who['identities']:,})" if who["identities"] else ""
        notes.append(f"other test people{number}: {who['split']}")
    if "unranked" in table:
        notes.append(table["unranked"])
    ranked = kind == "model" and not notes
    if second_hand:
        notes.append("second-hand: another paper's number as this one prints it")
    halves, marks = row.get("half", {}), row.get("marks", {})
    values = {word: value for word, value in zip(words, row["values"], strict=False) if value is not None}
    cells = [_cell(values[word], halves.get(word), marks.get(word, "")) if word in values else EMPTY for word in words]
    return Row(
        row["name"],
        tuple(cells),
        kind,
        recipe,
        training_data=row.get("training_data", who["training_data"]) if kind == "model" else "",
        source=table["source"] + (", second-hand" if second_hand else ""),
        notes=tuple(notes),
        ranked=ranked,
    )


def _cell(value: float, half: float | None, mark: str) -> Cell:
    low, high = (None, None) if half is None else ((value - half) / 100, (value + half) / 100)
    return Cell(value / 100, low, high, mark=mark)


def _chance(column: Column, printed: float | None) -> Cell:
    if column.n:
        return Cell(1 / column.n)
    if column.metric in ("AUC", "EER"):
        return Cell(0.5)
    return EMPTY if printed is None else Cell(printed / 100)
