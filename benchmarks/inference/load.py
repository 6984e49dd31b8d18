"""How long does `voiceface.load` of a checkpoint of the zoo take, once torch is imported?

TriNet's demo networks with random weights, or `--checkpoint`. Of a fresh process: torch, then Lightning, which every
method is a module of and which a first `load` imports, then `load`; medians over processes.

    python -m benchmarks.inference.load [--checkpoint CHECKPOINT] [--repeats 5]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.machine import describe

TIMED = """
import sys, time
start = time.perf_counter()
import torch
torch.set_num_threads(1)
seconds = [time.perf_counter() - start]
start = time.perf_counter()
import pytorch_lightning
seconds.append(time.perf_counter() - start)
import voiceface
for _ in range(4):
    start = time.perf_counter()
    voiceface.load(sys.argv[1])
    seconds.append(time.perf_counter() - start)
print(*seconds)
"""


def demo_checkpoint(folder: Path) -> Path:
    """A checkpoint of TriNet's demo networks, with random weights."""
    from voiceface.checkpoints.weights import save_checkpoint
    from voiceface.methods.trinet import TriNet

    method = TriNet("face_small", "voice_small", freeze_voice=False).eval()
    save_checkpoint(method, folder, "trinet", {"corpus": "none", "version": "0", "split": "train"})
    return folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = options.checkpoint or demo_checkpoint(Path(folder) / "checkpoint")
        for _ in range(options.repeats):
            words = [sys.executable, "-c", TIMED, str(checkpoint)]
            printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            runs.append([float(word) for word in printed.split()])
    seconds = {
        "import torch": median(run[0] for run in runs),
        "import pytorch_lightning": median(run[1] for run in runs),
        "load, first": median(run[2] for run in runs),
        "load, again": median(median(run[3:]) for run in runs),
        "first load after torch": median(run[1] + run[2] for run in runs),
    }
    for name, value in seconds.items():
        print(f"{name:26s} {value:8.3f} s")
    result = {
        "question": "seconds of voiceface.load after torch is imported, one thread; target: below 1",
        "seconds_median": {name: round(value, 4) for name, value in seconds.items()},
        "runs": [[round(value, 4) for value in run] for run in runs],
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "machine": describe(),
    }
    path = Path(__file__).parents[1] / "results" / "load.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
