import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests_support import tone_person

from voiceface.data.corpus.bundles import Person, Reject
from voiceface.data.prepare.engine.build import CorpusOptions, build
from voiceface.data.prepare.media.file_stamps import stamp
from voiceface.utils.errors import UserError


@pytest.mark.parametrize(
    "anywhere", [3, pytest.param(40, marks=pytest.mark.slow(reason="60 builds are killed; the quick one kills 24"))]
)
def test_killed_at_any_file_operation_and_run_again_gives_the_same_bytes(tmp_path: Path, anywhere: int):
    script = Path(__file__).with_name("kill_points.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path, str(anywhere)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["wrong"] == []
    assert len(result["moments"]) == anywhere + 21
    assert max(result["moments"]) == result["total"]


@dataclass(frozen=True)
class FileJob:
    """A person whose one voice and one face stand for the files that are named."""

    identity: str
    files: tuple[str, ...]


MADE: list[str] = []


def make_of_files(job: FileJob) -> Person:
    MADE.append(job.identity)
    number = int(job.identity[1:])
    stamps = tuple(stamp(Path(file)) for file in job.files)
    person = tone_person((number, ("train", len(job.files), 1)))
    voices = tuple(replace(clip, source=Path(file).name) for clip, file in zip(person.voices, job.files, strict=True))
    lost = tuple(Reject(Path(path).name, "voice", "unreadable") for path, size, _ in stamps if size < 0)
    return replace(person, voices=voices[: len(voices) - len(lost)], rejects=lost, stamps=stamps)


def break_at(identity: str, also=lambda: None):
    def make(job: FileJob) -> Person:
        if job.identity == identity:
            also()
            raise RuntimeError("power cut")
        return make_of_files(job)

    return make


@pytest.fixture
def jobs(tmp_path: Path) -> list[FileJob]:
    MADE.clear()
    jobs = []
    for i in range(4):
        files = [tmp_path / f"p{i:03d}_{k}.wav" for k in range(2)]
        for file in files:
            file.write_bytes(b"sound")
        jobs.append(FileJob(f"p{i:03d}", tuple(map(str, files))))
    return jobs


def run(out: Path, jobs, make=make_of_files, options=None, made_by=None, **more):
    return build(out, jobs, make, {}, options or CorpusOptions("a"), made_by or {"command": "x"}, workers=1, **more)


def table(path: Path) -> list[tuple[str, str, str]]:
    return [(r["path"], r["stage"], r["reason"]) for r in csv.DictReader(path.open())]


def test_people_whose_files_changed_since_the_interrupted_run_are_made_again(tmp_path: Path, jobs, capsys):
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "out", jobs, break_at("p003"))
    Path(jobs[1].files[0]).write_bytes(b"another sound")
    Path(jobs[2].files[1]).unlink()
    run(tmp_path / "out", jobs)
    assert MADE == ["p000", "p001", "p002", "p001", "p002", "p003"]
    told = capsys.readouterr().err
    assert f"made again, since their files have changed: the person of {jobs[1].files[0]} and 1 more" in told
    assert table(tmp_path / "out/rejects.csv") == [("p002_1.wav", "voice", "unreadable")]


def test_same_size_and_another_time_is_a_change(tmp_path: Path, jobs):
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "out", jobs, break_at("p003"))
    os.utime(jobs[0].files[0], ns=(1, 1))
    run(tmp_path / "out", jobs)
    assert MADE == ["p000", "p001", "p002", "p000", "p003"]


def test_files_that_change_in_the_course_of_a_run_are_reported(tmp_path: Path, jobs, capsys):
    def make(job: FileJob) -> Person:
        if job.identity == "p002":
            Path(jobs[0].files[0]).write_bytes(b"longer sound")
            Path(jobs[1].files[1]).unlink()
        return make_of_files(job)

    summary = run(tmp_path / "out", jobs, make)
    assert table(tmp_path / "out/notes.csv") == [
        ("p000_0.wav", "source", "changed after it was read"),
        ("p001_1.wav", "source", "vanished after it was read"),
    ]
    assert (summary.rejects, summary.notes) == ({}, 2)
    assert summary.splits["train"]["voices"] == 8
    assert "2 source files changed or vanished" in capsys.readouterr().err


