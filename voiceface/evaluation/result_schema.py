"""The schema of a result file, and of earlier readable ones."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voiceface.utils.errors import UserError

SCHEMA = 2
READABLE = (1, 2)  # 1 had no seal, effects, examples or ROC curves
SECTIONS = ("schema", "model", "data", "environment", "scores")
# Keys of the sections and their types; `model` and `data` must have all of them.
MODEL: dict[str, Any] = {
    "recipe": str | None,
    "method": str,
    "arguments": dict | None,
    "parameters": int | None,
    "checkpoint": str | None,
    "training_data": dict | None,
}
DATA: dict[str, Any] = {
    "corpus": str | None,
    "version": str | None,
    "synthetic": bool | None,
    "clips_sha256": str,
    "split": str | None,
    "identities": int,
    "voices": int,
    "faces": int,
    "skipped": int,
}
TRAINING: dict[str, Any] = {"steps": int | None, "seed": int | None, "curve": list}
OPTIONAL: dict[str, dict[str, Any]] = {
    "model": {"directions": list},
    "data": {"leaking_identities": int | None, "people_sha256": str | None},
}
EXAMPLE = {"direction": str, "query": str, "candidates": int, "rank": int | float, "right": str, "best": list}
FITTED = {"slope": int | float, "intercept": int | float, "error": int | float | None}
CANDIDATE = {"key": str, "same": bool, "similarity": int | float}
ENVIRONMENT: dict[str, Any] = {"seed": int | None}
RECORD = (
    "task",
    "direction",
    "stratum",
    "n",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "ci_level",
    "ci_method",
    "chance",
    "identities",
    "trials",
    "ties",
    "protocol",
    "error_bound",
)
WORDS = ("task", "direction", "stratum", "metric", "protocol")  # of a record
COUNTS = ("n", "identities", "trials", "ties")
DIRECTIONS = ("v2f", "f2v", "both")


def check(path: Path, results: dict[str, Any]) -> None:
    """Reject anything that is not a valid result; in schema 1, fill in fields that its first files lacked.

    Args:
        path: The file, for messages.
        results: Its content; modified if it has schema 1.

    Raises:
        UserError: A section, a key or a field of a score is missing or of another type, or a value is not a score.
    """
    missing = [section for section in SECTIONS if section not in results]
    if missing:
        raise UserError(f"{path}: not a voiceface result (no {', '.join(missing)})")
    schema = results["schema"]
    if schema not in READABLE or type(schema) is not int:
        advice = "; update voiceface" if isinstance(schema, int) and schema > SCHEMA else ""
        raise UserError(f"{path}: result schema {schema}, this version reads {READABLE}{advice}")
    if schema == 1 and isinstance(results["data"], dict):
        results["data"] = {"skipped": 0, **results["data"]}
    for section, kinds in (("model", MODEL), ("data", DATA), ("environment", ENVIRONMENT), ("training", TRAINING)):
        content = results.get(section, {})
        if not isinstance(content, dict):
            raise UserError(f"{path}: its section {section} is no object; make the result again")
        absent = [key for key in kinds if key not in content] if section in ("model", "data") else []
        if absent:
            raise UserError(f"{path}: its section {section} lacks {', '.join(absent)}; make the result again")
        kinds = kinds | OPTIONAL.get(section, {})
        odd = next((key for key in kinds if key in content and not isinstance(content[key], kinds[key])), None)
        if odd:
            raise UserError(f"{path}: its {section}.{odd} is {content[odd]!r}; make the result again")
    if not all(direction in DIRECTIONS[:2] for direction in results["model"].get("directions", ())):
        raise UserError(f"{path}: its model.directions is {results['model']['directions']!r}; make the result again")
    curve = [*results.get("training", {}).get("curve", [])]
    if not all(isinstance(point, list) and len(point) == 2 and all(map(_is_number, point)) for point in curve):
        raise UserError(f"{path}: its training.curve is no list of pairs of numbers; make the result again")
    for section, wanted in (("roc", _is_roc), ("examples", _are_examples), ("calibration", _is_calibration)):
        if section in results and not wanted(results[section]):
            raise UserError(f"{path}: its section {section} is not as voiceface writes it; make the result again")
    if "effects" in results and not _names_a_file(results["effects"]):
        raise UserError(f"{path}: its section effects names no file beside it; make the result again")
    for section in ("scores", "ideal_observer"):
        records = results.get(section, [])
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise UserError(f"{path}: its section {section} is no list of scores; make the result again")
        if schema == 1 and section in results:
            results[section] = records = [{"error_bound": 0.0, **record} for record in records]
        for record in records:
            _check_record(path, record)


def _is_roc(curves: Any) -> bool:
    """Return whether `curves` has hit rates at 101 false-alarm rates, by stratum."""
    return isinstance(curves, dict) and all(
        isinstance(hits, list) and len(hits) == 101 and all(_is_number(hit) and 0.0 <= hit <= 1.0 for hit in hits)
        for hits in curves.values()
    )


def _are_examples(examples: Any) -> bool:
    """Return whether `examples` has the form written by `voiceface.evaluation.examples`."""
    if not isinstance(examples, list) or not all(_has(example, EXAMPLE) for example in examples):
        return False
    known = all(example["direction"] in DIRECTIONS[:2] for example in examples)
    return known and all(_has(one, CANDIDATE) for example in examples for one in example["best"])


def _is_calibration(calibration: Any) -> bool:
    """Return whether `calibration` has the form of `voiceface.evaluation.calibration.measure_calibration`."""
    return isinstance(calibration, dict) and all(
        way in DIRECTIONS[:2] and _has(one, FITTED) and all(n is None or _is_number(n) for n in one.values())
        for way, one in calibration.items()
    )


def _has(content: Any, kinds: Mapping[str, Any]) -> bool:
    return isinstance(content, dict) and all(isinstance(content.get(key), kind) for key, kind in kinds.items())


def _names_a_file(effects: Any) -> bool:
    """Return whether a section `effects` names a file in the result's own folder, and its hash."""
    if not isinstance(effects, dict) or not all(isinstance(effects.get(key), str) for key in ("file", "sha256")):
        return False
    name = str(effects["file"])
    return name.endswith(".npz") and Path(name).name == name and name.isprintable()


