"""How long does a leaderboard of 100 result files take, and the one of `voiceface compare` without arguments?

Run `python -m benchmarks.scores.compare`; writes benchmarks/results/compare.json. The files are those of one model on
the clips of 150 and of 1,251 people, each with other values and another seal.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.scores.score_clips import RESULTS, draw_attributes, draw_clips
from voiceface.compare.reading import installed_results, reference_results

FILES, RUNS = 100, 5
SIZES = {150: (600, 900), 1251: (2502, 2502)}  # people: voices, faces
COMMAND = [sys.executable, "-m", "voiceface", "compare"]
PARTS = """
import sys, time
begin = time.perf_counter()
from pathlib import Path
import voiceface.cli
from voiceface.cli.compare import run_compare
from voiceface.compare.grouping import compare_results
from voiceface.compare.reading import find_results
from voiceface.compare.render.terminal import print_leaderboard
places = [time.perf_counter()]
found, _ = find_results([Path(sys.argv[1])]); places.append(time.perf_counter())
comparison = compare_results(found); places.append(time.perf_counter())
print_leaderboard(comparison); places.append(time.perf_counter())
assert len(found) == int(sys.argv[2]) and "torch" not in sys.modules
print(*(after - before for before, after in zip([begin, *places], places)), file=sys.stderr)
"""


def make(folder: Path, people: int) -> int:
    """Write the files; bytes of one with its effects."""
    from voiceface.evaluation.result_schema import DATA
    from voiceface.evaluation.results import roc_curves, write_results
    from voiceface.scores import score
    from voiceface.scores.records import Record

    records = score(*draw_clips(*SIZES[people], people).named(), draw_attributes(people))
    voices, faces = SIZES[people]
    counts = {"identities": people, "voices": voices, "faces": faces, "skipped": 0}
    data = {**dict.fromkeys(DATA), "clips_sha256": str(people), **counts}
    model = {"method": "embeddings", **dict.fromkeys(("arguments", "parameters", "checkpoint", "training_data"))}
    rng = np.random.default_rng(0)
    for number in range(FILES):
        own = []
        for old in records:
            new = Record(old)
            if old["metric"] != "median_rank" and old["value"] is not None:
                new["value"] = float(np.clip(old["value"] + 0.02 * rng.normal(), 0.0, 1.0))
            effects = old.effects if isinstance(old, Record) else None
            if effects is not None:
                new.effects = effects + 0.5 * effects.std() * rng.normal(size=len(effects))
            own.append(new)
        about = {"schema": 2, "model": {**model, "recipe": f"model{number:03d}"}, "data": data, "environment": {}}
        write_results(folder / f"{number:03d}.json", {**about, "scores": own, "roc": roc_curves(records)})
    return sum(path.stat().st_size for path in folder.glob("000.*"))


def seconds(*words: object) -> tuple[float, float]:
    """Wall time of the whole command, and processor time, which suffers less from other work on the machine."""
    start, before = time.perf_counter(), processor()
    subprocess.run([*COMMAND, *map(str, words)], check=True, capture_output=True)
    return time.perf_counter() - start, processor() - before


def processor() -> float:
    """Processor time of the processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def parts(folder: Path) -> list[float]:
    """Seconds of the imports, the reading, the pairing and the table, in one process."""
    command = [sys.executable, "-c", PARTS, str(folder), str(FILES)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(word) for word in done.stderr.split()]


def middle(times: list[tuple[float, float]]) -> dict[str, float]:
    walls, processors = zip(*times, strict=True)
    ends = {"least": round(min(walls), 2), "most": round(max(walls), 2)}
    return {"seconds": round(median(walls), 2), **ends, "processor_seconds": round(median(processors), 2)}


def main() -> None:
    report: dict[str, Any] = {"files": FILES, "runs": RUNS}
    for people in SIZES:
        with tempfile.TemporaryDirectory() as name:
            size = make(Path(name), people)
            seconds(name)  # the disk's cache, the compiled kernels
            whole, split = [], []
            for _ in range(RUNS):
                whole.append(seconds(name))
                split.append(parts(Path(name)))
        labels = ("imports", "reading", "pairing", "table")
        report[f"{people} people"] = {
            **middle(whole),
            "kib_each": round(size / 1024),
            **{label: round(median(part), 2) for label, part in zip(labels, zip(*split, strict=True), strict=True)},
        }
    report["without arguments"] = {
        "results": len(installed_results()[0]) + len(reference_results()),
        **middle([seconds() for _ in range(RUNS)]),
    }
    show(report)
    from benchmarks.machine import describe  # imports torch

    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "compare.json").write_text(json.dumps({"machine": describe(), **report}, indent=2) + "\n")


def show(report: Mapping[str, Any]) -> None:
    for what, row in report.items():
        if isinstance(row, dict):
            print(f"{what:18}", "  ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
