"""`voiceface match`, `retrieve`, `index` and `embed` of files, as they are typed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from inference_support import make, words, write_face, write_voice

from voiceface.cli import inference as commands
from voiceface.cli import main
from voiceface.cli.evaluate import run_embed, run_test
from voiceface.evaluation.embeddings import read_embeddings
from voiceface.inference.model import Model
from voiceface.utils.errors import UserError

SYNTHETIC = "trinet-synthetic was trained on synthetic people: its answers say nothing about real people"
RUN = {
    "match": commands.run_match,
    "retrieve": commands.run_retrieve,
    "index": commands.run_index,
    "embed": run_embed,
    "test": run_test,
}


def run(*given: object) -> None:
    options = words(*given)
    assert RUN[options.command](options) == 0


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and the clips of three people as `voiceface prepare folder` wants them."""
    folder = tmp_path_factory.mktemp("inference")
    make("cosine", folder / "checkpoint")
    for i in range(3):
        write_voice(folder / f"people/p{i}/voice/[bold]{i}.wav", i)
        for k in range(2):
            write_face(folder / f"people/p{i}/face/{k}.png", 2 * i + k)
    return folder


def test_synthetic_people_and_noise_are_said_once_each(there: Path, capsys: pytest.CaptureFixture[str]):
    voice, *faces = there / "people/p0/voice/[bold]0.wav", *sorted(there.glob("people/*/face/0.png"))
    run("match", there / "checkpoint", voice, *faces, "--asis")
    assert capsys.readouterr().err.splitlines() == [
        f"voiceface: {voice}: no speech was found in it; its embedding means nothing",
        f"voiceface: {SYNTHETIC}",
    ]


def test_match(there: Path, capsys: pytest.CaptureFixture[str]):
    model = Model(there / "checkpoint")
    voice, *faces = there / "people/p0/voice/[bold]0.wav", *sorted(there.glob("people/*/face/0.png"))
    found = model.match(voice, faces, detect=False)
    run("match", there / "checkpoint", voice, *faces, "--asis")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["face", "similarity"]
    expected = [[str(faces[match.place]), f"{match.similarity:.4f}"] for match in found]
    assert [line.split() for line in lines[1:]] == expected
    run("match", there / "checkpoint", voice, *faces, "--asis", "--json")
    printed = json.loads(capsys.readouterr().out)
    assert printed["query"] == str(voice)
    assert printed["trained_on_synthetic"] is True
    assert [one["face"] for one in printed["found"]] == [row[0] for row in expected]
    assert "probability" not in printed["found"][0]
    voices = sorted(there.glob("people/*/voice/*.wav"))
    run("match", there / "checkpoint", faces[1], *voices, "--asis", "--json")
    printed = json.loads(capsys.readouterr().out)
    backwards = model.match(faces[1], voices, "f2v", detect=False)
    assert [one["voice"] for one in printed["found"]] == [str(voices[match.place]) for match in backwards]


def test_match_of_a_csv(there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = there / "people/pairs.csv"
    source.write_text("voice,face,face2\np0/voice/[bold]0.wav,p0/face/0.png,p1/face/0.png\nnone.wav,a.png,b.png\n")
    run("match", there / "checkpoint", "--csv", source, "--out", tmp_path / "scores.csv", "--asis")
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path}/scores.csv: 2 rows, 1 with an error\n"
    assert printed.err.count(SYNTHETIC) == 1
    assert all(line.endswith(",true") for line in (tmp_path / "scores.csv").read_text().splitlines()[1:])
    source.unlink()


