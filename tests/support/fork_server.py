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
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

# What commands import when they come to need it, beside the package itself; some may be missing.
LATE = ("torch.utils.tensorboard", "s3fs", "sklearn.manifold", "matplotlib.backends.backend_agg")


class ForkServer:
    """A server that takes jobs from any number of processes, each through a connection to its socket.

    Args:
        environment: Of the server; libraries read it when they are imported.
        address: Socket of a server that runs already; None: start one.
    """

    def __init__(self, environment: dict[str, str], address: str | None = None) -> None:
        self.server = None
        self.address = address or str(Path(tempfile.mkdtemp(), "socket"))
        if address is None:
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(self.address)
                listening.listen()
                self.server = subprocess.Popen(
                    [sys.executable, __file__, str(listening.fileno())],
                    env=environment,
                    stdin=subprocess.PIPE,
                    pass_fds=[listening.fileno()],
                )

    def run(self, jobs: list[dict[str, Any]]) -> int:
        """Run jobs side by side, as torchrun does: the first that fails ends the others.

        Args:
            jobs: See `job`.

        Returns:
            0, or the exit status of the first that failed, minus the signal's number where one ended it.
        """
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rw") as lines:
            connection.connect(self.address)
            print(json.dumps(jobs), file=lines, flush=True)
            answer = lines.readline()
        assert answer, "the fork server has ended; its standard error says why"
        return int(answer)

    def close(self) -> None:
        """End the server, if this started it."""
        if self.server is not None:
            assert self.server.stdin is not None
            self.server.stdin.close()
            self.server.wait()
            shutil.rmtree(Path(self.address).parent, ignore_errors=True)


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


def import_everything() -> None:
    """Import all modules of the package, and compile the loops of the scores or read them from disk."""
    import numpy as np

    import voiceface
    from voiceface.scores import score

    names = [module.name for module in pkgutil.walk_packages(voiceface.__path__, "voiceface.")]
    for name in (*names, *LATE):
        if name != "voiceface.__main__":
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    rows, people = np.eye(6).repeat(2, axis=0), np.array([*"aabbccddeeff"])
    score(rows, people, rows, people, {name: {"gender": "mf"[i % 2]} for i, name in enumerate("abcdef")})


def serve(listening: socket.socket) -> None:
    """Fork for each connection, until standard input ends."""
    import_everything()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _answer(connection)
        connection.close()


def _answer(connection: socket.socket) -> NoReturn:
    """Fork for each job of the connection's line, answer with an exit status, and end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    lines, children = connection.makefile("rw"), set()
    for job in json.loads(lines.readline()):
        child = os.fork()
        if child == 0:
            os.close(connection.detach())
            _run(job)
        children.add(child)
    failed = 0
    while children:
        child, status = os.wait()
        children.discard(child)
        if status and not failed:
            failed = os.waitstatus_to_exitcode(status)
            for other in children:
                os.kill(other, signal.SIGTERM)
    print(failed, file=lines, flush=True)
    os._exit(0)


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
    serve(socket.socket(fileno=int(sys.argv[1])))
