"""How fast does each recipe train on a GPU? Steps at paper size, in one command, with random weights and no network.

    python -m benchmarks.training.gpu [--minutes 7.5] [--recipes trinet,kim] [--out FOLDER]

For every recipe whose networks, batches or steps differ from those of the ones before it: pairs per second in float32
(convolutions in TF32, torch's default; matrix products in full float32), in bf16 mixed precision, with channels_last,
and with compiled encoders; the most memory; the share of the GPU's peak; the share of the time that is spent in waiting
for data that workers decode from a corpus of the papers' clip sizes; and the hours that the recipe's steps would take.

A pair is one voice and one face: half of the clips that pass through the networks in a step. Steps are those of
`Trainer.fit` with the check for non-finite steps (`bf16 unchecked` is without it), from batches that lie in the GPU's
memory, without logging and validation; the median of five windows after three steps of warming up. FLOPs are those of
matrix products and convolutions in one step, forward and backward, as torch counts them; the peak is the data sheet's
without sparsity, of TF32 for float32.

The result, benchmarks/results/gpu_DEVICE.json, is written after every measurement: what a cut-off or the end of the
time leaves is listed as not run; `--add` runs that in another go. First the methods, without and with compilation,
which takes longest, then their variants. A measurement that fails is a row with its error.

Needed beside torch, torchaudio, torchvision, timm and pytorch-lightning: webdataset, braceexpand, soundfile, rich
(markdown-it-py, mdurl, pygments), scipy for the recipes that change the speed of voices (svhf), and a C++ compiler for
compiled encoders, which `--no-compile` leaves out. `--seconds` is the time of one measurement, `--workers` the number
of processes that decode. `--device cpu --small --recipes trinet,kim --minutes 2` tries it on any machine.
"""

import argparse
import json
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import RESULTS, describe, parser
from benchmarks.data.media import make_corpus
from benchmarks.training.steps import MODES, Mode, Recipe, free, quiet
from voiceface.methods.recipes import list_recipes, load_recipe
from voiceface.utils.files import write_atomic

# Peak of matrix products in 1e12 FLOP per second without sparsity, TF32 and bf16 (NVIDIA's data sheets).
PEAKS = {
    "H200": (494.7, 989.4),
    "H100 PCIe": (378.0, 756.0),
    "H100 NVL": (417.5, 835.0),
    "H100 80GB HBM3": (494.7, 989.4),
    "A100": (156.0, 312.0),
    "L40S": (183.0, 362.0),
    "L4": (60.0, 121.0),
    "A10": (62.5, 125.0),
}
LONGEST = 100.0  # seconds that one measurement may take, compilation included
LEAST = 15.0  # seconds that must be left to begin one
# What does not tell recipes apart here: weights to start from, rates, margins, scales, classes of a last layer.
SAME = re.compile("weights|rate|scale|margin|milestones|hard_after|fall_every|test_seconds|space|tau|lambda|covariates")


def peak(device: str, precision: str) -> float | None:
    """The device's peak; None where it is not known, or only a part of it is ours."""
    for name, (tf32, bf16) in PEAKS.items():
        if re.search(rf"\b{name}\b", device) and "MIG" not in device:
            return tf32 if precision == "32-true" else bf16
    return None


