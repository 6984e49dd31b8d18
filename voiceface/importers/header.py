"""The header of a safetensors file: what was imported and for which encoder. Reads no tensors and imports no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voiceface.errors import UserError

LARGEST = 100_000_000  # bytes that the format allows a header


@dataclass(frozen=True)
class Pretrained:
    """What the header of an imported file says.

    Attributes:
        path: The file, as the user wrote it.
        encoder: Encoder that the weights are for; empty where they are for a whole method.
        method: Method that the weights are for; empty where they are for one encoder.
        options: Encoder options that the weights need.
        encoders: Of a whole method: the encoders inside, `{"face": name, "voice": name}`.
    """

    path: str
    encoder: str
    method: str
    options: dict[str, Any]
    encoders: dict[str, str]


def read_header(path: str) -> Pretrained:
    """Read what `voiceface import-weights` wrote about a file.

    Args:
        path: Safetensors file.

    Raises:
        UserError: It is missing or damaged, or was not written by `voiceface import-weights`.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"--pretrained {path}: no such file")
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        whole = file.stat().st_size
        text = stream.read(size) if size <= min(LARGEST, whole - 8) else b""
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        about = Pretrained(
            path,
            metadata.get("encoder", ""),
            metadata.get("method", ""),
            json.loads(metadata.get("options", "{}")),
            {kind: metadata[f"{kind}_encoder"] for kind in ("face", "voice") if f"{kind}_encoder" in metadata},
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise UserError(f"--pretrained {path}: not a safetensors file, or damaged") from None
    if whole != 8 + size + end:
        raise UserError(f"--pretrained {path}: damaged ({whole} bytes, its header says {8 + size + end})")
    if not (about.encoder or about.method):
        raise UserError(
            f"--pretrained {path}: does not say which network it is for; write it with `voiceface import-weights`, "
            "or name it by --model.face_weights or --model.voice_weights"
        )
    return about
