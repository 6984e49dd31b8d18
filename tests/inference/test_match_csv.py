"""Matching: one query, many rows of a CSV, every kind of method, both directions."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inference_support import make, picture, wave, write_face, write_voice

from voiceface.inference.match_csv import match_csv
from voiceface.inference.media import Kind
from voiceface.inference.model import Model
from voiceface.utils.errors import UserError

VOICES = [wave(seed, 1.0 + seed / 4) for seed in range(3)]
FACES = [picture(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make("cosine", tmp_path_factory.mktemp("checkpoint"))


@pytest.mark.parametrize("kind", ["cosine", "euclidean", "pairwise"])
def test_a_match_ranks_by_the_similarity(kind: str, tmp_path: Path):
    model = make(kind, tmp_path)
    v, f = model.embed_voice(VOICES), model.embed_face(FACES, detect=False)
    matrix = model.similarity(v, f)
    if kind == "cosine":
        expected = torch.nn.functional.cosine_similarity(v[:, None], f[None], dim=2)
        torch.testing.assert_close(matrix, expected, atol=1e-6, rtol=0)
    if kind == "euclidean":
        torch.testing.assert_close(matrix, -(v[:, None] - f[None]).norm(dim=2), atol=1e-4, rtol=0)
    for query, row in zip(VOICES, matrix, strict=True):
        found = model.match(query, FACES, detect=False)
        assert [match.place for match in found] == row.argsort(descending=True).tolist()
        np.testing.assert_allclose([match.similarity for match in found], row.sort(descending=True).values, atol=1e-5)
    for query, column in zip(FACES, matrix.T, strict=True):
        found = model.match(query, VOICES, "f2v", detect=False)
        assert [match.place for match in found] == column.argsort(descending=True).tolist()
        assert {match.probability for match in found} == {None}


def test_equal_candidates_keep_their_order(model: Model):
    assert [match.place for match in model.match(VOICES[0], [FACES[1]] * 3, detect=False)] == [0, 1, 2]


def test_probabilities_are_of_the_calibration(tmp_path: Path):
    model = make("cosine", tmp_path)
    model.config["calibration"] = {"v2f": {"slope": 7.5, "intercept": 0.0, "error": 0.01}}
    first, second = model.match(VOICES[0], FACES[:2], detect=False)
    assert first.probability == pytest.approx(1 / (1 + math.exp(-7.5 * (first.similarity - second.similarity))))
    assert second.probability == pytest.approx(1 - first.probability)
    swapped = model.match(VOICES[0], FACES[1::-1], detect=False)
    assert [match.probability for match in swapped] == pytest.approx([first.probability, second.probability])
    assert model.match(VOICES[0], FACES, detect=False)[0].probability is None  # it was fitted on two candidates
    assert model.match(FACES[0], VOICES[:2], "f2v", detect=False)[0].probability is None  # and on the other direction


def test_a_method_that_only_chooses(tmp_path: Path):
    model = make("relative", tmp_path / "two")
    v, f = model.embed_voice(VOICES[:1]), model.embed_face(FACES[:2], detect=False)
    with torch.no_grad():
        logits = model.method.choose(v, f[None], "v2f")[0]
    found = model.match(VOICES[0], FACES[:2], detect=False)
    assert [match.place for match in found] == logits.argsort(descending=True).tolist()
    np.testing.assert_allclose([match.similarity for match in found], logits.sort(descending=True).values, atol=1e-5)
    with pytest.raises(UserError, match="chooses between 2 candidates, not 4"):
        model.match(VOICES[0], FACES, detect=False)
    with pytest.raises(UserError, match="chooses among faces for a voice alone"):
        model.match(FACES[0], VOICES[:2], "f2v", detect=False)
    with pytest.raises(UserError, match="it can match, and neither retrieve nor score"):
        model.similarity(v, f)
    nway = make("relative", tmp_path / "nway", fusion="mean", direction="f2v")
    assert len(nway.match(FACES[0], VOICES, "f2v", detect=False)) == 3


def test_what_is_no_match(model: Model):
    with pytest.raises(UserError, match="2 voices as the query; give one"):
        model.match(VOICES[:2], FACES, detect=False)
    with pytest.raises(UserError, match="no faces to embed"):
        model.match(VOICES[0], [], detect=False)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_no_row_of_a_csv_is_lost(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    voices = [write_voice(tmp_path / f"v/{i}.wav", i) for i in range(2)]
    faces = [write_face(tmp_path / f"f/{i}.png", i) for i in range(3)]
    (tmp_path / "f/bad.png").write_text("no picture")
    source, out = tmp_path / "pairs.csv", tmp_path / "scores.csv"
    source.write_text(
        "note,voice,face,face2,face3\n"
        "all,v/0.wav,f/0.png,f/1.png,f/2.png\n"
        f'"two, absolute",{voices[1]},f/1.png,{faces[0]},\n'
        "gap,v/1.wav,f/1.png,,f/2.png\n"
        "bad,v/1.wav,f/1.png,f/bad.png,\n"
        "missing,v/none.wav,f/1.png,f/0.png,\n"
        "nobody,,f/1.png,f/0.png,\n"
        "nothing,v/0.wav,,,\n"
        "swapped,f/0.png,f/1.png,f/0.png,\n"
        "again,v/0.wav,f/0.png,f/1.png,f/2.png\n"
    )
    read_files: list[Path] = []
    embed_each = Model.embed_each

    def counted(model: Model, kind: Kind, items: Sequence[Path], *options: Any) -> Iterator[Any]:
        read_files.extend(items)
        return embed_each(model, kind, items, *options)

    monkeypatch.setattr(Model, "embed_each", counted)
    assert match_csv(model, source, out, detect=False) == (9, 5)
    assert len(read_files) == 4 + 4, "each file of each kind once"
    rows = read(out)
    assert [row["note"] for row in rows] == [row["note"] for row in read(source)]
    added = ["similarity", "similarity2", "similarity3", "choice", "probability", "error", "trained_on_synthetic"]
    assert list(rows[0])[5:] == added
    similarity = model.similarity(model.embed_voice(voices), model.embed_face(faces, detect=False)).tolist()
    assert [float(rows[0][c]) for c in ("similarity", "similarity2", "similarity3")] == pytest.approx(
        similarity[0], abs=1e-5
    )
    assert rows[0]["choice"] == ["face", "face2", "face3"][int(np.argmax(similarity[0]))]
    assert [float(rows[1][c]) for c in ("similarity", "similarity2")] == pytest.approx(similarity[1][1::-1], abs=1e-5)
    assert rows[2]["similarity2"] == ""
    assert float(rows[2]["similarity3"]) == pytest.approx(similarity[1][2], abs=1e-5)
    errors = ["face2: not an image", "voice: no such file", "voice: empty", "face: empty"]
    assert [row["error"] for row in rows[3:7]] == errors
    assert rows[7]["error"].startswith("voice: a picture, where a voice is wanted")
    assert {rows[i]["choice"] for i in range(3, 8)} == {""}
    assert {**rows[8], "note": "all"} == rows[0]


def test_the_reverse_of_a_csv(tmp_path: Path):
    model = make("cosine", tmp_path / "checkpoint")
    model.config["calibration"] = {"f2v": {"slope": 2.0, "intercept": 0.0, "error": 0.01}}
    for i in range(2):
        write_voice(tmp_path / f"{i}.wav", i)
    write_face(tmp_path / "f.png", 0)
    (tmp_path / "pairs.csv").write_text("face;voice;voice2\nf.png;0.wav;1.wav\n")
    assert match_csv(model, tmp_path / "pairs.csv", tmp_path / "out.csv", detect=False) == (1, 0)
    row = read(tmp_path / "out.csv")[0]
    best = model.match(tmp_path / "f.png", [tmp_path / "0.wav", tmp_path / "1.wav"], "f2v", detect=False)[0]
    assert row["choice"] == ["voice", "voice2"][best.place]
    assert best.probability is not None
    assert float(row["probability"]) == pytest.approx(best.probability, abs=1e-5)
    assert best.probability >= 0.5


def test_csv_files_that_cannot_be_used(model: Model, tmp_path: Path):
    source = tmp_path / "pairs.csv"
    for text, said in (
        ("voice,picture\na,b\n", "face"),
        ("voice,face\n", "no rows"),
        ("voice,voice2,face,face2\na,b,c,d\n", "several faces or several voices, not both"),
        ("voice,face,error\na,b,c\n", "has a column error already"),
    ):
        source.write_text(text)
        with pytest.raises(UserError, match=said):
            match_csv(model, source, tmp_path / "out.csv", detect=False)
    assert not (tmp_path / "out.csv").exists()
