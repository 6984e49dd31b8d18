"""Results as terminal tables: the headline, or all scores."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from voiceface.evaluation.cells import (
    DIRECTIONS,
    LETTERS,
    METRICS,
    Record,
    Scores,
    cell,
    chance,
    heads,
    new_table,
    percent,
    percents,
    stratum_name,
)
from voiceface.evaluation.detail_tables import gallery_table, joint_table, list_table, protocol_table

__all__ = ["print_table", "results_table", "summary"]

STRATA_METRICS = ("mAP", "R@1", "R@10", "median_rank")
ARROWS = {"v2f": "v→f", "f2v": "f→v"}
SPARE = ("R@5", "R@50")
HEADLINE_N = (3, 5, 10)  # of 1:N, and the largest
MORE_N = (20, 50)
WIDTH = 96  # of all measures of retrieval
ONE_TABLE = 104  # of matching with the ideal observer, and verification beside it
ASKED = {"v2f": "A voice finds its face", "f2v": "A face finds its voice"}
COMPARED = {"cosine": "cosine", "euclidean": "Euclidean distance", "matrix": "the matrix given"}


def print_table(results: Mapping[str, Any], everything: bool = False) -> None:
    """Print a result's tables to standard output."""
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(results_table(results, everything, console.width))
    console.print(f"\n{summary(results)}", style="bold", highlight=False)


def summary(results: Mapping[str, Any]) -> str:
    """What a result says, in a sentence per direction.

    Args:
        results: Content of a result file.
    """
    scores, ideal = Scores(results["scores"]), Scores(results.get("ideal_observer") or [])
    lines = []
    for direction, asked in ASKED.items():
        record, best = scores.matching(direction), ideal.matching(direction)
        if record is not None and record["value"] is not None:
            known = "" if best is None else f", the best possible {percent(best['value'])}"
            lines.append(f"{asked} among two {percents(record)} of the time; chance is 50{known}.")
    return "\n".join(lines)


def results_table(results: Mapping[str, Any], everything: bool = False, width: int = ONE_TABLE) -> Group:
    """Lay out a result.

    Matching and verification by stratum, 1:N, retrieval over the whole split, videos, and the requested trial lists and
    protocols. If the ideal observer is known, its values are shown too, with the share of its excess over chance that
    the model reaches.

    Args:
        results: Content of a result file.
        everything: Also retrieval by stratum, clip-weighted accuracy, galleries and joint scores.
        width: Columns of the terminal. Below 104 verification has a table of its own where the ideal observer is known;
            below 96 R@5 and R@50 are left out, which a line says.

    Returns:
        Rich tables; values in per cent.
    """
    scores = Scores(results["scores"])
    ideal = Scores(results["ideal_observer"]) if results.get("ideal_observer") else None
    absent = results.get("absent", [])
    # Methods that only compare candidates with each other have only sampled trials.
    counted = "exact" if scores.different("stratum", task="matching", protocol="exact") else "sampled"
    parts: list[RenderableType | None] = [
        Text(_title(results), style="bold"),
        *_strata_tables(scores, ideal, counted, "1:2 matching and verification", width),
        _many_table(scores, ideal, counted, everything),
        _retrieval_table(scores, ideal, [m for m in METRICS if width >= WIDTH or m not in SPARE]),
        _video_table(scores),
        list_table(scores, results.get("lists", [])),
        protocol_table(scores, absent),
    ]
    if everything:
        parts += [
            _strata_retrieval_table(scores),
            *_strata_tables(scores, None, "clip_weighted", "1:2 matching, all triplets alike", width),
            gallery_table(scores, absent),
            joint_table(scores, absent),
        ]
    spaced = [part for table in parts if table is not None for part in (table, "")]
    return Group(*spaced, Text(_caption(results), style="italic"))


def _title(results: Mapping[str, Any]) -> str:
    data, model = results["data"], results["model"]
    size = f"{data['identities']} people, {data['voices']} voices, {data['faces']} faces"
    where = f" on {data['corpus']} ({data['split']}: {size})" if data["corpus"] else f": {size}"
    return f"{model['recipe'] or model['method']}{where}"


