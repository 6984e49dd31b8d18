"""A small real checkpoint with a result, made in this process."""

import json
from pathlib import Path
from typing import Any

import torch

from voiceface.checkpoints.weights import save_checkpoint
from voiceface.evaluation.results import write_results
from voiceface.methods.trinet import TriNet

SYNTHETIC = {"corpus": "synthetic", "version": "abc", "split": "train"}

UNKNOWN = {"ci_low": None, "ci_high": None, "ci_level": None, "ci_method": None, "chance": 0.5, "error_bound": 0.0}
UNKNOWN |= {"identities": 8, "trials": 8, "ties": 0}


def save(folder: Path, recipe: str = "trinet", data: dict[str, Any] = SYNTHETIC, seed: int = 0) -> Path:
    """An untrained TriNet with the small encoders."""
    torch.manual_seed(seed)
    method = TriNet(face_encoder="face_small", voice_encoder="voice_small", freeze_voice=False)
    sha256 = save_checkpoint(method, folder, recipe, data)
    scores = [
        {
            "task": "matching",
            "direction": direction,
            "stratum": stratum,
            "n": n,
            "metric": "accuracy",
            "value": value,
            "protocol": protocol,
            **UNKNOWN,
        }
        for direction, stratum, n, value, protocol in (
            ("v2f", "U", 2, 0.812, "exact"),
            ("f2v", "U", 2, 0.798, "exact"),
            ("v2f", "G", 2, 0.611, "exact"),
            ("v2f", "U", 10, 0.401, "exact"),
            ("v2f", "U", 2, 0.999, "trinet"),
        )
    ]
    model: dict[str, Any] = {"recipe": recipe, "method": "TriNet", "arguments": {}, "parameters": 1}
    about: dict[str, Any] = {"corpus": "synthetic", "version": "v", "synthetic": True, "clips_sha256": "c"}
    about |= {"split": "test", "identities": 8, "voices": 16, "faces": 16, "skipped": 0}
    model |= {"checkpoint": sha256, "training_data": None}
    sections: dict[str, Any] = {"schema": 2, "model": model, "data": about, "environment": {}, "scores": scores}
    write_results(folder / "results.json", sections)
    return folder


def change_config(folder: Path, **changed: Any) -> None:
    """Change keys of a checkpoint's config file."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
