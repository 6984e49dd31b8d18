"""Processes of one run: who started them, and that they end with it."""

import os
import threading
import time

from voiceface.errors import UserError


def started_by() -> str | None:
    """What has started several processes of this run, this one among them: torchrun or SLURM.

    None: nothing did, there is one process, or Lightning starts the others.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return "torchrun" if int(os.environ.get("WORLD_SIZE", 1)) > 1 else None
    # As Lightning sees it: in an interactive shell on a node of SLURM's it starts the processes itself.
    if os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive") and "LOCAL_RANK" not in os.environ:
        return "srun" if int(os.environ.get("SLURM_NTASKS", 1)) > 1 else None
    return None


def need_folder(out: str) -> None:
    """Refuse processes that would each choose a run folder of their own.

    Args:
        out: `--out`, or nothing.

    Raises:
        UserError: `--out` is missing.
    """
    launcher = started_by()
    if launcher and not out:
        raise UserError(f"--out is missing: {launcher} starts several processes, which must share one run folder")


def end_with_launcher(seconds: float = 1.0) -> None:
    """Let a process that was started for a run end soon after the one that started it, however that dies.

    Without this a process that waits for a dead one on a GPU waits for minutes.

    Args:
        seconds: Time between two looks.
    """
    if "LOCAL_RANK" not in os.environ:
        return
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-launcher").start()
