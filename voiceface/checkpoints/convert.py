"""`voiceface convert`: a checkpoint folder from a Lightning checkpoint, `last.ckpt` or `best.ckpt`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from voiceface.checkpoints.build import build_method, method_class
from voiceface.checkpoints.weights import save_checkpoint
from voiceface.encoders.weights import misfit
from voiceface.methods.own import own_method
from voiceface.methods.recipes import list_recipes, load_recipe, nearest
from voiceface.utils.errors import UserError

PACKAGE = "voiceface.methods."


def convert(ckpt: Path, out: Path, model: str | None = None, dtype: str = "float32") -> str:
    """Write a checkpoint folder from a Lightning checkpoint.

    Only tensors and plain values are read from it (`torch.load` with `weights_only=True`), and only classes of
    voiceface and those that the user trusts are built. Information that it lacks stays unknown: the corpus's name, the
    training identities, the training's cost, a calibration.

    Args:
        ckpt: `last.ckpt` or `best.ckpt` of a run.
        out: Checkpoint folder to create.
        model: Recipe, or class path such as `my_package.MyMethod`; None: as in `config.yaml` beside it.
        dtype: float32, or float16 for half the size.

    Returns:
        The sha256 of the weights.

    Raises:
        UserError: `out` exists already; `ckpt` is not a Lightning checkpoint, or contains anything but tensors and
            plain values; or its method is unknown, is not trusted, or does not match the weights.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: already exists; name another folder, or delete it")
    state = _read(ckpt)
    recipe = model if model in list_recipes() else ""
    owner = own_method(model) if model else None
    if owner is None:
        path = load_recipe(recipe, "paper")["model"]["class_path"] if recipe else model or _class_path(ckpt)
        module, _, name = path.removeprefix(PACKAGE).rpartition(".")
        if not module:
            near = nearest(path, list_recipes())
            raise UserError(f"{path}: neither a recipe nor the path of a class{near}; name the run's with --model")
        owner = method_class(ckpt, module, name)
    method = build_method(ckpt, owner, state["hyper_parameters"])
    weights = {n: t for n, t in state["state_dict"].items() if not n.startswith(method.training_only)}
    problem = misfit(method.state_dict(), weights)
    if problem:
        raise UserError(f"{ckpt}: does not fit {owner.__name__}: {problem}")
    try:
        method.load_state_dict(weights)
    except RuntimeError:  # of another kind: sparse, quantized, without storage
        raise UserError(f"{ckpt}: its state_dict holds tensors that are no plain numbers") from None
    trained = state.get("VoxVGGDataModule")
    version = trained.get("root") if isinstance(trained, dict) else None  # the corpus hash
    data = {"corpus": None, "version": version, "split": "train"} if isinstance(version, str) else {}
    return save_checkpoint(method, out, recipe, data, dtype=dtype)


def _read(ckpt: Path) -> dict[str, Any]:
    """Read a Lightning checkpoint with weights and plain arguments."""
    if not ckpt.is_file():
        raise UserError(f"{ckpt}: no such file; give the last.ckpt or best.ckpt of a run")
    try:
        state = torch.load(ckpt, map_location="cpu", weights_only=True)
    except Exception:  # each kind of damage, and of embedded code, raises something else
        raise UserError(
            f"{ckpt}: damaged, or it holds more than tensors and plain values, which could run code; nothing was run"
        ) from None
    arguments = state.get("hyper_parameters") if isinstance(state, dict) else None
    weights = state.get("state_dict") if isinstance(state, dict) else None
    if not isinstance(arguments, dict) or not isinstance(weights, Mapping):
        raise UserError(f"{ckpt}: not a state that Lightning wrote of a method (no state_dict and hyper_parameters)")
    if not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in weights.items()):
        raise UserError(f"{ckpt}: its state_dict holds more than tensors")
    plain = {name: value for name, value in arguments.items() if not str(name).startswith("_")}
    try:
        state["hyper_parameters"] = json.loads(json.dumps(plain, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{ckpt}: its hyper_parameters are not plain values ({error})") from None
    return dict(state)


def _class_path(ckpt: Path) -> str:
    """Return the class named in the run's own config.yaml."""
    config = ckpt.with_name("config.yaml")
    try:
        path = yaml.safe_load(config.read_text())["model"]["class_path"]
        if isinstance(path, str):
            return path
        raise TypeError("no text")
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, RecursionError):
        raise UserError(f"{ckpt}: no config.yaml beside it says which method it is; name it with --model") from None
