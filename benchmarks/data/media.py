"""Voices and faces to measure with: rendered people, whose clips are as long and as large as those of real corpora."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from voiceface.data.corpus.bundles import Clip, Person, encode_flac, encode_jpeg
from voiceface.data.prepare.engine.build import CorpusOptions, build
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import face_clip
from voiceface.data.synthetic.voice import voice_clip
from voiceface.utils.audio import SAMPLE_RATE

# Of `make_corpus`: VoxCeleb's mean utterance; the largest box and size that a recipe asks for.
SECONDS, SIZE, MARGIN = 8.0, 256, 1.5
VOICES, FACES = 4, 8  # of each person
DIFFERENT = 8


def voice(number: int, seconds: float) -> NDArray[np.int16]:
    """Speech of a person at 16 kHz: about 3 s, repeated to this length."""
    return np.resize(voice_clip(person(SyntheticOptions(), number), 0)[0], round(seconds * SAMPLE_RATE))


def face(number: int, side: int, width: int | None = None, height: int | None = None) -> NDArray[np.uint8]:
    """A picture of a person's face and its surroundings, `side` px, with a camera's grain; around it a wall."""
    rendered = Image.fromarray(face_clip(person(SyntheticOptions(), number), 0)[0])
    picture = Image.new("RGB", (width or side, height or side), (95, 90, 100))
    place = ((picture.width - side) // 2, (picture.height - side) // 2)
    picture.paste(rendered.resize((side, side), Image.Resampling.BICUBIC), place)
    grainy = np.asarray(picture) + np.random.default_rng(number).normal(0, 4, (picture.height, picture.width, 3))
    return grainy.round().clip(0, 255).astype(np.uint8)


def write_faces(folder: Path, count: int, side: int, *frame: int) -> list[Path]:
    """Pictures of so many people as JPEG files."""
    paths = [folder / f"face-{side}-{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(face(number, side, *frame)).save(path, quality=90)
    return paths


def write_voice(path: Any, waveform: NDArray[Any], rate: int = SAMPLE_RATE, channels: int = 1) -> Any:
    """Write int16 samples at 16 kHz as .wav, or as AAC in .m4a, with another rate or in stereo; give the path."""
    import av
    import soundfile
    from scipy.signal import resample_poly

    sound = waveform / 32768
    if rate != SAMPLE_RATE:
        sound = resample_poly(sound, rate // 100, SAMPLE_RATE // 100)
    sound = np.tile(sound.clip(-1, 1)[:, None], (1, channels)) * np.linspace(1, 0.7, channels)
    if path.suffix == ".wav":
        soundfile.write(path, sound, rate, subtype="PCM_16")
        return path
    with av.open(str(path), "w") as container:
        layout = "mono" if channels == 1 else "stereo"
        stream = container.add_stream("aac", rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T, np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate, frame_size=1024)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))
    return path


def make(person: Person) -> Person:
    """The work of a job: it is done already."""
    return person


def make_corpus(out: Path, people: int, workers: int) -> Path:
    """Build a corpus in seconds, of so many training people and two for each other split: few clips, many names."""
    voices = [encode_flac(voice(number, SECONDS)) for number in range(DIFFERENT)]
    faces = [encode_jpeg(face(number, SIZE)) for number in range(DIFFERENT)]
    jobs = []
    for i in range(people + 4):
        name = f"p{i:04d}"
        heard = tuple(Clip(f"{name}/v{k}", voices[(i + k) % DIFFERENT], video=name) for k in range(VOICES))
        seen = tuple(Clip(f"{name}/f{k}", faces[(i + k) % DIFFERENT], video=name) for k in range(FACES))
        jobs.append(Person(name, "train" if i < people else ("val", "test")[i % 2], heard, seen))
    known = {job.identity: {"gender": "mf"[i % 2], "nationality": f"n{i % 30}"} for i, job in enumerate(jobs)}
    options = CorpusOptions("speed", face_size=SIZE, face_margin=MARGIN, max_voices=VOICES, max_faces=FACES)
    build(out, jobs, make, known, options, {"command": "benchmarks/training/gpu.py"}, workers=workers)
    return out
