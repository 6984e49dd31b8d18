"""What the benchmarks of the scores share: embeddings, sampled trials, memory, and a process for each measurement."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import memory_mib, seconds

DIMENSIONS = 128
BATCH = 1024  # sampled trials at a time
THREADS = 2
VALUES = {
    "gender": ("m", "f"),
    "nationality": tuple("abcdef"),
    "age": ("20", "30", "40", "50"),
    "ethnicity": tuple("abcd"),
    "first_language": tuple("abcde"),
}

Side = tuple[NDArray[Any], NDArray[np.int64]]
Trials = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Clips:
    """Noisy embeddings around their people's centres, person by person; numbers of clips differ by at most one.

    Attributes:
        voices: float32 (Nv, DIMENSIONS).
        faces: float32 (Nf, DIMENSIONS).
        voice_owner: int64 (Nv,): the number of each voice's person, ascending.
        face_owner: int64 (Nf,): likewise.
    """

    voices: NDArray[np.float32]
    faces: NDArray[np.float32]
    voice_owner: NDArray[np.int64]
    face_owner: NDArray[np.int64]

    def named(self) -> tuple[NDArray[Any], list[str], NDArray[Any], list[str]]:
        """The first four arguments of the public scores."""
        return self.voices, self.voice_owner.astype(str).tolist(), self.faces, self.face_owner.astype(str).tolist()

    def sides(self) -> tuple[Side, Side]:
        return (self.voices, self.voice_owner), (self.faces, self.face_owner)


def draw_clips(voices: int, faces: int, people: int, seed: int = 0) -> Clips:
    """Draw embeddings of at most `people` people; a little identity in much noise: no score is near 0 or 1."""
    people = min(people, voices, faces)
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((people, DIMENSIONS), np.float32)

    def side(number: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        owner = np.arange(number) * people // number
        table = rng.standard_normal((number, DIMENSIONS), np.float32)
        table *= 3
        for first in range(0, number, 4096):  # in parts, so that drawing leaves no peak of memory behind
            table[first : first + 4096] += centres[owner[first : first + 4096]]
        return table, owner

    (voice_table, voice_owner), (face_table, face_owner) = side(voices), side(faces)
    return Clips(voice_table, face_table, voice_owner, face_owner)


def draw_attributes(people: int, seed: int = 0) -> dict[str, dict[str, str]]:
    """Five attributes of each person at random, which make all 12 default strata."""
    rng = np.random.default_rng(seed)
    return {str(p): {name: str(rng.choice(values)) for name, values in VALUES.items()} for p in range(people)}


def cost(work: Callable[[], Any]) -> dict[str, float]:
    """Time of one call and the memory it adds to what this process holds; for a fresh process."""
    before = memory_mib("VmRSS")
    taken, peak = seconds(work), memory_mib("VmHWM")
    return {"seconds": round(taken, 3), "mib_peak": round(peak, 1), "mib": round(peak - before, 1)}


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in a new Python process with `THREADS` threads, and print what it gives."""
    os.environ["NUMBA_NUM_THREADS"] = str(THREADS)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(function, *arguments).result()
    print(found, flush=True)
    return found


def sample_trials(
    voice_owner: NDArray[np.int64], face_owner: NDArray[np.int64], number: int, rng: np.random.Generator
) -> Trials:
    """Draw voices, and for each a face of the same person and one of another, all triplets alike."""
    starts = np.searchsorted(face_owner, np.arange(face_owner[-1] + 2))
    sizes = np.diff(starts)
    probes = rng.integers(len(voice_owner), size=number)
    own = voice_owner[probes]
    positives = rng.integers(starts[own], starts[own + 1])
    negatives = rng.integers(len(face_owner) - sizes[own])
    negatives += (negatives >= starts[own]) * sizes[own]  # skips the person's own faces
    return probes, positives, negatives


def accuracy_of_trials(voices: NDArray[Any], faces: NDArray[Any], trials: Trials) -> float:
    """Share of trials in which the positive is more alike than the negative; ties count half.

    The usual way to score matching, as the baseline: embeddings of each trial are gathered and compared.
    """
    credit = 0.0
    for first in range(0, len(trials[0]), BATCH):
        probe, positive, negative = (part[first : first + BATCH] for part in trials)
        voice = voices[probe]
        right, wrong = _cosine(voice, faces[positive]), _cosine(voice, faces[negative])
        credit += float((right > wrong).sum()) + 0.5 * float((right == wrong).sum())
    return credit / len(trials[0])


def _cosine(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    similarities: NDArray[Any] = (left * right).sum(axis=1) / lengths
    return similarities
