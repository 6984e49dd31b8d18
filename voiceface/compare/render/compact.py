"""The short forms of a leaderboard: one table that fits a terminal, and the difference of two models in words."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from voiceface.compare.grouping import ONE_RUN, SAMPLED_NOTE
from voiceface.compare.render.blocks import Block, Head, blocks, joined
from voiceface.compare.scored import EXACT
from voiceface.compare.table import EMPTY, Cell, Column, Comparison, Group, Row
from voiceface.utils.text import clean

TASKS = ("1:2/v2f", "1:2/G/v2f", "1:2/f2v", "1:2/G/f2v", "AUC", "mAP/v2f", "mAP/f2v")
MORE = (
    "Intervals and all columns: `voiceface compare --format table`, or `--out page.html`. Other columns: `--tasks`. "
    "The literature: `--published`."
)
SEEDED = "scored on seeded trials, as it only compares candidates with each other: not ranked"


def compact(comparison: Comparison) -> Comparison:
    """Shorten a leaderboard of the columns `TASKS`: no intervals, no facts of the models, one table for each corpus.

    Models that are scored on seeded trials stand below those of the same clips that are scored on every pair, and are
    not ranked. A note says how wide the intervals are at most, and how to see all.
    """
    exact = {group.data["clips_sha256"]: group for group in comparison.groups if group.protocol == EXACT}
    groups = []
    for group in comparison.groups:
        clips = group.data["clips_sha256"]
        if group is exact.get(clips, group):
            sampled = [one for one in comparison.groups if one is not group and one.data["clips_sha256"] == clips]
            groups.append(_compact(group, sampled))
    return Comparison(tuple(groups), comparison.left_out, (MORE,) if groups else ())


def short_block(group: Group) -> Block:
    """The one table of a group of `compact`, with narrow heads."""
    whole = reduce(joined, [block for block in blocks(group) if block.title != "models"])
    heads = [Head(c.words[0], "", "\n".join(filter(None, c.words[1:])) or " ") for c in group.columns]
    return replace(whole, title="", heads=tuple(heads))


def _compact(group: Group, sampled: Sequence[Group]) -> Group:
    models = [row for row in group.rows if row.kind == "model"]
    for one in sampled:
        places = [one.columns.index(column) if column in one.columns else None for column in group.columns]
        for row in one.rows:
            if row.kind == "model":
                cells = tuple(EMPTY if place is None else row.cells[place] for place in places)
                models.append(replace(row, cells=cells, ranked=False, notes=(*row.notes, SEEDED)))
    halves = [50 * (c.high - c.low) for row in models for c in row.cells if c.low is not None and c.high is not None]
    wide = f"Each value has a {100 * group.level:g} % interval of ± {max(halves):.1f} at most." if halves else ""
    rows = [*models, *(row for row in group.rows if row.kind != "model")]
    bare = [replace(row, cells=tuple(map(_bare, row.cells))) for row in rows]
    notes = [note for note in group.notes if note not in (ONE_RUN, SAMPLED_NOTE)]
    return replace(group, rows=tuple(bare), notes=tuple(filter(None, (wide, *notes))))


def _bare(cell: Cell) -> Cell:
    return replace(cell, low=None, high=None, spread=None)


def differences(group: Group) -> list[str]:
    """Say by how much the first of two models is above the second, column by column, with interval and p-value.

    Args:
        group: Of a leaderboard.

    Returns:
        A heading, and a line for each column in which the two were tested; empty where there are not two models, or
        where no column was tested.
    """
    models = [row for row in group.rows if row.kind == "model"]
    if len(models) != 2:
        return []
    first, second = models
    lines = []
    for place, column in enumerate(group.columns):
        found = _difference(first, second, place)
        if found is not None:
            value, low, high, p_value = found
            p = f"p = {p_value:.2g}" if p_value >= 0.001 else "p < 0.001"
            lines.append(
                (_name(column), f"{_number(value, column)} [{_number(low, column)}, {_number(high, column)}]", p)
            )
    if not lines:
        return []
    names, values = (max(len(line[i]) for line in lines) for i in (0, 1))
    level = 100 * group.data.get("test_level", group.level)
    head = f"{clean(first.name)} - {clean(second.name)}: the difference, its {level:g} % interval, paired over people"
    return [head, *(f"  {name:{names}}  {value:>{values}}  {p}" for name, value, p in lines)]


def _difference(first: Row, second: Row, place: int) -> tuple[float, float, float, float] | None:
    """First minus second; a cell holds its difference to the better of the two, and the better one holds none."""
    own, other = first.cells[place], second.cells[place]
    if own.difference is not None and own.p_value is not None:
        return *own.difference, own.p_value
    if other.difference is not None and other.p_value is not None:
        value, low, high = other.difference
        return -value, -high, -low, other.p_value
    return None


def _name(column: Column) -> str:
    return " ".join(filter(None, column.words))


def _number(value: float, column: Column) -> str:
    return f"{value:+.1f}" if column.metric == "median_rank" else f"{100 * value:+.1f}"
