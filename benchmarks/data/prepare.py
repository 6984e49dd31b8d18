"""How fast does one core read voices and faces, find speech and make synthetic clips, and what does the engine cost?

    python -m benchmarks.data.prepare QUESTION [--number N]

speech: voices against the libraries alone. `bare` opens a file with PyAV, decodes it, resamples it with PyAV's
resampler to 16 kHz mono and encodes FLAC with soundfile. `voiceface` is `read_voice` and the same encoder: it also
checks the file's length, levels and channels, and resamples with a sharper filter. The detectors of speech are timed
apart, on decoded voices; `package` is silero-vad's own function. Voices are rendered, 8 s, about VoxCeleb's mean.

detector: faces, as they are and with detection. `bare` of `asis` is Pillow alone: decode the JPEG, scale its middle to
224 px, encode it. `bare` of `detect` is this and the detector on decoded pictures. Pictures are rendered: crops of 224
px, as VoxCeleb1's faces, and frames of 1280 x 720 px, as of videos, one face each, with a camera's grain.

synthetic: how many synthetic voices and faces are made in a second.

engine: the work is reading m4a and JPEG files as `voiceface prepare folder` does, and encoding them as FLAC and JPEG.
The engine's cost is that of a whole build with one worker, packing included, beside a plain loop over the work. Scaling
is the rate of the workers from their first finished person on, so that their start (once per run, seconds) does not
count; it means something only where two cores are free: the load stands beside it.

Times are of the processor, one thread; all ways take turns. Writes benchmarks/results/QUESTION.json.
"""

import argparse
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import resample_poly

from benchmarks.common import answer, in_turn, medians, parser, ratio
from voiceface.data.corpus.bundles import JPEG_QUALITY, Person, encode_flac, encode_jpeg
from voiceface.data.prepare.engine.build import CorpusOptions, build
from voiceface.data.prepare.engine.executors import run_local
from voiceface.data.prepare.media.detector import shared_detector
from voiceface.data.prepare.media.faces import Face, FaceOptions, read_faces
from voiceface.data.prepare.media.speech import read_voice
from voiceface.data.prepare.media.vad import speech_spans
from voiceface.data.prepare.sources.people import Reading, Source, make_person
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import face_clip
from voiceface.data.synthetic.voice import voice_clip
from voiceface.utils.audio import SAMPLE_RATE

SECONDS = 8
KINDS = {
    "wav 16 kHz mono": ("wav", "pcm_s16le", SAMPLE_RATE, 1),
    "m4a 16 kHz mono": ("m4a", "aac", SAMPLE_RATE, 1),
    "wav 48 kHz stereo": ("wav", "pcm_s16le", 48_000, 2),
    "m4a 44.1 kHz stereo": ("m4a", "aac", 44_100, 2),
}
PEOPLE, VOICES, FACES, RUNS = 60, 20, 20, 3
Job = tuple[int, str, str]
AT_ONCE = 16
DETECT = FaceOptions(faces="detect")
SIZES = {"crop of 224 px": (224, 224, 224), "frame of 1280 x 720 px": (1280, 720, 500)}


def rates(ways: dict[str, Callable[[], object]], repeats: int, items: int) -> dict[str, list[float]]:
    """Items per second of processor time of each way."""
    return {name: [items / taken for taken in runs] for name, runs in in_turn(ways, repeats, process_time).items()}


