"""An analysis from embeddings to files and table."""

import csv
import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from voiceface.evaluation.analysis import analyze, print_analysis
from voiceface.evaluation.analysis_plots import correlations_figure, probes_figure
from voiceface.evaluation.embeddings import Embeddings
from voiceface.evaluation.results import RECORD
from voiceface.scores.probes import is_chance
from voiceface.utils.errors import UserError

TABLE = {
    f"p{i:02}": {
        "identity": f"p{i:02}",
        "split": "test",
        "gender": "mf"[i % 2],
        "age": f"{20 + 10 * (i % 3)}-",
        "club": c,
    }
    for i, c in enumerate(["chess"] * 4 + ["rowing"] * 20)
}


def embedded(similarity="cosine", **changes):
    rng = np.random.default_rng(0)
    names = np.array([name for name in TABLE for _ in range(4)])
    gender = np.array([2.0 if TABLE[name]["gender"] == "m" else -2.0 for name in names])
    sides = [np.c_[gender, np.ones(len(names)), np.zeros((len(names), 4))] + rng.standard_normal((96, 6)) for _ in "vf"]
    keys = np.array([f"k{i}" for i in range(len(names))])
    return Embeddings(
        **{
            "voices": sides[0].astype(np.float32),
            "voice_identity": names,
            "voice_key": keys,
            "voice_video": None,
            "faces": sides[1].astype(np.float32),
            "face_identity": names,
            "face_key": keys,
            "face_video": None,
            "similarity": similarity,
            "measures": {"voice_pitch": np.where(gender > 0, 110.0, 210.0), "voice_loudness": np.full(96, -np.inf)},
            "about": {"model": {"recipe": "trinet"}, "identities": {}},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    out = tmp_path_factory.mktemp("analysis") / "new" / "out"
    bar: dict[str, int] = {}

    @contextmanager
    def counted(what, total):
        bar.update(total=total, done=0)
        yield lambda: bar.update(done=bar["done"] + 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("voiceface.evaluation.analysis.progress", counted)
        result = analyze(embedded(), TABLE, out)
    assert bar["done"] == bar["total"], "pictures that cannot be drawn count too"
    assert json.loads((out / "analysis.json").read_text()) == result
    return out, result


def test_everything_is_written_and_the_json_is_the_result(analysed):
    out, result = analysed
    figures = ("probes", "correlations", *(f"tsne_{name}" for name in ("identity", "gender", "age", "pitch")))
    pictures = [f"{name}.{kind}" for name in figures for kind in ("png", "svg")]
    assert sorted(path.name for path in out.iterdir()) == sorted(["analysis.json", "tsne.csv", *pictures])
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert (result["people"], result["voices"], result["faces"], result["dimensions"]) == (24, 96, 96, 6)
    assert (result["similarity"], result["level"], result["about"]) == ("cosine", 0.99, {"model": {"recipe": "trinet"}})
    rows = list(csv.DictReader((out / "tsne.csv").open()))
    assert len(rows) == 192
    assert {(r["modality"], r["pitch"], r["loudness"]) for r in rows} == {
        ("voice", "110.00", ""),
        ("voice", "210.00", ""),
        ("face", "", ""),
    }
    assert all(r["gender"] == TABLE[r["identity"]]["gender"] for r in rows)


def test_gender_is_found_and_the_small_club_left_out(analysed):
    _, result = analysed
    assert all(tuple(record) == RECORD for record in result["scores"])
    found = {(r["direction"], r["stratum"]): r for r in result["scores"]}
    assert {stratum for _, stratum in found} == {"gender=f", "gender=m", "age=20-", "age=30-", "age=40-"}
    assert found["voice", "gender=m"]["value"] > 0.95
    assert [(r["direction"], r["attribute"], r["value"]) for r in result["left_out"]] == [
        ("voice", "club", ""),
        ("face", "club", ""),
    ]
    agreement = {(r["attribute"], r["between"]): r for r in result["correlations"]}
    assert agreement["gender", "voices and faces"]["point_biserial"] < -0.8
    assert agreement["gender", "voices and faces"]["spearman_p"] == 0.001
    assert agreement["age", "voices"]["point_biserial_p"] > 0.01


def test_the_table_says_what_is_chance_and_what_is_left_out(analysed, capsys):
    print_analysis(analysed[1])
    lines = capsys.readouterr().out.splitlines()
    (gender,) = [line for line in lines if line.startswith("gender ") and "±" in line]
    assert "female" in gender
    assert "≈" not in gender
    reached = [is_chance(record) for record in analysed[1]["scores"]]
    assert 0 < sum(reached) == sum(line.count("≈") for line in lines if "±" in line) < len(reached)
    assert "too few people to probe, see analysis.json: club all values" in lines
    assert any("gender" in line and "(p 0.001)" in line for line in lines)


def lines_of(figure):
    """Where the lines of a figure's panel run, by marker."""
    found = {}
    for line in figure.axes[0].get_lines():
        hollow = line.get_markerfacecolor() == "white"
        found.setdefault(line.get_marker(), []).append(
            (*np.ravel(line.get_xdata()), *np.ravel(line.get_ydata()), hollow)
        )
    return found


def test_the_pictures_show_every_probe_and_every_correlation(analysed):
    result = analysed[1]
    strata = list(dict.fromkeys(r["stratum"] for r in result["scores"]))
    drawn = lines_of(probes_figure(result, "mine"))
    for record in result["scores"]:
        row = strata.index(record["stratum"])
        shape, shift = {"voice": ("o", -0.17), "face": ("^", 0.17)}[record["direction"]]
        assert (100 * record["value"], row + shift, is_chance(record)) in drawn[shape]
        assert (100 * record["chance"], row + shift, False) in drawn["|"]
        assert (100 * record["ci_low"], 100 * record["ci_high"], row + shift, row + shift, False) in drawn["None"]
    figure = correlations_figure(result, "mine")
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["gender", "age", "club"]
    for record in result["correlations"]:
        shape = {"voices": "o", "faces": "^", "voices and faces": "D"}[record["between"]]
        (found,) = [d for d in lines_of(figure)[shape] if d[0] == record["point_biserial"]]
        assert found[2] == (record["point_biserial_p"] >= 0.01)


def test_length_means_nothing_to_cosine_and_something_to_euclidean(tmp_path):
    given = embedded()
    long = np.random.default_rng(1).uniform(0.1, 9, (96, 1))
    stretched = embedded(voices=given.voices * long, faces=given.faces * long[::-1])
    first = analyze(given, TABLE, tmp_path / "a", points=40, measures={})
    second = analyze(stretched, TABLE, tmp_path / "b", points=40, measures={})
    assert [r["value"] for r in second["scores"]] == pytest.approx([r["value"] for r in first["scores"]], abs=0.02)
    assert [r["spearman"] for r in second["correlations"]] == pytest.approx(
        [r["spearman"] for r in first["correlations"]]
    )
    third = analyze(
        embedded("euclidean", voices=stretched.voices, faces=stretched.faces), TABLE, tmp_path / "c", points=40
    )
    assert third["similarity"] == "euclidean"
    assert third["correlations"][0]["spearman"] != pytest.approx(first["correlations"][0]["spearman"], abs=0.02)


@pytest.mark.parametrize("size", [1e-30, pytest.param(1e30, marks=pytest.mark.slow(reason="two more analyses"))])
def test_distances_of_any_size_can_be_mapped(tmp_path, size):
    given = embedded("euclidean")
    sized = embedded("euclidean", voices=given.voices * size, faces=given.faces * size)
    first, second = (analyze(e, TABLE, tmp_path / name, points=40) for name, e in (("a", given), ("b", sized)))
    assert [r["spearman"] for r in second["correlations"]] == pytest.approx(
        [r["spearman"] for r in first["correlations"]], abs=1e-6
    )


def test_voices_and_faces_may_go_by_different_ids(tmp_path, analysed):
    given = embedded()
    both = TABLE | {f"face of {name}": row for name, row in TABLE.items()}
    faces = np.array([f"face of {name}" for name in given.face_identity])
    found = analyze(embedded(face_identity=faces, measures={}), both, tmp_path / "out")
    assert (found["scores"], found["people"]) == (analysed[1]["scores"], 24)
    assert "tsne_pitch.png" not in found["tsne"]["pictures"]


def test_an_earlier_analysis_is_replaced_by_the_same_one(tmp_path, analysed):
    out, first = analysed
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "tsne_loudness.png").write_bytes(b"of an earlier one")
    second = analyze(embedded(), TABLE, out)
    assert {k: v for k, v in second.items() if k != "environment"} == {
        k: v for k, v in first.items() if k != "environment"
    }
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    assert after.keys() == before.keys()
    assert all(after[name] == before[name] for name in after if name != "analysis.json")


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match=r"holds other files, such as thesis\.tex"):
        analyze(embedded(), TABLE, tmp_path)
    with pytest.raises(UserError, match="is a file"):
        analyze(embedded(), TABLE, tmp_path / "thesis.tex")
    with pytest.raises(UserError, match="cannot be written"):
        analyze(embedded(), TABLE, tmp_path / "thesis.tex" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


RAYS = np.arange(1.0, 97)[:, None] * np.ones(6)  # one direction: all the same to cosine


@pytest.mark.parametrize(
    ("embeddings", "table", "options", "message"),
    [
        (embedded(np.zeros((96, 96))), TABLE, {}, "a matrix cannot be analysed"),
        (embedded(voices=None), TABLE, {}, "a matrix cannot be analysed"),
        (embedded(faces=np.ones((96, 5))), TABLE, {}, "voices have 6 dimensions, faces 5"),
        (embedded(voices=np.ones((96, 6)), faces=np.ones((96, 6))), TABLE, {}, "nothing to analyse"),
        (embedded(), {"q": {"gender": "m"}}, {}, "says nothing of any of the 24 people, such as 'p00'"),
        (embedded(), TABLE, {"level": 99.0}, "level 99.0"),
        (
            embedded(voices=np.arange(1.0, 97)[:, None] * np.ones(6), faces=np.ones((96, 6))),
            TABLE,
            {},
            "nothing to analyse",
        ),
        (embedded(), TABLE, {"points": 3}, "3 points"),
        (embedded(), TABLE, {"seed": -1}, "seed -1"),
        (embedded(), TABLE, {"seed": 1 << 32}, "seed 4294967296"),
    ],
)
def test_what_cannot_be_analysed_is_refused_and_nothing_is_written(tmp_path, embeddings, table, options, message):
    with pytest.raises(UserError, match=message) as caught:
        analyze(embeddings, table, tmp_path / "out", **options)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_importing_it_is_light():
    light = "print([m for m in ('torch', 'matplotlib', 'sklearn') if m in sys.modules])"
    code = f"import sys, voiceface.evaluation.analysis; {light}"
    found = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