def test_a_disk_that_goes_away_stops_the_run(tmp_path: Path, jobs):
    """Lost files are left out, and so is a person who lost them all; three such in a row are a lost disk."""

    def make(job: FileJob) -> Person:
        if job.identity == "p001":
            for other in jobs[1:]:
                for file in other.files:
                    os.rename(file, file + ".away")
        return make_of_files(job)

    with pytest.raises(UserError, match=r"p003_0\.wav on .*: not there, like all other files of 3 people"):
        run(tmp_path / "out", jobs, make)
    for job in jobs[1:]:
        for file in job.files:
            os.rename(file + ".away", file)
    assert run(tmp_path / "out", jobs).splits["train"] == {"identities": 4, "voices": 8, "faces": 4}
    assert MADE == ["p000", "p001", "p002", "p003", "p001", "p002", "p003"]


def test_the_refusal_says_what_differs(tmp_path: Path, jobs):
    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match="power cut"):
        run(out, jobs, break_at("p003"), made_by={"command": "x", "reading": {"seconds": 0.5}})
    same = {"command": "x", "reading": {"seconds": 0.5}}
    other = replace(jobs[1], files=jobs[1].files[:1])
    new = FileJob("p009", jobs[0].files)
    for told, changed, options, made_by in [
        ("it is `x`, not `y`", jobs, {}, {"command": "y"}),
        ("reading.seconds is 0.5, not 1.0", jobs, {}, {"command": "x", "reading": {"seconds": 1.0}}),
        ("reading.seconds is 0.5, not not given", jobs, {}, {"command": "x"}),
        ("options.seed is 0, not 3; options.max_faces is 16, not 2", jobs, {"seed": 3, "max_faces": 2}, same),
        (
            "person p009 was added; person p003 was removed; person p001 has changed",
            [jobs[0], other, jobs[2], new],
            {},
            same,
        ),
    ]:
        with pytest.raises(UserError) as refused:
            run(out, changed, make_of_files, CorpusOptions("a", **options), made_by)
        parts = told.split("; ")
        assert all(part in str(refused.value) for part in parts), (told, refused.value)
        assert len(str(refused.value).splitlines()) == 1
    run(out, jobs, made_by=same)
    with pytest.raises(UserError, match=r"another command \(options.seed is 0, not 3\)"):
        run(out, jobs, options=CorpusOptions("a", seed=3), made_by=same)


def test_another_attribute_and_another_reject_are_told(tmp_path: Path, jobs):
    out = tmp_path / "out"
    arguments = (out, jobs, break_at("p003"))
    with pytest.raises(RuntimeError, match="power cut"):
        build(*arguments, {"p000": {"gender": "m"}}, CorpusOptions("a"), {"command": "x"}, workers=1)
    with pytest.raises(UserError, match=r"attributes of p000 has changed; left-out input a\.txt was added"):
        build(
            *arguments,
            {"p000": {"gender": "f"}},
            CorpusOptions("a"),
            {"command": "x"},
            [Reject("a.txt", "collect", "text")],
            workers=1,
        )


def test_an_out_that_a_rename_cannot_replace_is_refused_at_once(tmp_path: Path, jobs):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for out in (tmp_path / "link", Path("/dev/shm") if os.path.ismount("/dev/shm") else Path("/"), Path(".."), Path()):
        with pytest.raises(UserError, match="name a new folder"):
            run(out, jobs)
    assert MADE == []


def test_a_run_that_finds_the_corpus_right_after_its_rename_does_not_disturb(tmp_path: Path, jobs, monkeypatch):
    out, rename, others = tmp_path / "out", os.rename, []

    def rename_and_run_again(a, b):
        rename(a, b)
        others.append(run(out, jobs))

    monkeypatch.setattr(os, "rename", rename_and_run_again)
    summary = run(out, jobs)
    assert [other.already_there for other in others] == [True]
    assert replace(summary, already_there=True) == others[0]
    assert not (out / "lock").exists()


def test_a_packing_that_was_cut_leaves_no_shard_behind(tmp_path: Path, jobs):
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "out", jobs, break_at("p003"))
    left = tmp_path / "out.partial" / "train"
    left.mkdir()
    (left / "000007.tar").write_bytes(b"of a packing with more clips")
    run(tmp_path / "out", jobs)
    assert sorted(p.name for p in (tmp_path / "out" / "train").iterdir()) == ["000000.tar", "index.csv"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "corpus.json", "identities.csv", "notes.csv", "rejects.csv", "test", "train", "val",
    ]  # fmt: skip