def write_voice(path: Path, codec: str, rate: int, channels: int, waveform: NDArray[np.int16]) -> Path:
    sound = waveform / 32768
    if rate != SAMPLE_RATE:
        sound = resample_poly(sound, rate // 100, SAMPLE_RATE // 100)
    sound = np.tile(sound.clip(-1, 1)[:, None], (1, channels)) * np.linspace(1, 0.7, channels)
    if codec == "pcm_s16le":
        soundfile.write(path, sound, rate, subtype="PCM_16")
        return path
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono" if channels == 1 else "stereo"
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound.T, np.float32), format="fltp", layout=stream.layout.name
        )
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(format="fltp", layout=stream.layout.name, rate=rate, frame_size=1024)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def bare(path: Path) -> bytes:
    """PyAV and soundfile alone."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(str(path)) as container:
        parts = [p.to_ndarray() for frame in container.decode(audio=0) for p in resampler.resample(frame)]
        parts += [p.to_ndarray() for p in resampler.resample(None)]
    return encode_flac(np.concatenate(parts, axis=1)[0])


def speech(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    clips = options.number or 20
    from silero_vad import get_speech_timestamps, load_silero_vad

    torch.set_num_threads(1)
    voices = [voice_clip(person(SyntheticOptions(), number), 0)[0] for number in range(clips)]
    waveforms = [np.resize(voice, SECONDS * SAMPLE_RATE) for voice in voices]
    rows: dict[str, dict[str, float]] = {}
    for kind, (suffix, codec, rate, channels) in KINDS.items():
        names = [folder / f"{codec}-{rate}-{i}.{suffix}" for i in range(clips)]
        paths = [write_voice(p, codec, rate, channels, w) for p, w in zip(names, waveforms, strict=True)]
        ways = {
            "bare": lambda paths=paths: [bare(path) for path in paths],
            "voiceface": lambda paths=paths: [encode_flac(read_voice(path)[0]) for path in paths],
        }
        found = rates(ways, 9, clips)
        rows[kind] = {**medians(found), "ratio": ratio(found["voiceface"], found["bare"])}
        print(kind, rows[kind], flush=True)
    model = load_silero_vad()
    few = [torch.from_numpy(waveform.astype(np.float32) / 32768) for waveform in waveforms[:3]]
    detectors: dict[str, Callable[[], object]] = {
        "silero": lambda: [speech_spans(waveform, "silero") for waveform in waveforms],
        "webrtc": lambda: [speech_spans(waveform, "webrtc") for waveform in waveforms],
        "package": lambda: [get_speech_timestamps(waveform, model) for waveform in few],
    }
    in_turn(detectors, 1)
    found = rates(detectors, 9, clips)
    found["package"] = [value * len(few) / clips for value in found["package"]]
    return {"seconds_per_voice": SECONDS, "reading": rows, "detecting": medians(found)}


def write_pictures(folder: Path, count: int, width: int, height: int, side: int) -> list[Path]:
    """JPEG files of one face, `side` px with its surroundings, in the middle of a wall, with grain of 4 levels."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        face = Image.fromarray(face_clip(person(SyntheticOptions(), number), 0)[0])
        picture = Image.new("RGB", (width, height), (95, 90, 100))
        picture.paste(face.resize((side, side), Image.Resampling.BICUBIC), ((width - side) // 2, (height - side) // 2))
        grainy = np.asarray(picture) + rng.normal(0, 4, (height, width, 3))
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(grainy.round().clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def detector(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    clips = options.number or 12
    results = {}
    for name, size in SIZES.items():
        ways = ways_to_faces(write_pictures(folder, clips, *size))
        in_turn(ways, 1)
        found = rates(ways, 5, clips)
        pure, alone, asis, detect = found.values()
        # Of `detect`, the bare chain is one after the other.
        both = [1 / (1 / a + 1 / b) for a, b in zip(pure, alone, strict=True)]
        shares = {"asis": ratio(asis, pure), "detect": ratio(detect, both)}
        results[name] = {"pictures_per_second_median": medians(found), "share_of_bare_median": shares}
        print(name, results[name], flush=True)
    return {
        "question": "pictures per second on one core, as they are and with detection, against the libraries alone",
        "pictures": clips,
        "results": results,
    }


def ways_to_faces(paths: list[Path]) -> dict[str, Callable[[], object]]:
    """What is timed; each handles all pictures once."""
    decoded = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    detector = shared_detector(DETECT.device, DETECT.thresholds)
    if not all(detector.detect(decoded)):
        raise SystemExit("a rendered face was not found")

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
                assert isinstance(result, Face)
                encode_jpeg(result.pixels)

    return {
        "Pillow alone": pillow_alone,
        "detector alone": lambda: detector.detect(decoded),
        "asis": lambda: read(FaceOptions()),
        "detect": lambda: read(DETECT),
    }


def synthetic(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    clips = options.number or 40
    runs = 5
    people = [person(SyntheticOptions(), index) for index in range(clips)]
    seconds = sum(len(voice_clip(someone, 0)[0]) for someone in people) / SAMPLE_RATE / clips
    ways: dict[str, Callable[[], object]] = {
        "voices": lambda: [voice_clip(someone, 0) for someone in people],
        "faces": lambda: [face_clip(someone, 0) for someone in people],
    }
    found = rates(ways, runs, clips)
    return {
        "question": "How many synthetic voices and faces does one core make in a second of processor time?",
        "runs": runs,
        "clips_per_run": clips,
        "mean_voice_seconds": round(seconds, 3),
        "per_second_and_core": medians(found),
        "slowest_and_fastest_run": {name: [round(min(v), 1), round(max(v), 1)] for name, v in found.items()},
        "targets": {"voices": 50, "faces": 60},
    }


def make(job: Job) -> Person:
    """Read the job's files as often as the person has clips."""
    number, voice, face = job
    name = f"p{number:03d}"
    voices = [Source(voice, f"{name}/v{i}") for i in range(VOICES)]
    faces = [Source(face, f"{name}/f{i}") for i in range(FACES)]
    return make_person(name, "train", voices, faces, Reading())


def without_corpus(job: Job) -> int:
    return len(make(job).voices)


def jobs(folder: Path, people: int) -> list[Job]:
    """One 8 s recording and one picture of 224 pixels, which everybody shares."""
    rng = np.random.default_rng(0)
    tone = 8000 * np.sin(np.arange(8 * SAMPLE_RATE) * 0.05) + 300 * rng.standard_normal(8 * SAMPLE_RATE)
    voice = write_voice(folder / "voice.m4a", "aac", SAMPLE_RATE, 1, tone.astype(np.int16))
    small = Image.fromarray(rng.integers(0, 255, (28, 28, 3), dtype=np.uint8))
    small.resize((224, 224), Image.Resampling.BICUBIC).save(folder / "face.jpg")
    return [(i, str(voice), str(folder / "face.jpg")) for i in range(people)]


def whole(folder: Path, work: list[Job]) -> None:
    """Build a corpus in this process, with packing."""
    shutil.rmtree(folder / "corpus", ignore_errors=True)
    build(folder / "corpus", work, make, {}, CorpusOptions("engine"), {"command": "benchmark"}, workers=1)


def worker_rate(work: list[Job], workers: int) -> float:
    """Clips per second from the first finished person on."""
    finished = [perf_counter() for _ in run_local(without_corpus, work, workers)]
    return (len(finished) - 1) * (VOICES + FACES) / (finished[-1] - finished[0])


def engine(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    people = options.number or PEOPLE
    found: dict[str, list[float]] = {"plain": [], "engine": [], "one": [], "two": []}
    before, clips = os.getloadavg()[0], people * (VOICES + FACES)
    work = jobs(folder, people)
    ways = {"plain": lambda: [without_corpus(job) for job in work], "engine": lambda: whole(folder, work)}
    for _ in range(RUNS):
        for name, values in rates(ways, 1, clips).items():
            found[name] += values
        found["one"].append(worker_rate(work, 1))
        found["two"].append(worker_rate(work, 2))
    middle = medians(found)
    return {
        "question": "What does the engine of preparation cost, and how far does a second worker scale it?",
        "runs": RUNS,
        "clips": clips,
        "plain_loop_clips_per_processor_second": middle["plain"],
        "engine_clips_per_processor_second": middle["engine"],
        "engine_to_plain_loop": ratio(found["engine"], found["plain"]),
        "one_worker_clips_per_second": middle["one"],
        "two_workers_clips_per_second": middle["two"],
        "two_workers_to_one": ratio(found["two"], found["one"]),
        "load_before": round(before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "targets": {"engine_to_plain_loop": 0.8, "two_workers_to_one": 1.8},
    }


QUESTIONS = {"speech": speech, "detector": detector, "synthetic": synthetic, "engine": engine}


def main() -> None:
    made = parser(__doc__, QUESTIONS)
    made.add_argument("--number", type=int, help="of voices (20), pictures (12), clips of each kind (40), people (60)")
    answer(made.parse_args(), QUESTIONS)


if __name__ == "__main__":
    main()
