"""How long does it take to use a checkpoint, from Python and from the shell?

    python -m benchmarks.inference.checkpoint QUESTION [--checkpoint CHECKPOINT] [--repeats N]

load: `voiceface.load`, in a fresh process: torch, then Lightning, which every method is a module of and which a first
`load` imports, then `load`.

match: `match` of one voice and two faces after `load`, on one core, from files: a rendered voice of about 3 s (FLAC)
and two JPEG pictures with one rendered face each, crops of 224 px or frames of 640 x 480.

embed_throughput: what embedding costs beyond the bare encoders, on the same clips in memory, one thread. `bare` runs
the networks alone on batches that are made already; `method` adds the heads; `model` is `voiceface.load(...)`: voices
given as int16 arrays of many lengths, which it sorts and batches, faces as crops of the network's size. `pictures` are
crops of 224 px, which `model` resizes, encodes and decodes as a corpus does, so that one embeds the same from a file
and from a corpus: the work of reading them, not of embedding.

start: a short command from the shell, in processor seconds of the whole process: `match` of the README's example, also
without `voiceface.inference.light_start`, and the commands that need no torch.

The checkpoint is TriNet's demo networks with random weights unless one is given; `start` takes one of the zoo. Medians.
Writes benchmarks/results/QUESTION.json.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

import voiceface
from benchmarks.common import ROOT, answer, in_turn, load_average, medians, parser, ratio, rounded, timed
from benchmarks.data.prepare import write_pictures
from voiceface.data.corpus.bundles import encode_flac
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import face_clip
from voiceface.data.synthetic.voice import voice_clip
from voiceface.inference.embedder import PASS
from voiceface.inference.media import by_length

TIMED = """
import sys, time
start = time.perf_counter()
import torch
torch.set_num_threads(1)
seconds = [time.perf_counter() - start]
start = time.perf_counter()
import pytorch_lightning
seconds.append(time.perf_counter() - start)
import voiceface
for _ in range(4):
    start = time.perf_counter()
    voiceface.load(sys.argv[1])
    seconds.append(time.perf_counter() - start)
print(*seconds)
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
    words = [sys.executable, "-c", TIMED, str(checkpoint(options.checkpoint, folder))]
    printed = [subprocess.run(words, capture_output=True, text=True, check=True).stdout for _ in range(options.repeats)]
    runs = [[float(word) for word in line.split()] for line in printed]
    seconds = {
        "import torch": [run[0] for run in runs],
        "import pytorch_lightning": [run[1] for run in runs],
        "load, first": [run[2] for run in runs],
        "load, again": [median(run[3:]) for run in runs],
        "first load after torch": [run[1] + run[2] for run in runs],
    }
    return {
        "question": "seconds of voiceface.load after torch is imported, one thread; target: below 1",
        "seconds_median": medians(seconds, 4),
        "runs": [[round(value, 4) for value in run] for run in runs],
        "load_average": load_average(),
    }


