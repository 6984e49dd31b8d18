"""Tables of the detailed scores: trial lists, protocols, galleries, joint scores."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from voiceface.evaluation.cells import DIRECTIONS, METRICS, Record, Scores, cell, chance, heads, new_table, stratum_name

LIST_METRICS = ("accuracy", "AUC", "EER", "mAP", "R@1", "R@10", "median_rank")
PROTOCOLS = ("trinet", "kim", "drl", "pins")


def list_table(scores: Scores, lists: Sequence[Mapping[str, Any]]) -> RenderableType | None:
    """Build the table of trial lists, one row each: coverage and scores."""
    if not lists:
        return None
    used = [
        m for m in LIST_METRICS if any(m in scores.different("metric", protocol=listed["name"]) for listed in lists)
    ]
    table = new_table("trial lists", "list", "task", values=["scored", "of rows", *(m.replace("_", " ") for m in used)])
    for listed in lists:
        found = {
            r["metric"]: r
            for r in scores.records
            if (r["protocol"], r["direction"]) == (listed["name"], listed["direction"])
        }
        task = " ".join(filter(None, (listed["kind"], DIRECTIONS.get(listed["direction"]))))
        cells = [cell(found[m]) if m in found else "" for m in used]
        table.add_row(escape(listed["name"]), task, f"{listed['scored']:,}", f"{listed['rows']:,}", *cells)
    return table


def protocol_table(scores: Scores, absent: Sequence[Mapping[str, str]]) -> RenderableType | None:
    """Build the table of the papers' protocols: each sampled value beside the exact value that it estimates."""
    there = [p for p in PROTOCOLS if {p, f"{p}_exact"} & {*scores.different("protocol")}]
    if not there:
        return None
    table = new_table(
        "protocols of the papers",
        "protocol",
        "score",
        "",
        "candidates",
        values=["sampled", "exact", "chance"],
        caption=f"sampled: ± covers the drawing of the trials only{_levels(scores)}.",
    )
    for protocol in there:
        exact = {_same(r): r for r in scores.records if r["protocol"] == f"{protocol}_exact"}
        for record in [r for r in scores.records if r["protocol"] == protocol]:
            beside = exact.get(_same(record))
            words = DIRECTIONS.get(record["direction"], "")
            score = f"1:{record['n']} accuracy" if record["task"] == "matching" else record["metric"]
            stratum = stratum_name(record["stratum"])
            table.add_row(protocol, score, words, stratum, cell(record), cell(beside), chance(record))
        for record in scores.records:
            if record["protocol"].startswith(f"{protocol}_subsets_") and record["metric"] == "accuracy":
                spread = scores.find("matching", "accuracy_spread", record["direction"], "U", record["protocol"], 2)
                name = f"{protocol}, {record['trials']} subsets of {record['identities']}"
                one = f"one subset ± {cell(spread)}"
                table.add_row(
                    name, "1:2 accuracy", DIRECTIONS[record["direction"]], one, cell(record), "", chance(record)
                )
    return _with_reasons(
        table, [a for a in absent if a["protocol"].partition("_")[0] in there and "gallery" not in a["protocol"]]
    )


def _levels(scores: Scores) -> str:
    """Name the confidence levels of sampled values if they differ from that of the exact ones."""
    usual = scores.different("ci_level", protocol="exact", n=2)
    odd = {r["protocol"]: r["ci_level"] for r in scores.records if r["ci_method"] == "binomial"}
    return "".join(f" ({p}: {100 * level:g} % interval)" for p, level in odd.items() if level not in usual)


def _same(record: Record) -> tuple[Any, ...]:
    return tuple(record[key] for key in ("task", "direction", "stratum", "n", "metric"))


