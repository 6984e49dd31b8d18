"""The command `voiceface score`: from files to the table and the result file, and every mistake in one line."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests_support import voiceface

from voiceface.cli import main
from voiceface.evaluation.embeddings import read_embeddings, read_identities
from voiceface.evaluation.results import data_hash, read_results
from voiceface.scores import score

Arrays = dict[str, Any]
Changed = Callable[[Arrays], None]


def arrays(people: int = 8, voices: int = 3, faces: int = 2, dimensions: int = 6, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((people, dimensions))
    made: Arrays = {}
    for kind, count in (("voice", voices), ("face", faces)):
        owner = np.repeat(np.arange(people), count)
        made[f"{kind}s"] = (centres[owner] + rng.standard_normal((len(owner), dimensions))).astype(np.float32)
        made[f"{kind}_identity"] = np.array([f"p{i}" for i in owner])
        suffix = {"voice": "wav", "face": "jpg"}[kind]
        made[f"{kind}_key"] = np.array([f"p{i}/{kind}{n % count}.{suffix}" for n, i in enumerate(owner)])
    return made


def identity_csv(people: int = 8) -> str:
    return "identity,gender,nationality\n" + "".join(f"p{i},{'mf'[i % 2]},{'AB'[i // 4 % 2]}\n" for i in range(people))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with `emb.npz` and `people.csv`."""
    monkeypatch.chdir(tmp_path)
    np.savez("emb.npz", **arrays())
    Path("people.csv").write_text(identity_csv())
    return tmp_path


def pairs_list(made: Arrays) -> str:
    """A verification list: every voice with a face of its person and one of the next person."""
    lines = ["id,voice-speaker-id,face-speaker-id,label,voice-path,face-path"]
    faces: dict[str, str] = dict(zip(made["face_identity"], made["face_key"], strict=True))
    for key, name in zip(made["voice_key"], made["voice_identity"], strict=True):
        other = f"p{(int(name[1:]) + 1) % len(faces)}"
        lines += [f"1,{name},{name},1,{key},{faces[name]}", f"1,{name},{other},0,{key},{faces[other]}"]
    return "\n".join(lines) + "\n"


def records_by(results: dict[str, Any], *keys: str) -> dict[tuple[Any, ...], Any]:
    return {tuple(r[k] for k in keys): r["value"] for r in results["scores"]}


def test_the_real_command_prints_the_table_and_writes_all_scores(here: Path):
    Path("list.txt").write_text(pairs_list(arrays()))
    words = ["score", "emb.npz", "--identities", "people.csv", "--trials", "list.txt", "--name", "mine"]
    done = voiceface(*words, cwd=here, status=0)
    results = read_results(here / "results.json")
    made = arrays()
    exact = score(
        made["voices"], made["voice_identity"].tolist(), made["faces"], made["face_identity"].tolist(),
        read_identities(here / "people.csv"),
    )  # fmt: skip
    assert results["scores"][: len(exact)] == json.loads(json.dumps(exact))
    assert {r["task"] for r in results["scores"]} == {
        "matching", "verification", "retrieval", "joint_matching", "joint_retrieval",
    }  # fmt: skip
    assert (results["model"]["recipe"], results["model"]["method"]) == ("mine", "embeddings")
    data = results["data"]
    assert (data["identities"], data["voices"], data["faces"], data["one_modality"]) == (8, 24, 16, 0)
    assert data["clips_sha256"] == data_hash([*made["face_key"], *made["voice_key"]])
    assert data["similarity"] == "cosine"
    (listed,) = results["lists"]
    assert (listed["name"], listed["rows"], listed["scored"], listed["positives"]) == ("list", 48, 48, 24)
    assert done.stdout.startswith("mine: 8 people, 24 voices, 16 faces\n")
    assert done.stdout.endswith("scores: results.json (--all prints all of them)\n")
    for words in ("1:2 matching and verification", "same gender", "1:N", "retrieval over", "trial lists"):
        assert words in done.stdout
    assert (
        done.stderr == "voiceface: the embeddings do not say how they compare: by cosine here, --similarity chooses\n"
    )


