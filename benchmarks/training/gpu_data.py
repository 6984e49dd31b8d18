"""A corpus whose clips are as large as the papers', made in seconds: few different clips, under many names."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from voiceface.data.corpus.bundles import Clip, Person, encode_flac, encode_jpeg
from voiceface.data.prepare.engine.build import CorpusOptions, build
from voiceface.utils.audio import SAMPLE_RATE

SECONDS, SIZE, MARGIN = 8.0, 256, 1.5  # VoxCeleb's mean utterance; the largest box and size that a recipe asks for
VOICES, FACES = 4, 8  # of each person
DIFFERENT = 8


def make(person: Person) -> Person:
    """The work of a job: it is done already."""
    return person


def voice(rng: np.random.Generator) -> NDArray[np.int16]:
    """Noise with the slope of speech and with syllables, which packs about as speech does."""
    samples = round(SECONDS * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum /= 1 + np.arange(len(spectrum)) * (SAMPLE_RATE / samples / 300)  # 6 dB per octave above 300 Hz
    wave = np.fft.irfft(spectrum, samples)
    wave *= np.repeat(rng.uniform(0.05, 1, samples // 3200 + 1), 3200)[:samples]
    return (9000 * wave / np.abs(wave).max()).astype(np.int16)


def face(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Smooth colours with fine grain, which packs about as a photograph does."""
    smooth = Image.fromarray(rng.integers(40, 215, (12, 12, 3), dtype=np.uint8)).resize(
        (SIZE, SIZE), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 5, (SIZE, SIZE, 3))
    return np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)


def make_corpus(out: Path, people: int, workers: int) -> Path:
    """Build the corpus, of so many training people and two more for each other split."""
    rng = np.random.default_rng(0)
    voices = [encode_flac(voice(rng)) for _ in range(DIFFERENT)]
    faces = [encode_jpeg(face(rng)) for _ in range(DIFFERENT)]
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