def _caption(results: Mapping[str, Any]) -> str:
    data, scores = results["data"], results["scores"]
    level = max((r["ci_level"] for r in scores if r["ci_method"] in ("identity", "jackknife")), default=None)
    lines = ["Per cent. In 1:2, AUC and EER chance is 50."]
    if level is not None:
        lines.append(f"± is half the {100 * level:g} % interval; people are the sampling unit.")
    if results.get("ideal_observer"):
        lines.append("share: how much of the best possible (ideal) score above chance the model reaches.")
    sampled = [r for r in scores if r["protocol"] == "sampled" and r["value"] is not None]
    if sampled and len(sampled) == len([r for r in scores if r["value"] is not None]):
        error = 100 * max(r["error_bound"] for r in sampled)
        lines.append(
            f"Candidates are compared with each other: {sampled[0]['trials']:,} seeded trials a number, which alone "
            f"move it by {error:.2f} at most; no verification or retrieval."
        )
    strata = {r["stratum"] for r in scores}
    probes = bool(strata & {"male", "female"})
    named = {c for stratum in strata if len(stratum) > 1 for c in stratum} | ({"G"} if probes else set())
    if letters := [f"{c}: same {LETTERS[c]}" for c in LETTERS if c in named]:
        lines.append(f"{', '.join(letters)}{'; the probe is the person asked about' if probes else ''}.")
    bound = max((r["error_bound"] for r in scores if r["task"] == "verification"), default=0.0)
    if bound >= 0.0005:
        lines.append(f"AUC and EER are exact to within {100 * bound:.2f}.")
    if data.get("similarity"):
        lines.append(f"Compared by {COMPARED[data['similarity']]}.")
    if data.get("one_modality"):
        lines.append(
            f"{data['one_modality']} people lack voices or faces: distractors in retrieval, in no other score."
        )
    if data.get("unknown_identities"):
        lines.append(f"Of {data['unknown_identities']} people no attribute is known.")
    if data["skipped"]:
        lines.append(f"{data['skipped']} damaged clips were left out.")
    if data["synthetic"]:
        lines.append("The corpus is synthetic: these numbers say nothing about real people.")
    return "\n".join(lines)


def _share(model: Record | None, ideal: Record | None) -> str:
    if not model or not ideal or None in (model["value"], ideal["value"]) or ideal["value"] <= ideal["chance"]:
        return "-"
    return f"{100 * (model['value'] - model['chance']) / (ideal['value'] - ideal['chance']):.0f}"


def _strata_tables(scores: Scores, ideal: Scores | None, protocol: str, title: str, width: int) -> list[Table]:
    """A table with a row for each stratum; two where one would be too wide."""
    strata = scores.different("stratum", task="matching", protocol=protocol, n=2)
    if not strata:
        return []
    verified = ["AUC", "EER"] if scores.different("stratum", task="verification", protocol=protocol) else []
    columns, verification = ["people", *DIRECTIONS.values()], list(verified)
    if ideal:  # groups of columns, each with its head, set apart by a space more
        columns = ["people", *(c for words in DIRECTIONS.values() for c in (f" {words}\nmodel", "ideal", "share"))]
        verification = [f"{metric:>{12 if metric == 'AUC' else 0}}" for metric in verified]
    split = ideal is not None and bool(verified) and width < ONE_TABLE
    first = new_table(
        title.removesuffix(" and verification") if split or not verified else title,
        "candidates",
        values=columns + ([] if split else verification),
        tight=ideal is not None,
    )
    second = new_table("verification", "candidates", values=verified)
    for stratum in strata:
        found = [scores.find("matching", "accuracy", d, stratum, protocol, 2) for d in DIRECTIONS]
        cells = [str(max(r["identities"] for r in found if r is not None))]
        for direction, record in zip(DIRECTIONS, found, strict=True):
            value = cell(record)
            cells.append(f"[bold]{value}[/bold]" if stratum == "U" else value)
            if ideal:
                best = ideal.find("matching", "accuracy", direction, stratum, "exact", 2)
                cells += [_value(best), _share(record, best)]
        verifying = [cell(scores.find("verification", m, "both", stratum, protocol)) for m in verified]
        first.add_row(stratum_name(stratum), *cells, *([] if split else verifying))
        second.add_row(stratum_name(stratum), *verifying[: len(verified)])
    return [first, second] if split else [first]


