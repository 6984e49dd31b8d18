"""CSV and JSON: read back they hold what the comparison holds, and no spreadsheet runs a name."""

import csv
import io
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from leaderboard_support import comparisons, measured, rich_comparison
from tests_support import examples

from voiceface.compare.render.data_files import to_csv, to_json
from voiceface.compare.render.escaping import spreadsheet
from voiceface.compare.render.formats import render
from voiceface.compare.render.terminal import plain_leaderboard
from voiceface.compare.table import Cell, Comparison, Group, Row, columns_of

FAST = settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
LED = set("=+-@\t\r\n'＝＋－＠")  # noqa: RUF001
COLUMNS = tuple(columns_of("AUC"))


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def text_of(field: str) -> str:
    return field[1:] if field.startswith("'") else field


def number(field: str) -> float | None:
    return float(field) if field else None


def cells_of(comparison: Comparison) -> list[tuple[Group, Row, Any, Cell]]:
    return [
        (g, r, c, own) for g in comparison.groups for r in g.rows for c, own in zip(g.columns, r.cells, strict=True)
    ]


@FAST
@given(comparisons(names=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)))
def test_csv_is_read_back(comparison: Comparison):
    lines, cells = read_csv(to_csv(comparison)), cells_of(comparison)
    assert len(lines) == len(cells)
    for line, (group, row, column, own) in zip(lines, cells, strict=True):
        texts = {"group": group.title, "model": row.name, "training_data": row.training_data, "mark": own.mark}
        texts |= {
            "column": column.name,
            "metric": column.metric,
            "stratum": column.stratum,
            "notes": "; ".join(row.notes),
        }
        assert {key: text_of(line[key]) for key in texts} == texts
        numbers = {key: getattr(own, key) for key in ("value", "low", "high", "spread", "p_value", "paper")}
        numbers |= {"n": column.n, "parameters": row.parameters, "steps": row.steps, "seeds": row.seeds}
        assert {key: number(line[key]) for key in numbers} == numbers
        flags = {"best": own.best, "same": own.same, "ranked": row.ranked, "lower_is_better": column.lower_is_better}
        assert {key: {"true": True, "false": False, "": None}[line[key]] for key in flags} == flags


@FAST
@given(comparisons())
def test_json_is_read_back(comparison: Comparison):
    content = json.loads(to_json(comparison), parse_constant=pytest.fail)
    assert content["schema"] == 1
    assert [(one["path"], one["reason"]) for one in content["left_out"]] == list(comparison.left_out)
    for group, read in zip(comparison.groups, content["groups"], strict=True):
        assert (read["title"], read["kind"], read["protocol"], tuple(read["notes"])) == (
            *(group.title, group.kind, group.protocol),
            group.notes,
        )
        assert [one["name"] for one in read["columns"]] == [column.name for column in group.columns]
        for row, line in zip(group.rows, read["rows"], strict=True):
            cells = line.pop("cells")
            assert Row(**{**line, "notes": tuple(line["notes"]), "cells": row.cells}) == row
            assert [cell.pop("column") for cell in cells] == [column.name for column in group.columns]
            assert tuple(Cell(**cell) for cell in cells) == row.cells


@FAST
@given(comparisons(names=st.text(st.sampled_from("=+-@'\t\r ＝a1|"), max_size=6)))  # noqa: RUF001
def test_no_field_is_a_formula(comparison: Comparison):
    for line in read_csv(to_csv(comparison)):
        for field in line.values():
            try:
                float(field)
            except ValueError:
                assert not field or field[0] == "'" or field[0] not in LED


def test_an_apostrophe_leads_what_begins_like_a_formula():
    assert [spreadsheet(text) for text in ("=1+1", "@x", "-a", "'a", "a=1", "", "1-2")] == [
        *("'=1+1", "'@x", "'-a", "''a", "a=1", "", "1-2")
    ]


def test_differences_and_everything_else_of_a_cell_are_there():
    comparison = rich_comparison()
    lines = read_csv(to_csv(comparison))
    for line, (group, _, _, own) in zip(lines, cells_of(comparison), strict=True):
        found = tuple(number(line[key]) for key in ("difference", "difference_low", "difference_high"))
        assert found == (own.difference or (None, None, None))
        assert number(line["level"]) == (None if own.low is None else group.level)
        assert line["clips_sha256"] == group.data.get("clips_sha256", "")


def test_what_is_no_number_is_empty_and_null():
    cell = Cell(0.5, p_value=math.nan, difference=(0.0, -math.inf, math.inf))
    comparison = Comparison((Group("t", "measured", "exact", COLUMNS, (Row("m", (cell,)),), {"x": math.nan}),))
    (line,) = read_csv(to_csv(comparison))
    assert (line["p_value"], line["difference"], line["difference_low"]) == ("", "0.0", "")
    read = json.loads(to_json(comparison), parse_constant=pytest.fail)["groups"][0]
    assert read["rows"][0]["cells"][0]["p_value"] is None
    assert read["rows"][0]["cells"][0]["difference"] == [0.0, None, None]
    assert read["data"] == {"x": None}


def test_result_files_are_not_in_it():
    group = replace(measured(models=2), results={"trinet": (("a.json", {"scores": ["the whole file"]}),)})
    for text in (to_json(Comparison((group,))), to_csv(Comparison((group,)))):
        assert "the whole file" not in text


def test_a_name_that_no_encoding_has_can_be_written():
    group = replace(measured(models=1), title="half \ud83d of a sign")
    for form in ("table", "md", "latex", "csv", "json"):
        assert render(Comparison((group,)), form).encode()


def test_formats_by_name():
    comparison = rich_comparison()
    assert render(comparison, "table", 100) == plain_leaderboard(comparison, 100)
    starts = {"md": "## synthetic", "latex": "% Needs", "csv": '"group","group_kind"', "json": '{\n "schema": 1'}
    for form, start in starts.items():
        text = render(comparison, form)
        assert text.startswith(start)
        assert text.endswith("\n")
        assert "\x1b" not in text
