"""Checkpoints: a folder with `model.safetensors`, `config.json`, card and result. Reading one runs no code from it."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import Tensor

from voiceface.checkpoints.build import build_method, config_of, method_class
from voiceface.checkpoints.card import card, check_schema
from voiceface.checkpoints.config import CONFIG, DTYPES, SCHEMA, check_version
from voiceface.checkpoints.config import read_config as read_config
from voiceface.data.corpus.leaks import IDENTITIES, read_training_identities
from voiceface.encoders.weights import _fill
from voiceface.evaluation.results import effects_content, read_results, write_results
from voiceface.utils.errors import UserError, reason
from voiceface.utils.files import read_json, write_for_user

if TYPE_CHECKING:
    from voiceface.methods.base import Method

WEIGHTS = "model.safetensors"
TRAINING = "training.json"
RESULTS = "results.json"
EFFECTS = "results.effects.npz"
CARD = "README.md"


def save_checkpoint(
    method: "Method",
    folder: Path,
    recipe: str,
    data: Mapping[str, Any],
    identities: Iterable[str] | None = None,
    training: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    name: str = "",
) -> str:
    """Write a method's weights, except those only needed for training, its configuration, and a card.

    Args:
        method: The trained method.
        folder: Created if missing; files in it are replaced atomically. An existing result is removed, because it is of
            other weights.
            it was that of other weights.
        recipe: Name of the recipe.
        data: Training data: corpus name, hash, split.
        identities: Training identities (`voiceface.data.corpus.leaks.person_names`), so that a test on them is
            detected; None: unknown.
        training: Cost of the training (`voiceface.training.monitor.Watch.summary`); None: unknown.
        calibration: From `voiceface.evaluation.calibration.fit_calibration`; None: unknown.
        dtype: float32, or float16 for half the size; `load_checkpoint` returns float32 in both cases.
        name: Installation name, of a-z, 0-9 and `._-`; empty: recipe and corpus.

    Returns:
        The sha256 of the weights.

    Raises:
        UserError: A file cannot be written, or a weight is too large for float16.
    """
    weights = save(_stored(method, dtype))
    config = config_of(method, recipe, data, hashlib.sha256(weights).hexdigest(), calibration, dtype, name)
    for old in (RESULTS, EFFECTS):
        _remove(folder / old)
    write_for_user(folder / WEIGHTS, weights)
    if identities is None:
        _remove(folder / IDENTITIES)
    else:
        write_for_user(folder / IDENTITIES, "".join(f"{name}\n" for name in sorted(identities)).encode())
    if training is None:
        _remove(folder / TRAINING)
    else:
        write_for_user(folder / TRAINING, json.dumps(training, indent=1).encode())
    _write_config(folder, config)
    write_for_user(folder / CARD, card(config, None).encode())
    return str(config["sha256"])


def add_results(folder: Path, results: Path | Mapping[str, Any]) -> None:
    """Add a test result to a checkpoint folder and rewrite its card with the scores.

    Args:
        folder: Checkpoint folder of this version's schema.
        results: Result that `voiceface fit` or `voiceface test` wrote for these weights, with its effects beside it; or
            the `results` of a `CrossModalMetrics` that has tested them.

    Raises:
        UserError: One of the two is not valid, the folder has schema 1, or the result is of other weights.
    """
    config, effects, source = read_config(folder), None, "the result"
    check_schema(folder, config)
    if isinstance(results, Path):
        source, path, results = str(results), results, read_results(results)
        effects = effects_content(path, results)
    if results["model"]["checkpoint"] != config["sha256"]:
        raise UserError(f"{source}: scores of other weights than those in {folder}; test this checkpoint")
    write_results(folder / RESULTS, results, effects)
    measured = results.get("calibration") or {}
    if config["calibration"] and measured:
        errors = {way: {**one, "error": measured.get(way, one)["error"]} for way, one in config["calibration"].items()}
        config = {**config, "calibration": errors}
        _write_config(folder, config)
    write_for_user(folder / CARD, card(config, results).encode())


def halve(folder: Path, out: Path) -> None:
    """Write a checkpoint again in half precision, without its result: it must be tested again.

    Args:
        folder: Checkpoint folder.
        out: Another folder.

    Raises:
        UserError: The folder is not a checkpoint, `out` is the same folder, or a weight is too large for float16.
    """
    if folder.resolve() == out.resolve():
        raise UserError(f"{out}: the same folder; the checkpoint would be lost, name another one")
    method, config = load_checkpoint(folder), read_config(folder)
    fitted = config["calibration"]
    calibration = fitted and {way: {**values, "error": None} for way, values in fitted.items()}
    known = method.training_identities, read_training(folder)
    save_checkpoint(method, out, config["recipe"], config["data"], *known, calibration, "float16", config["name"])


def read_training(folder: Path) -> dict[str, Any] | None:
    """Read the cost of a checkpoint's training; None if it is not recorded.

    Raises:
        UserError: The file is not readable.
    """
    path = folder / TRAINING
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)})") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def load_checkpoint(folder: Path) -> "Method":
    """Build a method from a checkpoint folder, in eval mode and float32.

    Only classes of voiceface and those that the user trusts are built (`voiceface.utils.own_classes`), and only tensors
    are read; files named in the arguments, such as pretrained weights, are not opened.

    Args:
        folder: Folder with `model.safetensors` and `config.json`.

    Raises:
        UserError: It is not a checkpoint, is for other versions, is damaged, or its weights do not match the method.
    """
    config, path = read_config(folder), folder / WEIGHTS
    check_version(folder, config)
    owner = method_class(folder, config["method"], config["class"], config.get("distributions"))
    if path.exists() and not path.is_file():  # reading a device or a pipe might never end
        raise UserError(f"{folder}: {WEIGHTS} is no file; copy the checkpoint again")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{folder}: {WEIGHTS} cannot be read ({reason(error)})") from None
    if hashlib.sha256(content).hexdigest() != config["sha256"]:
        raise UserError(f"{path}: damaged (its sha256 is not that of config.json); copy or train it again")
    method = build_method(folder, owner, config["arguments"])
    if config["schema"] == SCHEMA:
        built = config_of(method, config["recipe"], config["data"], config["sha256"])
        for key in ("encoders", "space", "directions", "parameters"):
            if config[key] != built[key]:
                raise UserError(
                    f"{folder}: config.json says {key} {json.dumps(config[key])}, but its arguments make "
                    f"{json.dumps(built[key])}; copy or train it again"
                )
    _fill(method, content, path, str(folder), config["dtype"] if config["schema"] == SCHEMA else None)
    method.checkpoint_hash, method.training_data = config["sha256"], config["data"]
    method.training_identities = read_training_identities(folder)
    method.calibration = config["calibration"]
    return method.eval()


def _stored(method: "Method", dtype: str) -> dict[str, Tensor]:
    """Return the weights in the form in which they are stored."""
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r}: weights are written in {' or '.join(DTYPES)}")
    state, kind = {}, getattr(torch, dtype)
    for name, tensor in method.state_dict().items():
        if name.startswith(method.training_only):
            continue
        tensor = tensor.detach().cpu().contiguous()
        stored = tensor.to(kind) if tensor.is_floating_point() else tensor
        if stored.dtype != tensor.dtype and (stored.isfinite() != tensor.isfinite()).any():
            most = math.floor(torch.finfo(kind).max)
            raise UserError(f"{name}: a weight over {most:,}, too large for {dtype}; keep float32")
        state[name] = stored
    return state


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be removed ({reason(error)})") from None


def _write_config(folder: Path, config: Mapping[str, Any]) -> None:
    write_for_user(folder / CONFIG, json.dumps(config, indent=1, allow_nan=False).encode())
