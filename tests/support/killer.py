"""Bring runs down at a chosen moment, by a kill, a request to leave or a full disk, and see what is left of them."""

import csv
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from fork_server import ForkServer, job, together

STATUS = {"KILL": -signal.SIGKILL, "TERM": 128 + signal.SIGTERM, "FULL": 2}
SLURM = {"SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "1", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}
SLURM |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NUM_NODES": "1"}
WORDS = {"TERM": "preempted ", "FULL": "make room"}


class Fault(pl.Callback):
    """Bring the run down once.

    Args:
        kind: KILL; TERM, and again while the run saves and leaves; or FULL: from then on no file of this process grows
            beyond half of a checkpoint.
        moment: `start`: before the first step. `step`: at the start of a step's optimiser update. `validation`, `test`:
            after the first batch of one. `writing`: when half of a checkpoint's bytes are in its file.
        step: Global step, or for the others the first at or after which it happens.
        rank: The process that it happens to.
    """

    def __init__(self, kind: str = "KILL", moment: str = "step", step: int = 0, rank: int = 0) -> None:
        self.kind, self.moment, self.step, self.rank, self.done = kind, moment, step, rank, False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self.moment == "writing" and stage == "fit":
            write = torch.save

            def halfway(state: Any, file: Any) -> None:
                write(state, file)
                if not self.done and state["global_step"] >= self.step:
                    half = file.tell() // 2
                    file.truncate(half)
                    file.flush()
                    self._now(trainer)
                    file.seek(0)
                    write(state, file)

            torch.save = halfway  # type: ignore[assignment]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.moment == "start":
            self._now(trainer)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        if self.moment == "step" and trainer.global_step == self.step:
            self._now(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.moment == "validation" and trainer.global_step >= self.step:
            self._now(trainer)

    def on_test_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.moment == "test":
            self._now(trainer)

    def on_save_checkpoint(self, *_: Any) -> None:
        self._again()

    def on_exception(self, *_: Any) -> None:
        self._again()

    def _again(self) -> None:
        if self.done and self.kind == "TERM":
            os.kill(os.getpid(), signal.SIGTERM)

    def _now(self, trainer: pl.Trainer) -> None:
        if self.done or trainer.global_rank != self.rank:
            return
        self.done = True
        if self.kind == "FULL":
            last = Path(trainer.default_root_dir) / "last.ckpt"
            size = 2_000 if self.moment == "test" else last.stat().st_size // 2 if last.exists() else 100_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        else:
            os.kill(os.getpid(), signal.Signals[f"SIG{self.kind}"])


class Note(pl.Callback):
    """Write down what each step saw: epoch, number of the batch in it, step.

    Args:
        path: File to add lines to.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        with open(self.path, "a") as file:
            print(trainer.current_epoch, batch_idx, trainer.global_step, batch["voice_keys"][0], file=file)


class Runs:
    """Runs of `voiceface fit` in forks of one process that has imported everything, which saves most of their time.

    Args:
        server: Starts the forks, and stays when this is closed; None: one of its own.
    """

    def __init__(self, server: ForkServer | None = None) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path()}
        for name in ("LOCAL_RANK", "VOICEFACE_RUN_FOLDER"):
            environment.pop(name, None)
        self.environment = environment
        self.own = None if server else ForkServer(environment)
        self.server = server or self.own

    def __call__(
        self,
        *words: object,
        log: Path,
        processes: int = 1,
        fresh: bool = False,
        environment: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run one.

        Args:
            words: Words after `voiceface fit`.
            log: File for what it prints.
            processes: Fork so many, as torchrun would start them.
            fresh: In a process of its own, as a user would, which then starts the others itself.
            environment: What forks see beside what this process sees.

        Returns:
            Exit status of the first process that ended in error, minus the number of the signal that ended it; and
            what rank 0 printed, or, where it started the others, all.
        """
        if fresh:
            with log.open("wb") as out:
                command = [sys.executable, "-m", "voiceface", "fit", *map(str, words)]
                status = subprocess.run(command, env=self.environment, stdout=out, stderr=out, check=False).returncode
            return status, log.read_text(errors="replace")
        shared = self.environment | (environment or {})
        if processes > 1:
            shared |= together(processes)
        jobs = []
        for rank in range(processes):
            said = log.with_suffix(f".{rank}")
            said.unlink(missing_ok=True)
            ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
            jobs.append(job(["fit", *words], None, shared | ranks, said, said))
        assert self.server is not None
        status = self.server.run(jobs)
        return status, log.with_suffix(".0").read_text(errors="replace")

    def close(self) -> None:
        """End the server."""
        if self.own:
            self.own.close()


def path() -> str:
    """Where tests' modules, and the package that this process uses, are imported from."""
    import voiceface

    return os.pathsep.join([str(Path(__file__).parent), str(Path(voiceface.__file__).parents[1])])


def state_of(run: Path) -> dict[str, Any]:
    """All that two runs must have in common, bit by bit."""
    last = torch.load(run / "last.ckpt", weights_only=True)
    best = torch.load(run / "best.ckpt", weights_only=True)
    (keeper,) = (state for name, state in last["callbacks"].items() if name.startswith("ModelCheckpoint"))
    results = json.loads((run / "results.json").read_text())
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    return {
        "step": last["global_step"],
        "weights": last["state_dict"],
        "optimiser": last["optimizer_states"],
        "schedules": last["lr_schedulers"],
        "best score": keeper["best_model_score"],
        "best weights": best["state_dict"],
        "best step": best["global_step"],
        "exported": (run / "checkpoint/model.safetensors").read_bytes(),
        "scores": results["scores"],
        "validated": [(row["step"], row["val/accuracy"]) for row in rows if row["val/accuracy"]],
    }


def differences(one: Any, two: Any, name: str = "") -> list[str]:
    """Names of all values that differ in any bit."""
    if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        return [d for key in one for d in differences(one[key], two[key], f"{name}/{key}")]
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return [d for i, (a, b) in enumerate(zip(one, two, strict=True)) for d in differences(a, b, f"{name}/{i}")]
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return [] if torch.equal(one, two) else [name]
    return [] if one == two else [name]


def left_over(run: Path) -> list[str]:
    """Files that a run in good order does not leave behind."""
    return [str(file.relative_to(run)) for file in run.rglob("*") if file.suffix == ".tmp" or file.name == ".lock"]
