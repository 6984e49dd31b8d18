"""How long does it take to use a checkpoint, from Python and from the shell?

    python -m benchmarks.inference.checkpoint QUESTION [--checkpoint CHECKPOINT] [--repeats N]

load: `voiceface.load`, in a fresh process: torch, then Lightning, which every method is a module of and which a first
`load` imports, then `load`.

match: `match` of one voice and two faces after `load`, on one core, from files: a rendered voice of about 3 s (FLAC)
and two JPEG pictures with one rendered face each, crops of 224 px or frames of 640 x 480.

embed_throughput: what embedding costs beyond the bare encoders, on the same clips in memory, one thread. `bare` runs
the networks alone on batches that are made already; `model` is `voiceface.load(...)`: voices given as int16 arrays of
many lengths, which it sorts and batches, faces as crops of the network's size. `pictures` are crops of 224 px, which
`model` resizes, encodes and decodes as a corpus does, so that one embeds the same from a file and from a corpus.

start: a short command from the shell, in processor seconds of the whole process: `match` of the README's example, also
without `voiceface.inference.light_start`, and the commands that need no torch.

The checkpoint is TriNet's demo networks with random weights unless one is given; `start` takes one of the zoo. Medians.
Writes benchmarks/results/QUESTION.json.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import voiceface
from benchmarks.common import ROOT, Runs, Ways, answer, in_turn, python, rates, ratio, summary
from benchmarks.data.media import face, voice, write_faces
from voiceface.data.corpus.bundles import encode_flac
from voiceface.encoders.passes import by_length, samples_per_pass

TIMED = """
import json, sys
from benchmarks.common import seconds
def torch_alone():
    import torch
    torch.set_num_threads(1)
def lightning():
    import pytorch_lightning
def load():
    import voiceface
    voiceface.load(sys.argv[1])
ways = {"import torch": torch_alone, "import pytorch_lightning": lightning, "load, first": load, "load, again": load}
print(json.dumps({name: seconds(way) for name, way in ways.items()}))
"""
VOICES, FACES, BATCH = 128, 256, 32
CHECKPOINT = "zoo/trinet-synthetic/src/voiceface_trinet_synthetic"
MATCH = ["match", CHECKPOINT, *(f"docs/example/{name}" for name in ("voice.flac", "a.jpg", "b.jpg")), "--asis"]
WITHOUT = (
    "import contextlib, sys; from voiceface.inference import light_start\n"
    "light_start.without_extras_of_torchmetrics = contextlib.nullcontext\n"
    "from voiceface.cli import main; sys.exit(main(sys.argv[1:]))"
)
COMMANDS = {
    "match": ["-m", "voiceface", *MATCH],
    "match, all of torchmetrics": ["-c", WITHOUT, *MATCH],
    "import torch": ["-c", "import torch"],
    "--help": ["-m", "voiceface", "--help"],
    "list": ["-m", "voiceface", "list"],
    "a mistyped option": ["-m", "voiceface", "match", "--to"],
}


def checkpoint(given: str | None, folder: Path) -> str | Path:
    """The given checkpoint, or one of TriNet's demo networks with random weights."""
    from voiceface.checkpoints.weights import save_checkpoint
    from voiceface.methods.trinet import TriNet

    if given:
        return given
    method = TriNet("face_small", "voice_small", freeze_voice=False).eval()
    save_checkpoint(method, folder / "checkpoint", "trinet", {"corpus": "none", "version": "0", "split": "train"})
    return folder / "checkpoint"


def load(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    words = ["-c", TIMED, checkpoint(options.checkpoint, folder)]
    runs = [json.loads(python(*words)) for _ in range(options.repeats)]
    return {"target": 1, **summary("seconds", {name: [run[name] for run in runs] for name in runs[0]}, 4)}


def match(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    model = voiceface.load(checkpoint(options.checkpoint, folder))
    heard = folder / "voice.flac"
    heard.write_bytes(encode_flac(voice(0, 3.0)))
    crops, frames = write_faces(folder, 2, 224), write_faces(folder, 2, 300, 640, 480)
    ways: Ways = {
        "two crops, no detection": lambda: model.match(heard, crops, detect=False),
        "two crops, detection": lambda: model.match(heard, crops),
        "two frames, detection": lambda: model.match(heard, frames),
    }
    runs = in_turn(ways, options.repeats)
    return {"target": 300, **summary("ms", {name: [1000 * s for s in taken] for name, taken in runs.items()})}


@torch.inference_mode()
def embed_throughput(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(32_000, 160_000, VOICES)
    voices = [rng.integers(-3000, 3000, n).astype(np.int16) for n in lengths]
    pictures = [face(number, 224) for number in range(32)] * (FACES // 32)
    model = voiceface.load(checkpoint(options.checkpoint, folder))
    method = model.method
    size = method.face_encoder.size
    heard = []
    most = samples_per_pass(method.voice_encoder, model.device)
    assert most is not None
    for places in by_length(lengths.tolist(), BATCH, most):
        waves = torch.zeros(len(places), int(lengths[places].max()), dtype=torch.int16)
        for wave, place in zip(waves, places, strict=True):
            wave[: lengths[place]] = torch.from_numpy(voices[place])
        heard.append((waves, torch.from_numpy(lengths[places])))
    crops = [np.asarray(Image.fromarray(picture).resize((size, size))) for picture in pictures]
    seen = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).split(64)
    voice_ways: Ways = {
        "voices, bare": lambda: [method.voice_encoder(*batch) for batch in heard],
        "voices, model": lambda: model.embed_voice(voices, batch=BATCH),
    }
    face_ways: Ways = {
        "faces, bare": lambda: [method.face_encoder(batch) for batch in seen],
        "faces, model": lambda: model.embed_face(crops, detect=False),
        "faces, model, pictures": lambda: model.embed_face(pictures, detect=False),
    }
    found: Runs = {}
    ratios = {}
    for ways, clips in ((voice_ways, VOICES), (face_ways, FACES)):
        own = rates(in_turn(ways, options.repeats), clips)
        found |= own
        ratios |= {name: ratio(values, own[next(iter(own))]) for name, values in own.items()}
    return {"target": 0.9, **summary("clips_per_second", found), "ratios_median": ratios}


def start(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    runs: Runs = {name: [] for name in COMMANDS}
    for _ in range(options.repeats + 1):
        for name, words in COMMANDS.items():
            runs[name].append(processor_seconds(words))
    counted = {name: values[1:] for name, values in runs.items()}  # the first round reads the files from the disk
    return {"targets": {"match": 4.5, "--help": 0.5, "list": 0.5}, **summary("processor_seconds", counted, 2)}


def processor_seconds(words: list[str]) -> float:
    """Of a whole process."""
    before = os.times()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    after = os.times()
    if done.returncode != (2 if "--to" in words else 0):
        raise SystemExit(f"{words}: {done.stderr}")
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    torch.set_num_threads(1)
    questions = {"load": load, "match": match, "embed_throughput": embed_throughput, "start": start}
    answer(__doc__, questions, checkpoint=str, repeats=5)