def gallery_table(scores: Scores, absent: Sequence[Mapping[str, str]]) -> RenderableType | None:
    """Build the table of retrieval in the literature's galleries; `-` and the reason if there are too few clips."""
    missing = [a for a in absent if "_gallery" in a["protocol"]]
    there = scores.different("protocol", task="retrieval") + [a["protocol"] for a in missing]
    names = [name for name in dict.fromkeys(there) if "_gallery" in name]
    if not names:
        return None
    joint = [p for p in scores.different("protocol", task="joint_retrieval") if "_gallery" in p]
    captions = []
    if any("_gallery" in r["protocol"] for r in scores.records):
        captions.append("± covers the draws only.")
    if joint:
        captions.append("v:f: means of v voices and of f faces.")
    title = "retrieval in the galleries of the papers"
    table = new_table(title, "gallery", "", values=heads(METRICS), caption=" ".join(captions) or None, tight=True)
    for name in names:
        rows = {words: [scores.find("retrieval", m, d, "U", name) for m in METRICS] for d, words in DIRECTIONS.items()}
        if not any(any(found) for found in rows.values()):
            rows = {"both ways": [None] * len(METRICS)}
        for words, found in rows.items():
            table.add_row(name.replace("_gallery", "").replace("_", " "), words, *map(cell, found))
            if any(found):
                table.add_row("", "chance", *map(chance, found), style="dim")
    for protocol in joint:
        mean = scores.find("joint_retrieval", "mAP", "v2f", "U", protocol)
        gallery, voices, faces = (part.rpartition("=")[2] for part in protocol.split(","))
        name = f"{gallery.removesuffix('_gallery')} {voices}:{faces}"
        table.add_row(name, DIRECTIONS["v2f"], cell(mean), *[""] * (len(METRICS) - 1))
        table.add_row("", "chance", chance(mean), *[""] * (len(METRICS) - 1), style="dim")
    return _with_reasons(table, missing)


def joint_table(scores: Scores, absent: Sequence[Mapping[str, str]]) -> RenderableType | None:
    """Build the table of accuracy and mAP with means of m clips instead of one clip, where people have m clips."""
    reasons = [a for a in absent if a["protocol"] == "joint"]
    protocols = scores.different("protocol", task="joint_matching")
    if not protocols and not reasons:
        return None
    shapes = ("1 x m", "m x 1", "m x m")
    columns = [f"{metric}\n{shape}" for metric in ("1:2", "mAP") for shape in shapes]
    caption = "1 x m: a voice and the mean of m faces; m x 1: the mean of m voices and a face."
    table = new_table(
        "joint scores: means of m clips", "m", "", values=[*columns, "people"], caption=caption, tight=True
    )
    numbers = sorted({int(part.partition("=")[2]) for protocol in protocols for part in protocol.split(",")})
    for m, (direction, words) in product(numbers, DIRECTIONS.items()):
        found = [
            scores.find(task, metric, direction, "U", f"voices={voices},faces={faces}")
            for task, metric in (("joint_matching", "accuracy"), ("joint_retrieval", "mAP"))
            for voices, faces in ((1, m), (m, 1), (m, m))
        ]
        if any(r is not None and r["value"] is not None for r in found):
            people = " / ".join(str(r["identities"]) for r in found[:3] if r is not None)
            table.add_row(str(m), words, *map(cell, found), people)
    if not table.row_count:
        return Text("\n".join(dict.fromkeys(f"joint scores: none, for {a['reason']}" for a in reasons)), style="dim")
    return _with_reasons(table, reasons)


def _with_reasons(table: Table, absent: Sequence[Mapping[str, str]]) -> Group:
    """List below the table what is missing from it; once if both directions lack it."""
    by_protocol: dict[str, dict[str, str]] = {}
    for a in absent:
        by_protocol.setdefault(a["protocol"], {})[a["direction"]] = a["reason"]
    lines = []
    for protocol, reasons in by_protocol.items():
        name = protocol.replace("_", " ")
        if len(reasons) == len(DIRECTIONS):
            lines.append(f"{name}: {next(iter(reasons.values()))}")
        else:
            lines += [f"{name}, {DIRECTIONS[d]}: {reason}" for d, reason in reasons.items()]
    return Group(table, *(Text(line, style="dim") for line in lines))
