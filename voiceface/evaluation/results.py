"""The result file: tidy score records with everything that identifies them.

Beside `NAME.json` is `NAME.effects.npz`: the effect of each person on the scores, used to compare two models that
scored the same clips (`voiceface.compare`).
"""

import gzip
import hashlib
import io
import json
import os
import platform
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from voiceface.evaluation.result_schema import RECORD as RECORD
from voiceface.evaluation.result_schema import SCHEMA as SCHEMA
from voiceface.evaluation.result_schema import check
from voiceface.utils.errors import UserError, reason
from voiceface.utils.files import write_for_user
from voiceface.utils.version import __version__

COMPARED = ("exact", "whole_split", "sampled")  # protocols whose scores keep the effects of people
COMPARED_N = (2, 3, 5, 10)  # of 1:N
STEPS = 2**15 - 1  # quantisation steps of a person's effect, in each direction, in the effects file
MOST_MIB = 200  # of a result file, and of its unpacked effects; with 1,251 people it has 1

# What numpy and zipfile raise if a file is not an archive of arrays.
NO_ARCHIVE: tuple[type[Exception], ...] = (ValueError, KeyError, OSError, EOFError, RuntimeError, MemoryError)
NO_ARCHIVE += (SyntaxError, zlib.error, zipfile.BadZipFile, tokenize.TokenError)

Floats = NDArray[np.float64]


def data_hash(keys: Iterable[str]) -> str:
    """Hash the scored clips: sha256 over their sorted keys, one per line."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def people_hash(
    voice_keys: Iterable[str], voice_people: Iterable[str], face_keys: Iterable[str], face_people: Iterable[str]
) -> str:
    """Hash the identity of each clip, with people numbered in the order of their names, as effects are.

    If people have other names, their order may differ: effects on scores of the same clips refer to the same people,
    one by one, only if this hash is the same.

    Args:
        voice_keys: Keys of the voices.
        voice_people: Identity name of each voice.
        face_keys: Keys of the faces.
        face_people: Identity name of each face.
    """
    owners = [("voice", *one) for one in zip(voice_keys, voice_people, strict=True)]
    owners += [("face", *one) for one in zip(face_keys, face_people, strict=True)]
    number = {name: place for place, name in enumerate(sorted({name for *_, name in owners}))}
    return data_hash(f"{kind}\t{key}\t{number[name]}" for kind, key, name in owners)


def environment() -> dict[str, Any]:
    """Return versions, command, seed and date of this run."""
    versions = {"voiceface": __version__, "python": platform.python_version()}
    for package in ("torch", "torchaudio", "pytorch-lightning", "timm", "numpy", "numba"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    seed = os.environ.get("PL_GLOBAL_SEED")
    return {
        "versions": versions,
        "command": " ".join(["voiceface", *map(_without_folders, sys.argv[1:])]),
        "seed": int(seed) if seed is not None else None,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _without_folders(word: str) -> str:
    """Shorten an absolute path in a command-line word to its last name, because results are published."""
    option, equals, value = word.rpartition("=")
    return option + equals + (Path(value).name if os.path.isabs(value) else value)


def roc_curves(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the ROC curves of the records of `voiceface.scores.score`, by stratum: U and G, to four decimals."""
    return {
        r["stratum"]: [round(float(hit), 4) for hit in roc]
        for r in records
        if r["protocol"] == "exact" and r["stratum"] in ("U", "G") and (roc := getattr(r, "roc", None)) is not None
    }


def write_results(path: Path, results: Mapping[str, Any], effects: bytes | None = None) -> None:
    """Validate a result and write it with its effects file, each atomically.

    Args:
        path: JSON file.
        results: Sections schema, model, data, environment, scores; optionally `training` (the training's cost),
            `ideal_observer` (the best possible scores), `roc` (`roc_curves`) and `examples`. Scores from
            `voiceface.scores.score` carry the effects of people.
        effects: Content of the effects file, if the result was read from files; None: packed from the scores.

    Raises:
        UserError: The result is not of this schema, or a file cannot be written.
    """
    check(path, dict(results))
    if results["schema"] != SCHEMA:
        raise UserError(f"{path}: results are written in schema {SCHEMA}, not {results['schema']}")
    sealed = {key: value for key, value in results.items() if key not in ("effects", "sha256")}
    beside, effects = path.with_name(f"{path.stem}.effects.npz"), effects or _packed(results["scores"])
    if effects is None:
        beside.unlink(missing_ok=True)
    else:
        write_for_user(beside, effects)
        sealed["effects"] = {"file": beside.name, "sha256": hashlib.sha256(effects).hexdigest()}
    sealed["sha256"] = content_hash(sealed)
    write_for_user(path, json.dumps(sealed, indent=1, allow_nan=False).encode())


