"""How long and how much memory does it take to plan the whole of Vox-VGG-1 and Vox-VGG-2 from listings?

All 1,251 and 6,114 people with every utterance and picture, 3.8 million lines (`voxceleb_tree.py --listings --full`;
made-up tables of people where VOICEFACE_TEST_DATA is not set). Each run is a process of its own; its peak memory counts
the interpreter and its libraries, and `plan` alone is given beside it.

    python -m benchmarks.data.voxceleb_plan [--runs 3]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import describe

from benchmarks.data.voxceleb_tree import PEOPLE, lay_out

TREES = ("voxceleb1", "voxceleb2", "vggface1", "vggface2")


def plan_once(folder: Path) -> dict[str, Any]:
    """Plan in this process."""
    from voiceface.data.prepare.voxceleb import VoxCelebOptions, plan

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = plan(VoxCelebOptions("trinet", **{tree: folder / tree / "files.txt" for tree in TREES}))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = {job.identity for job in found.jobs}
    return {
        "seconds": round(seconds, 2),
        "peak_mib": round(peak / 1024),
        "plan_mib": round((peak - before) / 1024),
        "identities": len(found.jobs),
        "voices": sum(row.voices for row in found.there if row.identity in kept),
        "faces": sum(row.faces for row in found.there if row.identity in kept),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(plan_once(options.once)))
        return
    data = os.environ.get("VOICEFACE_TEST_DATA")
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder), PEOPLE[1], PEOPLE[2], data=Path(data) if data else None, media=False)
        command = [sys.executable, "-m", "benchmarks.data.voxceleb_plan", "--once", folder]
        runs = [json.loads(subprocess.check_output(command)) for _ in range(options.runs)]
    seconds, peak, alone = (median(run[name] for run in runs) for name in ("seconds", "peak_mib", "plan_mib"))
    counts = {name: runs[0][name] for name in ("identities", "voices", "faces")}
    for name, value in counts.items():
        print(f"{name:12s} {value:12,}")
    print(f"{'seconds':12s} {seconds:12.1f}   (60 allowed)")
    print(f"{'peak MiB':12s} {peak:12,.0f}   (2,048 allowed; {alone:,.0f} of them for the plan)")
    result = {
        "question": "seconds and peak memory of planning Vox-VGG-1 and Vox-VGG-2 whole, from listings",
        "people": "the official tables" if data else "made up",
        **counts,
        "seconds_median": seconds,
        "peak_mib_median": peak,
        "plan_mib_median": alone,
        "runs": runs,
        "machine": describe(),
    }
    out = Path(__file__).parents[1] / "results" / "voxceleb_plan.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()
