"""Write the coverage tables of the docs from benchmarks/results/interval_coverage.json.

Run `python -m benchmarks.scores.interval_coverage --table`.
"""

import json
import textwrap
from collections.abc import Callable
from typing import Any

from benchmarks.common import RESULTS, ROOT, replace_section, table

PATH = RESULTS / "interval_coverage.json"
WRITTEN = "written by `python -m benchmarks.scores.interval_coverage --table`"
PEOPLE = (20, 60, 189)
STRATA = ("U", "G")

Result = dict[str, Any]


def main() -> None:
    parts = {name: part["results"] for name, part in json.loads(PATH.read_text())["parts"].items()}
    tables: dict[str, dict[str, Callable[[dict[str, list[Result]]], str]]] = {
        "docs/reference/scores.md": {"coverage": of_scores, "coverage of good models": of_levels},
        "docs/protocols.md": {"coverage": of_lists},
        "docs/scores.md": {"coverage": of_binomial},
        "benchmarks/README.md": {"coverage of others": of_others, "coverage of draws": of_draws},
    }
    for name, sections in tables.items():
        for section, made in sections.items():
            marks = f"<!-- {section}: {WRITTEN} -->", f"<!-- /{section} -->"
            replace_section(ROOT / name, *marks, made(parts))


def of_scores(parts: dict[str, list[Result]]) -> str:
    found = parts["scores"]
    columns = [{"people": people, "stratum": stratum} for people in PEOPLE for stratum in STRATA]
    exact = [select(found, **column, protocol="exact", n=2) for column in columns]
    male = [cell(select(found, people=people, stratum="male", protocol="exact", n=2)) for people in PEOPLE]

    def line(name: str, method: str, **keys: Any) -> str:
        return row(name, method, *(cell(select(found, **column, **keys)) for column in columns))

    rows = [
        row("1:2", "identity", *map(cell, exact)),
        row("1:2 of male probes", "identity", *(text for of_people in male for text in ("", of_people))),
        line("1:2, `clip_weighted`", "identity", protocol="clip_weighted", n=2),
        *(line(f"1:{n}", "jackknife", metric="accuracy", n=n) for n in (3, 5, 10, 20, 50, 100)),
        *(line(metric, "identity", metric=metric) for metric in ("AUC", "EER")),
        *(line(metric, "jackknife", metric=metric) for metric in ("mAP", "R@1", "R@5", "R@10", "R@50", "R@100")),
        row("*half width of 1:2, points*", "", *(f"*± {100 * own[0]['mean_half_width']:.1f}*" for own in exact)),
    ]
    header = row("score", "`ci_method`", *(" ".join(map(str, column.values())) for column in columns))
    return table(header, rows) + "\n\n" + uncertainty(found)


def of_levels(parts: dict[str, list[Result]]) -> str:
    found = parts["levels"]
    rows = []
    for metric, name in (("accuracy", "1:2"), ("AUC", "AUC"), ("EER", "EER")):
        for dimensions in dict.fromkeys(result["dimensions"] for result in found):
            own = [select(found, people=people, dimensions=dimensions, metric=metric) for people in PEOPLE]
            rows.append(row(name, f"{100 * own[-1][0]['truth']:.1f} %", *map(cell, own)))
    header = row("score", "true value", *(f"{people} people" for people in PEOPLE))
    return table(header, rows) + "\n\n" + uncertainty(found)


def of_others(parts: dict[str, list[Result]]) -> str:
    def line(name: str, method: str, **keys: Any) -> str:
        return row(name, method, *(cell(select(parts["others"], people=people, **keys)) for people in PEOPLE))

    cells = {"kind": "joint", "protocol": "voices=5,faces=5"}
    rows = [
        line("joint 1:2, means of 5 voices and 5 faces", "identity", metric="accuracy", **cells),
        line("joint mAP, the same", "jackknife", metric="mAP", **cells),
        line("1:2 as TriNet weighs people, U", "identity", protocol="trinet_exact", stratum="U", n=2),
        line("1:3 as TriNet weighs people", "identity", protocol="trinet_exact", n=3),
        line("1:2 as Kim weighs people, U", "identity", protocol="kim_exact", stratum="U"),
        line("AUC of all lists drawn as DRL's, U", "identity", protocol="drl_exact", stratum="U", metric="AUC"),
        line("AUC of all lists drawn as DRL's, G", "identity", protocol="drl_exact", stratum="G", metric="AUC"),
    ]
    rows += [line(f"1:{n} of a relative scorer, 100,000 trials", "identity", kind="relative", n=n) for n in (2, 10)]
    rows += [
        line(f"{name}, {where}-video pairs", method, kind="videos", protocol=f"{where}_video", metric=metric)
        for where in ("same", "cross")
        for name, metric, method in (
            ("1:2", "accuracy", "identity"),
            ("AUC", "AUC", "identity"),
            ("mAP", "mAP", "jackknife"),
        )
    ]
    for name, models in (
        ("difference of two equally good models", ["first", "second"]),
        ("difference of a better and a worse model", ["all", "first"]),
    ):
        for stratum in STRATA:
            found = [select(parts["models"], people=people, models=models, stratum=stratum) for people in PEOPLE]
            rows.append(row(f"{name}, {stratum}", "`paired_difference`", *map(cell, found)))
    found = [select(parts["models"], people=people, models=["first", "second"], stratum="U") for people in PEOPLE]
    shares = [f"{100 * result['share_of_p_below_0.05']:.1f}" for (result,) in found]
    rows.append(row("p < 0.05 for the equally good ones, U", "`paired_difference`", *shares))
    header = row("score", "interval", *(f"{people} people" for people in PEOPLE))
    return table(header, rows) + "\n\n" + uncertainty(parts["others"] + parts["models"])


