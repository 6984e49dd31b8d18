"""Frozen networks of a checkpoint."""

from pathlib import Path

from voiceface.checkpoints.weights import load_checkpoint, read_config
from voiceface.encoders.face_features import FaceFeatures
from voiceface.encoders.pretrained.frozen import Frozen, frozen
from voiceface.utils.errors import UserError


def of_checkpoint(folder: Path) -> Frozen:
    """Return the two networks of a checkpoint, without its heads.

    Args:
        folder: Checkpoint folder.

    Raises:
        UserError: The folder is not a checkpoint, or its method has no networks of its own but takes features.
    """
    method, config = load_checkpoint(folder), read_config(folder)
    if isinstance(method.face_encoder, FaceFeatures):
        raise UserError(f"--checkpoint {folder}: was trained on features; give one that takes voices and faces")
    arguments, origin = config["arguments"], {"recipe": config["recipe"], "sha256": config["sha256"]}
    names = {
        k: arguments.get(f"{k}_encoder", type(getattr(method, f"{k}_encoder")).__name__) for k in ("voice", "face")
    }
    options = {kind: arguments.get(f"{kind}_options") or {} for kind in names}
    return frozen(method.voice_encoder, method.face_encoder, names, options, {"checkpoint": origin})
