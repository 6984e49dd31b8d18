import csv
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests_support import tone_person, voiceface

from voiceface.data.corpus.bundles import Person, Reject
from voiceface.data.corpus.shards import Corpus
from voiceface.data.prepare.engine.build import CorpusOptions, build
from voiceface.utils.errors import UserError

WORDS = ("prepare", "synthetic", "--identities", 14, "--voices", 2, "--faces", 2)
FRESH = [sys.executable, "-m", "voiceface", *map(str, WORDS)]


def prepare(out: Path, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run the command with one worker."""
    return voiceface(*WORDS, "--workers", 1, out, status=status)


def content(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole") / "corpus"
    prepare(out)
    return content(out)


@pytest.mark.parametrize(
    "people_done",
    [1, pytest.param(14, marks=pytest.mark.slow(reason="another real process; test_engine_resume.py kills there too"))],
)
def test_killed_anywhere_and_run_again_gives_the_same_bytes(
    tmp_path: Path, uninterrupted: dict[str, str], people_done: int
):
    out = tmp_path / "corpus"
    people = tmp_path / "corpus.partial" / "people"
    process = subprocess.Popen(
        [*FRESH, "--workers", "1", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and len(list(people.glob("*.json"))) < people_done:
        time.sleep(0.002)
    process.kill()
    process.wait()
    if people_done < 14:
        assert not out.exists()
        with pytest.raises(UserError, match="unfinished"):
            Corpus(out)
    prepare(out)
    assert content(out) == uninterrupted
    assert not (tmp_path / "corpus.partial").exists()


def test_workers_end_with_the_killed_process(tmp_path: Path):
    command = [*FRESH, "--workers", "2", str(tmp_path / "corpus")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(tmp_path.glob("corpus.partial/people/*.json")):
        time.sleep(0.002)
    process.kill()
    assert process.communicate(timeout=20)[0] == b"", "a worker still holds the pipe"


def test_nobody_is_made_twice(tmp_path: Path):
    made = []

    def make(job):
        made.append(job[0])
        if job[0] == 2 and made.count(2) == 1:
            raise RuntimeError("power cut")
        return tone_person(job)

    arguments = (tmp_path / "corpus", [(i, ("train", 1, 1)) for i in range(4)], make, {}, CorpusOptions("a"), {})
    with pytest.raises(RuntimeError, match="power cut"):
        build(*arguments, workers=1)
    build(*arguments, workers=1)
    assert made == [0, 1, 2, 2, 3]


def test_the_same_command_again_does_nothing_and_another_is_refused(tmp_path: Path):
    out = tmp_path / "corpus"
    jobs = [(i, ("train", 2, 2)) for i in range(3)]
    first = build(out, jobs, tone_person, {}, CorpusOptions("a"), {"command": "x"}, workers=1)
    before = content(out)
    second = build(out, jobs, tone_person, {}, CorpusOptions("a"), {"command": "x"}, workers=1)
    assert not first.already_there
    assert second.already_there
    assert second.splits == first.splits
    assert content(out) == before
    with pytest.raises(UserError, match="another command"):
        build(out, jobs, tone_person, {}, CorpusOptions("a", seed=1), {"command": "x"}, workers=1)
    with pytest.raises(UserError, match="another command"):
        build(out, jobs[:2], tone_person, {}, CorpusOptions("a"), {"command": "x"}, workers=1)


def test_another_identity_table_is_another_corpus(tmp_path: Path):
    out, jobs = tmp_path / "corpus", [(i, ("train", 2, 2)) for i in range(3)]
    build(out, jobs, tone_person, {"p000": {"gender": "m"}}, CorpusOptions("a"), {"command": "x"}, workers=1)
    with pytest.raises(UserError, match="another command"):
        build(out, jobs, tone_person, {"p000": {"gender": "f"}}, CorpusOptions("a"), {"command": "x"}, workers=1)


def test_a_foreign_folder_is_left_alone(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not a corpus"):
        build(tmp_path, [(0, ("train", 1, 1))], tone_person, {}, CorpusOptions("a"), {}, workers=1)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_second_run_into_the_same_folder_is_refused(tmp_path: Path):
    out, partial = tmp_path / "corpus", tmp_path / "corpus.partial"
    partial.mkdir()
    with (partial / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = prepare(out, status=2)
    assert "another run is at work" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert not out.exists()
    assert prepare(out, status=None).returncode == 0, "the lock outlived it"


def test_a_full_disk_stops_in_one_line_and_the_next_run_goes_on(tmp_path: Path, uninterrupted: dict[str, str]):
    """A file size limit of the process stands for the disk: the kernel refuses the write in the same way, with another
    errno."""
    out = tmp_path / "corpus"
    words = [*map(str, WORDS), "--workers", "1", str(out)]
    limited = (
        "import resource, signal, sys; from voiceface.cli import main; signal.signal(signal.SIGXFSZ, "
        "signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)); sys.exit(main({words!r}))"
    )
    full = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=False)
    assert full.returncode == 2, full.stderr
    assert "run the same command again" in full.stderr
    assert len(full.stderr.splitlines()) == 1
    assert not out.exists()
    partial = tmp_path / "corpus.partial"
    assert partial.exists()
    assert not list(partial.rglob("*.tmp"))
    prepare(out)
    assert content(out) == uninterrupted


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="mounting a small file system needs root on Linux"
)
def test_a_really_full_file_system(tmp_path: Path, uninterrupted: dict[str, str]):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(small)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    try:
        full = prepare(small / "corpus", status=2)
        assert "no space left on device" in full.stderr
        assert len(full.stderr.splitlines()) == 1
        subprocess.run(["mount", "-o", "remount,size=50m", str(small)], check=True)
        prepare(small / "corpus")
        assert content(small / "corpus") == uninterrupted
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_rejects_are_listed_and_a_corpus_of_one_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"1 identities.*2 x too short"):
        build(
            tmp_path / "one",
            [(0, ("train", 1, 1)), ("bad", 0), ("bad", 1)],
            _half_bad,
            {},
            CorpusOptions("a"),
            {},
            workers=1,
        )
    assert list(tmp_path.iterdir()) == []
    out = tmp_path / "two"
    summary = build(
        out, [(0, ("train", 1, 1)), (1, ("test", 1, 1)), ("bad", 2)], _half_bad, {}, CorpusOptions("a"), {}, workers=1
    )
    assert summary.rejects == {"too short": 1}
    assert list(csv.DictReader((out / "rejects.csv").open())) == [
        {"path": "bad2.wav", "stage": "speech", "reason": "too short"}
    ]


def _half_bad(job):
    return (
        Person(f"bad{job[1]}", "train", rejects=(Reject(f"bad{job[1]}.wav", "speech", "too short"),))
        if job[0] == "bad"
        else tone_person(job)
    )
