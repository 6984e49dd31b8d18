"""The header of a safetensors file: what was imported and for which encoder. Reads no tensors and imports no torch."""

import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from voiceface.utils.errors import UserError, reason

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
        source: Name of the public file that was imported; empty where the header does not say.
        sha256: That file's; empty where the header does not say.
    """

    path: str
    encoder: str
    method: str
    options: dict[str, Any]
    encoders: dict[str, str]
    source: str = ""
    sha256: str = ""


def open_file(path: Path, what: str) -> IO[bytes]:
    """Open an ordinary file that the user named.

    Args:
        path: The file.
        what: How messages name it.

    Raises:
        UserError: It is missing, a folder, or cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UserError(f"{what}: is a folder; name a file")
        if not stat.S_ISREG(mode):
            raise UserError(f"{what}: is a device or a pipe; name a file")
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{what}: no such file; check its name") from None
    except OSError as error:
        raise UserError(f"{what}: cannot be read ({reason(error)}); name a file that can") from None


def read_header(path: str) -> Pretrained:
    """Read what `voiceface import-weights` wrote about a file.

    Args:
        path: Safetensors file.

    Raises:
        UserError: It is missing or damaged, or was not written by `voiceface import-weights`.
    """
    file = Path(path)
    with open_file(file, f"--pretrained {path}") as stream:
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
            metadata.get("source", ""),
            metadata.get("sha256", ""),
        )
        if not isinstance(about.options, dict):
            raise ValueError("options are no dictionary")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise UserError(
            f"--pretrained {path}: not a safetensors file, or damaged; make one with `voiceface import-weights`"
        ) from None
    if whole != 8 + size + end:
        raise UserError(
            f"--pretrained {path}: damaged ({whole} bytes, its header says {8 + size + end}); import it again"
        )
    if not (about.encoder or about.method):
        raise UserError(
            f"--pretrained {path}: does not say which network it is for; write it with `voiceface import-weights`, "
            "or name it by --model.face_weights or --model.voice_weights"
        )
    return about
