"""How fast is the stream, against decoding alone and against a map-style dataset? Samples per second, in one run.

    python -m benchmarks.data.stream [--data CORPUS] [--face-size 112] [--seconds 4]
    python -m benchmarks.data.stream --folder [--face-size 112] [--seconds 3]

A sample is one voice crop of 2.5 s plus one face, as a training batch takes them. `raw tar` reads the shards from end
to end with Python's tarfile and decodes nothing; `decode alone` cuts clips that are already in memory, so that the
rest is the stream's own cost. Writes benchmarks/results/stream.json.

`--folder` compares with the usual way: a folder of JPEG pictures of 224 px and 16 kHz wav recordings of 8 to 10 s. The
usual way opens one picture and one whole recording per item, resizes the picture (Pillow, bicubic), cuts 2.5 s out of
the recording at random, and lets `DataLoader` collate 64 items in random order. The stream reads the corpus that
`voiceface prepare folder --faces asis` makes of that same folder, in batches of 16 people x 4 voices x 4 faces: also 64
of each. Both give int16 voices and uint8 faces, with the same number of worker processes; spectrograms and floats are
on neither side. Both have been read once before, so that all files are in the page cache. Writes
benchmarks/results/map_style.json.
"""

import argparse
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import soundfile
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.common import RESULTS, Runs, Ways, in_turn, medians, parser, ratio, summary, write
from benchmarks.data.media import voice, write_faces, write_voice
from voiceface.cli import main as voiceface
from voiceface.data.corpus.clips import cut_face, cut_voice
from voiceface.data.corpus.shards import Corpus
from voiceface.data.module import VoxVGGDataModule
from voiceface.training.fit import keep_memory

PEOPLE, CLIPS, BATCH, RUNS = 30, 8, 64, 5
CROP = 40_000

Samples = Generator[int, None, None]


class MapStyle(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """One picture and one whole recording per item, of a folder of `PERSON/voice/*.wav` and `PERSON/face/*.jpg`."""

    def __init__(self, root: Path, face_size: int) -> None:
        self.face_size = face_size
        self.items = list(zip(sorted(root.glob("*/voice/*")), sorted(root.glob("*/face/*")), strict=True))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        wav, jpg = self.items[index]
        waveform, _ = soundfile.read(wav, dtype="int16")
        start = int(torch.randint(len(waveform) - CROP + 1, ()))
        face = torch.from_numpy(np.array(resized(jpg, self.face_size))).permute(2, 0, 1)
        return torch.from_numpy(waveform[start : start + CROP]), face


def resized(path: Path, size: int) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)


def write_folder(root: Path) -> None:
    """Recordings and pictures of synthetic people."""
    rng = np.random.default_rng(0)
    for person in range(PEOPLE):
        for kind in ("voice", "face"):
            (root / f"p{person:02d}" / kind).mkdir(parents=True)
        write_faces(root / f"p{person:02d}/face", CLIPS, 224)
        for number in range(CLIPS):
            waveform = np.roll(voice(person, rng.uniform(8, 10)), int(rng.integers(30_000)))
            write_voice(root / f"p{person:02d}/voice/{number}.wav", waveform)
    (root / "identities.csv").write_text("identity,split\n" + "".join(f"p{p:02d},train\n" for p in range(PEOPLE)))


def samples_per_second(ways: dict[str, Callable[[], Samples]], seconds: float, first: int) -> Runs:
    """Each way in turns of about `seconds`, after its first batches (workers start then)."""
    found: Runs = {name: [] for name in ways}
    for _ in range(RUNS):
        for name, way in ways.items():
            batches, samples = way(), 0
            for _ in range(first):
                next(batches)
            start = time.perf_counter()
            for count in batches:
                samples += count
                if time.perf_counter() - start > seconds:
                    break
            found[name].append(samples / (time.perf_counter() - start))
            batches.close()
    return found


