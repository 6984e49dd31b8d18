"""How long does `match` of one voice and two faces take after `load`, on one core?

From files: a rendered voice of about 3 s (FLAC) and two JPEG pictures with one rendered face each, crops of 224 px or
frames of 640 x 480. TriNet's demo networks with random weights, or `--checkpoint`.

    python -m benchmarks.inference.match [--checkpoint CHECKPOINT] [--repeats 9]
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from benchmarks.machine import describe

import voiceface
from benchmarks.data.detector import write_pictures
from benchmarks.inference.load import demo_checkpoint
from voiceface.data.corpus.bundles import encode_flac
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.voice import voice_clip


def timed(call: Callable[[], object], repeats: int) -> list[float]:
    call()
    milliseconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        milliseconds.append(1000 * (time.perf_counter() - start))
    return milliseconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = voiceface.load(options.checkpoint or demo_checkpoint(Path(folder) / "checkpoint"))
        voice = Path(folder) / "voice.flac"
        samples = voice_clip(person(SyntheticOptions(), 0), 0)[0]
        voice.write_bytes(encode_flac(samples))
        pictures = {}
        for name, size in {"crops": (224, 224, 224), "frames": (640, 480, 300)}.items():
            (Path(folder) / name).mkdir()
            pictures[name] = write_pictures(Path(folder) / name, 2, *size)
        crops, frames = pictures.values()
        milliseconds = {
            "two crops, no detection": timed(lambda: model.match(voice, crops, detect=False), options.repeats),
            "two crops, detection": timed(lambda: model.match(voice, crops), options.repeats),
            "two frames, detection": timed(lambda: model.match(voice, frames), options.repeats),
            "of these, the voice": timed(lambda: model.embed_voice(voice), options.repeats),
        }
    for name, values in milliseconds.items():
        print(f"{name:26s} {median(values):8.1f} ms")
    result = {
        "question": "milliseconds of match of one voice and two faces from files, one thread; target: below 300",
        "voice_seconds": round(len(samples) / 16_000, 2),
        "ms_median": {name: round(median(values), 1) for name, values in milliseconds.items()},
        "ms_runs": {name: [round(value, 1) for value in values] for name, values in milliseconds.items()},
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "machine": describe(),
    }
    path = Path(__file__).parents[1] / "results" / "match.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
