"""`voiceface export`: a checkpoint's encoders, heads and preprocessing included, as ONNX or `torch.export` files.

Batch size and audio length stay dynamic. A graph cannot depend on values: during export
(`torch.compiler.is_exporting()`), voice networks and their features use their general code path for every batch.
"""

import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from voiceface.checkpoints.weights import load_checkpoint, read_config
from voiceface.checkpoints.wheel import read_licence
from voiceface.methods.base import Method
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable, write_for_user
from voiceface.utils.version import __version__

Format = Literal["onnx", "torch"]
Part = Literal["voice", "face"]

ENDINGS: Mapping[Format, str] = {"onnx": "onnx", "torch": "pt2"}
METADATA = "voiceface.json"
"""Name of the extra file in a `.pt2` that holds the result of `about`."""


class Voice(nn.Module):
    """A method's path from waveforms to embeddings."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = _without(method, "face_encoder")

    def forward(self, voices: Tensor, lengths: Tensor) -> Tensor:
        """Embed voices: float32 (B, T) in [-1, 1], 16 kHz, and int64 (B,) samples of each, to float32 (B, D)."""
        return self.method.embed_voice(voices, lengths)


class Face(nn.Module):
    """A method's path from images to embeddings."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = _without(method, "voice_encoder")

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces: uint8 (B, 3, S, S), RGB, to float32 (B, D)."""
        return self.method.embed_face(faces)


def _without(method: Method, encoder: str) -> Method:
    """Copy a method without one of its encoders, whose weights `torch.export` would store too."""
    part = copy.copy(method)
    part._modules = {name: module for name, module in method._modules.items() if name != encoder}
    return part


def export(
    checkpoint: Path, out: Path, format: Format = "onnx", parts: Sequence[Part] = ("voice", "face")
) -> list[Path]:
    """Write the encoders of a checkpoint, one file each.

    Args:
        checkpoint: Checkpoint folder.
        out: Folder for `voice.onnx` and `face.onnx`, or `voice.pt2` and `face.pt2`; created if missing.
        format: `onnx`, or `torch` for an `ExportedProgram`.
        parts: Encoders to export.

    Returns:
        The files, in the order of `parts`.

    Raises:
        UserError: The folder is not a checkpoint, an encoder cannot be exported, the extra `export` is missing, or a
            file cannot be written.
    """
    if format == "onnx":
        _onnx_is_there()
    paths = {part: out / f"{part}.{ENDINGS[format]}" for part in parts}
    for path in paths.values():
        check_writable(path)
    config = read_config(checkpoint)
    method = load_checkpoint(checkpoint)
    method.voice_encoder.crops = False
    licence = read_licence(checkpoint) if (checkpoint / "README.md").exists() else ""
    made = {part: to_bytes(method, part, format, about(config, method, part, licence)) for part in parts}
    for part, data in made.items():
        write_for_user(paths[part], data)
    return list(paths.values())


def about(config: Mapping[str, Any], method: Method, part: Part, licence: str = "") -> dict[str, str]:
    """Build the metadata of an exported file.

    Args:
        config: The checkpoint's `config.json`.
        method: The method built from it.
        part: `voice` or `face`.
        licence: Licence in the checkpoint's card; empty: unknown.

    Returns:
        Text by name: name, recipe, part, sha256 (of the checkpoint's weights), space (how embeddings are compared),
        corpus, licence, voiceface (the exporting version); for voices sample_rate (input, Hz), for faces size (px) and
        margin (face box as a multiple of the detected one).
    """
    data = config.get("data") or {}
    said = {
        "name": str(config.get("name") or config["recipe"]),
        "recipe": str(config["recipe"]),
        "part": part,
        "sha256": str(config["sha256"]),
        "space": method.space,
        "corpus": str(data.get("corpus") or ""),
        "licence": licence,
        "voiceface": __version__,
    }
    if part == "voice":
        return said | {"sample_rate": "16000"}
    return said | {"size": str(method.face_encoder.size), "margin": str(method.face_encoder.margin)}


def to_bytes(method: Method, part: Part, format: Format, metadata: Mapping[str, str]) -> bytes:
    """Export one encoder with its head.

    Args:
        method: The method, in eval mode, on the CPU.
        part: `voice` or `face`.
        format: `onnx` or `torch`.
        metadata: Metadata of the file.

    Returns:
        The content of the file.

    Raises:
        UserError: The encoder cannot be exported.
    """
    encoder = method.voice_encoder if part == "voice" else method.face_encoder
    with _quiet():
        try:
            program, free = _program(method, part)
            return _onnx(program, free, metadata) if format == "onnx" else _pt2(program, metadata)
        except (RuntimeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:  # includes the exporters' own
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UserError(
                f"{encoder.built[0] or type(encoder).__name__}: this network cannot be exported to {format} by torch "
                f"{torch.__version__} ({reason.strip()[:200]}); docs/inference.md names those that can"
            ) from error


def _program(method: Method, part: Part) -> tuple[ExportedProgram, Any]:
    """Build the graph; also return which input sizes are dynamic, by name."""
    batch = Dim("batch")
    network: nn.Module
    inputs: tuple[Tensor, ...]
    free: tuple[dict[int, Any], ...]
    if part == "face":
        size = method.face_encoder.size
        network, inputs, free = Face(method), (torch.zeros(3, 3, size, size, dtype=torch.uint8),), ({0: batch},)
    else:
        network, inputs = Voice(method), (torch.zeros(3, 40_001), torch.tensor([40_001, 20_000, 9_000]))
        free = ({0: batch, 1: Dim("samples")}, {0: batch})
    with torch.inference_mode():
        network(*inputs)  # computes constants such as mel filters now, not in the graph
    program = torch.export.export(network, inputs, dynamic_shapes=free)
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # it contains folder names of this machine
    return program, free


def _pt2(program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    stream = io.BytesIO()
    torch.export.save(program, stream, extra_files={METADATA: json.dumps(metadata, indent=1)})
    return stream.getvalue()


def _onnx(program: ExportedProgram, free: Any, metadata: Mapping[str, str]) -> bytes:
    made = torch.onnx.export(program, dynamo=True, verbose=False, dynamic_shapes=free, output_names=["embeddings"])
    assert made is not None  # it is only None if a file name is given
    made.model.metadata_props.update(metadata)
    model: bytes = made.model_proto.SerializeToString(deterministic=True)
    return model


def _onnx_is_there() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError:
        raise UserError("--format onnx: needs the extra `export`: pip install 'voiceface[export]'") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's output about its own internals during export."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.fx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
