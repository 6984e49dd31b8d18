import csv
import io
import math
import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests_support import examples

from voiceface.data.corpus.bundles import Reject
from voiceface.data.corpus.shards import Corpus
from voiceface.data.prepare.folder import FolderOptions, collect, make_folder_person
from voiceface.data.prepare.media.faces import FaceOptions, read_face
from voiceface.data.prepare.media.speech import VoiceOptions, read_voice
from voiceface.data.prepare.people import prepare_people
from voiceface.data.prepare.sources.people import Reading
from voiceface.data.prepare.sources.tables import identity_table
from voiceface.utils.errors import UserError

PEOPLE = Path(os.environ.get("VOICEFACE_TEST_DATA", "")) / "people"
OPTIONS = FolderOptions(reading=Reading(face=FaceOptions(size=48)))


def voice(path: Path, hz: float = 300, level: float = 0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, level * np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000), 16_000)


def face(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3)).astype(np.uint8)).save(path)


def people(root: Path, count: int) -> Path:
    for i in range(count):
        voice(root / f"p{i:02d}/voice/a.wav", 200 + 10 * i)
        face(root / f"p{i:02d}/face/a.png", i)
    return root


def empty_people(root: Path, count: int) -> Path:
    """Collecting opens no file, so empty ones do."""
    for i in range(count):
        for name in ("voice/a.wav", "face/a.jpg"):
            path = root / f"p{i:02d}" / name
            path.parent.mkdir(parents=True)
            path.touch()
    return root


