"""Results as a table in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

STRATA = {
    "U": "anybody",
    "G": "same gender",
    "N": "same nationality",
    "A": "same age",
    "E": "same ethnicity",
    "F": "same first language",
    "GN": "same G and N",
    "GNA": "same G, N and A",
    "male": "male probe, G",
    "female": "female probe, G",
}


def _find(records: Sequence[Mapping[str, Any]], **wanted: Any) -> Mapping[str, Any] | None:
    return next((r for r in records if all(r[k] == v for k, v in wanted.items())), None)


def _percent(record: Mapping[str, Any] | None) -> str:
    if record is None or record["value"] is None:
        return "-"
    text = f"{100 * record['value']:.1f}"
    if record["ci_low"] is not None:
        text += f" ± {100 * (record['ci_high'] - record['ci_low']) / 2:.1f}"
    return text


def _share(model: Mapping[str, Any] | None, ideal: Mapping[str, Any] | None) -> str:
    if not model or not ideal or None in (model["value"], ideal["value"]) or ideal["value"] <= ideal["chance"]:
        return "-"
    return f"{100 * (model['value'] - model['chance']) / (ideal['value'] - ideal['chance']):.0f}"


def results_table(results: Mapping[str, Any]) -> Table:
    """Lay out a result: matching per stratum, then retrieval, in both directions.

    Beside each value stand its interval, chance, and where it is known the ideal observer's value and the share of its
    excess over chance that the model reaches.

    Args:
        results: Content of a result file.

    Returns:
        A rich table; values in percent.
    """
    data, model = results["data"], results["model"]
    ideal = results.get("ideal_observer")
    size = f"{data['identities']} people, {data['voices']} voices, {data['faces']} faces"
    title = f"{model['recipe'] or model['method']} on {data['corpus']} ({data['split']}: {size})"
    caption = "Per cent; ± is half the 95 % interval over identities."
    if ideal:
        caption += " share: of the ideal observer's excess over chance."
    if data["skipped"]:
        caption += f"\n{data['skipped']} damaged clips were left out."
    if data["synthetic"]:
        caption += "\nThe corpus is synthetic: no number here is one about people."
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("task")
    table.add_column("candidates")
    for direction in ("voice → face", "face → voice"):
        table.add_column(direction, justify="right")
        if ideal:
            table.add_column("ideal", justify="right", style="dim")
            table.add_column("share", justify="right", style="cyan")
    table.add_column("chance", justify="right", style="dim")
    scores = results["scores"]
    strata = [
        r["stratum"]
        for r in scores
        if (r["task"], r["direction"], r["protocol"], r["n"]) == ("matching", "v2f", "exact", 2)
    ]
    rows = [
        (
            "1:2 accuracy",
            STRATA.get(s, s),
            {"task": "matching", "protocol": "exact", "stratum": s, "metric": "accuracy", "n": 2},
        )
        for s in strata
    ]
    metrics = [
        r["metric"]
        for r in scores
        if (r["task"], r["direction"]) == ("retrieval", "v2f") and r["metric"] != "median_rank"
    ]
    rows += [("retrieval " + m, "whole split", {"task": "retrieval", "metric": m}) for m in metrics]
    for task, candidates, wanted in rows:
        if task == "retrieval mAP":
            table.add_section()
        cells = [task, candidates]
        for direction in ("v2f", "f2v"):
            model_record = _find(scores, direction=direction, **wanted)
            cells.append(_percent(model_record))
            if ideal:
                best = _find(ideal, direction=direction, **wanted)
                cells += [
                    "-" if best is None or best["value"] is None else f"{100 * best['value']:.1f}",
                    _share(model_record, best),
                ]
        found = [_find(scores, direction=direction, **wanted) for direction in ("v2f", "f2v")]
        chances = [f"{100 * r['chance']:.1f}" for r in found if r is not None and r["chance"] is not None]
        cells.append(" / ".join(dict.fromkeys(chances)) or "-")
        table.add_row(*cells)
    return table


def print_table(results: Mapping[str, Any]) -> None:
    """Print a result's table to standard output."""
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(results_table(results))
