"""The processes of one run: who started them, and how they end together."""

import os
import signal
import threading
import time

from voiceface.utils.errors import UserError

LAUNCHER = "VOICEFACE_LAUNCHER"
PARENT = "VOICEFACE_PARENT"  # the process that started this run and waits for it, as `voiceface compare` does


def started_by() -> str | None:
    """What has started several processes of this run, this one among them: torchrun, srun or another launcher.

    None: nothing did, there is one process, or Lightning starts the others.
    """
    if "RANK" in os.environ:  # Lightning's own processes have a LOCAL_RANK only
        several = int(os.environ.get("WORLD_SIZE", 1)) > 1
        return ("torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else "the launcher") if several else None
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

    Without this a process that waits for a dead one on a GPU waits for minutes. To be called in all of them.

    Args:
        seconds: Time between two looks.
    """
    if "LOCAL_RANK" not in os.environ:
        os.environ[LAUNCHER] = str(os.getpid())
        if parent := os.environ.pop(PARENT, None):
            _leave_with(int(parent), seconds)
        return
    launcher = os.getppid()
    if "RANK" not in os.environ:
        launcher = int(os.environ.get(LAUNCHER, launcher))  # it may be dead already

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-launcher").start()


def _leave_with(parent: int, seconds: float) -> None:
    """Ask this run to save and leave, as SIGTERM does, when its parent has died."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="leave-with-parent").start()
