"""`voiceface compare --models`: train and test several recipes alike, each run a `voiceface fit` of its own process."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from voiceface.compare.experiments.plans import Plan, Run, alike, check, finished, keep, remarks, repeated, result_path
from voiceface.methods.recipes import list_recipes, nearest
from voiceface.training.launch import PARENT, started_by
from voiceface.utils.errors import UserError, reason
from voiceface.utils.progress import TERMINAL, terminal

__all__ = ["Plan", "Run", "failures", "free_folder", "plan", "remarks", "result_path", "run_plan"]


def plan(
    models: Sequence[str],
    seeds: int = 1,
    *,
    out: Path | None = None,
    data: str | None = None,
    preset: str | None = None,
    encoders: str | None = None,
    gpus: str | None = None,
    steps: int | None = None,
    words: Sequence[str] = (),
) -> Plan:
    """Plan the training of several recipes.

    Args:
        models: Recipes.
        seeds: Trainings of each; their seeds are 0, 1, ...
        out: Folder; None: the next free `runs/compare`.
        data: Corpus; None: the built-in one.
        preset: As of `voiceface fit`.
        encoders: As of `voiceface fit`.
        gpus: As of `voiceface fit`.
        steps: Steps of each training; None: those of its recipe.
        words: Further words of `voiceface fit`.

    Raises:
        UserError: As `check`; or a recipe is unknown or named twice, or a number is below 1.
    """
    for name in models:
        if name not in list_recipes():
            raise UserError(
                f"--models {name or '(empty)'}: no such recipe{nearest(name, list_recipes())}; there are: "
                f"{', '.join(list_recipes())}"
            )
    twice = [name for name, count in Counter(models).items() if count > 1]
    if not models or twice:
        raise UserError(f"--models {','.join(models)}: {f'holds {twice[0]} twice' if twice else 'name a recipe'}")
    runs = tuple(Run(name, name) for name in models)
    once = Plan(out or free_folder("compare"), data, preset, encoders, gpus, runs, tuple(words))
    return repeated(once, seeds, steps)


def free_folder(name: str) -> Path:
    """The first of `runs/NAME`, `runs/NAME-2`, ... that holds nothing."""
    names = [Path(f"runs/{name}"), *(Path(f"runs/{name}-{i}") for i in range(2, 10_000))]
    return next(n for n in names if not n.exists() or not any(n.iterdir()))


def to_stderr(line: str) -> None:
    """Print a line to standard error."""
    print(line, file=sys.stderr, flush=True)


def run_plan(plan: Plan, note: Callable[[str], None] = to_stderr) -> list[Path]:
    """Train and test what is not finished yet. A run that fails does not keep the others from running.

    Args:
        plan: What to run.
        note: Is told what happens, a line at a time.

    Returns:
        The result files of all runs that have one, those of earlier calls too.

    Raises:
        UserError: The plan is wrong, the folder holds another one, or none of its runs succeeded.
        KeyboardInterrupt: The user asked to stop; the run has saved itself. The message says how to go on.
        SystemExit: With status 143: the same, after SIGTERM.
    """
    check(plan)
    if launcher := started_by():
        raise UserError(f"--models: {launcher} starts several processes; start one, it gives the GPUs to each run")
    with _lock(plan.out) as lock:
        for line in (*keep(plan), *remarks(plan)):
            note(line)
        runs = list(dict.fromkeys(alike(plan).values()))
        with _Listener() as listener:
            for number, run in enumerate(runs, 1):
                _run(plan, run, f"[{number}/{len(runs)}] {run}", listener, lock, note)
                if listener.told:
                    break
        if listener.told:
            how = f"resume with the same command and --runs {plan.out}"
            if signal.SIGINT in listener.told:
                raise KeyboardInterrupt(how)
            note(f"voiceface: told to end; {how}")
            raise SystemExit(128 + signal.SIGTERM)
        done = [run for run in plan.runs if finished(plan, alike(plan)[run])]
        if not done:
            raise UserError(f"no run succeeded; {failures(plan)[0]}")
        return list(dict.fromkeys(result_path(plan, run) for run in done))


def failures(plan: Plan) -> tuple[str, ...]:
    """A line for each run that was begun and has no result: its name, the last that it said, and its log."""
    lines = []
    for run in dict.fromkeys(alike(plan).values()):
        log = plan.log(run)
        if log.exists() and not finished(plan, run):
            said = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
            lines.append(f"{run}: failed: {said[-1].removeprefix('voiceface: ')} (all it said: {log})")
    return tuple(lines)


def _run(plan: Plan, run: Run, title: str, listener: "_Listener", lock: int, note: Callable[[str], None]) -> None:
    if finished(plan, run):
        note(f"{title}: finished before")
        return
    folder, log = plan.folder(run), plan.log(run)
    begun = any((folder / name).exists() for name in ("last.ckpt", "config.yaml"))
    words = [*plan.fit_words(run), *(["--ckpt_path=last"] if begun else [])]
    note(f"{title}: {'going on' if begun else 'training'}; it prints to {log}")
    environment = os.environ | {PARENT: str(os.getpid())}
    if (shown := terminal()) is not None:
        with contextlib.suppress(OSError):  # a terminal without a name, as in some containers: no bar
            environment[TERMINAL] = os.ttyname(shown.fileno())
    start = time.monotonic()
    try:
        folder.parent.mkdir(exist_ok=True)
        with log.open("ab") as out:
            # A session of its own: Ctrl-C is for us, and we ask the run to save and leave. It keeps the folder locked.
            child = subprocess.Popen(
                [sys.executable, "-m", "voiceface", "fit", *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=[lock],
                start_new_session=True,
            )
            status = listener.wait(child)
            if status < 0:
                out.write(f"ended by {signal.Signals(-status).name}\n".encode())
    except OSError as error:
        raise UserError(f"--runs {plan.out}: {reason(error)}; make room") from None
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    if status and not listener.told:
        note(f"{title}: failed; the others go on")
    elif not listener.told:
        note(f"{title}: done in {minutes} min {seconds} s")


class _Listener:
    """Hands requests to end to the run that is at work. The terminal's Ctrl-C becomes one too: a run saves after it."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "_Listener":
        main = threading.current_thread() is threading.main_thread()
        self._before = {n: signal.signal(n, self._tell) for n in (signal.SIGINT, signal.SIGTERM) if main}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _tell(self, number: int, _: FrameType | None) -> None:
        self.told.append(number)
        if self._child is not None:
            self._child.terminate()

    def wait(self, child: subprocess.Popen[bytes]) -> int:
        """Wait for a run.

        Returns:
            Its exit status, or minus the number of the signal that ended it.
        """
        self._child = child
        if self.told:  # between its start and now
            child.terminate()
        try:
            return child.wait()
        finally:
            self._child = None


@contextlib.contextmanager
def _lock(out: Path) -> Iterator[int]:
    """Make the folder and lock it. A run inherits the lock: one that outlives a killed comparison still holds it.

    Yields:
        The descriptor that holds the lock.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"--runs {out}: cannot be written ({reason(error)}); choose another folder") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"--runs {out}: a comparison is at work in it, or its last run; wait for it, or choose another folder"
            ) from None
        except OSError:
            pass  # a file system without locks; each run still locks its own folder
        yield lock
    finally:
        os.close(lock)
