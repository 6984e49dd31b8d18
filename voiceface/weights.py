"""Checkpoints: `model.safetensors`, `config.json` and a card in a folder. Reading one runs no code from it."""

import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from voiceface import __version__
from voiceface.card import card
from voiceface.data.leaks import IDENTITIES, read_training_identities
from voiceface.errors import UserError
from voiceface.files import write_for_user

if TYPE_CHECKING:
    from voiceface.method import Method

SCHEMA = 1
TRAINING = "training.json"


def save_checkpoint(
    method: "Method",
    folder: Path,
    recipe: str,
    data: Mapping[str, Any],
    identities: Iterable[str] | None = None,
    training: Mapping[str, Any] | None = None,
) -> str:
    """Write a method's weights, without what only training needs, what is needed to build it again, and a card.

    Args:
        method: The trained method.
        folder: Made if it is not there; files in it are replaced, each whole or not at all.
        recipe: Name of the recipe.
        data: What it was trained on: corpus name, hash, split.
        identities: Who it was trained on (`voiceface.data.leaks.person_names`), so that a test on them is recognised;
            None: not known.
        training: What the training took (`voiceface.watch.Watch.summary`); None: not known.

    Returns:
        The sha256 of the weights.
    """
    state = {n: t for n, t in method.state_dict().items() if not n.startswith(method.training_only)}
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    config = {
        "schema": SCHEMA,
        "voiceface": __version__,
        "recipe": recipe,
        "method": type(method).__module__.removeprefix("voiceface.methods."),
        "class": type(method).__name__,
        "arguments": dict(method.hparams),
        "parameters": method.count_parameters(),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "data": dict(data),
    }
    write_for_user(folder / "model.safetensors", weights)
    if identities is None:
        (folder / IDENTITIES).unlink(missing_ok=True)
    else:
        write_for_user(folder / IDENTITIES, "".join(f"{name}\n" for name in sorted(identities)).encode())
    if training is None:
        (folder / TRAINING).unlink(missing_ok=True)
    else:
        write_for_user(folder / TRAINING, json.dumps(training, indent=1).encode())
    write_for_user(folder / "config.json", json.dumps(config, indent=1).encode())
    write_for_user(folder / "README.md", card(method, recipe, data).encode())
    return str(config["sha256"])


def read_config(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's `config.json`.

    Raises:
        UserError: There is none, or it is of another schema.
    """
    path = folder / "config.json"
    if not path.exists():
        raise UserError(
            f"{folder}: not a checkpoint folder (no config.json); give the `checkpoint` folder that "
            "`voiceface fit` writes"
        )
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None
    if config.get("schema") != SCHEMA:
        raise UserError(f"{path}: checkpoint schema {config.get('schema')}, this version reads {SCHEMA}")
    return config


def read_training(folder: Path) -> dict[str, Any] | None:
    """What the training of a checkpoint took; None where it does not say.

    Raises:
        UserError: It is not readable.
    """
    path = folder / TRAINING
    try:
        training: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None
    return training


def load_checkpoint(folder: Path) -> "Method":
    """Build a method from a checkpoint folder, in eval mode.

    Only classes of `voiceface.methods` are built, and only tensors are read.

    Args:
        folder: Folder with `model.safetensors` and `config.json`.

    Raises:
        UserError: It is not a checkpoint, was damaged, or its weights do not fit the method.
    """
    from voiceface.recipes import list_methods

    config = read_config(folder)
    if config["method"] not in list_methods():
        raise UserError(
            f"{folder}: method {config['method']!r} is not in this version of voiceface ({', '.join(list_methods())})"
        )
    module = importlib.import_module(f"voiceface.methods.{config['method']}")
    try:
        method: Method = getattr(module, config["class"])(**config["arguments"])
    except (AttributeError, TypeError) as error:
        raise UserError(f"{folder}: config.json does not fit this version of voiceface ({error})") from None
    path = folder / "model.safetensors"
    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() != config["sha256"]:
        raise UserError(f"{path}: damaged (its sha256 is not that of config.json); copy or train it again")
    load_into(method, path, str(folder))
    method.checkpoint_hash, method.training_data = config["sha256"], config["data"]
    method.training_identities = read_training_identities(folder)
    return method.eval()


def load_into(module: nn.Module, path: Path, what: str) -> None:
    """Read safetensors weights into a module; names and shapes must fit exactly.

    Args:
        module: Module to fill.
        path: Safetensors file.
        what: Option or folder to name in errors.

    Raises:
        UserError: The file is missing, is not safetensors, or does not fit.
    """
    if not path.exists():
        raise UserError(f"{what}: no file {path}")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{what}: {path} is not a safetensors file ({error})") from None
    problem = misfit(module.state_dict(), tensors)
    if problem:
        raise UserError(f"{what}: {path} does not fit {type(module).__name__}: {problem}")
    module.load_state_dict(tensors)


def misfit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Say in one line how two sets of weights differ in names or shapes; empty where they do not."""
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing:
        return f"it lacks {len(missing)} tensors, such as {missing[0]}"
    if unknown:
        return f"it has {len(unknown)} unknown tensors, such as {unknown[0]}"
    for name, tensor in expected.items():
        if tensor.shape != found[name].shape:
            return f"{name} has shape {tuple(found[name].shape)}, the model wants {tuple(tensor.shape)}"
    return ""