def test_retrieve_finds_the_same_with_and_without_an_index(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    voice, gallery = there / "people/p1/voice/[bold]1.wav", there / "people"
    run("retrieve", there / "checkpoint", voice, gallery, "--top", 4, "--asis", "--json")
    direct = json.loads(capsys.readouterr().out)
    run("index", there / "checkpoint", gallery, tmp_path / "faces", "--asis")
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path}/faces: 6 faces, 16 dimensions\n"
    assert printed.err == f"voiceface: {SYNTHETIC}\n"
    assert json.loads((tmp_path / "faces/index.json").read_text())["trained_on_synthetic"] is True
    run("retrieve", there / "checkpoint", voice, "--index", tmp_path / "faces", "--top", 4, "--json")
    assert json.loads(capsys.readouterr().out) == direct
    matched = Model(there / "checkpoint").match(voice, sorted(gallery.glob("*/face/*.png")), detect=False)
    expected = [match.similarity for match in matched[:4]]
    assert [one["similarity"] for one in direct["found"]] == pytest.approx(expected, abs=1e-5)
    run("index", there / "checkpoint", gallery, tmp_path / "voices", "--kind", "voice", "--dtype", "float16")
    face = gallery / "p0/face/0.png"
    run("retrieve", there / "checkpoint", face, "--index", tmp_path / "voices", "--asis")
    assert len(capsys.readouterr().out.splitlines()) == 1 + 1 + 3
    with pytest.raises(UserError, match="a face, and the index holds faces; give a voice"):
        run("retrieve", there / "checkpoint", face, "--index", tmp_path / "faces", "--asis")


