"""What does embedding cost beyond the bare encoders, on the same clips in memory, in one run?

`bare` runs the networks alone on batches that are made already; `method` adds the heads; `model` is
`voiceface.load(...)`: voices given as int16 arrays of many lengths, which it sorts and batches, faces as crops of the
network's size. `pictures` are crops of 224 px, which `model` resizes, encodes and decodes as a corpus does, so that one
embeds the same from a file and from a corpus: the work of reading them, not of embedding. One thread; ratios are
medians of the rounds'.

    python -m benchmarks.inference.embed_throughput [--checkpoint CHECKPOINT] [--repeats 5]
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from benchmarks.machine import describe
from PIL import Image

import voiceface
from benchmarks.inference.load import demo_checkpoint
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import face_clip
from voiceface.inference.media import by_length
from voiceface.inference.model import PASS

VOICES, FACES, BATCH = 128, 256, 32


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    lengths = rng.integers(32_000, 160_000, VOICES)
    voices = [rng.integers(-3000, 3000, n).astype(np.int16) for n in lengths]
    people = [person(SyntheticOptions(), number) for number in range(32)]
    drawn = [Image.fromarray(face_clip(one, 0)[0]) for one in people] * (FACES // 32)
    pictures = [np.asarray(picture.resize((224, 224))) for picture in drawn]
    with tempfile.TemporaryDirectory() as folder:
        model = voiceface.load(options.checkpoint or demo_checkpoint(Path(folder) / "checkpoint"))
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
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.inference_mode():
        for number in range(options.repeats + 1):
            for name, way in ways.items():
                took = seconds(way)
                if number:  # the first round warms up
                    rounds[name].append(took)
    rates = {n: (VOICES if n.startswith("voices") else FACES) / median(took) for n, took in rounds.items()}
    ratios = {
        name: median(b / a for a, b in zip(rounds[name], rounds[f"{name.split(',')[0]}, bare"], strict=True))
        for name in ways
    }
    for name, rate in rates.items():
        print(f"{name:22s} {rate:10.1f} clips/s {ratios[name]:6.2f} of the bare encoder")
    result = {
        "question": "clips per second of embedding against the bare encoders, one thread; target: 0.9 of the rate",
        "clips": {"voices": VOICES, "seconds": "2 to 10", "faces": FACES, "batch": BATCH},
        "rates_median": {name: round(rate, 1) for name, rate in rates.items()},
        "ratios_median": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "runs_seconds": {name: [round(s, 4) for s in took] for name, took in rounds.items()},
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "machine": describe(),
    }
    path = Path(__file__).parents[1] / "results" / "embed_throughput.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