def module(root: str | None, workers: int = 0, **sampled: Any) -> VoxVGGDataModule:
    """The stream of a corpus, with other faces than the corpus's."""
    made = VoxVGGDataModule(root, people=BATCH // 4, voices=4, faces=4, workers=workers)
    sampling = replace(made.sampling(), **sampled)
    made.sampling = lambda: sampling  # type: ignore[method-assign]
    return made


def stream(root: str | None, workers: int, **sampled: Any) -> Samples:
    made = module(root, workers, **sampled)
    loader = made.train_dataloader()
    try:
        while True:
            for batch in loader:
                yield len(batch["voice_keys"])
    finally:
        made.teardown("fit")


def against_decoding(options: argparse.Namespace) -> dict[str, Any]:
    sampled = {"face_size": options.face_size, "face_margin": 1.0}
    own = module(options.data, **sampled)
    corpus, voice_seconds = own.corpus, own.sampling().voice_seconds
    clips = [(member.name, data) for _, member, data in corpus.clips("train")][:2000]
    heard, seen = ([data for name, data in clips if name.endswith(kind)] for kind in ("flac", "jpg"))

    def raw_tar() -> Samples:
        while True:
            for path in sorted(Path(corpus.root, "train").glob("*.tar")):
                with tarfile.open(path) as tar:
                    for info in tar:
                        tar.extractfile(info).read()  # type: ignore[union-attr]
                        yield int(info.name.endswith("flac"))

    def decode_alone() -> Samples:
        rng = np.random.default_rng(0)
        while True:
            for flac, jpg in zip(heard, seen, strict=False):
                cut_voice(flac, round(voice_seconds * 16_000), rng)
                cut_face(jpg, corpus.face_size, corpus.face_margin, options.face_size, 1.0)
                yield 1

    ways: dict[str, Callable[[], Samples]] = {"raw tar": raw_tar, "decode alone, 1 process": decode_alone}
    for workers in (0, 1, 2):
        ways[f"stream, {workers} workers"] = lambda workers=workers: stream(options.data, workers, **sampled)
    found = samples_per_second(ways, options.seconds or 4.0, 1)
    alone = found["decode alone, 1 process"]
    return {
        "sample": f"one voice crop of {voice_seconds} s and one face of {options.face_size} px",
        "corpus": corpus.name,
        **summary("samples_per_second", found),
        "ratios_median": {f"{name} / decode alone": ratio(values, alone) for name, values in found.items()},
    }


def against_map_style(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    folder, prepared, size = place / "folder", place / "corpus", options.face_size
    write_folder(folder)
    voiceface(["prepare", "folder", str(folder), str(prepared), "--faces", "asis"])

    def usual(workers: int) -> Samples:
        items = MapStyle(folder, size)
        loader = DataLoader(items, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        while True:
            for voices, _ in loader:
                yield len(voices)

    ways: dict[str, Callable[[], Samples]] = {}
    for n in (0, 2):
        ways[f"map-style, {n} workers"] = lambda n=n: usual(n)
        ways[f"stream, {n} workers"] = lambda n=n: stream(str(prepared), n, face_size=size)
    found = samples_per_second(ways, options.seconds or 3.0, 4)
    turns = {f"{n} workers": (found[f"stream, {n} workers"], found[f"map-style, {n} workers"]) for n in (0, 2)}
    return {
        "sample": f"one voice crop of 2.5 s and one face of {size} px",
        **summary("samples_per_second", found),
        "ratios_median": {name: ratio(*pair, 2) for name, pair in turns.items()},
        "decoding_microseconds": decoding(folder, Corpus(prepared), size),
    }


def decoding(folder: Path, corpus: Corpus, face_size: int) -> dict[str, float]:
    """Microseconds of processor time that each way takes to decode one voice and one face, in one process."""
    usual, rng = MapStyle(folder, face_size).items[:100], np.random.default_rng(0)
    clips = [(member.name[0], data) for _, member, data in corpus.clips("train")]
    heard, seen = ([data for kind, data in clips if kind == wanted][:100] for wanted in "vf")
    size, margin = corpus.face_size, corpus.face_margin
    ways: Ways = {
        "wav, whole": lambda: [soundfile.read(wav, dtype="int16") for wav, _ in usual],
        "flac, crop": lambda: [cut_voice(data, CROP, rng) for data in heard],
        "jpeg, whole, resized": lambda: [resized(jpg, face_size) for _, jpg in usual],
        "jpeg, scaled by its decoder": lambda: [cut_face(data, size, margin, face_size, margin) for data in seen],
    }
    return medians({name: [1e4 * t for t in taken] for name, taken in in_turn(ways, 3, time.process_time).items()}, 0)


def main() -> None:
    options = parser(__doc__, data=str, folder=False, face_size=112, seconds=float, out=RESULTS).parse_args()
    keep_memory()  # as `fit` does
    if options.folder:
        with tempfile.TemporaryDirectory() as place:
            write("map_style", against_map_style(options, Path(place)), options.out)
    else:
        write("stream", against_decoding(options), options.out)


if __name__ == "__main__":
    main()
