"""How fast is the stream? Samples per second against reading the raw tar and against decoding alone, in one run.

A sample is one voice crop of 2.5 s plus one face, as a training batch takes them. `raw tar` reads the shards from end
to end with Python's tarfile and decodes nothing; `decode alone` cuts clips that are already in memory, so that the
rest is the stream's own cost.

    python -m benchmarks.data.stream [--data CORPUS] [--face-size 112] [--seconds 4]
"""

import argparse
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from benchmarks.machine import describe

from voiceface.data.corpus.clips import cut_face, cut_voice
from voiceface.data.module import VoxVGGDataModule
from voiceface.training.fit import keep_memory

REPEATS = 5


def rate(run: Callable[[], Iterator[int]], seconds: float) -> float:
    """Samples per second over about `seconds`, not counting the first batch (workers start with it)."""
    samples, iterator = 0, run()
    next(iterator)
    start = time.perf_counter()
    for count in iterator:
        samples += count
        if time.perf_counter() - start > seconds:
            break
    return samples / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="corpus; default: the built-in one")
    parser.add_argument("--face-size", type=int, default=112)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    keep_memory()  # as `fit` does
    module = VoxVGGDataModule(options.data, people=16, voices=4, faces=4)
    corpus = module.corpus
    sampling = replace(module.sampling(), face_size=options.face_size, face_margin=1.0)
    module.sampling = lambda: sampling  # type: ignore[method-assign]
    clips = [(member.name, data) for _, member, data in corpus.clips("train")][:2000]
    heard = [data for name, data in clips if name.endswith("flac")]
    seen = [data for name, data in clips if name.endswith("jpg")]

    def raw_tar() -> Iterator[int]:
        while True:
            for path in sorted(Path(corpus.root, "train").glob("*.tar")):
                with tarfile.open(path) as tar:
                    for info in tar:
                        tar.extractfile(info).read()  # type: ignore[union-attr]
                        yield int(info.name.endswith("flac"))

    def decode_alone() -> Iterator[int]:
        rng = np.random.default_rng(0)
        samples = round(sampling.voice_seconds * 16_000)
        while True:
            for voice, face in zip(heard, seen, strict=False):
                cut_voice(voice, samples, rng)
                cut_face(face, corpus.face_size, corpus.face_margin, options.face_size, 1.0)
                yield 1

    def stream(workers: int) -> Callable[[], Iterator[int]]:
        def run() -> Iterator[int]:
            module.workers = workers
            loader = module.train_dataloader()
            while True:
                for batch in loader:
                    yield len(batch["voice_keys"])

        return run

    ways = {"raw tar": raw_tar, "decode alone, 1 process": decode_alone, "stream, 0 workers": stream(0)}
    ways |= {f"stream, {n} workers": stream(n) for n in (1, 2)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, run in ways.items():
            rates[name].append(rate(run, options.seconds))
    medians = {name: round(median(values), 1) for name, values in rates.items()}
    ratios = {
        f"{name} / decode alone": round(
            median(a / b for a, b in zip(values, rates["decode alone, 1 process"], strict=True)), 3
        )
        for name, values in rates.items()
    }
    for name, value in medians.items():
        print(f"{name:26s} {value:10.0f} samples/s   x {ratios[f'{name} / decode alone']:.2f} of decoding alone")
    result = {
        "question": "samples per second of the stream against raw tar reading and decoding alone",
        "sample": f"one voice crop of {sampling.voice_seconds} s and one face of {options.face_size} px",
        "corpus": corpus.name,
        "samples_per_second_median": medians,
        "samples_per_second": {name: [round(v, 1) for v in values] for name, values in rates.items()},
        "ratios_median": ratios,
        "machine": describe(),
    }
    out = Path(__file__).parents[1] / "results" / "stream.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()
