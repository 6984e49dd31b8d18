"""The run folder: chosen, checked, locked while the run lasts, never shared with another run."""

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
# Whether another process of the same run started this one, and has settled the run folder.
LAUNCHED = os.environ.get("LOCAL_RANK", "0") != "0" and RUN_FOLDER in os.environ
LOCK = ".lock"
made: list[Path] = []  # the run folder, where this process made it
held: list[IO[bytes]] = []  # its lock, while this process holds it

# What a run leaves that is worth keeping.
KEPT = ("last.ckpt", "best.ckpt", "results.json", "checkpoint")
# What a kill while they are written leaves behind.
LEFT_OVER = (
    "last.ckpt.tmp",
    "best.ckpt.tmp",
    "results.json.tmp",
    "results.effects.npz.tmp",
    "metrics.csv.tmp",
    "checkpoint/*.tmp",
)


def is_rank_zero() -> bool:
    """Whether this process is the one of its run that writes; known before there is a process group."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    rank = "LOCAL_RANK" if "LOCAL_RANK" in os.environ else "SLURM_PROCID"
    return all(os.environ.get(name, "0") == "0" for name in (rank, "NODE_RANK"))


def check_readable(path: Path) -> int:
    """Refuse a file that is no training state, before the work begins.

    Returns:
        The number of steps that it holds.
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
        resumed: File to go on from, or `last`.

    Raises:
        UserError: It cannot be written, holds a run that is not resumed, or a run is at work in it.
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
            raise UserError(f"--out {out}: holds {what}; go on with it by --ckpt_path last, or choose another folder")
        for pattern in LEFT_OVER:
            for path in out.glob(pattern):
                path.unlink()
    os.environ[RUN_FOLDER] = str(out)
    return out


def _next(name: str, resumed: str | None) -> Path:
    """The next free `runs/NAME`, or the last one that holds a run, where that is resumed."""
    names = [Path(f"runs/{name}"), *(Path(f"runs/{name}-{i}") for i in range(2, 10_000))]
    if resumed == "last":
        taken = [n for n in names if (n / "last.ckpt").exists()]
        if not taken:
            raise UserError("--ckpt_path last: no run to go on with here; name its folder by --out")
        return taken[-1]
    return next(n for n in names if not n.exists() or not any(n.iterdir()))


def _lock(out: Path, again: int = 3) -> None:
    """Lock the folder. The kernel drops the lock when this process ends, however it ends; workers do not inherit it."""
    lock = (out / LOCK).open("wb")
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        lock.close()
        raise UserError(f"--out {out}: a run is at work in it; wait for it, or choose another folder") from None
    except OSError:
        pass  # a file system without locks
    if again and not os.fstat(lock.fileno()).st_nlink:
        # The run that held it has just ended and removed the file: a third one would lock another.
        lock.close()
        return _lock(out, again - 1)
    held.append(lock)


def release() -> None:
    """Release the run folder's lock, at the end of the run."""
    while held:
        lock = held.pop()
        Path(lock.name).unlink(missing_ok=True)
        lock.close()
    made.clear()  # what this run made is not the next one's to remove


def drop_rows(metrics: Path, step: int) -> None:
    """Take out of `metrics.csv` what came after the state that a run goes on from, and will come again.

    Args:
        metrics: The file; it may be missing.
        step: Steps that the state holds; rows count them from 0.
    """
    if not metrics.is_file():
        return
    with metrics.open(newline="") as file:
        names, *rows = list(csv.reader(file)) or [[]]
    if "step" not in names:
        return
    place = names.index("step")
    # A row that a kill cut short has fewer cells.
    kept = [row for row in rows if len(row) == len(names) and row[place].isdigit() and int(row[place]) < step]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([names, *kept])
    write_atomic(metrics, text.getvalue().encode())


def resume_from(resumed: str | None, out: Path) -> str | None:
    """The file to go on from; the run's own logs are cut back to its step.

    Args:
        resumed: `--ckpt_path`.
        out: Run folder.

    Returns:
        A file that is there and whole; None: the run starts from the beginning, as `last` does where a run ended
        before it saved anything.

    Raises:
        UserError: There is no such file, or it is damaged.
    """
    path = out / "last.ckpt" if resumed == "last" else Path(resumed) if resumed else None
    nothing = resumed == "last" and not (out / "last.ckpt").exists() and (out / "config.yaml").exists()
    if path is None or nothing:
        if is_rank_zero():
            if nothing:
                print(f"--ckpt_path last: nothing saved in {out} yet; starting from the beginning", file=sys.stderr)
            drop_rows(out / "metrics.csv", 0)  # of a run that ended before it saved anything
        return None
    step = check_readable(path)
    if is_rank_zero() and path.parent.resolve() == out.resolve():
        drop_rows(out / "metrics.csv", step)
    return str(path)


def discard_if_empty() -> None:
    """After a refusal, remove the run folder that this process made, unless training left something in it."""
    folders = list(made)
    release()
    for folder in folders:
        if folder.exists() and {path.name for path in folder.iterdir()} <= {"config.yaml", "tensorboard", "wandb"}:
            shutil.rmtree(folder, ignore_errors=True)
