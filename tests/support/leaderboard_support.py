"""Leaderboards made by hand."""

import random
from typing import Any

import hypothesis.strategies as st

from voiceface.compare.table import EMPTY, Cell, Column, Comparison, Group, Row, columns_of

WORDS = ("AUC", "AUC/G", "AUC/N", "AUC/A", "AUC/GNA")
WORDS += tuple(f"1:2/{s}/{d}" for d in ("v2f", "f2v") for s in ("U", "G", "N", "GN"))
WORDS += ("1:10/v2f", "1:10/f2v", "mAP/v2f", "R@10/v2f", "mAP/f2v", "R@10/f2v")
COLUMNS = tuple(column for word in WORDS for column in columns_of(word))
NAMES = ("trinet", "dimnet_ig", "kim|f2v", "drl_no_shared_layer", "svhf*", "<pins>", "horiguchi_with_a_long_name")
STARS = "read off a plot"


def chance_of(column: Column) -> float:
    return 1 / column.n if column.n else {"AUC": 0.5, "EER": 0.5, "mAP": 0.014, "R@10": 0.065}.get(column.metric, 98.0)


def measured(models: int = 20, columns: tuple[Column, ...] = COLUMNS, seed: int = 0) -> Group:
    """Models from good to bad, the first the best; 3 seeds each fifth; one is not ranked, one lacks retrieval."""
    rng = random.Random(seed)
    rows = []
    for number in range(models):
        cells = []
        for column in columns:
            value = chance_of(column) + (0.4 - 0.38 * number / models) * rng.uniform(0.9, 1.0)
            half = rng.uniform(0.01, 0.05)
            low = value - half if column.task != "retrieval" else value - half / 3
            cells.append(
                Cell(
                    value,
                    low,
                    value + half,
                    spread=rng.uniform(0.002, 0.02) if number % 5 == 4 else None,
                    same=None if number in (0, 7) else number < 4 or number == 5,
                    p_value=None if number in (0, 7) else 0.5 if number < 4 else 1e-9,
                    difference=None if number in (0, 7) else (-0.02 * number, -0.02 * number - 0.01, 0.0),
                )
            )
        name = NAMES[number] if number < len(NAMES) else f"model_{number}"
        if number == 6:
            cells = [EMPTY if c.task == "retrieval" else own for c, own in zip(columns, cells, strict=True)]
        rows.append(
            Row(
                name,
                tuple(cells),
                recipe=name,
                parameters=(828_160 + 40_001 * number) * (30 if number % 3 else 1),
                training_data="synthetic, train" if number else "my people, 30 % of train",
                steps=800,
                seeds=3 if number % 5 == 4 else 1,
                source=f"runs/{number}/results.json",
                notes=("trained on 12 of these 150 people: not ranked",)
                if number == 5
                else ("skipped 2 clips",) * (number == 3),
                ranked=number != 5,
            )
        )
    for place, column in enumerate(columns):
        ranked = [i for i, row in enumerate(rows) if row.ranked and row.cells[place].value is not None]
        if ranked:
            best = (min if column.lower_is_better else max)(ranked, key=lambda i: rows[i].cells[place].value or 0.0)
            own = list(rows[best].cells)
            own[place] = Cell(own[place].value, own[place].low, own[place].high, own[place].spread, best=True)
            rows[best] = Row(**{**vars(rows[best]), "cells": tuple(own)})
    rows.append(Row("chance", tuple(Cell(chance_of(c)) for c in columns), kind="chance", ranked=False))
    ideal = tuple(Cell(chance_of(c) + 0.45) for c in columns)
    rows.append(Row("ideal observer", ideal, kind="ideal", ranked=False))
    data: dict[str, Any] = {
        "corpus": "synthetic",
        "split": "test",
        "identities": 150,
        "clips_sha256": "00eac2573088b881",
    }
    title = "synthetic, test split: 150 people, 600 voices, 900 faces"
    return Group(title, "measured", "exact", columns, tuple(rows), data, ("The corpus is synthetic.",), 0.95, {})


