"""`voiceface import-weights`: a public weight file into a safetensors file with our names and layout."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from voiceface.encoders.pretrained import list_importers
from voiceface.encoders.pretrained.formats import read_tensors
from voiceface.encoders.pretrained.header import Pretrained, read_header
from voiceface.encoders.pretrained.layout import Layout, Rules, build, layouts_of, metadata_of, own_names
from voiceface.encoders.pretrained.options import check_against, check_options
from voiceface.encoders.pretrained.safe_pickle import KNOWN_FILES
from voiceface.encoders.weights import misfit
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable, sha256_of, write_for_user

COUNTER = "num_batches_tracked"  # of batch norms; unused where their momentum is fixed, and absent from many files


def import_weights(target: str, source: Path, out: Path, options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Read a public weight file and write a safetensors file that fits an encoder or a method.

    Args:
        target: A name from `list_importers()`.
        source: The public file, of any of the formats that `read_tensors` knows.
        out: Safetensors file; written whole or not at all.
        options: Encoder options to import for, such as `{"layer": "fc7"}`, beside those that the file calls for.

    Returns:
        What `out` says of itself: `encoder` or `method`, `options`, `source`, `sha256` of the source. Of a source that
        was itself imported, `source` and `sha256` are those of the public file.

    Raises:
        UserError: The file cannot be read or does not fit, an option is wrong, or `out` cannot be written or is
            neither new nor imported weights.
    """
    _check_out(out, source)
    check_options(target, options or {})
    tensors = read_tensors(source)
    own = _imported(source)
    layouts = layouts_of(target)
    if own is not None and target in (own.encoder, own.method):
        layouts = (_own_layout(own, layouts),)
    converted, needed = convert(target, tensors, str(source), options or {}, layouts)
    origin = {"source": own.source, "sha256": own.sha256} if own else {}
    metadata = metadata_of(target, needed) | (origin or {"source": source.name, "sha256": sha256_of(source)})
    write_for_user(out, save(converted, metadata))
    return metadata


def _check_out(out: Path, source: Path) -> None:
    """Refuse to replace the source, or anything but imported weights."""
    check_writable(out)
    for written in (out, out.with_name(out.name + ".tmp")):  # `files.atomic` writes the second first
        if written.exists() and source.exists() and written.samefile(source):
            raise UserError(f"{out}: is the source itself; name another OUT")
    if out.exists() and _imported(out) is None:
        raise UserError(f"{out}: exists and is not imported weights; name another OUT")


def _imported(path: Path) -> Pretrained | None:
    """The header that `import_weights` wrote; None where the file is of another kind."""
    try:
        about = read_header(str(path))
    except UserError:
        return None
    return about if about.source and about.sha256 else None


def _own_layout(own: Pretrained, layouts: Sequence[Layout]) -> Layout:
    """The layout of a file that was imported before: our names, and the options that it was imported with."""
    free = {name: value for layout in layouts for name, value in layout.free.items()}
    return Layout("imported weights", own_names, r".*", lambda tensors: own.options, free)


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
    except (KeyError, ValueError, IndexError, ZeroDivisionError):  # what tells is not there: the file will lack it
        needed = {}
    chosen = {name: value for name, value in options.items() if name in layout.free and layout.free[name] == value}
    needed = {**options, **needed, **chosen}
    try:
        ours = build(target, needed).state_dict()
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{target} cannot be built with options {needed}; give others, or {KNOWN_FILES}") from None
    rules = layout.rules(ours)
    given = {name for theirs, (name, _) in rules.items() if theirs in tensors}
    unknown = [name for name in tensors if name not in rules and not re.fullmatch(layout.heads, name)]
    given |= layout.fill(ours).keys()
    lacking = [name for name in ours if name not in given and not name.endswith(COUNTER)]
    return _Fit(layout, needed, ours, rules, unknown, lacking)


def convert(
    target: str,
    tensors: Mapping[str, Tensor],
    source: str,
    options: Mapping[str, Any],
    layouts: Sequence[Layout] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Rename and turn a file's tensors.

    Args:
        target: A name from `list_importers()`.
        tensors: What the file holds.
        source: The file, for messages.
        options: Encoder options that the user asks for, beside those that the file calls for.
        layouts: Layouts that the file may have; default: those of public files.

    Returns:
        Our state dict, and the encoder's options.

    Raises:
        UserError: An option is wrong or contradicts the file. Or the tensors do not fit; the message names the first
            that does not, and another network that they fit.
    """
    fits = [_compare(target, layout, tensors, options) for layout in layouts or layouts_of(target)]
    fit = min(fits, key=lambda one: len(one.unknown) + len(one.lacking))
    if fit.unknown:
        raise UserError(
            f"{source}: not weights of {target}: unexpected tensor {fit.unknown[0]}{_hint(target, tensors)}"
        )
    check_against(target, source, fit.layout.what, options, fit.options)
    found: dict[str, Tensor] = {}
    for theirs, (name, turn) in fit.rules.items():
        if theirs in tensors and name in fit.ours:
            try:
                found[name] = _shaped(turn(tensors[theirs]), fit.ours[name].shape)
            except RuntimeError:
                shape = tuple(tensors[theirs].shape)
                raise UserError(f"{source}: does not fit {target}: {theirs} has shape {shape}; {KNOWN_FILES}") from None
    means = [tensor for name, tensor in found.items() if name.endswith("running_mean")]
    found = {**fit.layout.fill(fit.ours), **found}
    for name in fit.ours:
        if name.endswith(COUNTER):
            found.setdefault(name, torch.zeros((), dtype=torch.int64))
    problem = misfit(fit.ours, found)
    if problem:
        raise UserError(f"{source}: does not fit {target} ({fit.layout.what}): {problem}{_hint(target, tensors)}")
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
    return f"; {KNOWN_FILES}"