def of_draws(parts: dict[str, list[Result]]) -> str:
    kinds = [
        ("`binomial`", "binomial", 10_000, "10,000 sampled triplets"),
        ("`binomial`", "binomial", 1_000_000, "1,000,000 sampled triplets"),
        ("`binomial`", "binomial", 30_720_000, "30,720,000 sampled triplets"),
        ("`subsets`", "subsets", None, ""),
        ("`repeats`", "repeats", None, ""),
    ]
    rows = []
    for title, kind, of, what in kinds:
        found = [result for result in parts["draws"] if result["interval"] == kind and of in (None, result["of"])]
        for people in sorted({result["people"] for result in found}):
            clips, population = (cell(select(found, people=people, about=about)) for about in ("clips", "people"))
            name = what or str(select(found, people=people, about="clips")[0]["of"])
            rows.append(row(title, name, str(people), clips, population))
    return table(row("`ci_method`", "of", "people", "value of these clips", "population's value"), rows)


def of_lists(parts: dict[str, list[Result]]) -> str:
    rows = []
    found = parts["lists"]
    for people, given in dict.fromkeys((r["people"], r["rows_of_a_person"]) for r in found):
        cells = [
            cell(select(found, people=people, rows_of_a_person=given, metric=metric, n=n))
            for metric, n in (("AUC", 1), ("EER", 1), ("accuracy", 2), ("accuracy", 10))
        ]
        rows.append(row(str(people), given, *cells))
    listed = table(row("people", "rows of a person", "AUC", "EER", "1:2", "1:10"), rows)
    return listed + "\n\n" + uncertainty(found)


def of_binomial(parts: dict[str, list[Result]]) -> str:
    kinds = [
        ("binomial, 10,000 sampled triplets", "binomial", 10_000),
        ("the same at 99 %", "binomial 99 %", 10_000),
        ("binomial, 1,000,000", "binomial", 1_000_000),
        ("binomial, 30,720,000", "binomial", 30_720_000),
        ("over people, all triplets", "identity", "all triplets"),
    ]
    rows = []
    for title, kind, of in kinds:
        found = select(parts["draws"], interval=kind, of=of)
        people = [select(found, people=number, about="people") for number in PEOPLE]
        half = 100 * people[-1][0]["mean_half_width"]
        own = cell(select(found, about="clips")) if kind != "identity" else ""
        rows.append(row(title, f"± {half:.3f}" if half < 0.1 else f"± {half:.2f}", own, *map(cell, people)))
    held = (f"population's value, {people} people" for people in PEOPLE)
    header = row("interval", "half width, 189 people", "value of their own clips", *held)
    return table(header, rows)


def select(results: list[Result], **keys: Any) -> list[Result]:
    return [result for result in results if all(result.get(key) == value for key, value in keys.items())]


def cell(found: list[Result]) -> str:
    """Coverage in per cent: of both directions, which are alike in this population, the mean."""
    found = [result for result in found if "coverage" in result]
    if not found:
        return "-"
    share = sum(result["coverage"] for result in found) / len(found)
    there = sum(result["intervals"] for result in found) / sum(result["draws"] for result in found)
    return f"{100 * share:.1f}" + (f" (of {100 * there:.0f} %)" if there < 0.995 else "")


def uncertainty(results: list[Result]) -> str:
    """How far a coverage of 95 % may be off, by number of draws."""
    parts = []
    for people in dict.fromkeys(result["people"] for result in results):
        # The scores whose truth is a mean may be lacking in some draws, such as R@100 in a gallery of 99.
        known = [r["draws"] for r in results if r["people"] == people and r["truth_is"] == "closed form"]
        numbers = sorted({min(known), max(known)})
        draws = " to ".join(f"{number:,}" for number in numbers)
        points = " to ".join(f"{196 * (0.95 * 0.05 / number) ** 0.5:.1f}" for number in reversed(numbers))
        parts.append(f"{draws} of {people} people (± {points})")
    return textwrap.fill(f"Draws, and how far off a coverage of 95 % may be in points: {'; '.join(parts)}.", 160)


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