def published() -> Group:
    columns = tuple(c for word in ("AUC", "1:2", "mAP") for c in columns_of(word))
    rows = (
        Row(
            "DRL",
            (Cell(0.8503, best=True), Cell(0.8518, best=True), Cell(0.8542, best=True), Cell(0.0675), Cell(0.0619)),
        ),
        Row("PINs", (Cell(0.785), EMPTY, Cell(0.838, mark=STARS), EMPTY, EMPTY), source="Table 2"),
        Row("someone", (EMPTY, Cell(0.7, 0.69, 0.71), Cell(0.71, mark="curve of Fig. 3"), EMPTY, EMPTY)),
        Row("chance", tuple(map(Cell, (0.5, 0.5, 0.5, 0.0215, 0.0215))), kind="chance", ranked=False),
    )
    data = {"split": "924/112/189", "identities": 189, "gallery": "the whole split"}
    return Group("DRL (2021), Table 2: verification & matching", "published", "as in the paper", columns, rows, data)


def study() -> Group:
    columns = tuple(c for word in ("1:2", "1:3/v2f", "EER", "median_rank/v2f") for c in columns_of(word))
    rows = (
        Row(
            "headline",
            (Cell(0.797, 0.77, 0.82, paper=0.8448), Cell(0.788), Cell(0.66, paper=0.735), Cell(0.277), Cell(63.0)),
        ),
        Row("mean of 5 faces", (Cell(0.81), Cell(0.8), Cell(0.67), EMPTY, Cell(60.5))),
    )
    return Group("TriNet ablation", "study", "exact", columns, rows, {}, ("Demo networks on a synthetic corpus.",))


def rich_comparison() -> Comparison:
    return Comparison(
        (measured(), published(), study()),
        (("old.json", "result schema 9, this version reads (1, 2); update voiceface"), ("b_*.json", "empty | file")),
        ("Tables of different clips are not ranked with each other.",),
    )


def naive(cell: Cell, column: Column) -> str:
    """A value as a table shows it, written anew: per cent to one place, half the interval or its ends."""
    if cell.value is None:
        return "-"
    if column.metric == "median_rank":
        return f"{cell.value:,.0f}" if round(cell.value, 1) == int(cell.value) else f"{cell.value:,.1f}"
    value = 100 * cell.value
    places = 2 if 0 < value < 1 else 1
    if cell.low is None or cell.high is None:
        return f"{value:.{places}f}"
    low, high = 100 * cell.low, 100 * cell.high
    if abs(value - (low + high) / 2) > max((high - low) / 10, 0.05):
        return f"{value:.{places}f} ({low:.{places}f}-{high:.{places}f})"
    return f"{value:.{places}f} ± {(high - low) / 2:.{places}f}"


SOME = tuple(c for w in ("AUC", "EER/G", "1:2/GN", "1:10/v2f", "mAP", "median_rank/f2v") for c in columns_of(w))


ANY_TEXT = st.text(max_size=30)


@st.composite
def comparisons(draw: st.DrawFn, names: st.SearchStrategy[str] = ANY_TEXT) -> Comparison:
    """Any small leaderboard; names and notes are any text."""
    groups = []
    for _ in range(draw(st.integers(1, 2))):
        columns = tuple(draw(st.lists(st.sampled_from(SOME), min_size=1, max_size=6, unique=True)))
        rows = []
        for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
            cells = tuple(draw(_cells(column)) for column in columns)
            rows.append(
                Row(
                    name,
                    cells,
                    parameters=draw(st.none() | st.integers(0, 10**9)),
                    training_data=draw(names),
                    steps=draw(st.none() | st.integers(0, 10**6)),
                    seeds=draw(st.integers(1, 5)),
                    notes=tuple(draw(st.lists(names, max_size=2))),
                    ranked=draw(st.booleans()),
                )
            )
        rows.append(Row("chance", tuple(Cell(chance_of(c)) for c in columns), kind="chance", ranked=False))
        groups.append(Group(draw(names), "measured", "exact", columns, tuple(rows), notes=(draw(names),)))
    return Comparison(tuple(groups), tuple(draw(st.lists(st.tuples(names, names), max_size=2))))


@st.composite
def _cells(draw: st.DrawFn, column: Column) -> Cell:
    value = draw(st.none() | st.floats(0.02, 0.9))
    if value is not None and column.metric == "median_rank":
        value = round(1 + 1000 * value)
    wide = draw(st.booleans()) and value is not None and column.metric != "median_rank"
    return Cell(
        value,
        value - 0.015 if wide else None,
        value + 0.015 if wide else None,
        spread=draw(st.none() | st.floats(0.001, 0.1)),
        best=draw(st.booleans()),
        same=draw(st.sampled_from((None, True, False))),
        mark=draw(st.sampled_from(("", "", "read off a plot", "by eye"))),
    )
