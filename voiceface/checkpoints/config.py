"""A checkpoint's `config.json`: what it holds, read strictly. Nothing here imports torch or runs what a file names."""

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
from voiceface.utils.source import parameters
from voiceface.utils.version import __version__

SCHEMA = 2
CONFIG = "config.json"
MOST_MIB = 1  # of a config.json; one has 2 KiB
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
ENCODERS: dict[str, dict[str, Any]] = {
    "face": {"name": str, "size": int, "margin": float, "dim": int, "parameters": int},
    "voice": {"name": str, "sample_rate": int, "dim": int, "parameters": int},
}
CALIBRATION: dict[str, Any] = {"slope": float, "intercept": float, "error": float | None}


def compatible(version: str) -> str:
    """The versions of voiceface that read what one of them wrote: those of the same minor version, by PEP 440."""
    wrote = Version(version)
    return f">={wrote.major}.{wrote.minor},<{wrote.major}.{wrote.minor + 1}"


def default_name(recipe: str, corpus: str) -> str:
    """A name for a checkpoint of a recipe that was trained on a corpus: `trinet_s1-synthetic`."""
    words = re.findall(r"[a-z0-9]+(?:[._][a-z0-9]+)*", f"{recipe}-{corpus}".lower())
    return "-".join(words) or "checkpoint"


def read_config(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's `config.json`, of schema 2 or 1.

    Args:
        folder: Checkpoint folder.

    Returns:
        Its content; what schema 1 did not say is None, its name made of recipe and corpus, its dtype float32.

    Raises:
        UserError: There is none, or a key is missing, unknown or of the wrong type, or it is of another schema.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder}: not a checkpoint folder (no config.json); give the `checkpoint` folder that "
            "`voiceface fit` writes"
        )
    if path.stat().st_size > MOST_MIB * 2**20:
        raise UserError(f"{path}: over {MOST_MIB} MiB; no config.json is that large")
    try:
        text = path.read_text(encoding="utf-8")
        config = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_each_once)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); copy the checkpoint again") from None
    if not isinstance(config, dict):
        raise UserError(f"{path}: no object with the keys of a checkpoint")
    schema = config.get("schema")
    if type(schema) is not int or schema not in (1, SCHEMA):
        advice = "; update voiceface" if type(schema) is int and schema > SCHEMA else ""
        raise UserError(f"{path}: checkpoint schema {schema}, this version reads 1 and {SCHEMA}{advice}")
    _check_keys(path, "", config, KEYS if schema == SCHEMA else FIRST)
    for key in ("method", "class"):  # they become names of files and of classes
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
    """Refuse a checkpoint that is not for this version of voiceface; those of schema 1 name none.

    Raises:
        UserError: Names both.
    """
    requires = config["requires"]
    if requires is not None and not SpecifierSet(requires).contains(__version__, prereleases=True):
        raise UserError(
            f"{folder}: made for voiceface {requires}, this is {__version__}; install a version in that range"
        )


def check_arguments(what: object, owner: type, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that a class's constructor does not know or that are not of the type it asks for.

    Args:
        what: Folder or file, for the message.
        owner: Class; its constructor's parameters are annotated.
        arguments: Plain values, as JSON gives them.

    Raises:
        UserError: Names the argument.
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
        raise ValueError("a key stands there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no JSON")


def _finite(number: str) -> float:
    if math.isinf(value := float(number)):
        raise ValueError(f"it holds {number[:20]}, which is too large")
    return value


def _check(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse values of schema 2 that voiceface does not write."""
    for name, choices in (("dtype", DTYPES), ("space", SPACES)):
        if config[name] not in choices:
            raise UserError(f"{path}: its {name} is {config[name]!r}, not one of {', '.join(choices)}")
    if not config["directions"] or not set(map(str, config["directions"])) <= set(DIRECTIONS):
        raise UserError(f"{path}: its directions are {config['directions']!r}, not v2f, f2v or both")
    if not NAME.fullmatch(config["name"]):
        raise UserError(f"{path}: its name {config['name']!r} is none; use a-z, 0-9 and single . _ - between them")
    if not re.fullmatch(r"[0-9a-f]{64}", config["sha256"]):
        raise UserError(f"{path}: its sha256 is none; copy the checkpoint again")
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
    """Refuse a section with a key that is missing, unknown or of another type."""
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
    """Whether a plain value is of an annotated type; JSON has lists where Python has tuples."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any or kind is inspect.Parameter.empty:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if kind in (None, types.NoneType):
        return value is None
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max  # integers of JSON know no end
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
"""All that a checkpoint folder may hold; nothing else is packed, pushed or fetched."""


MOST_MIB = 200  # of a JSON file, as of a result file


def canonical(name: str) -> str:
    """The one spelling of a name among those that are the same to package installers (PEP 503): `A_b` is `a-b`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        UserError: It cannot be read, or holds something else or over 200 MiB; the message does not name its folder.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_MIB * 2**20 + 1)
    except OSError as error:
        raise UserError(f"{path.name} cannot be read ({reason(error)})") from None
    if len(text) > MOST_MIB * 2**20:
        raise UserError(f"{path.name} is over {MOST_MIB} MiB")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{path.name} is not readable as JSON") from None
    if not isinstance(content, dict):
        raise UserError(f"{path.name} holds no object")
    return content
