"""Runs `voiceface` commands in forks of one process that has imported everything: a command costs no import of torch.

A fork runs `voiceface.cli.main` with the words, environment and folder that it is given, or a function of a test's
module. What a user's own process does beside that (`python -m voiceface`, the launch of further processes) needs
`tests_support.voiceface(fresh=True)`.
"""

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

# Imported by most commands only when they come to need it, half of the time of a short run; some may be missing.
LATE = ("voiceface.encoders.audio", "torch.utils.tensorboard", "s3fs", "sklearn.manifold")


class ForkServer:
    """The server, started when it is first asked.

    Args:
        environment: Of the server; libraries read it when they are imported.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.server = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, jobs: list[dict[str, Any]]) -> int:
        """Run jobs side by side, as torchrun does: the first that fails ends the others.

        Args:
            jobs: See `job`.

        Returns:
            0, or the exit status of the first that failed, minus the signal's number where one ended it.
        """
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        print(json.dumps(jobs), file=self.server.stdin, flush=True)
        answer = self.server.stdout.readline()
        assert answer, "the fork server has ended; its standard error says why"
        return int(answer)

    def close(self) -> None:
        """End the server."""
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()


def job(
    words: Sequence[object],
    cwd: Path | None,
    environment: dict[str, str],
    out: Path,
    error: Path,
    call: str | None = None,
) -> dict[str, Any]:
    """What one fork does: the words after `voiceface`, where, in which environment, and the files that it prints to.

    With `call`, as `FILE:function`, the fork calls that with the words instead: strings and numbers.
    """
    return {
        "words": [str(word) for word in words] if call is None else list(words),
        "call": call,
        "cwd": None if cwd is None else str(cwd),
        "environment": environment,
        "out": str(out),
        "error": str(error),
    }


def together(number: int) -> dict[str, str]:
    """What torchrun tells all processes that it starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {**shared, "WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number), "TORCHELASTIC_RUN_ID": "forked"}


def compile_scores() -> None:
    """Compile the loops of the scores, or read them from disk."""
    import numpy as np

    from voiceface.scores import score

    rows, names = np.eye(6).repeat(2, axis=0), np.array([*"aabbccddeeff"])
    score(rows, names, rows, names, {name: {"gender": "mf"[i % 2]} for i, name in enumerate("abcdef")})


def serve() -> None:
    """Fork for each line of jobs, and answer with an exit status."""
    import signal

    for name in LATE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    compile_scores()
    gc.freeze()

    for line in sys.stdin:
        children = {}
        for job in json.loads(line):
            child = os.fork()
            if child == 0:
                _run(job)
            children[child] = job
        failed = 0
        while children:
            child, status = os.wait()
            children.pop(child)
            if status and not failed:
                failed = os.waitstatus_to_exitcode(status)
                for other in children:
                    os.kill(other, signal.SIGTERM)
        print(failed, flush=True)


def _run(job: dict[str, Any]) -> NoReturn:
    """Run in this process, which ends with it."""
    import voiceface.cli as front

    for descriptor, file in ((0, os.devnull), (1, job["out"]), (2, job["error"])):
        mode = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(file, mode, 0o600), descriptor)
    status = 1
    try:
        os.environ.clear()
        os.environ |= job["environment"]
        if job["cwd"] is not None:
            os.chdir(job["cwd"])
        if job["call"]:
            file, _, name = job["call"].rpartition(":")
            spec = importlib.util.spec_from_file_location(Path(file).stem, file)
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            getattr(module, name)(*job["words"])
            status = 0
        else:
            sys.argv = [str(Path(front.__file__)), *job["words"]]
            status = front.main(job["words"])
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve()
