"""The run folder: chosen, checked, locked during the run, never shared with another run."""

import csv
import fcntl
import io
import os
import shutil
import sys
from pathlib import Path
from typing import IO

import torch

from voiceface.training.arguments import RunChoice
from voiceface.utils.errors import UserError, reason
from voiceface.utils.files import write_atomic

RUN_FOLDER = "VOICEFACE_RUN_FOLDER"
# Whether another process of the same run started this one, and has chosen the run folder.
LAUNCHED = os.environ.get("LOCAL_RANK", "0") != "0" and RUN_FOLDER in os.environ
LOCK = ".lock"
made: list[Path] = []  # the run folder, if this process created it
held: list[IO[bytes]] = []  # its lock, while this process holds it

# Files of a run that are worth keeping.
KEPT = ("last.ckpt", "best.ckpt", "results.json", "checkpoint")
# Files left behind by a kill while they are written.
LEFT_OVER = (
    "last.ckpt.tmp",
    "best.ckpt.tmp",
    "results.json.tmp",
    "results.effects.npz.tmp",
    "metrics.csv.tmp",
    "checkpoint/*.tmp",
)


def is_rank_zero() -> bool:
    """Return whether this process is the writing one of its run; known before there is a process group."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    rank = "LOCAL_RANK" if "LOCAL_RANK" in os.environ else "SLURM_PROCID"
    return all(os.environ.get(name, "0") == "0" for name in (rank, "NODE_RANK"))


def check_readable(path: Path) -> int:
    """Reject a file that is not a training state, before the work begins.

    Returns:
        Number of training steps in it.
    """
    if not path.is_file():
        raise UserError(f"--ckpt_path {path}: no such file; leave --ckpt_path out to start from the beginning")
    try:
        state = torch.load(path, map_location="meta", weights_only=True)
        step = int(state["global_step"]) if {"state_dict", "loops", "optimizer_states"} <= state.keys() else None
    except Exception:
        step = None
    if step is None:
        raise UserError(f"--ckpt_path {path}: not a training state, or damaged; give the last.ckpt of a run")
    return step


def run_folder(chosen: RunChoice, resumed: str | None) -> Path:
    """`--out`, or the next free `runs/RECIPE`; held until `release`. All processes of a run use the same.

    Args:
        chosen: From `voiceface.training.arguments.expand`.
        resumed: File to resume from, or `last`.

    Raises:
        UserError: It cannot be written, contains a run that is not resumed, or is in use by another run.
    """
    if LAUNCHED:
        return Path(os.environ[RUN_FOLDER])
    first = is_rank_zero()
    if chosen.out:
        out = Path(chosen.out)
    elif resumed and resumed != "last":
        out = Path(resumed).parent
    else:
        out = _next(chosen.recipe or "run", resumed)
    if first and not out.exists():
        made.append(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({reason(error)}); choose another folder") from None
    if first:
        _lock(out)
        if any((out / name).exists() for name in KEPT) and not resumed:
            what = "a finished run" if (out / "results.json").exists() else "a run"
            raise UserError(f"--out {out}: holds {what}; resume it by --ckpt_path last, or choose another folder")
        for pattern in LEFT_OVER:
            for path in out.glob(pattern):
                path.unlink()
    os.environ[RUN_FOLDER] = str(out)
    return out


def _next(name: str, resumed: str | None) -> Path:
    """Return the next free `runs/NAME`, or the last one with a run if that is resumed."""
    names = [Path(f"runs/{name}"), *(Path(f"runs/{name}-{i}") for i in range(2, 10_000))]
    if resumed == "last":
        taken = [n for n in names if (n / "last.ckpt").exists()]
        if not taken:
            raise UserError("--ckpt_path last: no run to resume here; name its folder by --out")
        return taken[-1]
    return next(n for n in names if not n.exists() or not any(n.iterdir()))


def _lock(out: Path, again: int = 3) -> None:
    """Lock the folder. The kernel releases the lock when this process ends, in any way; workers do not inherit it."""
    lock = (out / LOCK).open("wb")
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        lock.close()
        raise UserError(f"--out {out}: a run is at work in it; wait for it, or choose another folder") from None
    except OSError:
        pass  # a file system without locks
    if again and not os.fstat(lock.fileno()).st_nlink:
        # The previous holder has just ended and removed the file: a third run would lock a different one.
        lock.close()
        return _lock(out, again - 1)
    held.append(lock)


def release() -> None:
    """Release the run folder's lock at the end of the run."""
    while held:
        lock = held.pop()
        Path(lock.name).unlink(missing_ok=True)
        lock.close()
    made.clear()  # the next run must not remove this run's folder


def drop_rows(metrics: Path, step: int) -> None:
    """Remove the rows of `metrics.csv` after the state to resume from, which will be logged again.

    Args:
        metrics: The file; it may be missing.
        step: Number of steps in the state; rows count them from 0.
    """
    if not metrics.is_file():
        return
    with metrics.open(newline="") as file:
        names, *rows = list(csv.reader(file)) or [[]]
    if "step" not in names:
        return
    place = names.index("step")
    # A row truncated by a kill has fewer cells.
    kept = [row for row in rows if len(row) == len(names) and row[place].isdigit() and int(row[place]) < step]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([names, *kept])
    write_atomic(metrics, text.getvalue().encode())


def resume_from(resumed: str | None, out: Path) -> str | None:
    """Return the file to resume from; the run's own logs are truncated to its step.

    Args:
        resumed: `--ckpt_path`.
        out: Run folder.

    Returns:
        A valid file; None: the run starts from the beginning, as `last` does if a run ended before its first save.

    Raises:
        UserError: The file does not exist or is damaged.
    """
    path = out / "last.ckpt" if resumed == "last" else Path(resumed) if resumed else None
    nothing = resumed == "last" and not (out / "last.ckpt").exists() and (out / "config.yaml").exists()
    if path is None or nothing:
        if is_rank_zero():
            if nothing:
                print(f"--ckpt_path last: nothing saved in {out} yet; starting from the beginning", file=sys.stderr)
            drop_rows(out / "metrics.csv", 0)  # of a run that ended before its first save
        return None
    step = check_readable(path)
    if is_rank_zero() and path.parent.resolve() == out.resolve():
        drop_rows(out / "metrics.csv", step)
    return str(path)


def discard_if_empty() -> None:
    """After an error, remove the run folder created by this process, unless training left something in it."""
    folders = list(made)
    release()
    for folder in folders:
        if folder.exists() and {path.name for path in folder.iterdir()} <= {"config.yaml", "tensorboard", "wandb"}:
            shutil.rmtree(folder, ignore_errors=True)
