"""Does a run that is brought down at any moment go on as if nothing had happened?

    python -m benchmarks.training.faults [--short]

Every cell is a run of `voiceface fit` that a kill, a request to leave or a full disk brings down in a training step,
in validation, while a checkpoint is written, or in the test at the end; with and without worker processes, in one
process and in two. It is resumed by `--ckpt_path last`, and must then equal a run that nothing happened to, bit by bit:
weights, optimiser, schedules, the best step, the exported weights, the scores. Exit status 1 where a cell fails.
"""

import itertools
import os
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT, parser, write

sys.path.insert(0, str(ROOT / "tests/support"))

from killer import STATUS, WORDS, Runs, differences, left_over, state_of
from tests_support import tone_corpus

STEPS = 14
SMALL = ["--model", "trinet", "--preset", "demo", "--data.people", 6, "--data.flip", "true"]
SMALL += ["--save_every", 3, "--trainer.max_steps", STEPS, "--trainer.val_check_interval", 5]
# The dampers of exact resume: half steps, short epochs, validation in the middle of a half step, and after each epoch.
SCHEDULES: dict[str, list[object]] = {
    "plain": [],
    "accumulate": ["--trainer.accumulate_grad_batches", 2, "--trainer.val_check_interval", 5],
    "short": ["--trainer.limit_train_batches", 5, "--trainer.val_check_interval", 4],
    "both": ["--trainer.limit_train_batches", 5, "--trainer.accumulate_grad_batches", 2],
    "epochs": [
        *("--trainer.limit_train_batches", 5, "--trainer.val_check_interval", 1.0),
        *("--trainer.check_val_every_n_epoch", 1),
    ],
}
TWO = ["--trainer.accelerator", "cpu", "--trainer.devices", 2, "--trainer.strategy", "ddp", "--data.people", 3]


@dataclass(frozen=True)
class Cell:
    """One run that is brought down."""

    kind: str  # KILL, TERM or FULL
    moment: str  # start, step, validation, writing or test
    workers: int = 0
    processes: int = 1  # that train
    schedule: str = "plain"  # which of SCHEDULES
    rank: int = 0  # of the process that it happens to
    launcher: str = "fork"  # starts processes as torchrun does; own: the plain command, which starts the others itself

    def words(self, out: Path, corpus: Path) -> list[object]:
        several = TWO if self.processes == 2 else []
        own = ["--data", corpus, "--data.workers", self.workers, "--out", out]
        return [*SMALL, *SCHEDULES[self.schedule], *several, *own]


def matrix() -> Iterator[Cell]:
    """Every signal at every moment, with 0 and 2 workers, in 1 and 2 processes; then the rest."""
    for processes, workers in itertools.product((1, 2), (0, 2)):
        for kind, moment in itertools.product(("KILL", "TERM", "FULL"), ("step", "validation", "writing", "test")):
            yield Cell(kind, moment, workers, processes)
    for schedule in list(SCHEDULES)[1:]:
        for kind, moment in itertools.product(("KILL", "TERM"), ("step", "validation", "writing")):
            yield Cell(kind, moment, schedule=schedule)
    for rank, moment in ((0, "validation"), (0, "test"), (1, "step"), (1, "validation"), (1, "test")):
        yield Cell("TERM", moment, processes=2, rank=rank, launcher="own")
    for rank in (0, 1):
        yield Cell("TERM", "step", processes=2, rank=rank, schedule="both")
        yield Cell("KILL", "step", processes=2, rank=rank, launcher="own")
    yield Cell("FULL", "writing", processes=2, launcher="own")
    yield Cell("KILL", "start")
    yield Cell("TERM", "start")
    for rank in (0, 1):
        yield Cell("TERM", "start", processes=2, rank=rank, launcher="own")


def try_cell(cell: Cell, runs: Runs, corpus: Path, folder: Path, whole: dict[str, Any], step: int) -> str:
    """Bring a run down from a step on, go on with it, and say how it differs from `whole`; empty: in nothing."""
    folder.mkdir()
    out, how = folder / "run", {"processes": cell.processes, "fresh": cell.launcher == "own"}
    words, fault = cell.words(out, corpus), ["--trainer.callbacks", "killer.Fault"]
    for name, value in (("kind", cell.kind), ("moment", cell.moment), ("step", step), ("rank", cell.rank)):
        fault += [f"--trainer.callbacks.{name}", value]
    status, said = runs(*words, *fault, log=folder / "fault.txt", **how)
    # Where another process is killed, the one that started it sees a lost connection, or is killed for it.
    other = cell.kind == "KILL" and cell.rank > 0
    if status == 0 if other else status != STATUS[cell.kind]:
        return f"exit status {status}, not {STATUS[cell.kind]}: {said[-1500:]}"
    if cell.kind != "KILL" and (WORDS[cell.kind] not in said.rpartition("voiceface: ")[2] or "Traceback" in said):
        return f"said {said[-1500:]}"
    status, said = runs(*words, "--ckpt_path", "last", log=folder / "resumed.txt", **how)
    if status:
        return f"resumed, exit status {status}: {said[-1500:]}"
    return ", ".join((differences(whole, state_of(out)) + left_over(out))[:5])


def run_cells(cells: Iterable[Cell], folder: Path, runs: Runs) -> list[dict[str, Any]]:
    """Try cells in an empty folder, and give each with its `step` and what is `wrong`."""
    people = [("train", 3, 4)] * 24 + [("val", 2, 3)] * 4 + [("test", 3, 4)] * 6
    corpus = tone_corpus(folder / "corpus", people)
    whole: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    for number, cell in enumerate(cells):
        kind = f"{cell.schedule}-{cell.processes}"
        if kind not in whole:
            out = folder / kind
            status, said = runs(*cell.words(out, corpus), log=folder / f"{kind}.txt", processes=cell.processes)
            assert status == 0, said
            whole[kind] = state_of(out)
        # Two processes see half as many identities in a batch, and as many steps.
        step = random.Random(str(cell)).randrange(4, 10 if cell.moment in ("validation", "writing") else STEPS)
        wrong = try_cell(cell, runs, corpus, folder / str(number), whole[kind], step)
        rows.append({**asdict(cell), "step": step, "wrong": wrong})
        print(*rows[-1].values(), flush=True)
    return rows


SHORT = (
    Cell("KILL", "writing"),
    Cell("TERM", "step", workers=2, schedule="both"),
    Cell("TERM", "validation"),
    Cell("FULL", "validation"),
)


def main() -> int:
    """Print each cell, write results/faults.json."""
    options = parser(__doc__, short=False, out=RESULTS).parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    runs = Runs()
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = run_cells(SHORT if options.short else matrix(), Path(folder), runs)
    finally:
        runs.close()
    failed = [row for row in rows if row["wrong"]]
    if not options.short:
        write("faults", {"failed": len(failed), "cells": rows}, options.out)
    print(f"{len(rows) - len(failed)} of {len(rows)} cells are bit-equal after resuming")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
