"""The scores of a checkpoint in its card: Markdown from a result and the calibration only."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from voiceface.evaluation.cells import stratum_name

WAYS = {"v2f": "voice to face", "f2v": "face to voice"}
MATCHING = ("exact", "sampled")
RETRIEVAL = ("mAP", "R@10")

Record = Mapping[str, Any]


def scores_text(config: Mapping[str, Any], results: Mapping[str, Any] | None) -> str:
    """Write the card's section on scores.

    Args:
        config: Content of `config.json`.
        results: Content of `results.json`; None: not tested yet.

    Returns:
        Markdown: 1:2 matching in both directions and AUC by stratum, retrieval, each with interval and chance, the
            ideal
        observer's scores if known, and the calibration's error.
    """
    if results is None:
        return "Not tested yet; `voiceface test CHECKPOINT --data CORPUS` tests it.\n\n" + _calibration(config)
    data, scores, ideal = results["data"], results["scores"], results.get("ideal_observer") or []
    levels = [record["ci_level"] for record in scores if record["ci_level"] is not None]
    said = (
        f"On split {code(data['split'])} of corpus {code(data['corpus'])}, version {code(data['version'])}: "
        f"{data['identities']:,} people, {data['voices']:,} voices, {data['faces']:,} faces. In per cent"
        + (f", with intervals of {levels[0]:.0%} confidence" if levels else "")
        + ("; chance is in parentheses." if scores else ".")
    )
    leaking = data.get("leaking_identities")
    if leaking:
        said += f" **The model was trained on {leaking:,} of these people.**"
    elif leaking is None:
        said += " Whether it was trained on any of these people is not known."
    tables = (_matching(scores, ideal), _retrieval(scores, ideal), _words(scores, ideal))
    return "\n\n".join(filter(None, (said, *tables, _calibration(config))))


def _words(scores: Sequence[Record], ideal: Sequence[Record]) -> str:
    """Explain the terms in the tables."""
    said = []
    if ideal:
        said.append(
            "Ideal: the best that anything can reach on these clips, "
            "for an observer that knows how the clips were generated."
        )
    if any(set(record["stratum"]) - {"U"} for record in scores):
        said.append(
            "In a row, the people to tell apart agree in what is named: G is gender, N nationality, A age; a male or "
            "female probe is who is asked about."
        )
    return " ".join(said)


def code(value: object) -> str:
    """Format third-party text as Markdown code, so that it cannot start a heading, link or column."""
    kept = "".join(letter if letter.isprintable() and letter not in "`|" else " " for letter in str(value))
    return f"`{' '.join(kept.split())}`"


def _matching(scores: Sequence[Record], ideal: Sequence[Record]) -> str:
    """Tabulate 1:2 matching and AUC by stratum; `ideal` has the best possible scores."""
    columns: dict[str, dict[str, Any]] = {
        f"1:2 {words}": {"task": "matching", "metric": "accuracy", "direction": way, "n": 2}
        for way, words in WAYS.items()
    }
    columns["AUC of pairs"] = {"task": "verification", "metric": "AUC"}
    main = [r for r in scores if r["protocol"] in MATCHING and r["value"] is not None]
    columns = {name: wanted for name, wanted in columns.items() if any(_find([r], r["stratum"], wanted) for r in main)}
    strata = list(dict.fromkeys(r["stratum"] for r in main if r["task"] == "matching" and r["n"] == 2))
    rows = []
    for stratum in strata:
        row = [stratum_name(stratum)]
        for wanted in columns.values():
            row += [_cell(_find(main, stratum, wanted)), *([_short(_find(ideal, stratum, wanted))] if ideal else [])]
        rows.append(row)
    heads = [head for name in columns for head in ([name, "ideal"] if ideal else [name])]
    return _drawn(["people to tell apart", *heads], rows)


def _retrieval(scores: Sequence[Record], ideal: Sequence[Record]) -> str:
    """Tabulate mAP and R@10 over the whole split."""
    rows = []
    whole = [r for r in scores if r["protocol"] == "whole_split" and r["value"] is not None]
    for way, words in WAYS.items():
        found = [_find(whole, "U", {"task": "retrieval", "metric": m, "direction": way}) for m in RETRIEVAL]
        best = [_find(ideal, "U", {"task": "retrieval", "metric": m, "direction": way}) for m in RETRIEVAL]
        if any(found):
            cells = [[_cell(one), *([_short(of)] if ideal else [])] for one, of in zip(found, best, strict=True)]
            rows.append([f"{words}, among {next(r['n'] for r in found if r):,}", *cells[0], *cells[1]])
    heads = [head for name in RETRIEVAL for head in ([name, "ideal"] if ideal else [name])]
    return _drawn(["retrieval", *heads], rows)


def _calibration(config: Mapping[str, Any]) -> str:
    """Describe the reliability of match probabilities."""
    fitted = config["calibration"] or {}
    if not fitted:
        return "No calibration: scores are given without probabilities."
    known = [f"{WAYS[way]} {100 * one['error']:.1f}" for way, one in fitted.items() if one["error"] is not None]
    text = (
        "The probability that the first of two candidates is the right one is sigmoid(slope x difference of their "
        "scores), fitted on validation people: "
        + ", ".join(f"{WAYS[way]} slope {one['slope']:.4g}" for way, one in fitted.items())
        + ". "
    )
    error = f"Expected calibration error on the test people, in per cent: {', '.join(known)}." if known else ""
    strangers = " It is of two people drawn at random; of two of one gender, who are more alike, it promises too much."
    return text + (error or "Its error on test people is not measured yet.") + strangers


def _find(records: Iterable[Record], stratum: str, wanted: Mapping[str, Any]) -> Record | None:
    """Return the first matching record of a stratum."""
    for record in records:
        if record["stratum"] == stratum and all(record[key] == value for key, value in wanted.items()):
            return record
    return None


def _cell(record: Record | None) -> str:
    """Format value, interval and chance."""
    if record is None:
        return "-"
    ends = "" if record["ci_low"] is None else f" [{100 * record['ci_low']:.1f}, {100 * record['ci_high']:.1f}]"
    chance = "" if record["chance"] is None else f" ({100 * record['chance']:.1f})"
    return f"{_short(record)}{ends}{chance}"


def _short(record: Record | None) -> str:
    return "-" if record is None or record["value"] is None else f"{100 * record['value']:.1f}"


def _drawn(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Build a Markdown table without empty columns; empty if it has no rows."""
    kept = [i for i in range(len(heads)) if i == 0 or any(row[i] != "-" for row in rows)]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line[i] for i in kept) + " |" for line in lines) if rows else ""
