"""`voiceface import-weights`: a public weight file into a safetensors file with our names and layout."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from voiceface.errors import UserError
from voiceface.files import check_writable, write_for_user
from voiceface.importers import list_importers
from voiceface.importers.containers import read_tensors
from voiceface.importers.layout import Layout, Rules, build, layouts_of, metadata_of
from voiceface.weights import misfit

COUNTER = "num_batches_tracked"  # of batch norms; unused where their momentum is fixed, and absent from many files


def import_weights(target: str, source: Path, out: Path, options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Read a public weight file and write a safetensors file that fits an encoder or a method.

    Args:
        target: A name from `list_importers()`.
        source: The public file, of any of the formats that `read_tensors` knows.
        out: Safetensors file; written whole or not at all.
        options: Encoder options to import for, such as `{"layer": "fc7"}`, beside those that the file calls for.

    Returns:
        What `out` says of itself: `encoder` or `method`, `options`, `source`, `sha256` of the source.

    Raises:
        UserError: The file cannot be read or does not fit, or `out` cannot be written.
    """
    check_writable(out)
    converted, needed = convert(target, read_tensors(source), str(source), options or {})
    metadata = metadata_of(target, needed) | {"source": source.name, "sha256": _sha256(source)}
    write_for_user(out, save(converted, metadata))
    return metadata


@dataclass(frozen=True)
class _Fit:
    """How a file's names compare with one layout of a network."""

    layout: Layout
    options: dict[str, Any]
    ours: Mapping[str, Tensor]
    rules: Rules
    unknown: list[str]
    lacking: list[str]


def _compare(target: str, layout: Layout, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> _Fit:
    try:
        needed = layout.options(tensors)
    except (KeyError, ValueError, IndexError):  # the tensors that tell are not there: it will lack them
        needed = {}
    needed = {**needed, **options}
    ours = build(target, needed).state_dict()
    rules = layout.rules(ours)
    given = {name for theirs, (name, _) in rules.items() if theirs in tensors}
    unknown = [name for name in tensors if name not in rules and not re.fullmatch(layout.heads, name)]
    lacking = [name for name in ours if name not in given and not name.endswith(COUNTER)]
    return _Fit(layout, needed, ours, rules, unknown, lacking)


def convert(
    target: str, tensors: Mapping[str, Tensor], source: str, options: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Rename and turn a file's tensors.

    Args:
        target: A name from `list_importers()`.
        tensors: What the file holds.
        source: The file, for messages.
        options: Encoder options that the user asks for; they win over those that the file calls for.

    Returns:
        Our state dict, and the encoder's options.

    Raises:
        UserError: The tensors do not fit; the message names the first that does not, and another network that they fit.
    """
    fits = [_compare(target, layout, tensors, options) for layout in layouts_of(target)]
    fit = min(fits, key=lambda one: len(one.unknown) + len(one.lacking))
    if fit.unknown:
        raise UserError(
            f"{source}: not weights of {target}: unexpected tensor {fit.unknown[0]}{_hint(target, tensors)}"
        )
    found: dict[str, Tensor] = {}
    for theirs, (name, turn) in fit.rules.items():
        if theirs in tensors and name in fit.ours:
            try:
                found[name] = _shaped(turn(tensors[theirs]), fit.ours[name].shape)
            except RuntimeError:
                shape = tuple(tensors[theirs].shape)
                raise UserError(f"{source}: does not fit {target}: {theirs} has shape {shape}") from None
    for name in fit.ours:
        if name.endswith(COUNTER):
            found.setdefault(name, torch.zeros((), dtype=torch.int64))
    problem = misfit(fit.ours, found)
    if problem:
        raise UserError(f"{source}: does not fit {target} ({fit.layout.what}): {problem}{_hint(target, tensors)}")
    means = [tensor for name, tensor in found.items() if name.endswith("running_mean")]
    if means and not any(mean.any() for mean in means):
        raise UserError(
            f"{source}: its batch norms hold no statistics (every mean is 0), so they were lost in an earlier "
            "conversion; get another copy"
        )
    return {name: tensor.to(fit.ours[name].dtype).contiguous() for name, tensor in found.items()}, fit.options


def _shaped(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Add or drop dimensions of size 1: a 1x1 convolution may be stored as a matrix, a 1-d one as a 2-d one."""
    plain = [size for size in tensor.shape if size != 1] == [size for size in shape if size != 1]
    return tensor.reshape(shape) if plain else tensor


def _hint(target: str, tensors: Mapping[str, Tensor]) -> str:
    """`; it looks like X: ...` where the tensors' names are all those of another network."""
    for other in list_importers():
        if other != target:
            fits = (_compare(other, layout, tensors, {}) for layout in layouts_of(other))
            if any(not fit.unknown and not fit.lacking for fit in fits):
                return f"; it looks like {other}: `voiceface import-weights {other} FILE OUT`"
    return ""


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