def _check_record(path: Path, record: Mapping[str, Any]) -> None:
    if record.keys() != set(RECORD):
        raise UserError(f"{path}: a score has the fields {', '.join(record)}; expected {', '.join(RECORD)}")
    what = {name: record[name] for name in WORDS}
    if not all(isinstance(word, str) and word for word in what.values()) or record["direction"] not in DIRECTIONS:
        raise UserError(f"{path}: a score is of {', '.join(map(str, what.values()))}; make the result again")
    least = 2 if record["task"] == "matching" else 0  # candidates
    if any(type(record[name]) is not int or record[name] < 0 for name in COUNTS) or record["n"] < least:
        raise UserError(f"{path}: a {record['metric']} has no whole {', '.join(COUNTS)}; make the result again")
    for name in ("value", "ci_low", "ci_high", "chance"):
        if record[name] is not None and not _is_score(record[name], record["metric"]):
            raise UserError(f"{path}: a {record['metric']} has the {name} {record[name]!r}; make the result again")
    ends = record["ci_low"], record["ci_high"], record["ci_level"]
    if not (ends == (None, None, None) or (None not in ends and _is_number(ends[2]) and 0.0 < ends[2] < 1.0)):
        raise UserError(f"{path}: a {record['metric']} has no whole interval and level; make the result again")
    if not isinstance(record["ci_method"], str | None):
        raise UserError(f"{path}: a {record['metric']} has ci_method {record['ci_method']!r}; make the result again")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < sys.float_info.max


def _is_score(value: Any, metric: str) -> bool:
    return _is_number(value) and bool(value >= 1.0 if metric == "median_rank" else -1e-9 <= value <= 1.0 + 1e-9)
