"""Corpora that tests share: tiny, made of tones and flat pictures, so that every clip says whose it is."""

import atexit
import functools
import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fork_server import ForkServer, job, together
from hypothesis import settings

from voiceface.data.corpus.bundles import Clip, Person, encode_flac, encode_jpeg
from voiceface.data.prepare.engine.build import CorpusOptions, build

Counts = tuple[str, int, int]
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def tone_person(job: tuple[int, Counts]) -> Person:
    """Person i: voices are tones of 100 + 20 i Hz, 1 to 2 s long, faces are flat pictures of brightness 10 i."""
    i, (split, voices, faces) = job
    rng = np.random.default_rng(i)
    heard = []
    for k in range(voices):
        t = np.arange(16_000 + 1_600 * (k % 10)) / 16_000
        wave = 8_000 * np.sin(2 * np.pi * (100 + 20 * i) * t) + 20 * rng.standard_normal(len(t))
        heard.append(
            Clip(
                f"p{i:03d}/v{k:02d}",
                encode_flac(wave.astype(np.int16)),
                video=f"video{k}",
                source=f"p{i:03d}/v{k:02d}.wav",
            )
        )
    seen = [
        Clip(
            f"p{i:03d}/f{k:02d}",
            encode_jpeg(np.full((40, 40, 3), 10 * i % 250, np.uint8)),
            time=float(k),
            source=f"p{i:03d}/f{k:02d}.jpg",
        )
        for k in range(faces)
    ]
    return Person(f"p{i:03d}", split, tuple(heard), tuple(seen))


def tone_corpus(out: Path, people: list[Counts], **options: object) -> Path:
    """Build a corpus with one person per (split, voices, faces)."""
    identities = {f"p{i:03d}": {"gender": "mf"[i % 2]} for i in range(len(people))}
    corpus = CorpusOptions(
        **{
            "name": "tones",
            "face_size": 40,
            "face_margin": 1.25,
            "max_voices": 3,
            "max_faces": 4,
            "shard_bytes": 200_000,
            **options,
        }
    )  # type: ignore[arg-type]
    build(out, list(enumerate(people)), tone_person, identities, corpus, {"command": "test"}, workers=1)
    return out


def examples(most: int) -> int:
    """How many examples Hypothesis tries: `most` with `--hypothesis-profile thorough`, a sixth of them otherwise."""
    return most if settings.get_current_profile_name() == "thorough" else max(5, most // 6)


@functools.cache
def server() -> ForkServer:
    """The one that commands and functions are forked from: that of all test processes, or this one's own."""
    started = ForkServer(os.environ | ENVIRONMENT, os.environ.get("FORK_SERVER"))
    atexit.register(started.close)
    return started


def voiceface(
    *words: object, cwd: Path | None = None, status: int | None = None, fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run the real command on one thread, without a GPU, with the tests' modules importable.

    Args:
        words: Words after `voiceface`.
        cwd: Folder to run in.
        status: The exit status that it must have; None: any.
        fresh: `python -m voiceface` in a process that imports all of it, as a user would; otherwise in a fork of one
            that has. Commands that start further processes of themselves need it.
    """
    environment = os.environ | ENVIRONMENT
    command = [sys.executable, "-m", "voiceface", *map(str, words)]
    if fresh:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)
    else:
        with tempfile.TemporaryDirectory() as folder:
            out, error = Path(folder, "out"), Path(folder, "error")
            code = server().run([job(words, cwd or Path.cwd(), environment, out, error)])
            said = out.read_text() if out.exists() else "", error.read_text() if error.exists() else ""
            done = subprocess.CompletedProcess(command, code, *said)
    if status is not None:
        assert done.returncode == status, done.stderr
    return done


def in_processes(number: int, call: Callable[..., None], *arguments: object, status: int = 0) -> None:
    """Call a function in forks of one process that has imported everything, as torchrun would start them.

    Args:
        number: Processes.
        call: A function of a module; it gets the rank and the arguments.
        arguments: Strings and numbers.
        status: The exit status that the first process which fails must have, minus the signal's number where one
            ended it.
    """
    shared = os.environ | ENVIRONMENT
    for name in ("LOCAL_RANK", "VOICEFACE_RUN_FOLDER"):
        shared.pop(name, None)
    if number > 1:
        shared |= together(number)
    with tempfile.TemporaryDirectory() as folder:
        said, jobs = Path(folder, "said"), []
        for rank in range(number):
            ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if number > 1 else {}
            given = [rank, *(str(one) if isinstance(one, Path) else one for one in arguments)]
            jobs.append(job(given, None, shared | ranks, said, said, f"{inspect.getfile(call)}:{call.__name__}"))
        found = server().run(jobs)
        assert found == status, said.read_text(errors="replace")
