"""How fast does one core read voices and faces, find speech and make synthetic clips, and what does the engine cost?

    python -m benchmarks.data.prepare QUESTION [--number N]

speech: voices of 8 s against the libraries alone. `bare` opens a file with PyAV, decodes it, resamples it with PyAV's
resampler to 16 kHz mono and encodes FLAC with soundfile. `voiceface` is `read_voice` and the same encoder: it also
checks the file's length, levels and channels, and resamples with a sharper filter. The detectors of speech are timed
apart, on decoded voices; `package` is silero-vad's own function.

detector: faces, as they are and with detection. `bare` of `asis` is Pillow alone: decode the JPEG, scale its middle to
224 px, encode it. `bare` of `detect` is this and the detector on decoded pictures. The pictures are crops of 224 px, as
VoxCeleb1's faces, and frames of 1280 x 720 px, as of videos, one face each.

synthetic: how many synthetic voices and faces are made in a second.

engine: the work is reading m4a and JPEG files as `voiceface prepare folder` does, and encoding them as FLAC and JPEG.
The engine's cost is that of a whole build with one worker, packing included, beside a plain loop over the work. Scaling
is the rate of the workers from their first finished person on, so that their start (once per run, seconds) does not
count; it means something only where two cores are free: the load stands beside it.

N is the number of voices (default 20), pictures (12), clips of each kind (40) or people (60). Times are of the
processor, one thread; all ways take turns. Writes benchmarks/results/QUESTION.json.
"""

import argparse
import io
import os
import shutil
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import numpy as np
import torch
from PIL import Image

from benchmarks.common import Ways, answer, in_turn, medians, rates, ratio
from benchmarks.data.media import voice, write_faces, write_voice
from voiceface.data.corpus.bundles import JPEG_QUALITY, Person, encode_flac, encode_jpeg
from voiceface.data.prepare.engine.build import CorpusOptions, build
from voiceface.data.prepare.engine.executors import run_local
from voiceface.data.prepare.media.detector import shared_detector
from voiceface.data.prepare.media.faces import FaceOptions, read_faces
from voiceface.data.prepare.media.speech import read_voice
from voiceface.data.prepare.media.vad import speech_spans
from voiceface.data.prepare.sources.people import Reading, Source, make_person
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import face_clip
from voiceface.data.synthetic.voice import voice_clip
from voiceface.utils.audio import SAMPLE_RATE

SECONDS = 8  # about VoxCeleb's mean
KINDS = {
    "wav 16 kHz mono": ("wav", SAMPLE_RATE, 1),
    "m4a 16 kHz mono": ("m4a", SAMPLE_RATE, 1),
    "wav 48 kHz stereo": ("wav", 48_000, 2),
    "m4a 44.1 kHz stereo": ("m4a", 44_100, 2),
}
SIZES = {"crop of 224 px": (224,), "frame of 1280 x 720 px": (500, 1280, 720)}
DETECT = FaceOptions(faces="detect")
AT_ONCE = 16
CLIPS, RUNS = 20, 3  # of each kind and person in `engine`
Job = tuple[int, Path, Path]