def _value(record: Record | None) -> str:
    return "-" if record is None else cell({**record, "ci_low": None})


def _many_table(scores: Scores, ideal: Scores | None, protocol: str, everything: bool) -> Table | None:
    numbers = sorted(n for n in scores.different("n", task="matching", protocol=protocol) if n > 2)
    shown = [n for n in numbers if n in HEADLINE_N or n == numbers[-1] or (everything and n in MORE_N)]
    if not shown:
        return None
    table = new_table("1:N matching", "candidates", "", values=[f"1:{n}" for n in shown])
    strata = scores.different("stratum", task="matching", protocol=protocol)
    for stratum, (direction, words) in product(strata if everything else ("U", "G"), DIRECTIONS.items()):
        found, best = (
            [part.find("matching", "accuracy", direction, stratum, counted, n) if part else None for n in shown]
            for part, counted in ((scores, protocol), (ideal, "exact"))
        )
        if any(r is not None and r["value"] is not None for r in found):
            table.add_row(stratum_name(stratum), words, *map(cell, found))
            if ideal:
                table.add_row("", "ideal", *map(_value, best), style="dim")
    table.add_row("chance", "", *(percent(1 / n) for n in shown), style="dim")
    return table


def _retrieval_table(scores: Scores, ideal: Scores | None, metrics: Sequence[str]) -> Table | None:
    shown = [m for m in metrics if m in scores.different("metric", task="retrieval", protocol="whole_split")]
    if not shown:
        return None
    left_out = [m for m in SPARE if m not in metrics]
    caption = f"{' and '.join(left_out)}: in terminals of {WIDTH} columns and more." if left_out else None
    table = new_table("retrieval over the whole split", "", values=heads(shown), caption=caption, tight=True)
    for direction, words in DIRECTIONS.items():
        found, best = (
            [part.find("retrieval", m, direction, "U", "whole_split") if part else None for m in shown]
            for part in (scores, ideal)
        )
        asks, asked = words.split(" → ")
        size = max((r["n"] for r in found if r is not None), default=0)
        table.add_row(f"{asks} → {size:,} {asked}s", *map(cell, found))
        if ideal:
            table.add_row("  ideal", *map(_value, best), style="dim")
        table.add_row("  chance", *map(chance, found), style="dim")
    return table


def _strata_retrieval_table(scores: Scores) -> Table | None:
    strata = [s for s in scores.different("stratum", task="retrieval", protocol="whole_split") if s != "U"]
    if not strata:
        return None
    table = new_table("retrieval among people alike", "candidates", "", values=heads(STRATA_METRICS))
    for stratum, (direction, words) in product(strata, DIRECTIONS.items()):
        found = [scores.find("retrieval", m, direction, stratum, "whole_split") for m in STRATA_METRICS]
        table.add_row(stratum_name(stratum), words, *map(cell, found))
        table.add_row("", "chance", *map(chance, found), style="dim")
    return table


def _video_table(scores: Scores) -> Table | None:
    shown = [p for p in ("same_video", "cross_video") if p in scores.different("protocol")]
    if not shown:
        return None
    one, two = ([f"{metric}\n{ARROWS[way]}" for way in DIRECTIONS] for metric in ("1:2", "mAP"))
    title, columns = "voice and face of one video, or of two", ["people", *one, "AUC", "EER", *two]
    table = new_table(title, "video", values=columns, caption="v→f: voice to face; f→v: face to voice.", tight=True)
    for protocol in shown:
        found = [scores.find("matching", "accuracy", d, "U", protocol, 2) for d in DIRECTIONS]
        people = max((r["identities"] for r in found if r is not None), default=0)
        found += [scores.find("verification", m, "both", "U", protocol) for m in ("AUC", "EER")]
        found += [scores.find("retrieval", "mAP", d, "U", protocol) for d in DIRECTIONS]
        table.add_row(protocol.removesuffix("_video"), str(people), *map(cell, found))
        table.add_row("chance", "", *map(chance, found), style="dim")
    return table
