"""What the benchmarks of the scores share: embeddings, timing, and a process of its own for each measurement."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 128
THREADS = 2
RESULTS = Path(__file__).parents[1] / "results"
VALUES = {
    "gender": ("m", "f"),
    "nationality": tuple("abcdef"),
    "age": ("20", "30", "40", "50"),
    "ethnicity": tuple("abcd"),
    "first_language": tuple("abcde"),
}


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


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cost(work: Callable[[], Any]) -> dict[str, float]:
    """Time of one call and the memory it adds to what this process holds; for a fresh process.

    The processor time, of all threads, suffers less than the wall time from other work on the machine.
    """
    before, start = _memory_mib("VmRSS"), time.process_time()
    taken = seconds(work)
    processor, peak = time.process_time() - start, _memory_mib("VmHWM")
    return {
        "seconds": round(taken, 3),
        "processor_seconds": round(processor, 3),
        "mib_before": round(before, 1),
        "mib_peak": round(peak, 1),
        "mib": round(peak - before, 1),
    }


def _memory_mib(field: str) -> float:
    """Resident memory of this process: now (VmRSS) or at its peak (VmHWM).

    The peak of `getrusage`, all there is outside Linux, starts from the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in a new Python process with `THREADS` threads."""
    os.environ["NUMBA_NUM_THREADS"] = str(THREADS)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def write(name: str, report: dict[str, Any], scale: float) -> None:
    """Write results/NAME.json with the machine; a trial at another scale writes nothing."""
    if scale != 1.0:
        return
    from benchmarks.machine import describe  # imports torch, which would count as this process's memory

    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": describe(), **report}, indent=2) + "\n")
