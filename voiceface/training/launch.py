"""The processes of one run: how they are started, and how they end together."""

import os
import signal
import threading
import time

from voiceface.utils.errors import UserError

LAUNCHER = "VOICEFACE_LAUNCHER"
PARENT = "VOICEFACE_PARENT"  # the process that started this run and waits for it, such as `voiceface compare`


def started_by() -> str | None:
    """Return what started this and other processes of the run: torchrun, srun or another launcher.

    None: there is only one process, or Lightning starts the others.
    """
    if "RANK" in os.environ:  # processes started by Lightning only have a LOCAL_RANK
        several = int(os.environ.get("WORLD_SIZE", 1)) > 1
        return ("torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else "the launcher") if several else None
    # As in Lightning: in an interactive shell on a SLURM node, it starts the processes itself.
    if os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive") and "LOCAL_RANK" not in os.environ:
        return "srun" if int(os.environ.get("SLURM_NTASKS", 1)) > 1 else None
    return None


def need_folder(out: str) -> None:
    """Reject processes that would each choose a run folder of their own.

    Args:
        out: `--out`, or empty.

    Raises:
        UserError: `--out` is missing.
    """
    launcher = started_by()
    if launcher and not out:
        raise UserError(f"--out is missing: {launcher} starts several processes, which must share one run folder")


def end_with_launcher(seconds: float = 1.0) -> None:
    """Make a process of a run end soon after the process that started it, however that ends.

    Without this, a process that waits on a GPU for a dead one waits for minutes. Call it in all of them.

    Args:
        seconds: Polling interval.
    """
    if "LOCAL_RANK" not in os.environ:
        os.environ[LAUNCHER] = str(os.getpid())
        if parent := os.environ.pop(PARENT, None):
            _leave_with(int(parent), seconds)
        return
    launcher = os.getppid()
    if "RANK" not in os.environ:
        launcher = int(os.environ.get(LAUNCHER, launcher))  # the parent may be dead already

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-launcher").start()


def _leave_with(parent: int, seconds: float) -> None:
    """Make this run save and exit, as SIGTERM does, when its parent has died."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="leave-with-parent").start()
