"""A checkpoint of untrained networks, and files to embed, that the tests of inference share."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image

import voiceface
from voiceface.checkpoints.weights import save_checkpoint
from voiceface.cli import build_parser
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import face_clip
from voiceface.inference.model import Model
from voiceface.methods.base import Method
from voiceface.methods.kim import Kim
from voiceface.methods.svhf import SVHF
from voiceface.methods.trinet import TriNet

SMALL: dict[str, Any] = {"face_encoder": "face_small", "voice_encoder": "voice_small"}
DATA = {"corpus": "synthetic", "version": "abc", "split": "train"}


def make(kind: str, folder: Path, **arguments: Any) -> Model:
    """A model of random weights, the same every time, through the checkpoint folder that `voiceface fit` writes."""
    torch.manual_seed(0)
    method: Method
    if kind == "pairwise":
        method = Kim(**SMALL, loss="classifier", **arguments)
    elif kind == "relative":
        method = SVHF(**SMALL, width=32, hidden=(32, 16), **arguments)
    else:
        method = TriNet(**SMALL, dim=16, space="euclidean" if kind == "euclidean" else "sphere", **arguments)
    save_checkpoint(method, folder, {"pairwise": "kim", "relative": "svhf"}.get(kind, "trinet"), DATA)
    return voiceface.load(folder)


def wave(seed: int, seconds: float) -> np.ndarray:
    """A tone in noise, int16 at 16 kHz."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(16_000 * seconds)) / 16_000
    return (8_000 * np.sin(2 * np.pi * (90 + 37 * seed) * t) + 900 * rng.standard_normal(len(t))).astype(np.int16)


def picture(seed: int, side: int = 90) -> np.ndarray:
    """A coarse random pattern, RGB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def rendered(number: int) -> np.ndarray:
    """A face of the built-in corpus, 280 x 280 px, which the detector finds."""
    return np.asarray(Image.fromarray(face_clip(person(SyntheticOptions(), number), 0)[0]).resize((280, 280)))


def write_voice(path: Path, seed: int, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave(seed, seconds), 16_000)
    return path


def write_face(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path)
    return path


def words(*given: object) -> argparse.Namespace:
    """Parse words after `voiceface`."""
    return build_parser().parse_args([str(word) for word in given])