def content_hash(results: Mapping[str, Any]) -> str:
    """Return the sha256 of a result's content without its seal, independent of spacing and key order."""
    content = {key: value for key, value in results.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_results(path: Path) -> dict[str, Any]:
    """Read a result file of this schema or an earlier one.

    Args:
        path: JSON file, or a gzip-compressed one with a name ending in `.gz`.

    Raises:
        UserError: The file is missing, is not JSON, has another schema, was changed after it was written, contains
            values that are not scores, or exceeds 200 MiB.
    """
    results = parse_results(path, read_content(path))
    check(path, results)
    if results["schema"] > 1 and results.get("sha256") != content_hash(results):
        raise UserError(f"{path}: changed after it was written (its sha256 is not that of its content); make it again")
    return results


def read_content(path: Path) -> bytes:
    """Read a result file as bytes, decompressed.

    Raises:
        UserError: The file cannot be read, or exceeds 200 MiB.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content: bytes = file.read(MOST_MIB * 2**20 + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such result file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: damaged or cut off ({error}); copy it again or make it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)})") from None
    if len(content) > MOST_MIB * 2**20:
        raise UserError(f"{path}: over {MOST_MIB} MiB; no result file is that large, name another one")
    return content


def parse_results(path: Path, content: bytes) -> dict[str, Any]:
    """Parse a file's content as a JSON object, not yet validated.

    Raises:
        UserError: The content is not a JSON object.
    """
    try:
        results = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        why = str(error) if content.strip() else "it is empty"
        raise UserError(f"{path}: not readable as JSON ({why}); copy it again or make it again") from None
    if not isinstance(results, dict):
        raise UserError(f"{path}: not a voiceface result (it holds no sections)")
    return results


def read_effects(path: Path, results: Mapping[str, Any]) -> dict[int, Floats] | None:
    """Read the effects of people on a result's scores.

    Args:
        path: The result file.
        results: Its content.

    Returns:
        float64 (I,) by the score's index in `scores`; None if the result has none, as in schema 1.

    Raises:
        UserError: The effects file is missing or damaged, or belongs to another result.
    """
    content = effects_content(path, results)
    if content is None:
        return None
    beside = path.with_name(results["effects"]["file"])
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_MIB * 2**20:
                raise ValueError(f"over {MOST_MIB} MiB")
        with np.load(io.BytesIO(content), allow_pickle=False) as packed:
            numbers, lengths, scale, steps = (packed[name] for name in ("records", "lengths", "scale", "steps"))
        if not _fit(numbers, lengths, scale, steps):
            raise ValueError("its parts do not fit each other")
        least = {number: record["identities"] for number, record in enumerate(results["scores"])}
        most = results["data"]["identities"]  # in retrieval people without the other modality have effects too
        if not all(0 < least.get(n, 0) <= own <= most for n, own in zip(numbers.tolist(), lengths, strict=True)):
            raise ValueError("it is not of the people of these scores")
        parts = np.split(steps.astype(np.float64), np.cumsum(lengths)[:-1])
        return {int(n): part * (float(s) / STEPS) for n, s, part in zip(numbers, scale, parts, strict=True)}
    except NO_ARCHIVE as error:
        raise UserError(f"{beside}: not an effects file ({error}); make the result again") from None


def _fit(numbers: NDArray[Any], lengths: NDArray[Any], scale: NDArray[Any], steps: NDArray[Any]) -> bool:
    """Return whether the parts of an effects file are integers, finite scales and of matching sizes."""
    parts = (numbers, lengths, scale, steps)
    if [part.dtype.kind for part in parts] != ["i", "i", "f", "i"] or any(part.ndim != 1 for part in parts):
        return False
    alike = len(numbers) == len(lengths) == len(scale) == len(set(numbers.tolist()))
    return alike and bool((lengths > 0).all() and lengths.sum() == len(steps) and np.isfinite(scale).all())


def effects_content(path: Path, results: Mapping[str, Any]) -> bytes | None:
    """Read the bytes of a result's effects file; None if the result has none.

    Raises:
        UserError: The file is missing or damaged, or belongs to another result.
    """
    if "effects" not in results:
        return None
    beside = path.with_name(results["effects"]["file"])
    try:
        content = beside.read_bytes()
    except OSError:
        raise UserError(f"{beside}: missing or not readable; it lies beside {path.name}, copy both") from None
    if hashlib.sha256(content).hexdigest() != results["effects"]["sha256"]:
        raise UserError(f"{beside}: damaged, or of another result than {path.name}; copy both again")
    return content


def _packed(records: Sequence[Mapping[str, Any]]) -> bytes | None:
    """Pack the effects file: for each compared score its index, and its effects in 65,535 steps of their size."""
    found: dict[int, Floats] = {}
    for number, record in enumerate(records):
        effects = getattr(record, "effects", None)
        compared = record["protocol"] in COMPARED and (record["task"] != "matching" or record["n"] in COMPARED_N)
        if compared and effects is not None and len(effects):
            found[number] = effects
    if not found:
        return None
    scale = np.array([max(float(np.abs(e).max()), 1e-300) for e in found.values()])
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        records=np.array(list(found), np.int32),
        lengths=np.array([len(e) for e in found.values()], np.int32),
        scale=scale,
        steps=np.concatenate([np.rint(e / s * STEPS) for e, s in zip(found.values(), scale, strict=True)]).astype(
            np.int16
        ),
    )
    return buffer.getvalue()


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no score")