def match(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    model = voiceface.load(checkpoint(options.checkpoint, folder))
    samples = voice_clip(person(SyntheticOptions(), 0), 0)[0]
    voice = folder / "voice.flac"
    voice.write_bytes(encode_flac(samples))
    crops = write_pictures(folder / "crops", 2, 224, 224, 224)
    frames = write_pictures(folder / "frames", 2, 640, 480, 300)
    ways: dict[str, Callable[[], object]] = {
        "two crops, no detection": lambda: model.match(voice, crops, detect=False),
        "two crops, detection": lambda: model.match(voice, crops),
        "two frames, detection": lambda: model.match(voice, frames),
        "of these, the voice": lambda: model.embed_voice(voice),
    }
    milliseconds = {name: [1000 * s for s in timed(way, options.repeats)] for name, way in ways.items()}
    return {
        "question": "milliseconds of match of one voice and two faces from files, one thread; target: below 300",
        "voice_seconds": round(len(samples) / 16_000, 2),
        "ms_median": medians(milliseconds),
        "ms_runs": rounded(milliseconds),
        "load_average": load_average(),
    }


def embed_throughput(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(32_000, 160_000, VOICES)
    voices = [rng.integers(-3000, 3000, n).astype(np.int16) for n in lengths]
    people = [person(SyntheticOptions(), number) for number in range(32)]
    drawn = [Image.fromarray(face_clip(one, 0)[0]) for one in people] * (FACES // 32)
    pictures = [np.asarray(picture.resize((224, 224))) for picture in drawn]
    model = voiceface.load(checkpoint(options.checkpoint, folder))
    method = model.method
    size = method.face_encoder.size
    heard = []
    for places in by_length(lengths.tolist(), BATCH, PASS):
        waves = torch.zeros(len(places), int(lengths[places].max()), dtype=torch.int16)
        for wave, place in zip(waves, places, strict=True):
            wave[: lengths[place]] = torch.from_numpy(voices[place])
        heard.append((waves, torch.from_numpy(lengths[places])))
    crops = [np.asarray(picture.resize((size, size))) for picture in drawn]
    seen = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).split(64)
    ways: dict[str, Callable[[], object]] = {
        "voices, bare": lambda: [method.voice_encoder(*batch) for batch in heard],
        "voices, method": lambda: [method.embed_voice(*batch) for batch in heard],
        "voices, model": lambda: model.embed_voice(voices, batch=BATCH),
        "faces, bare": lambda: [method.face_encoder(batch) for batch in seen],
        "faces, method": lambda: [method.embed_face(batch) for batch in seen],
        "faces, model": lambda: model.embed_face(crops, detect=False),
        "faces, model, pictures": lambda: model.embed_face(pictures, detect=False),
    }
    with torch.inference_mode():
        in_turn(ways, 1)  # warms up
        rounds = in_turn(ways, options.repeats)
    clips = {name: VOICES if name.startswith("voices") else FACES for name in ways}
    return {
        "question": "clips per second of embedding against the bare encoders, one thread; target: 0.9 of the rate",
        "clips": {"voices": VOICES, "seconds": "2 to 10", "faces": FACES, "batch": BATCH},
        "rates_median": {name: round(clips[name] / median(took), 1) for name, took in rounds.items()},
        "ratios_median": {name: ratio(rounds[f"{name.split(',')[0]}, bare"], took) for name, took in rounds.items()},
        "runs_seconds": rounded(rounds, 4),
        "load_average": load_average(),
    }


def start(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    for words in COMMANDS.values():
        of_process(words)
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(options.repeats):
        for name, words in COMMANDS.items():
            runs[name].append(of_process(words))
    processor = medians({name: [used for used, _ in found] for name, found in runs.items()}, 2)
    return {
        "question": "processor seconds of a command from the shell; targets: match 4.5, those without torch 0.5",
        "processor_seconds_median": processor,
        "clock_seconds_median": medians({name: [s for _, s in found] for name, found in runs.items()}, 2),
        "match_ratio": round(processor["match, all of torchmetrics"] / processor["match"], 2),
        "runs": {name: [[round(value, 3) for value in one] for one in found] for name, found in runs.items()},
        "load_average": load_average(),
    }


def of_process(words: list[str]) -> tuple[float, float]:
    """Processor and clock seconds of a process."""
    before, begin = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    after = os.times()
    if done.returncode != (2 if "--to" in words else 0):
        raise SystemExit(f"{words}: {done.stderr}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, time.perf_counter() - begin


QUESTIONS = {"load": load, "match": match, "embed_throughput": embed_throughput, "start": start}


def main() -> None:
    made = parser(__doc__, QUESTIONS)
    made.add_argument("--checkpoint")
    made.add_argument("--repeats", type=int, help="default: 9 of match, 5 of the others")
    options = made.parse_args()
    options.repeats = options.repeats or (9 if options.question == "match" else 5)
    torch.set_num_threads(1)
    answer(options, QUESTIONS)


if __name__ == "__main__":
    main()
