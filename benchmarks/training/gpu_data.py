"""A corpus whose clips are as large as the papers', made in seconds: few different clips, under many names."""

from pathlib import Path

from benchmarks.data.media import face, voice
from voiceface.data.corpus.bundles import Clip, Person, encode_flac, encode_jpeg
from voiceface.data.prepare.engine.build import CorpusOptions, build

SECONDS, SIZE, MARGIN = 8.0, 256, 1.5  # VoxCeleb's mean utterance; the largest box and size that a recipe asks for
VOICES, FACES = 4, 8  # of each person
DIFFERENT = 8


def make(person: Person) -> Person:
    """The work of a job: it is done already."""
    return person


def make_corpus(out: Path, people: int, workers: int) -> Path:
    """Build the corpus, of so many training people and two more for each other split."""
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
