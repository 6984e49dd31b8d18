"""How many synthetic voices and faces does one core make in a second of processor time?"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.machine import describe

from voiceface.data.synthetic import SyntheticOptions, SyntheticPerson, person
from voiceface.data.synthetic.face import face_clip
from voiceface.data.synthetic.voice import voice_clip
from voiceface.utils.audio import SAMPLE_RATE

RUNS, CLIPS = 5, 40
TARGETS = {"voices": 50, "faces": 60}


def rate(render: Callable[[SyntheticPerson, int], object], people: list[SyntheticPerson]) -> float:
    """Clips per second of processor time in one run over all people."""
    start = process_time()
    for someone in people:
        render(someone, 0)
    return len(people) / (process_time() - start)


def main() -> None:
    """Measure, print the table, write the result file."""
    people = [person(SyntheticOptions(), index) for index in range(CLIPS)]
    seconds = sum(len(voice_clip(someone, 0)[0]) for someone in people) / SAMPLE_RATE / CLIPS
    rates = {
        "voices": [rate(voice_clip, people) for _ in range(RUNS)],
        "faces": [rate(face_clip, people) for _ in range(RUNS)],
    }
    result = {
        "question": __doc__,
        "machine": describe(),
        "runs": RUNS,
        "clips_per_run": CLIPS,
        "mean_voice_seconds": round(seconds, 3),
        "per_second_and_core": {name: round(median(values), 1) for name, values in rates.items()},
        "slowest_and_fastest_run": {name: [round(min(v), 1), round(max(v), 1)] for name, v in rates.items()},
        "targets": TARGETS,
    }
    print(f"{'':8}{'per second':>12}{'target':>8}   (median of {RUNS} runs, voices of {seconds:.2f} s)")
    for name, values in rates.items():
        print(f"{name:8}{median(values):12.1f}{TARGETS[name]:8}")
    path = Path(__file__).parents[1] / "results" / "synthetic.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
