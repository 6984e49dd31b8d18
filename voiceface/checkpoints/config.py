"""A checkpoint's `config.json`: its schema and strict reading, without importing torch or running named code."""

import inspect
import json
import math
import re
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from voiceface.methods.recipes import nearest
from voiceface.utils.errors import UserError, reason
from voiceface.utils.files import read_json
from voiceface.utils.source import parameters
from voiceface.utils.version import __version__

SCHEMA = 2
CONFIG = "config.json"
MOST_MIB = 1  # of a config.json; a typical one has 2 KiB
NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
DTYPES = ("float32", "float16")
SPACES = ("cosine", "euclidean", "pairwise", "relative")
DIRECTIONS = ("v2f", "f2v")

FIRST: dict[str, Any] = {
    "schema": int,
    "voiceface": str,
    "recipe": str,
    "method": str,
    "class": str,
    "arguments": dict,
    "parameters": int,
    "sha256": str,
    "data": dict,
}
"""Keys of schema 1 and their types."""
KEYS: dict[str, Any] = {
    **FIRST,
    "requires": str,
    "name": str,
    "encoders": dict,
    "space": str,
    "directions": list,
    "dtype": str,
    "calibration": dict | None,
}
"""Keys of schema 2."""
OWN: dict[str, Any] = {"distributions": dict[str, str]}
"""Key of schema 2 where a class is of another package: distributions that have such classes, with their versions."""
ENCODERS: dict[str, dict[str, Any]] = {
    "face": {"name": str, "size": int, "margin": float, "dim": int, "parameters": int},
    "voice": {"name": str, "sample_rate": int, "dim": int, "parameters": int},
}
CALIBRATION: dict[str, Any] = {"slope": float, "intercept": float, "error": float | None}


def compatible(version: str) -> str:
    """Return the versions of voiceface that read what this version wrote: the same minor version, by PEP 440."""
    wrote = Version(version)
    return f">={wrote.major}.{wrote.minor},<{wrote.major}.{wrote.minor + 1}"


def default_name(recipe: str, corpus: str) -> str:
    """Build a name for a checkpoint of a recipe trained on a corpus, such as `trinet_s1-synthetic`."""
    words = re.findall(r"[a-z0-9]+(?:[._][a-z0-9]+)*", f"{recipe}-{corpus}".lower())
    return "-".join(words) or "checkpoint"


def read_config(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's `config.json`, of schema 2 or 1.

    Args:
        folder: Checkpoint folder.

    Returns:
        The content; fields that schema 1 lacks are None, except the name (recipe and corpus) and the dtype (float32).

    Raises:
        UserError: There is no such file, a key is missing, unknown or of the wrong type, or the schema is unknown.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder}: not a checkpoint folder (no config.json); give the `checkpoint` folder that "
            "`voiceface fit` writes"
        )
    try:
        config = read_json(
            path, MOST_MIB, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_each_once
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}); copy the checkpoint again") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}; copy the checkpoint again") from None
    schema = config.get("schema")
    if type(schema) is not int or schema not in (1, SCHEMA):
        advice = "; update voiceface" if type(schema) is int and schema > SCHEMA else ""
        raise UserError(f"{path}: checkpoint schema {schema}, this version reads 1 and {SCHEMA}{advice}")
    own = OWN if "distributions" in config else {}
    _check_keys(path, "", config, {**KEYS, **own} if schema == SCHEMA else FIRST)
    for key in ("method", "class"):  # they become file and class names
        if not all(part.isidentifier() for part in config[key].split(".")):  # dots: a user's own module
            raise UserError(f"{path}: its {key} {config[key]!r} is none; copy the checkpoint again")
    try:
        Version(config["voiceface"])
    except InvalidVersion:
        raise UserError(f"{path}: its voiceface {config['voiceface']!r} is no version; copy it again") from None
    if schema == SCHEMA:
        _check(path, config)
        return config
    name = default_name(config["recipe"] or config["class"], str(config["data"].get("corpus", "")))
    absent = dict.fromkeys(("requires", "encoders", "space", "directions", "calibration"))
    return {**config, **absent, "name": name, "dtype": "float32"}


def check_version(folder: Path, config: Mapping[str, Any]) -> None:
    """Reject a checkpoint that is not for this version of voiceface; schema 1 names no version.

    Raises:
        UserError: The versions do not match; the message names both.
    """
    requires = config["requires"]
    if requires is not None and not SpecifierSet(requires).contains(__version__, prereleases=True):
        raise UserError(
            f"{folder}: made for voiceface {requires}, this is {__version__}; install a version in that range"
        )


