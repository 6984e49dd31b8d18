"""Weights of a network from a safetensors file."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from voiceface.utils.errors import UserError


def load_into(module: nn.Module, path: Path, what: str) -> None:
    """Read safetensors weights into a module; names and shapes must fit exactly.

    Args:
        module: Module to fill.
        path: Safetensors file.
        what: Option or folder to name in errors.

    Raises:
        UserError: The file is missing, is not safetensors, or does not fit.
    """
    if not path.is_file():
        raise UserError(f"{what}: no file {path}")
    _fill(module, path.read_bytes(), path, what)


def _fill(module: nn.Module, content: bytes, path: Path, what: str, dtype: str | None = None) -> None:
    """Read the content of a safetensors file into a module; floats must be of the dtype, where one is given."""
    try:
        tensors = load(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{what}: {path} is not a safetensors file ({error})") from None
    problem = misfit(module.state_dict(), tensors)
    if problem:
        raise UserError(f"{what}: {path} does not fit {type(module).__name__}: {problem}")
    for name, tensor in tensors.items() if dtype is not None else ():
        own = module.state_dict()[name].dtype
        wanted = dtype if own.is_floating_point else str(own).removeprefix("torch.")
        if str(tensor.dtype) != f"torch.{wanted}":
            raise UserError(f"{what}: {name} is of {str(tensor.dtype).removeprefix('torch.')}, not {wanted}")
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
