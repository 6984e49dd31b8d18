"""What does the engine of preparation cost, and how far does a second worker scale it?

The work is reading m4a and JPEG files as `voiceface prepare folder` does, and encoding them as FLAC and JPEG. The
engine's cost is that of a whole build with one worker, packing included, beside a plain loop over the work, in
processor time. Scaling is the rate of the workers from their first finished person on, so that their start (once per
run, seconds) does not count; it means something only where two cores are free: the load stands beside it.
"""

import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import numpy as np
from benchmarks.machine import describe
from PIL import Image

from voiceface.data.corpus.bundles import Person
from voiceface.data.prepare.engine.build import CorpusOptions, build
from voiceface.data.prepare.engine.executors import run_local
from voiceface.data.prepare.sources.people import Reading, Source, make_person

PEOPLE, VOICES, FACES, RUNS = 60, 20, 20, 3
Job = tuple[int, str, str]


def make(job: Job) -> Person:
    """Read the job's files as often as the person has clips."""
    number, voice, face = job
    name = f"p{number:03d}"
    voices = [Source(voice, f"{name}/v{i}") for i in range(VOICES)]
    faces = [Source(face, f"{name}/f{i}") for i in range(FACES)]
    return make_person(name, "train", voices, faces, Reading())


def bare(job: Job) -> int:
    """The same work without a corpus."""
    return len(make(job).voices)


def jobs(folder: Path) -> list[Job]:
    """One 8 s recording and one picture of 224 pixels, which everybody shares."""
    rng = np.random.default_rng(0)
    voice, face = folder / "voice.m4a", folder / "face.jpg"
    tone = 8000 * np.sin(np.arange(8 * 16_000) * 0.05) + 300 * rng.standard_normal(8 * 16_000)
    with av.open(str(voice), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    small = Image.fromarray(rng.integers(0, 255, (28, 28, 3), dtype=np.uint8))
    small.resize((224, 224), Image.Resampling.BICUBIC).save(face)
    return [(i, str(voice), str(face)) for i in range(PEOPLE)]


def whole(folder: Path, work: list[Job]) -> None:
    """Build a corpus in this process, with packing."""
    shutil.rmtree(folder / "corpus", ignore_errors=True)
    build(folder / "corpus", work, make, {}, CorpusOptions("engine"), {"command": "benchmark"}, workers=1)


def rate(work: list[Job], workers: int) -> float:
    """Clips per second from the first finished person on."""
    finished = [time.perf_counter() for _ in run_local(bare, work, workers)]
    return (len(finished) - 1) * (VOICES + FACES) / (finished[-1] - finished[0])


def processor_seconds(call: Callable[[], object]) -> float:
    """Processor time of this process for a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Measure in turn within each run, print the table, write the result file."""
    plain, engine, one, two = [], [], [], []
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        work = jobs(Path(place))
        for _ in range(RUNS):
            plain.append(processor_seconds(lambda: [bare(job) for job in work]))
            engine.append(processor_seconds(lambda: whole(Path(place), work)))
            one.append(rate(work, 1))
            two.append(rate(work, 2))
    clips = PEOPLE * (VOICES + FACES)
    measured = {
        "plain_loop_clips_per_processor_second": round(clips / statistics.median(plain), 1),
        "engine_clips_per_processor_second": round(clips / statistics.median(engine), 1),
        "engine_to_plain_loop": round(statistics.median(a / b for a, b in zip(plain, engine, strict=True)), 3),
        "one_worker_clips_per_second": round(statistics.median(one), 1),
        "two_workers_clips_per_second": round(statistics.median(two), 1),
        "two_workers_to_one": round(statistics.median(b / a for a, b in zip(one, two, strict=True)), 3),
        "load_before": round(before, 2),
        "load_after": round(os.getloadavg()[0], 2),
    }
    targets = {"engine_to_plain_loop": 0.8, "two_workers_to_one": 1.8}
    for name, value in measured.items():
        print(f"{name:40}{value:10}   {f'target {targets[name]}' if name in targets else ''}")
    result = {"question": __doc__, "machine": describe(), "runs": RUNS, "clips": clips, **measured, "targets": targets}
    path = Path(__file__).parents[1] / "results" / "engine.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