def check_arguments(what: object, owner: type, arguments: Mapping[str, Any]) -> None:
    """Reject arguments that a class's constructor does not know or that have the wrong type.

    Args:
        what: Folder or file, for the message.
        owner: Class with annotated constructor parameters.
        arguments: Plain values, as from JSON.

    Raises:
        UserError: An argument is unknown, missing or of the wrong type; the message names it.
    """
    known = parameters(owner)
    for name, value in arguments.items():
        if name not in known:
            raise UserError(f"{what}: {owner.__name__} has no argument {name!r}{nearest(name, known)}")
        if not _fits(value, known[name].annotation):
            raise UserError(f"{what}: the argument {name} of {owner.__name__} cannot be {json.dumps(value)}")
    missing = [n for n, p in known.items() if p.default is inspect.Parameter.empty and n not in arguments]
    if missing:
        raise UserError(f"{what}: {owner.__name__} lacks its argument {missing[0]}")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no JSON")


def _finite(number: str) -> float:
    if math.isinf(value := float(number)):
        raise ValueError(f"it holds {number[:20]}, which is too large")
    return value


def _check(path: Path, config: Mapping[str, Any]) -> None:
    """Reject values of schema 2 that voiceface does not write."""
    for name, choices in (("dtype", DTYPES), ("space", SPACES)):
        if config[name] not in choices:
            raise UserError(f"{path}: its {name} is {config[name]!r}, not one of {', '.join(choices)}")
    if not config["directions"] or not set(map(str, config["directions"])) <= set(DIRECTIONS):
        raise UserError(f"{path}: its directions are {config['directions']!r}, not v2f, f2v or both")
    if not NAME.fullmatch(config["name"]):
        raise UserError(f"{path}: its name {config['name']!r} is none; use a-z, 0-9 and single . _ - between them")
    if not re.fullmatch(r"[0-9a-f]{64}", config["sha256"]):
        raise UserError(f"{path}: its sha256 is none; copy the checkpoint again")
    for name in config.get("distributions", {}):
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
            raise UserError(f"{path}: its distributions hold {name!r}, which is no name")
    try:
        for version in config.get("distributions", {}).values():
            Version(version)
    except InvalidVersion:
        raise UserError(f"{path}: its distributions hold {version!r}, which is no version") from None
    try:
        SpecifierSet(config["requires"])
    except InvalidSpecifier:
        raise UserError(f"{path}: its requires {config['requires']!r} is no range of versions") from None
    _check_keys(path, "encoders", config["encoders"], dict.fromkeys(ENCODERS, dict))
    for kind, keys in ENCODERS.items():
        _check_keys(path, f"encoders.{kind}", config["encoders"][kind], keys)
    for direction, fitted in (config["calibration"] or {}).items():
        if direction not in DIRECTIONS or not isinstance(fitted, dict):
            raise UserError(f"{path}: its calibration holds {direction!r}, not v2f or f2v with a slope")
        _check_keys(path, f"calibration.{direction}", fitted, CALIBRATION)


def _check_keys(path: Path, where: str, content: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Reject a section with a key that is missing, unknown or of another type."""
    before = f"{where}." if where else ""
    missing, unknown = [k for k in kinds if k not in content], [k for k in content if k not in kinds]
    if missing:
        raise UserError(f"{path}: {before}{missing[0]} is missing; copy the checkpoint again")
    if unknown:
        raise UserError(f"{path}: unknown key {before}{unknown[0]}{nearest(unknown[0], kinds)}")
    for key, kind in kinds.items():
        if not _fits(content[key], kind):
            raise UserError(f"{path}: {before}{key} cannot be {json.dumps(content[key])}")


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a plain value has an annotated type; JSON has lists where Python has tuples."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any or kind is inspect.Parameter.empty or isinstance(kind, str):  # an annotation that is not evaluated
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if kind in (None, types.NoneType):
        return value is None
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max  # JSON integers are unbounded
    if origin is tuple and Ellipsis not in parts:
        return isinstance(value, (list, tuple)) and len(value) == len(parts) and all(map(_fits, value, parts))
    if origin in (list, tuple, Sequence):
        return isinstance(value, (list, tuple)) and all(_fits(item, parts[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, parts[1]) for item in value.values())
    return isinstance(kind, type) and type(value) is kind


GROUP = "voiceface.checkpoints"


HUB = "hf://"


REQUIRED = ("config.json", "model.safetensors")


FILES = (*REQUIRED, "README.md", "results.json", "results.effects.npz", "training.json", "identities.txt")
"""The only files that a checkpoint folder may contain; nothing else is packed, pushed or fetched."""


def canonical(name: str) -> str:
    """Normalise a name as package installers do (PEP 503): `A_b` becomes `a-b`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_part(path: Path) -> dict[str, Any]:
    """Read a JSON file of a checkpoint.

    Raises:
        UserError: It cannot be read, is not an object, or exceeds 200 MiB; the message does not name its folder.
    """
    try:
        return read_json(path)
    except OSError as error:
        raise UserError(f"{path.name} cannot be read ({reason(error)})") from None
    except ValueError as error:
        raise UserError(f"{path.name} is {error}") from None