def test_no_result_is_overwritten(here: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("results", "results-2", "results-3"):
        assert main(["score", "emb.npz", "--name", name]) == 0
        assert f"scores: {name}.json " in capsys.readouterr().out
    for name in ("results", "results-2", "results-3"):
        results = read_results(here / f"{name}.json")
        assert results["model"]["recipe"] == name
        assert results["effects"]["file"] == f"{name}.effects.npz"
    before = (here / "results-2.json").read_bytes()
    assert main(["score", "emb.npz", "--out", "results-2.json"]) == 2
    assert (here / "results-2.json").read_bytes() == before


def test_scoring_needs_no_torch(here: Path):
    program = "import sys; from voiceface.cli import main; main(['score', 'emb.npz']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=here, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


def test_every_option_reaches_the_scores(here: Path, capsys: pytest.CaptureFixture[str]):
    common = ["score", "emb.npz", "--identities", "people.csv"]
    chosen = ["--similarity", "euclidean", "--strata", "U,GN,male", "--level", "0.8", "--protocol", "kim", "--all"]
    assert main([*common, *chosen, "--out", "deep/r.json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    results = read_results(here / "deep/r.json")
    assert results["data"]["similarity"] == "euclidean"
    exact = [r for r in results["scores"] if r["protocol"] in ("exact", "whole_split")]
    assert {r["stratum"] for r in exact} == {"U", "GN", "male"}
    assert {r["ci_level"] for r in exact} == {0.8, None}
    assert {"kim", "kim_exact"} <= {r["protocol"] for r in results["scores"]}
    assert {a["protocol"] for a in results["absent"]} >= {"trinet_gallery", "kim_gallery_250"}
    for words in (
        "± is half the 80 % interval",
        "joint scores",
        "trinet gallery: needs 100 people",
        "Compared by Eucl",
    ):
        assert words in printed.out
    assert main([*common, *chosen, "--seed", "1", "--out", "other.json"]) == 0
    first, second = (
        [r["value"] for r in read_results(here / f)["scores"] if r["protocol"] == "kim"]
        for f in ("deep/r.json", "other.json")
    )
    assert first != second
    assert [r for r in read_results(here / "other.json")["scores"] if r["protocol"] == "exact"] == [
        r for r in results["scores"] if r["protocol"] == "exact"
    ]
    made = arrays()
    minus = -np.linalg.norm(made["voices"][:, None] - made["faces"][None], axis=2)
    np.save("matrix.npy", minus)
    assert (
        main([*common, "--similarity", "matrix.npy", "--strata", "U,GN,male", "--level", "0.8", "--out", "m.json"]) == 0
    )
    by = ("task", "direction", "stratum", "n", "metric", "protocol")
    matrix, distances = (records_by(read_results(here / f), *by) for f in ("m.json", "deep/r.json"))
    assert all(distances[name] == pytest.approx(matrix[name]) for name in matrix)
    assert not any(name[0].startswith("joint") for name in matrix)
    reasons = {a["reason"] for a in read_results(here / "m.json")["absent"] if a["protocol"] == "joint"}
    assert reasons == {"a similarity matrix holds no means of clips"}


def test_analyze_prints_its_tables_and_writes_its_folder(here: Path, capsys: pytest.CaptureFixture[str]):
    np.savez("many.npz", **arrays(people=16))
    Path("people.csv").write_text(identity_csv(16))
    assert main(["analyze", "many.npz", "--identities", "people.csv", "--points", "40", "--out", "a"]) == 0
    printed = capsys.readouterr().out
    assert "gender" in printed
    assert printed.endswith("analysis: a\n")
    assert json.loads(Path("a/analysis.json").read_text())["people"] == 16


def test_people_may_go_by_two_ids(here: Path):
    made = arrays()
    assert main(["score", "emb.npz", "--identities", "people.csv", "--out", "one.json"]) == 0
    made["face_identity"] = np.array([f"Name_{n}." for n in made["face_identity"]])
    np.savez("two.npz", **made)
    rows = [f"p{i}\tName_p{i}.\t{'mf'[i % 2]}\t{'AB'[i // 4]}" for i in range(8)]
    Path("meta.csv").write_text("VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\n" + "\n".join(rows))
    assert main(["score", "two.npz", "--identities", "meta.csv", "--out", "two.json"]) == 0
    assert read_results(here / "two.json")["scores"] == read_results(here / "one.json")["scores"]


def test_videos_give_same_and_cross_video_scores(here: Path, capsys: pytest.CaptureFixture[str]):
    made = arrays()
    for kind, count in (("voice", 3), ("face", 2)):
        names = made[f"{kind}_identity"]
        made[f"{kind}_video"] = np.array([f"{n}/film{i % count % 2}" for i, n in enumerate(names)])
    np.savez("video.npz", **made, similarity=np.array("cosine"))
    assert main(["score", "video.npz"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "voice and face of one video, or of two" in printed.out
    assert {"same", "cross"} <= set(printed.out.split())
    assert {"same_video", "cross_video"} <= {r["protocol"] for r in read_results(here / "results.json")["scores"]}


def test_what_is_left_out_is_said(here: Path, capsys: pytest.CaptureFixture[str]):
    made = arrays() | {"similarity": np.array("cosine")}
    made["face_identity"] = np.array([*made["face_identity"][:-2], "stranger", "stranger"])
    np.savez("some.npz", **made)
    assert main(["score", "some.npz", "--identities", "people.csv"]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "voiceface: 1 of 9 people are not in --identities, such as stranger: in stratum U alone",
        "voiceface: 2 of 9 people lack voices or faces, such as p7: distractors in retrieval",
    ]
    assert "2 people lack voices or faces" in printed.out
    data = read_results(here / "results.json")["data"]
    assert (data["identities"], data["one_modality"], data["unknown_identities"]) == (9, 2, 1)


def test_a_stratum_of_one_person_reads_as_a_dash(here: Path, capsys: pytest.CaptureFixture[str]):
    Path("people.csv").write_text(identity_csv().replace("p7,f,B", "p7,f,C"))
    assert main(["score", "emb.npz", "--identities", "people.csv", "--strata", "U,GNA,GN", "--out", "r.json"]) == 2
    assert "--strata GNA: nobody's age is known" in capsys.readouterr().err
    Path("people.csv").write_text("identity,gender\np0,m\np1,f\n")
    assert main(["score", "emb.npz", "--identities", "people.csv"]) == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.startswith("same gender"))
    assert row.split()[2:] == ["0", "-", "-", "-", "-"]
    assert "nan" not in printed.lower().replace("nationality", "")
    assert "none" not in printed.lower()


def missing_clips(made: Arrays) -> str:
    return pairs_list(made).replace("p0/voice0.wav", "p0/gone.wav")


MISTAKES: list[tuple[list[str], str]] = [
    (["score"], "EMB"),
    (["score", ""], "the value is empty"),
    (["score", "none.npz"], "none.npz: no such file or folder"),
    (["score", "people.csv"], "people.csv: is no .npz and no folder"),
    (["score", "emb.npz", "--identities", "none.csv"], "none.csv: cannot be read"),
    (["score", "emb.npz", "--identities", "other.csv"], "--identities: none of the 8 people is in the table"),
    (["score", "emb.npz", "--strata", "U,Q"], "strata: 'Q' is not a stratum"),
    (["score", "emb.npz", "--strata", "U,G"], "--strata G: nobody's gender is known"),
    (["score", "emb.npz", "--similarity", "cosin"], "--similarity cosin: give cosine, euclidean or an .npy"),
    (
        ["score", "emb.npz", "--similarity", "small.npy"],
        "similarity is float64 (2, 2); it must be float32 or float64 (24, 16)",
    ),
    (["score", "emb.npz", "--level", "95"], "--level 95.0: give a fraction"),
    (["score", "emb.npz", "--seed", "-1"], "--seed -1: give a whole number from 0 up"),
    (["score", "emb.npz", "--level", "high"], "--level: invalid float value: 'high'"),
    (["score", "emb.npz", "--protocol", "trinte"], "trinte: not known here, did you mean trinet?"),
    (["score", "emb.npz", "--protocol", "trinet"], "gender"),
    (["score", "emb.npz", "--trials", "none.txt"], "none.txt: cannot be read"),
    (["score", "emb.npz", "--trials", "gone.txt"], "gone.txt: 2 of 48 rows cannot be scored"),
    (["score", "emb.npz", "--trials", "list.txt", "deep/list.txt"], "--trials: 2 lists are called list"),
    (["score", "emb.npz", "--trials", "exact.txt"], "--trials: a list called exact would be taken for other scores"),
    (["score", "emb.npz", "--out", "people.csv/r.json"], "people.csv/r.json: cannot be written"),
    (["score", "emb.npz", "--out", "deep"], "deep: cannot be written"),
    (
        ["score", "emb.npz", "--out", "people.csv"],
        "people.csv: already exists; name another file, or",
    ),
    (["score", "bytes.npz"], "bytes.npz: voice_key is not UTF-8 text"),
    (["score", "about.npz"], "about.npz: about is not what `voiceface embed` writes there"),
    (["score", "emb.npz", "--trails", "x"], "--trails: not known here, did you mean --trials?"),
    (["score", "one.npz"], "1 people have both a voice and a face, a score needs 2"),
    (["score", "bad.npz"], "bad.npz: 1 voices are NaN or infinite: p0/voice0.wav"),
    (["score", "twice.npz"], "twice.npz: 1 face keys appear twice, such as p0/face0.jpg"),
    (["score", "short.npz"], "short.npz: no faces, face_identity (there are: "),
    (["score", "voices"], "voices: has neither voices.csv nor voices.parquet"),
    (["analyze", "emb.npz", "--out", "a"], "--identities is missing: emb.npz does not say"),
    (["analyze", "emb.npz"], "--out"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_gets_one_line_and_status_2(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
):
    made = arrays()
    Path("other.csv").write_text("identity,gender\nq,m\n")
    np.save("small.npy", np.ones((2, 2)))
    Path("list.txt").write_text(pairs_list(made))
    Path("gone.txt").write_text(missing_clips(made))
    shutil.copy("list.txt", "exact.txt")
    np.savez("bytes.npz", **(made | {"voice_key": np.array([b"\xff%d" % i for i in range(24)])}))
    np.savez("about.npz", **made, about=json.dumps({"identities": {"p0": {"gender": 1}}}))
    Path("deep").mkdir()
    shutil.copy("list.txt", "deep/list.txt")
    Path("voices").mkdir()
    np.savez("one.npz", **(made | {"face_identity": np.array(["p0"] * 16)}))
    spoilt = made["voices"].copy()
    spoilt[0, 3] = np.nan
    np.savez("bad.npz", **(made | {"voices": spoilt}))
    np.savez("twice.npz", **(made | {"face_key": np.array(["p0/face0.jpg", *made["face_key"][:-1]])}))
    np.savez("short.npz", **{k: v for k, v in made.items() if k not in ("faces", "face_identity")})
    before = sorted(here.rglob("*"))
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    last = printed.err.splitlines()[-1]
    assert last.startswith("voiceface: ")
    assert message in last
    others = printed.err.splitlines()[:-1]
    assert all("by cosine here" in line for line in others)
    assert sorted(here.rglob("*")) == before


def test_a_mistake_through_the_real_command(here: Path):
    done = voiceface("score", "emb.npz", "--strata", "Q", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == "voiceface: strata: 'Q' is not a stratum; use U, male, female, or letters of GNAEF such as GNA\n"
    )


def test_parquet_without_pyarrow_names_the_extra(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    for kind in ("voices", "faces"):
        Path(f"{kind}.parquet").touch()
    for module in ("pyarrow", "pyarrow.parquet", "pyarrow.compute"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["score", "."]) == 2
    assert (
        capsys.readouterr().err
        == "voiceface: voices.parquet: Parquet needs pyarrow; pip install 'voiceface[parquet]'\n"
    )


PAGE = Path(__file__).parents[2] / "docs/score-your-embeddings.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the docs are not beside the tests")
def test_the_how_to_page_runs_as_written(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("CORPUS").symlink_to(tones)
    text = PAGE.read_text()
    commands = 0
    for kind, block in re.findall(r"^```(python|bash)\n(.*?)^```", text, re.S | re.M):
        if kind == "python":
            exec(block, {})
            if "CORPUS" in block:
                capsys.readouterr()
            continue
        for line in block.splitlines():
            if "vox1_meta" not in line:  # needs VoxCeleb
                assert main(shlex.split(line)[1:]) == 0, line
                commands += "voiceface clips" not in line
                if commands == 1:
                    table = capsys.readouterr().out.splitlines()[:-1]
    assert commands == 4
    shown = re.search(r"^```\n(emb: .*?)^```", text, re.S | re.M)[1].splitlines()
    digits = re.compile(r"[0-9.,]+")
    assert [digits.sub("", line).split() for line in shown] == [digits.sub("", line).split() for line in table]
    assert capsys.readouterr().out.splitlines()[-1].startswith("v2f 0.71")


def test_random_embeddings_are_at_chance(here: Path):
    made = arrays(people=60, voices=2, faces=2)
    rng = np.random.default_rng(1)
    made |= {side: rng.standard_normal(made[side].shape) for side in ("voices", "faces")}
    np.savez("random.npz", **made)
    assert main(["score", "random.npz"]) == 0
    for record in read_results(here / "results.json")["scores"]:
        if record["task"] == "matching" and record["n"] == 2:
            assert record["ci_low"] - 0.1 < 0.5 < record["ci_high"] + 0.1


def test_embed_writes_what_score_and_test_agree_on(make_corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from voiceface.checkpoints.weights import save_checkpoint
    from voiceface.methods.trinet import TriNet

    corpus = make_corpus([("train", 3, 3)] * 6 + [("val", 2, 2)] * 2 + [("test", 3, 3)] * 5)
    save_checkpoint(
        TriNet(face_encoder="face_small", voice_encoder="voice_small", freeze_voice=False),
        tmp_path / "model",
        "trinet",
        {},
    )
    common = [str(tmp_path / "model"), "--data", str(corpus), "--workers", "0"]
    assert main(["test", *common, "--out", str(tmp_path / "tested.json")]) == 0
    assert main(["embed", *common, "--out", str(tmp_path / "emb.npz")]) == 0
    embeddings = read_embeddings(tmp_path / "emb.npz")
    assert embeddings.similarity in ("cosine", "euclidean")
    assert embeddings.voice_video is not None
    assert set(embeddings.voice_video) == {"video0", "video1", "video2"}
    assert embeddings.face_video is None
    owner = np.array([int(name[1:]) for name in embeddings.voice_identity])
    np.testing.assert_allclose(embeddings.measures["voice_pitch"], 100 + 20 * owner, rtol=0.01)
    loudness = 20 * np.log10(8000 / 32768 / np.sqrt(2))
    np.testing.assert_allclose(embeddings.measures["voice_loudness"], loudness, atol=0.1)

    monkeypatch.chdir(tmp_path)
    assert main(["score", "emb.npz", "--out", "scored.json"]) == 0
    scored, tested = (read_results(tmp_path / f"{name}.json") for name in ("scored", "tested"))
    assert scored["model"] == tested["model"]
    assert {k: scored["data"][k] for k in tested["data"]} == tested["data"]
    assert main(["clips", str(corpus), "--out", "clips.csv"]) == 0
    listed = [line.split(",")[1] for line in Path("clips.csv").read_text().splitlines()[1:]]
    assert data_hash(listed) == scored["data"]["clips_sha256"]
    by = ("task", "direction", "stratum", "n", "metric", "protocol")
    ours, theirs = records_by(scored, *by), records_by(tested, *by)
    shared = {name for name in theirs if "video" not in name[-1]}
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    assert any(name[2] == "G" for name in shared)


@pytest.mark.skipif("VOICEFACE_TEST_DATA" not in os.environ, reason="needs the shared VoxCeleb lists")
def test_rows_of_an_official_list_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = Path(os.environ["VOICEFACE_TEST_DATA"]) / "voxceleb"
    lines = (root / "lists/matching_v2f_G.csv").read_text().splitlines()[:1500]
    (tmp_path / "matching_v2f_G.csv").write_text("\n".join(lines))
    rows = [line.split() for line in lines]
    voices = sorted({row[0] for row in rows})
    faces = sorted({name for row in rows for name in row[1:]})
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "emb.npz",
        voices=rng.standard_normal((len(voices), 4)),
        voice_identity=np.array([name.partition("/")[0] for name in voices]),
        voice_key=np.array(voices),
        faces=rng.standard_normal((len(faces), 4)),
        face_identity=np.array([name.partition("/")[0] for name in faces]),
        face_key=np.array(faces),
    )
    monkeypatch.chdir(tmp_path)
    trials = ["--trials", "matching_v2f_G.csv"]
    assert main(["score", "emb.npz", "--identities", str(root / "vox1_meta.csv"), "--strata", "U", *trials]) == 0
    results = read_results(tmp_path / "results.json")
    (listed,) = results["lists"]
    assert (listed["rows"], listed["scored"]) == (1500, 1500)
    (record,) = [r for r in results["scores"] if r["protocol"] == "matching_v2f_G"]
    assert 0.4 < record["value"] < 0.6