def test_embed_writes_what_score_reads(there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "emb.npz"
    run("embed", there / "checkpoint", there / "people", "--out", out, "--asis")
    assert capsys.readouterr().out == f"{out}: 3 voices and 6 faces\n"
    read = read_embeddings(out)
    assert read.voice_identity.tolist() == ["p0", "p1", "p2"]
    assert read.face_identity.tolist() == ["p0", "p0", "p1", "p1", "p2", "p2"]
    assert read.face_key.tolist()[:2] == ["p0/face/0.png", "p0/face/1.png"]
    model = Model(there / "checkpoint")
    files = [there / "people" / key for key in read.face_key.tolist()]
    np.testing.assert_allclose(read.faces, model.embed_face(files, detect=False).numpy(), atol=1e-5)
    run("embed", there / "checkpoint", files[0], "--out", out, "--asis")
    arrays = np.load(out)
    assert arrays["face_key"].tolist() == ["0.png"]
    assert "voices" not in arrays


def test_embed_says_how_they_compare(there: Path, tmp_path: Path):
    """What a network says of each pair, for it learned no measure of two; where it says nothing of a pair, nothing."""
    out = tmp_path / "emb.npz"
    make("pairwise", tmp_path / "pairwise")
    run("embed", tmp_path / "pairwise", there / "people", "--out", out, "--asis")
    read, model = read_embeddings(out), Model(tmp_path / "pairwise")
    wanted = model.similarity(torch.from_numpy(np.array(read.voices)), torch.from_numpy(np.array(read.faces)))
    np.testing.assert_allclose(np.asarray(read.similarity), wanted.numpy(), atol=1e-5)
    make("relative", tmp_path / "relative")
    with pytest.raises(UserError, match="only compares candidates with each other"):
        run("embed", tmp_path / "relative", there / "people", "--out", tmp_path / "no.npz", "--asis")
    assert not (tmp_path / "no.npz").exists()


def test_embed_leaves_out_what_cannot_be_used(there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_face(tmp_path / "raw/a.png", 0)
    (tmp_path / "raw/b.png").touch()
    run("embed", there / "checkpoint", tmp_path / "raw", "--out", tmp_path / "e.npz", "--asis")
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path}/e.npz: 1 faces; 1 left out\n"
    assert printed.err == "voiceface: left out b.png: empty file\n"


def test_words_that_make_no_sense(there: Path, tmp_path: Path):
    checkpoint, people = there / "checkpoint", there / "people"
    voice, face = people / "p0/voice/[bold]0.wav", people / "p0/face/0.png"
    (tmp_path / "empty").mkdir()
    table = tmp_path / "pairs.csv"
    table.write_text("voice,face\n")
    for given, said in (
        (["match", checkpoint], "give a query and its candidates"),
        (["match", checkpoint, voice], "no candidates"),
        (["match", checkpoint, voice, face, voice], r"\[bold\]0\.wav: a voice, as the first file is"),
        (["match", checkpoint, voice, tmp_path / "none.png", "--asis"], r"none\.png: no such file"),
        (["match", checkpoint, tmp_path / "none.wav", face, "--asis"], r"none\.wav: no such file"),
        (["match", checkpoint, "--csv", "pairs.csv"], "--csv FILE and --out FILE"),
        (["match", checkpoint, "--csv", table, "--out", table, "--asis"], "is the file of --csv, which it would"),
        (["match", checkpoint, voice, face, "--margin", "1.5"], "give --asis too"),
        (["match", checkpoint, voice, face, "--device", "abacus"], "no such device"),
        (["match", checkpoint, voice, face, "--device", "meta"], "no such device"),
        (["match", checkpoint, voice, people, "--asis"], "a folder, where a file is wanted"),
        (["match", checkpoint, voice, face, face, "--asis", "--margin", "nan"], "--margin nan: the face network wants"),
        (["match", checkpoint, voice, face, face, "--asis", "--margin", "inf"], "--margin inf: the face network wants"),
        (["match", tmp_path, voice, face], r"config\.json|checkpoint"),
        (["retrieve", checkpoint, voice], "give a folder GALLERY, or --index"),
        (["retrieve", checkpoint, voice, people, "--top", "0"], "--top 0: give 1 or more"),
        (["retrieve", checkpoint, voice, tmp_path / "empty"], "no faces in it"),
        (["retrieve", checkpoint, voice, tmp_path / "nowhere"], "no such folder"),
        (["retrieve", checkpoint, voice, "--index", people], "no index"),
        (["index", checkpoint, face, tmp_path / "out"], "no such folder"),
        (["embed", checkpoint, voice, tmp_path / "none.png", "--out", tmp_path / "e.npz"], r"none\.png: no such file"),
        (["embed", checkpoint, voice, "--data", people, "--out", tmp_path / "e.npz"], "FILES or --data"),
        (["embed", checkpoint, "--margin", "0", "--out", tmp_path / "e.npz"], "--margin: for FILES"),
        (["embed", checkpoint, voice, "--out", face / "e.npz"], "cannot be written"),
        (["test", checkpoint, "--out", face / "r.json"], "cannot be written"),
        (["embed", checkpoint, tmp_path / "empty", "--out", tmp_path / "e.npz"], "no voices and no faces in it"),
        (
            ["embed", checkpoint, people, people / "p0", face, people / "p1/face/0.png", "--out", "e.npz"],
            "is called 0.png",
        ),
    ):
        with pytest.raises(UserError, match=said) as error:
            run(*given)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("find", [True, False], ids=["no detector", "no such file"])
def test_mistakes_are_answered_before_the_checkpoint_is_loaded(
    find: bool, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    broken, voice, face = tmp_path / "no checkpoint", there / "people/p0/voice/[bold]0.wav", there / "people/p0/face"
    table, out = tmp_path / "pairs.csv", tmp_path / "out"
    if find:
        table.write_text("voice,face\n")
    for given in (
        ["match", broken, "--csv", table, "--out", out],
        *([["match", broken, voice, *face.iterdir()], ["index", broken, face, out]] if find else []),
        *([["retrieve", broken, voice, face], ["embed", broken, face, "--out", out]] if find else []),
    ):
        with pytest.raises(UserError, match=r"voiceface\[prepare\]" if find else r"pairs\.csv: cannot be read"):
            run(*given, *([] if find else ["--asis"]))


def test_names_do_not_steer_the_terminal(there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_face(tmp_path / "gallery/a\x1b[31m\n.png", 0)
    (tmp_path / "gallery/\x1b[2J.png").touch()
    run("retrieve", there / "checkpoint", there / "people/p0/voice/[bold]0.wav", tmp_path / "gallery", "--asis")
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].startswith("a?[31m?.png ")
    assert "voiceface: left out ?[2J.png: empty file" in printed.err.splitlines()
    assert "\x1b" not in printed.err


def test_a_name_that_no_file_can_have(there: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["match", str(there / "checkpoint"), "a" * 300, "b.jpg"]) == 2
    assert capsys.readouterr().err == f"voiceface: {'a' * 300}: file name too long; name another place\n"
