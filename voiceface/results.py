"""The result file: tidy score records with everything that says what they are scores of."""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from voiceface import __version__
from voiceface.errors import UserError
from voiceface.files import write_for_user

SCHEMA = 1
SECTIONS = ("schema", "model", "data", "environment", "scores")
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


def data_hash(keys: Iterable[str]) -> str:
    """Hash of the clips that were scored: sha256 over their sorted keys, one per line."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def environment() -> dict[str, Any]:
    """Versions, command, seed and date of this run."""
    versions = {"voiceface": __version__, "python": platform.python_version()}
    for package in ("torch", "torchaudio", "pytorch-lightning", "timm", "numpy", "numba"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    seed = os.environ.get("PL_GLOBAL_SEED")
    return {
        "versions": versions,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "seed": int(seed) if seed is not None else None,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Check a result and write it, whole or not at all.

    Args:
        path: JSON file.
        results: Sections schema, model, data, environment, scores; optionally `training`, what the training took, and
            `ideal_observer`, the best possible scores.

    Raises:
        UserError: The result is not of this schema, or the file cannot be written.
    """
    _check(path, results)
    write_for_user(path, json.dumps(results, indent=1, allow_nan=False).encode())


def read_results(path: Path) -> dict[str, Any]:
    """Read a result file.

    Raises:
        UserError: The file is missing, is not JSON, or is of another schema.
    """
    try:
        results: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such result file") from None
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None
    _check(path, results)
    return results


def _check(path: Path, results: Mapping[str, Any]) -> None:
    missing = [section for section in SECTIONS if section not in results]
    if missing:
        raise UserError(f"{path}: not a voiceface result (no {', '.join(missing)})")
    if results["schema"] != SCHEMA:
        raise UserError(f"{path}: result schema {results['schema']}, this version reads {SCHEMA}")
    for record in [*results["scores"], *results.get("ideal_observer", [])]:
        if tuple(record) != RECORD:
            raise UserError(f"{path}: a score has the fields {', '.join(record)}; expected {', '.join(RECORD)}")
