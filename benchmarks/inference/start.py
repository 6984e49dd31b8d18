"""How long does a short command take from the shell, in processor seconds of the whole process?

`match` of the README's example (one voice, two faces), also without `voiceface.inference.light_start`, and the commands
that need no torch. In turns, one after the other; medians.

    python -m benchmarks.inference.start [--repeats 5]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.machine import describe

ROOT = Path(__file__).parents[2]
CHECKPOINT = "zoo/trinet-synthetic/src/voiceface_trinet_synthetic"
MATCH = ["match", CHECKPOINT, *(f"docs/example/{name}" for name in ("voice.flac", "a.jpg", "b.jpg")), "--asis"]
WITHOUT = (
    "import contextlib, sys; from voiceface.inference import light_start\n"
    "light_start.without_extras_of_torchmetrics = contextlib.nullcontext\n"
    "from voiceface.cli import main; sys.exit(main(sys.argv[1:]))"
)
COMMANDS = {
    "match": ["-m", "voiceface", *MATCH],
    "match, all of torchmetrics": ["-c", WITHOUT, *MATCH],
    "import torch": ["-c", "import torch"],
    "--help": ["-m", "voiceface", "--help"],
    "list": ["-m", "voiceface", "list"],
    "a mistyped option": ["-m", "voiceface", "match", "--to"],
}


def seconds(words: list[str]) -> tuple[float, float]:
    """Processor and clock seconds of a process."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    after = os.times()
    if done.returncode != (2 if "--to" in words else 0):
        raise SystemExit(f"{words}: {done.stderr}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for words in COMMANDS.values():
        seconds(words)
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(options.repeats):
        for name, words in COMMANDS.items():
            runs[name].append(seconds(words))
    processor = {name: round(median(used for used, _ in found), 2) for name, found in runs.items()}
    for name, value in processor.items():
        print(f"{name:28s} {value:6.2f} s")
    result = {
        "question": "processor seconds of a command from the shell; targets: match 4.5, those without torch 0.5",
        "processor_seconds_median": processor,
        "clock_seconds_median": {name: round(median(s for _, s in found), 2) for name, found in runs.items()},
        "match_ratio": round(processor["match, all of torchmetrics"] / processor["match"], 2),
        "runs": {name: [[round(value, 3) for value in one] for one in found] for name, found in runs.items()},
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "machine": describe(),
    }
    path = Path(__file__).parents[1] / "results" / "start.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