def bare(path: Path) -> bytes:
    """PyAV and soundfile alone."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(str(path)) as container:
        parts = [p.to_ndarray() for frame in container.decode(audio=0) for p in resampler.resample(frame)]
        parts += [p.to_ndarray() for p in resampler.resample(None)]
    return encode_flac(np.concatenate(parts, axis=1)[0])


def speech(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from silero_vad import get_speech_timestamps, load_silero_vad

    torch.set_num_threads(1)
    voices = [voice(number, SECONDS) for number in range(options.number or 20)]
    rows = {}
    for kind, (suffix, rate, channels) in KINDS.items():
        paths = [write_voice(folder / f"{rate}-{i}.{suffix}", v, rate, channels) for i, v in enumerate(voices)]
        ways: Ways = {
            "bare": lambda paths=paths: [bare(path) for path in paths],
            "voiceface": lambda paths=paths: [encode_flac(read_voice(path)[0]) for path in paths],
        }
        found = rates(in_turn(ways, 9, process_time), len(voices))
        rows[kind] = {**medians(found), "ratio": ratio(found["voiceface"], found["bare"])}
    model = load_silero_vad()
    few = [torch.from_numpy(waveform.astype(np.float32) / 32768) for waveform in voices[:3]]
    detectors: Ways = {
        "silero": lambda: [speech_spans(waveform, "silero") for waveform in voices],
        "webrtc": lambda: [speech_spans(waveform, "webrtc") for waveform in voices],
    }
    detecting = medians(rates(in_turn(detectors, 9, process_time), len(voices)))
    package: Ways = {"package": lambda: [get_speech_timestamps(waveform, model) for waveform in few]}
    detecting |= medians(rates(in_turn(package, 9, process_time), len(few)))
    return {"seconds_per_voice": SECONDS, "reading": rows, "detecting": detecting}


def detector(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    results = {}
    for name, size in SIZES.items():
        paths = write_faces(folder, options.number or 12, *size)
        found = rates(in_turn(ways_to_faces(paths), 5, process_time), len(paths))
        pure, alone, asis, detect = found.values()
        # Of `detect`, the bare chain is one after the other.
        both = [1 / (1 / a + 1 / b) for a, b in zip(pure, alone, strict=True)]
        shares = {"asis": ratio(asis, pure), "detect": ratio(detect, both)}
        results[name] = {"pictures_per_second_median": medians(found), "share_of_bare_median": shares}
    return {"results": results}


def ways_to_faces(paths: list[Path]) -> Ways:
    """What is timed; each handles all pictures once."""
    decoded = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    detector = shared_detector(DETECT.device, DETECT.thresholds)

    def pillow_alone() -> None:
        for path in paths:
            with Image.open(path) as image:
                left = (image.width - image.height) // 2
                box = (left, 0, left + image.height, image.height)
                face = image.resize((DETECT.size, DETECT.size), Image.Resampling.LANCZOS, box)
            face.save(io.BytesIO(), "JPEG", quality=JPEG_QUALITY, subsampling=0)

    def read(options: FaceOptions) -> None:
        for start in range(0, len(paths), AT_ONCE):
            for result in read_faces(paths[start : start + AT_ONCE], options):
                encode_jpeg(result.pixels)  # type: ignore[union-attr]

    return {
        "Pillow alone": pillow_alone,
        "detector alone": lambda: detector.detect(decoded),
        "asis": lambda: read(FaceOptions()),
        "detect": lambda: read(DETECT),
    }


def synthetic(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    people = [person(SyntheticOptions(), index) for index in range(options.number or 40)]
    seconds = sum(len(voice_clip(someone, 0)[0]) for someone in people) / SAMPLE_RATE / len(people)
    ways: Ways = {
        "voices": lambda: [voice_clip(someone, 0) for someone in people],
        "faces": lambda: [face_clip(someone, 0) for someone in people],
    }
    found = medians(rates(in_turn(ways, 5, process_time), len(people)))
    return {"mean_voice_seconds": round(seconds, 3), "per_second_and_core_median": found}


def make(job: Job) -> Person:
    """Read the job's files as often as the person has clips."""
    number, *files = job
    clips = [
        [Source(str(file), f"{number}/{kind}{i}") for i in range(CLIPS)] for kind, file in zip("vf", files, strict=True)
    ]
    return make_person(f"p{number:03d}", "train", *clips, Reading())


def without_corpus(job: Job) -> int:
    return len(make(job).voices)


def engine(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    sound = write_voice(folder / "voice.m4a", voice(0, SECONDS))
    (picture,) = write_faces(folder, 1, 224)
    work: list[Job] = [(number, sound, picture) for number in range(options.number or 60)]

    def whole() -> None:
        shutil.rmtree(folder / "corpus", ignore_errors=True)
        build(folder / "corpus", work, make, {}, CorpusOptions("engine"), {"command": "benchmark"}, workers=1)

    ways: Ways = {"plain loop": lambda: [without_corpus(job) for job in work], "engine": whole}
    found = rates(in_turn(ways, RUNS, process_time, warm_up=False), len(work) * 2 * CLIPS)
    scaled: dict[str, list[float]] = {"1 worker": [], "2 workers": []}
    for _ in range(RUNS):
        for workers, values in enumerate(scaled.values(), 1):
            finished = [perf_counter() for _ in run_local(without_corpus, work, workers)]
            values.append((len(finished) - 1) * 2 * CLIPS / (finished[-1] - finished[0]))
    return {
        "clips_per_processor_second": medians(found),
        "engine_to_plain_loop": ratio(found["engine"], found["plain loop"]),
        "clips_per_second": medians(scaled),
        "two_workers_to_one": ratio(scaled["2 workers"], scaled["1 worker"]),
        "targets": {"engine_to_plain_loop": 0.8, "two_workers_to_one": 1.8},
    }


if __name__ == "__main__":
    answer(__doc__, {"speech": speech, "detector": detector, "synthetic": synthetic, "engine": engine}, number=int)
