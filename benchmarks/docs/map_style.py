"""How fast is the stream beside the usual way: a folder of pictures and recordings, and a map-style dataset over it?

The folder holds JPEG pictures of 224 px and 16 kHz wav recordings of 8 to 10 s. The usual way opens one picture and
one whole recording per item, resizes the picture (Pillow, bicubic), cuts 2.5 s out of the recording at random, and
lets `DataLoader` collate 64 items in random order. The stream reads the corpus that `voiceface prepare folder --faces
asis` makes of that same folder, in batches of 16 people x 4 voices x 4 faces: also 64 of each. Both give int16 voices
and uint8 faces, with the same number of worker processes; spectrograms and floats are on neither side. Both have been
read once before, so that all files are in the page cache.

    python -m benchmarks.docs.map_style [--face-size 112] [--seconds 3]
"""

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import soundfile
import torch
from benchmarks.machine import describe
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from voiceface.cli import main as voiceface
from voiceface.data.builtin import builtin_corpus
from voiceface.data.corpus.clips import cut_face, cut_voice
from voiceface.data.corpus.shards import Corpus
from voiceface.data.module import VoxVGGDataModule
from voiceface.training.fit import keep_memory

PEOPLE, CLIPS, BATCH, RUNS = 30, 8, 64, 5
CROP = 40_000


class MapStyle(Dataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """One picture and one whole recording per item.

    Args:
        root: Folder of `PERSON/voice/*.wav` and `PERSON/face/*.jpg`.
        face_size: Side of the faces, pixels.
    """

    def __init__(self, root: Path, face_size: int) -> None:
        self.face_size = face_size
        self.items = [
            (wav, jpg, number)
            for number, person in enumerate(sorted(path for path in root.iterdir() if path.is_dir()))
            for wav, jpg in zip(sorted(person.glob("voice/*")), sorted(person.glob("face/*")), strict=True)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        wav, jpg, number = self.items[index]
        voice, _ = soundfile.read(wav, dtype="int16")
        start = int(torch.randint(len(voice) - CROP + 1, ()))
        with Image.open(jpg) as image:
            face = image.convert("RGB").resize((self.face_size, self.face_size), Image.Resampling.BICUBIC)
        return torch.from_numpy(voice[start : start + CROP]), torch.from_numpy(np.array(face)).permute(2, 0, 1), number


def write_folder(root: Path) -> None:
    """Recordings and pictures of the built-in synthetic people, joined to 8 to 10 s and enlarged to 224 px."""
    corpus = Corpus(builtin_corpus())
    clips: dict[str, tuple[list[Any], list[Any]]] = {}
    for bundle, member, data in corpus.clips("train"):
        own = clips.setdefault(bundle.identity, ([], []))
        own[member.name.endswith("jpg")].append(data)
        if len(clips) > 2 * PEOPLE:
            break
    rng = np.random.default_rng(0)
    for name in [name for name, (voices, faces) in clips.items() if voices and faces][:PEOPLE]:
        voices, faces = clips[name]
        for kind in ("voice", "face"):
            (root / name / kind).mkdir(parents=True)
        speech = np.concatenate([soundfile.read(io.BytesIO(data), dtype="int16")[0] for data in voices])
        for number in range(CLIPS):
            seconds = rng.uniform(8, 10)
            voice = np.resize(np.roll(speech, int(rng.integers(len(speech)))), round(16_000 * seconds))
            soundfile.write(root / name / "voice" / f"{number}.wav", voice, 16_000, subtype="PCM_16")
            with Image.open(io.BytesIO(faces[number % len(faces)])) as image:
                picture = np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC), np.int16)
            grain = rng.normal(0, 4, picture.shape)  # as of a camera; an enlarged picture would decode too fast
            Image.fromarray(np.clip(picture + grain, 0, 255).astype(np.uint8)).save(
                root / name / "face" / f"{number}.jpg", quality=90
            )