def distinct(recipes: Sequence[str]) -> dict[str, list[str]]:
    """The first recipe of each kind, and the others of its kind."""
    kinds: dict[str, list[str]] = {}
    for recipe in recipes:
        settings = load_recipe(recipe, "paper")
        model = {k: v for k, v in settings["model"].items() if not SAME.search(k)}
        kind = json.dumps([model, settings["data"], settings["trainer"]["max_steps"]], sort_keys=True)
        kinds.setdefault(kind, []).append(recipe)
    return {same[0]: same[1:] for same in kinds.values()}


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after so many seconds."""

    def ring(number: int, frame: Any) -> None:
        raise TimeoutError(f"not finished in {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Report:
    """The result file, what it says, and the time that is left of `seconds`."""

    def __init__(self, path: Path, seconds: float, result: dict[str, Any]) -> None:
        self.path, self.end, self.result = path, time.monotonic() + seconds, result

    def left(self) -> float:
        return self.end - time.monotonic()

    def measure(self, row: dict[str, Any], name: str, run: Callable[[], dict[str, Any]]) -> None:
        """Put what `run` gives into the row, or why it gave nothing, unless it is there; write the file."""
        if not {"error", "not_run"} & row.get(name, {"not_run": ""}).keys():
            return
        if self.left() < LEAST:
            row[name] = {"not_run": "out of time"}
        else:
            try:
                with at_most(min(LONGEST, self.left())):
                    row[name] = run()
            except Exception as error:  # whatever it is: the next recipe may work
                row[name] = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        self.write()

    def write(self) -> None:
        write_atomic(self.path, json.dumps(self.result, indent=1).encode() + b"\n")


def complete(row: dict[str, Any], mode: Mode, device: str) -> None:
    """Add what follows from the time of a step."""
    timed, step = row[mode.name], row["step"]
    if "milliseconds_per_step" in timed and "pairs_per_step" in step:
        seconds, best = timed["milliseconds_per_step"] / 1000, peak(device, mode.precision)
        rate = step["teraflop_per_step"] / seconds
        timed |= {"pairs_per_second": step["pairs_per_step"] / seconds, "teraflop_per_second": rate}
        timed |= {"share_of_peak": best and rate / best, "hours": row["max_steps"] * seconds / 3600}


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Pairs per second of each mode, and the rest of the best one."""
    lines = [f"{'recipe':20s}" + "".join(f"{m.name.replace('channels-last', 'cl'):>20s}" for m in MODES)]
    lines[0] += f"{'GiB':>8s}{'of peak':>9s}{'data wait':>11s}{'hours':>8s}"
    for name, row in rows.items():
        timed = {mode: row.get(mode.name, {"not_run": ""}) for mode in MODES}
        failed = {mode: "error" if "error" in found else "not run" for mode, found in timed.items()}
        done = {mode: found for mode, found in timed.items() if "pairs_per_second" in found}
        cells = [f"{done[m]['pairs_per_second']:.1f}" if m in done else failed[m] for m in MODES]
        checked = [found for mode, found in done.items() if mode.check]
        best = max(checked, key=lambda found: found["pairs_per_second"], default={})
        wait = row.get("data", {}).get("data_wait_share")
        values = [best.get("peak_memory_gib"), best.get("share_of_peak"), wait, best.get("hours")]
        rest = [f"{v:.{d}f}" if v is not None else "" for v, d in zip(values, (1, 3, 3, 1), strict=True)]
        columns = zip([*cells, *rest], (*[20] * len(MODES), 8, 9, 11, 8), strict=True)
        lines.append(f"{name:20s}" + "".join(f"{text:>{width}s}" for text, width in columns))
    return "\n".join(lines)


def run(
    name: str, row: dict[str, Any], modes: Sequence[Mode], corpus: Path, options: argparse.Namespace, report: Report
) -> None:
    """Measure one recipe in some modes, and, where it is not there yet, what a step is and how long it waits."""
    prepared = cache(lambda: Recipe(name, corpus, options.device, options.small, options.workers))
    report.measure(row, "step", lambda: prepared().count())
    for mode in modes:
        report.measure(row, mode.name, lambda mode=mode: prepared().time(mode, options.seconds))
        complete(row, mode, report.result["device"])
    if MODES[1] in modes:
        report.measure(row, "data", lambda: prepared().wait(MODES[1], options.seconds))
    report.write()
    prepared.cache_clear()
    free(options.device)
    print(f"{name}: {', '.join(m.name for m in modes)}; {report.left():.0f} s left", flush=True)


def main() -> None:
    made = parser(__doc__, minutes=7.5, recipes=str, seconds=1.5, small=False, add=False, no_compile=False, out=RESULTS)
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    made.add_argument("--workers", type=int, default=min(16, max(1, len(os.sched_getaffinity(0)) - 2)))
    options = made.parse_args()
    began = time.monotonic()
    quiet()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("this machine has no GPU; try it with --device cpu --small --recipes trinet,kim --minutes 2")
    machine = describe()
    device = torch.cuda.get_device_name(0) if options.device == "cuda" else machine["cpu"]
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"gpu_{re.sub(r'[^a-z0-9]+', '_', device.lower()).strip('_')}.json"
    backends = torch.backends
    rows: dict[str, Any] = json.loads(path.read_text())["recipes"] if options.add and path.exists() else {}
    result: dict[str, Any] = {
        "device": device,
        "size": "demo preset" if options.small else "paper",
        "tf32": {"convolutions": backends.cudnn.allow_tf32, "matrix_products": backends.cuda.matmul.allow_tf32},
        "peak_teraflop_per_second": {p: peak(device, p) for p in ("32-true", "bf16-mixed")},
        "recipes": rows,
        "machine": machine,
    }
    report = Report(path, 60 * options.minutes - (time.monotonic() - began), result)
    chosen = distinct(options.recipes.split(",") if options.recipes else list_recipes())
    for name, same in chosen.items():
        rows.setdefault(name, {"same": same, "max_steps": int(load_recipe(name, "paper")["trainer"]["max_steps"])})
    eager = [m for m in MODES if not m.compile]
    compiled = [m for m in MODES if m.compile and not options.no_compile]
    # The methods themselves first, then their variants.
    variants = [name for name in chosen if "_" in name and not name.startswith("dimnet")]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        corpus = make_corpus(Path(folder) / "corpus", 32 if options.small else 512, options.workers)
        for names in ([name for name in chosen if name not in variants], variants):
            for modes in (eager, compiled):
                for name in names:
                    run(name, rows[name], modes, corpus, options, report)
        os.chdir(out)
    result["minutes"] = (time.monotonic() - began) / 60
    report.write()
    print(table(rows))
    print(path)


if __name__ == "__main__":
    main()
