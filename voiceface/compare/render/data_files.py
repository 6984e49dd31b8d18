"""A leaderboard as data: CSV, a line for each value, and JSON."""

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

from voiceface.compare.render.escaping import spreadsheet
from voiceface.compare.table import Cell, Column, Comparison, Group, Row
from voiceface.utils.version import __version__

SCHEMA = 1


def to_csv(comparison: Comparison) -> str:
    """A leaderboard as tidy CSV, a line for each cell; also for the cells without a value.

    Values are fractions (of the median rank, ranks). Nothing known is an empty field. Text that a spreadsheet would
    take for a formula, because it begins with = + - @ or the like, is led by an apostrophe, and so is text that begins
    with one; `pandas` and `csv` show it.
    """
    buffer = io.StringIO()
    # Quoted, a carriage return within a name is not the end of a line.
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(NAMES)
    writer.writerows([_field(line[name]) for name in NAMES] for line in tidy(comparison))
    return buffer.getvalue().encode("utf-8", "replace").decode()


def to_json(comparison: Comparison) -> str:
    """A leaderboard as nested JSON: groups, rows, cells; `schema` is the version of this shape.

    Values are fractions. What is not known, or no finite number, is null. The content of result files is not in it.
    """
    content = {
        "schema": SCHEMA,
        "voiceface": __version__,
        "groups": [_group(group) for group in comparison.groups],
        "left_out": [{"path": path, "reason": why} for path, why in comparison.left_out],
        "notes": list(comparison.notes),
    }
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def tidy(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Every cell of a leaderboard with all that says what it is.

    Yields:
        Values by the names of `NAMES`.
    """
    for group in comparison.groups:
        for row in group.rows:
            for column, own in zip(group.columns, row.cells, strict=True):
                yield _tidy_line(group, row, column, own)


NAMES = (
    *("group", "group_kind", "protocol", "clips_sha256", "model", "row_kind", "ranked", "recipe", "seeds"),
    *("parameters", "training_data", "steps", "column", "task", "metric", "n", "stratum", "direction"),
    *("lower_is_better", "value", "low", "high", "level", "spread", "best", "same", "p_value"),
    *("difference", "difference_low", "difference_high", "paper", "mark", "source", "notes"),
)


def _tidy_line(group: Group, row: Row, column: Column, own: Cell) -> dict[str, Any]:
    difference = own.difference or (None, None, None)
    return {
        "group": group.title,
        "group_kind": group.kind,
        "protocol": group.protocol,
        "clips_sha256": group.data.get("clips_sha256"),
        "model": row.name,
        "row_kind": row.kind,
        **{name: getattr(row, name) for name in ("ranked", "recipe", "seeds", "parameters", "training_data", "steps")},
        "column": column.name,
        **{name: getattr(column, name) for name in ("task", "metric", "n", "stratum", "direction", "lower_is_better")},
        **vars(own),
        "level": group.level if own.low is not None else None,
        **dict(zip(("difference", "difference_low", "difference_high"), difference, strict=True)),
        "source": row.source,
        "notes": "; ".join(row.notes),
    }


def _field(value: Any) -> Any:
    value = _finite(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return spreadsheet(value) if isinstance(value, str) else value


def _group(group: Group) -> dict[str, Any]:
    named = [{"column": column.name} for column in group.columns]
    return {
        "title": group.title,
        "kind": group.kind,
        "protocol": group.protocol,
        "level": group.level,
        "data": dict(group.data),
        "columns": [
            {"name": c.name, "task": c.task, **c._asdict(), "lower_is_better": c.lower_is_better} for c in group.columns
        ],
        "rows": [
            {**vars(row), "cells": [c | vars(o) for c, o in zip(named, row.cells, strict=True)]} for row in group.rows
        ],
        "notes": list(group.notes),
    }


def _finite(content: Any) -> Any:
    """The same with null in place of numbers that JSON does not have."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