def rate(batches: Iterator[int], seconds: float) -> float:
    """Samples per second over about `seconds`, after the first batches (workers start with them)."""
    for _ in range(4):
        next(batches)
    start, samples = time.perf_counter(), 0
    for count in batches:
        samples += count
        if time.perf_counter() - start > seconds:
            break
    return samples / (time.perf_counter() - start)


def parts(folder: Path, corpus: Corpus, face_size: int) -> dict[str, float]:
    """Microseconds of processor time that each way takes to decode one voice and one face, in one process."""
    usual = MapStyle(folder, face_size)
    clips = [(member.name[0], data) for _, member, data in corpus.clips("train")]
    heard, seen = ([data for kind, data in clips if kind == wanted] for wanted in "vf")
    rng = np.random.default_rng(0)

    def clock(run: Callable[[int], Any], count: int) -> float:
        times = []
        for _ in range(3):
            start = time.process_time()
            for number in range(count):
                run(number)
            times.append((time.process_time() - start) / count)
        return round(1e6 * median(times))

    return {
        "wav, whole": clock(lambda i: soundfile.read(usual.items[i][0], dtype="int16"), 100),
        "flac, crop": clock(lambda i: cut_voice(heard[i], CROP, rng), 100),
        "jpeg, whole, resized": clock(
            lambda i: Image.open(usual.items[i][1]).convert("RGB").resize((face_size,) * 2, Image.Resampling.BICUBIC),
            100,
        ),
        "jpeg, scaled by its decoder": clock(
            lambda i: cut_face(seen[i], corpus.face_size, corpus.face_margin, face_size, corpus.face_margin), 100
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--face-size", type=int, default=112)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    keep_memory()
    with tempfile.TemporaryDirectory() as place:
        folder, prepared = Path(place, "folder"), Path(place, "corpus")
        write_folder(folder)
        names = sorted(person.name for person in folder.iterdir())
        (folder / "identities.csv").write_text("identity,split\n" + "".join(f"{name},train\n" for name in names))
        voiceface(["prepare", "folder", str(folder), str(prepared), "--faces", "asis"])
        corpus = Corpus(prepared)

        def usual(workers: int) -> Iterator[int]:
            loader = DataLoader(
                MapStyle(folder, options.face_size),
                BATCH,
                shuffle=True,
                num_workers=workers,
                persistent_workers=workers > 0,
            )
            while True:
                for voices, _, _ in loader:
                    yield len(voices)

        def stream(workers: int) -> Iterator[int]:
            module = VoxVGGDataModule(str(prepared), people=BATCH // 4, voices=4, faces=4, workers=workers)
            sampling = replace(module.sampling(), face_size=options.face_size)
            module.sampling = lambda: sampling  # type: ignore[method-assign]
            loader = module.train_dataloader()
            try:
                while True:
                    for batch in loader:
                        yield len(batch["voice_keys"])
            finally:
                module.teardown("fit")

        rates: dict[str, list[float]] = {}
        for _ in range(RUNS):
            for workers in (0, 2):
                for name, way in (("map-style", usual), ("stream", stream)):
                    batches = way(workers)
                    rates.setdefault(f"{name}, {workers} workers", []).append(rate(batches, options.seconds))
                    batches.close()  # type: ignore[attr-defined]
        decoding = parts(folder, corpus, options.face_size)
    ratios = {
        f"{workers} workers": round(
            median(
                a / b
                for a, b in zip(
                    rates[f"stream, {workers} workers"], rates[f"map-style, {workers} workers"], strict=True
                )
            ),
            2,
        )
        for workers in (0, 2)
    }
    for name, values in rates.items():
        print(f"{name:24s} {median(values):8.0f} samples/s")
    print("stream / map-style:", ratios)
    print("microseconds of decoding:", decoding)
    result = {
        "question": "samples per second of the stream against a map-style dataset over a folder",
        "sample": f"one voice crop of 2.5 s and one face of {options.face_size} px",
        "samples_per_second_median": {name: round(median(values), 1) for name, values in rates.items()},
        "ratios_median": ratios,
        "decoding_microseconds": decoding,
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "machine": describe(),
    }
    out = Path(__file__).parents[1] / "results" / "map_style.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()