def message(source: Path, options: FolderOptions = OPTIONS) -> str:
    with pytest.raises(UserError) as caught:
        collect(source, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_of_people(tmp_path: Path) -> None:
    people(tmp_path, 3)
    voice(tmp_path / "p00/voice/videoA/part1/x.y.wav")
    (tmp_path / "identities.csv").write_text("identity,gender,nationality\np00,m,Norway\np01,Female,\n")
    found = collect(tmp_path, OPTIONS)
    assert [job.identity for job in found.jobs] == ["p00", "p01", "p02"]
    assert found.identities == {
        "p00": {"gender": "m", "nationality": "Norway"},
        "p01": {"gender": "f", "nationality": ""},
        "p02": {},
    }
    assert found.rejects == []
    job = found.jobs[0]
    assert pickle.loads(pickle.dumps(job)) == job
    assert [(s.path, s.key, s.video, s.time) for s in job.voices] == [
        ("p00/voice/a.wav", "p00/voice/a", "", None),
        ("p00/voice/videoA/part1/x.y.wav", "p00/voice/videoA/part1/x.y", "videoA/part1", None),
    ]
    person = make_folder_person(job)
    assert [(c.key, c.source, c.video) for c in person.voices] == [(s.key, s.path, s.video) for s in job.voices]
    decoded, rate = soundfile.read(io.BytesIO(person.voices[0].data), dtype="int16")
    assert rate == 16_000
    np.testing.assert_array_equal(decoded, read_voice(tmp_path / "p00/voice/a.wav")[0])
    stored = np.asarray(Image.open(io.BytesIO(person.faces[0].data)))
    assert stored.shape == (48, 48, 3)
    assert np.abs(stored - read_face(tmp_path / "p00/face/a.png", 48).astype(float)).mean() < 8


def test_every_file_is_used_or_rejected(tmp_path: Path) -> None:
    people(tmp_path, 2)
    wrong = {
        "notes.txt": "not in an identity's folder",
        "p00/readme.md": "neither below voice/ nor below face/",
        "p00/other/a.wav": "neither below voice/ nor below face/",
        "p00/voice/photo.JPG": "image below voice/",
        "p00/face/clip.mp4": "sound or video below face/",
        "p00/voice/deep/er/list.txt": "unknown file extension",
        "p00/face/noextension": "unknown file extension",
        "voiceless/face/a.jpg": "identity has no voice",
        "faceless/voice/a.wav": "identity has no face",
        "faceless/voice/b.wav": "identity has no face",
    }
    for name in [*wrong, ".hidden", "p00/voice/.DS_Store", ".git/config"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    odd = os.fsdecode(b"p01/voice/\xff.wav")
    (tmp_path / odd).touch()
    (tmp_path / "p\x1b/voice").mkdir(parents=True)
    (tmp_path / "p\x1b/voice/a\n.wav").touch()
    (tmp_path / "p01/face/broken.jpg").write_text("no picture")
    (tmp_path / "identities.csv").write_text("identity\np00\ngone\n")
    found = collect(tmp_path, OPTIONS)
    wrong |= {"p01/voice/\\udcff.wav": "file name is not UTF-8", "gone/": "in identities.csv but without files"}
    wrong["p\\x1b/voice/a\\n.wav"] = "control characters in the path"
    assert {r.path: r.reason for r in found.rejects} == wrong
    assert {r.stage for r in found.rejects} == {"collect"}
    assert len(found.rejects) == len(wrong)
    made = [make_folder_person(job) for job in found.jobs]
    assert made[1].rejects == (Reject("p01/face/broken.jpg", "face", "not an image"),)
    used = [clip.source for person in made for clip in person.voices + person.faces]
    assert sorted(used) == ["p00/face/a.png", "p00/voice/a.wav", "p01/face/a.png", "p01/voice/a.wav"]


def test_person_without_a_usable_face_is_left_out_whole(tmp_path: Path) -> None:
    people(tmp_path, 2)
    (tmp_path / "p00/face/a.png").write_bytes(b"")
    person = make_folder_person(collect(tmp_path, OPTIONS).jobs[0])
    assert (person.voices, person.faces) == ((), ())
    assert set(person.rejects) == {
        Reject("p00/face/a.png", "face", "empty file"),
        Reject("p00/voice/a.wav", "collect", "identity has no usable face"),
    }


def test_a_link_to_another_person_is_no_second_person(tmp_path: Path) -> None:
    empty_people(tmp_path, 2)
    (tmp_path / "q").symlink_to(tmp_path / "p00")
    (tmp_path / "p01/voice/loop").symlink_to(tmp_path / "p01")
    found = collect(tmp_path, OPTIONS)
    assert len(found.jobs) == 2
    again = "folder read already under another name"
    assert found.rejects == [Reject("p01/voice/loop", "collect", again), Reject("q", "collect", again)]


def test_linked_folders_are_read(tmp_path: Path) -> None:
    empty_people(tmp_path / "elsewhere", 2)
    (tmp_path / "source").mkdir()
    for name in ("p00", "p01"):
        (tmp_path / "source" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert [s.path for s in collect(tmp_path / "source", OPTIONS).jobs[1].faces] == ["p01/face/a.jpg"]


NAMES = st.sampled_from(["x.wav", "x.flac", "x.wav.mp3", "x.flac.wav", "x", "y.z.wav", "y.z.mp3", "y.wav", "v/x.wav"])


@settings(max_examples=examples(30), deadline=None)
@given(names=st.sets(NAMES, min_size=1))
def test_keys_are_unique_and_relative(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    root = empty_people(tmp_path_factory.mktemp("k"), 2)
    for name in names:
        path = root / "p00/voice" / name
        if not path.parent.is_dir() or path.exists():
            path.parent.mkdir(exist_ok=True)
        path.touch()
    job = collect(root, OPTIONS).jobs[0]
    keys = [source.key for source in job.voices + job.faces]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith("p00/") and (source.path == key or source.path.startswith(key + "."))
               for key, source in zip(keys, job.voices + job.faces, strict=True))  # fmt: skip
    if {"x.wav", "x.flac"} <= names:
        assert {"p00/voice/x.wav", "p00/voice/x.flac"} <= set(keys)


@settings(max_examples=examples(25), deadline=None)
@given(count=st.integers(2, 40), seed=st.integers(0, 5))
def test_seeded_split(tmp_path_factory: pytest.TempPathFactory, count: int, seed: int) -> None:
    root = empty_people(tmp_path_factory.mktemp("s"), count)
    options = FolderOptions(seed=seed)
    jobs = collect(root, options).jobs
    sizes = Counter(job.split for job in jobs)
    assert jobs == collect(root, options).jobs
    assert sum(sizes.values()) == count
    assert sizes["train"] >= 2
    assert all(sizes[split] != 1 for split in ("val", "test"))
    if count >= 6:
        assert sizes["val"] == max(2, round(0.1 * count))
        assert sizes["test"] == max(2, round(0.2 * count))
    assert (sizes["test"] >= 2) == (count >= 4)


def test_split_depends_on_the_seed_and_little_on_the_others(tmp_path: Path) -> None:
    empty_people(tmp_path, 40)
    before = {job.identity: job.split for job in collect(tmp_path, OPTIONS).jobs}
    other = {job.identity: job.split for job in collect(tmp_path, FolderOptions(seed=1)).jobs}
    assert sum(before[i] != other[i] for i in before) > 5
    empty_people(tmp_path / "more", 1)
    (tmp_path / "more/p00").rename(tmp_path / "z99")
    (tmp_path / "more").rmdir()
    after = {job.identity: job.split for job in collect(tmp_path, OPTIONS).jobs}
    assert sum(before[i] != after[i] for i in before) <= 2


def test_given_split_is_honoured(tmp_path: Path) -> None:
    empty_people(tmp_path, 3)
    table = tmp_path / "identities.csv"
    table.write_text("identity,split\np00,test\np01,Val\np02,train\n")
    found = collect(tmp_path, OPTIONS)
    assert [job.split for job in found.jobs] == ["test", "val", "train"]
    assert found.identities["p00"] == {}
    table.write_text("identity,split\np00,test\np01,dev\np02,train\n")
    assert message(tmp_path) == f"{table}: split dev of identity p01; give train, val or test"
    table.write_text("identity,split\np00,test\np02,train\n")
    assert "no split for p01 (1 in all)" in message(tmp_path)
    table.write_text("identity,split\np00,\np01,\n")
    assert Counter(job.split for job in collect(tmp_path, OPTIONS).jobs) == {"train": 3}


@pytest.mark.parametrize("text", [
    "identity,gender,age\np00,m,30\np01,f,\n",
    "\ufeffIdentity ; gender;  Age \r\n p00 ; m; 30\r\np01;f;\r\n",
    "identity\tgender\tage\np00\tmale\t30\n\np01\tfemale\n",
    'identity|gender|age|\n"p00"|"M"|"30"|\np01|F||\n',
])  # fmt: skip
def test_dialects(tmp_path: Path, text: str) -> None:
    (tmp_path / "identities.csv").write_text(text, encoding="utf-8")
    expected = {"p00": {"gender": "m", "age": "30"}, "p01": {"gender": "f", "age": ""}}
    assert identity_table(tmp_path) == expected


def test_wrong_tables(tmp_path: Path) -> None:
    empty_people(tmp_path, 2)
    table = tmp_path / "identities.csv"
    for text, expected in {
        "name,gender\np00,m\n": "no column identity (there are: name, gender); needed: identity",
        "": "no column identity (there are: none); needed: identity",
        "identity,age,Age\n": "a column appears twice",
        "identity,gender\np00,m\np00,m\n": "line 3: identity p00 appears twice",
        "identity,gender\np00,m,x\n": "line 2: 3 values, 2 columns",
        "identity,gender\n,m\n": "line 2: no identity",
    }.items():
        table.write_text(text)
        assert message(tmp_path).startswith(str(table))
        assert expected in message(tmp_path)
    table.write_bytes(b"identity\n\xff\n")
    assert "cannot be read as UTF-8" in message(tmp_path)


def test_wrong_sources(tmp_path: Path) -> None:
    assert "no such folder or file" in message(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "is empty" in message(tmp_path / "empty")
    empty_people(tmp_path / "one", 1)
    assert "1 identity with both voices and faces" in message(tmp_path / "one")
    (tmp_path / "flat/a").mkdir(parents=True)
    (tmp_path / "flat/a/x.wav").touch()
    assert "no identity with both voices and faces" in message(tmp_path / "flat")
    assert "1 x neither below voice/ nor below face/" in message(tmp_path / "flat")


@pytest.mark.parametrize(("options", "word"), [
    (FolderOptions(reading=Reading(face=FaceOptions(size=4))), "--face-size 4"),
    (FolderOptions(reading=Reading(face=FaceOptions(size=100_000))), "--face-size 100000"),
    (FolderOptions(reading=Reading(face=FaceOptions(margin=0))), "--margin 0"),
    (FolderOptions(reading=Reading(face=FaceOptions(margin=math.inf))), "--margin inf"),
    (FolderOptions(reading=Reading(face=FaceOptions(minimum_side=-1))), "--minimum-face -1"),
    (FolderOptions(reading=Reading(VoiceOptions(minimum_seconds=-1))), "--minimum-seconds -1"),
    (FolderOptions(shares=(0.5, 0.1, 0.1)), "shares"),
])  # fmt: skip
def test_wrong_options(tmp_path: Path, options: FolderOptions, word: str) -> None:
    assert message(empty_people(tmp_path, 2), options).startswith(word)


def test_manifest(tmp_path: Path) -> None:
    people(tmp_path / "data", 3)
    table = tmp_path / "list.csv"
    table.write_text(
        "path;identity;kind;video;time;split;gender\n"
        "data/p00/voice/a.wav;ann;voice;v1;1.5;train;f\n"
        "data/p00/face/a.png;ann;face;v1;;train;\n"
        f"{tmp_path}/data/p01/voice/a.wav;bob;Voice;;;test;m\n"
        "./data/../data/p01/face/a.png;bob;face;;;;m\n"
        "data/p01/face/a.png;bob;face;;;;\n"
        "data/none.wav;bob;voice;;;;\n"
        "data/p02/voice/a.wav;bob;sound;;;;\n"
        ";bob;voice;;;;\n"
        "data/p02/face/a.png;cy;face;;;test;\n",
    )
    found = collect(table, OPTIONS)
    ann, bob = found.jobs
    assert (ann.identity, ann.split, bob.identity, bob.split) == ("ann", "train", "bob", "test")
    assert found.identities == {"ann": {"gender": "f"}, "bob": {"gender": "m"}}
    assert (ann.voices[0].video, ann.voices[0].time, ann.faces[0].time) == ("v1", 1.5, None)
    assert [s.path for s in bob.voices + bob.faces] == ["data/p01/voice/a.wav", "data/p01/face/a.png"]
    assert [s.key for s in bob.voices] == ["bob/data/p01/voice/a"]
    assert {r.path: r.reason for r in found.rejects} == {
        "data/p01/face/a.png": "listed twice",
        "data/none.wav": "file does not exist",
        "data/p02/voice/a.wav": "kind is neither voice nor face",
        "list.csv, line 9": "row without identity or path",
        "data/p02/face/a.png": "identity has no voice",
    }
    person = make_folder_person(bob)
    assert (len(person.voices), len(person.faces), person.rejects) == (1, 1, ())


def test_wrong_manifests(tmp_path: Path) -> None:
    empty_people(tmp_path, 2)
    table = tmp_path / "list.csv"
    head = "identity,path,kind,time,gender,split\na,p00/voice/a.wav,voice,,m,\n"
    for text, expected in {
        "identity,file\n": "no column path, kind (there are: identity, file); needed: identity, path, kind",
        "identity,path,kind\n": "is empty",
        head + "b,p00/voice/a.wav,voice,,,\n": "line 3: p00/voice/a.wav belongs to b, above to a",
        head + "a,p00/face/a.jpg,face,soon,,\n": "line 3: time soon is not a number",
        head + "a,p00/face/a.jpg,face,,f,\nb,p01/face/a.jpg,face,,,\n": "line 3: gender of a is f, above m",
        head + "a,p00/face/a.jpg,face,nan,,\n": "line 3: time nan is not a number",
        head + "a,p00/face/a.jpg,face,1e400,,\n": "line 3: time 1e400 is not a number",
        head + '"b\nc",p01/face/a.jpg,face,,,\n': "line 4: identity 'b\\nc' holds control characters",
        head + "x/y,p00/face/a.jpg,face,,,\n": "line 3: identity x/y cannot name a folder",
        head + "a,p00/face/a.jpg,face,,,\n": "1 identity with both voices and faces",
    }.items():
        table.write_text(text)
        assert message(table).startswith(str(table))
        assert expected in message(table)


def test_folder_to_corpus(tmp_path: Path) -> None:
    people(tmp_path / "source", 6)
    voice(tmp_path / "source/p03/voice/silent.wav", level=0)
    voice(tmp_path / "source/p04/voice/loud.wav", level=2)
    (tmp_path / "source/p03/face/notes.txt").touch()
    summary = prepare_people(tmp_path / "source", tmp_path / "out", OPTIONS, workers=1)
    assert {split: counts["identities"] for split, counts in summary.splits.items()} == {
        "train": 2,
        "val": 2,
        "test": 2,
    }
    assert summary.rejects == {"silent": 1, "unknown file extension": 1}
    notes = list(csv.DictReader((tmp_path / "out/notes.csv").open()))
    assert [(n["path"], n["stage"]) for n in notes] == [("p04/voice/loud.wav", "voice")]
    assert notes[0]["reason"].startswith("clipped")
    assert summary.notes == 1
    corpus = Corpus(tmp_path / "out")
    keys = {member.key for split in ("train", "val", "test") for _, member, _ in corpus.clips(split)}
    assert keys == {f"p{i:02d}/{kind}/a" for i in range(6) for kind in ("voice", "face")} | {"p04/voice/loud"}
    assert str(tmp_path) not in (tmp_path / "out/corpus.json").read_text()


@pytest.mark.skipif("VOICEFACE_TEST_DATA" not in os.environ, reason="VOICEFACE_TEST_DATA is not set")
def test_real_people() -> None:
    found = collect(PEOPLE, FolderOptions())
    assert len(found.jobs) == 34
    assert found.rejects == []
    assert Counter(job.split for job in found.jobs) == {"train": 24, "val": 3, "test": 7}
    assert {row["gender"] for row in found.identities.values()} == {"m", "f"}
    assert sum(len(job.voices) + len(job.faces) for job in found.jobs) == 415
    for job in found.jobs[:3] + found.jobs[-1:]:
        person = make_folder_person(job)
        assert person.rejects == ()
        assert (len(person.voices), len(person.faces)) == (len(job.voices), len(job.faces))
