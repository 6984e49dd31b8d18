"""The package from Python: the same as the commands, as objects."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tests_support import in_processes

import voiceface
from voiceface.evaluation.view import Results
from voiceface.scores import score


def test_the_front_door_shows_its_names_alone_and_imports_no_torch():
    program = "import sys, voiceface; print(dir(voiceface)); assert not {'torch', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert eval(done.stdout) == sorted([*voiceface.__all__, "__version__"])
    assert {"fit", "evaluate", "score", "load", "list_checkpoints", "list_recipes"} <= set(voiceface.__all__)
    assert all(getattr(voiceface, name).__doc__ for name in voiceface.__all__)


def test_scores_of_own_embeddings_are_those_of_the_scores_room():
    rng = np.random.default_rng(0)
    people = np.repeat([f"p{i}" for i in range(8)], 2).tolist()
    voices, faces = rng.normal(size=(2, 16, 4))
    known = {f"p{i}": {"gender": "mf"[i % 2]} for i in range(8)}
    results = voiceface.score(voices, people, faces, people, identities=known, similarity="euclidean", name="mine")
    wanted = score(voices, people, faces, people, known, "euclidean")
    assert [dict(r) for r in results["scores"]][: len(wanted)] == [dict(r) for r in wanted]
    assert results.name == "mine"
    assert results["data"]["voices"] == 16
    matrix = -np.linalg.norm(voices[:, None] - faces, axis=2)
    again = voiceface.score(None, people, None, people, identities=known, similarity=matrix)
    for one in ("v2f", "f2v"):
        assert again.find(direction=one)["value"] == pytest.approx(results.find(direction=one)["value"], abs=1e-12)


def test_results_are_compared_in_memory_and_from_files_alike(tmp_path: Path):
    rng = np.random.default_rng(0)
    people = np.repeat([f"p{i}" for i in range(12)], 4).tolist()
    voices, faces = np.repeat(rng.normal(size=(12, 8)), 4, axis=0) + rng.normal(size=(2, 48, 8))
    good, bad = (
        voiceface.score(voices, people, faces + noise * rng.normal(size=faces.shape), people, name=name)
        for name, noise in (("good", 0), ("bad", 3))
    )
    twice = [voiceface.score(voices, people, voices, people, name="../a/b"), good]
    assert repr(voiceface.compare(twice, tasks=["1:2/v2f"])) == "Leaderboard(../a/b, good)"
    board = voiceface.compare([good, bad], tasks=["1:2/v2f"])
    assert repr(board) == "Leaderboard(good, bad)"
    (group,) = board.comparison.groups
    rows = {row.name: row for row in group.rows}
    for result in (good, bad):
        assert rows[result.name].cells[0].value == result.find()["value"]
    assert rows["good"].cells[0].best
    assert rows["bad"].cells[0].same is False  # tested, so the effects of people were there
    good.save(tmp_path / "good.json")
    bad.save(tmp_path / "bad.json")
    from_files = voiceface.compare(tmp_path, tasks=["1:2/v2f"])
    read = [Results.read(tmp_path / f"{name}.json") for name in ("good", "bad")]
    (tested,) = voiceface.compare(read, tasks="1:2/v2f", protocols="exact").comparison.groups
    assert {row.name: row.cells for row in tested.rows} == {name: row.cells for name, row in rows.items()}
    read[0].save(tmp_path / "copy.json")
    assert (tmp_path / "copy.effects.npz").read_bytes() == (tmp_path / "good.effects.npz").read_bytes()
    for one, other in zip(*(b.comparison.groups[0].rows for b in (board, from_files)), strict=True):
        assert [cell.value for cell in one.cells] == [cell.value for cell in other.cells]
    if find_spec("pandas"):
        assert list(board.to_frame()["value"]) == [row.cells[0].value for row in group.rows]
    assert "good" in str(board)
    assert board._repr_html_().startswith("<pre")
    board.save(tmp_path / "board.csv")
    assert (tmp_path / "board.csv").read_text().startswith('"group"')
    with pytest.raises(voiceface.UserError, match="does not say what to write"):
        board.save(tmp_path / "board.doc")
    with pytest.raises(voiceface.UserError, match=r"good\.json: is a result, which the leaderboard would replace"):
        board.save(tmp_path / "good.json")
    with pytest.raises(voiceface.UserError, match="level 2: give a fraction"):
        voiceface.compare(good, level=2)
    with pytest.raises(voiceface.UserError, match="there is no result"):
        voiceface.compare(tmp_path / "none.json")
    tables = len(voiceface.compare(good).comparison.groups)
    assert len(voiceface.compare(good, published=True).comparison.groups) > tables + 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"voice_identity": ["a"] * 3}, "voices has 4 rows, voice_key 3"),
        ({"voices": np.full((4, 2), np.nan)}, "NaN or infinite"),
        ({"voice_keys": ["k"] * 4}, "voice keys appear twice"),
        ({"faces": np.ones((4, 3))}, "voices have 2 dimensions, faces 3"),
        ({"similarity": "dot"}, "similarity is 'dot'"),
    ],
)
def test_what_cannot_be_scored_is_said_in_one_line(change: dict, message: str):
    rng = np.random.default_rng(0)
    given = {"voices": rng.normal(size=(4, 2)), "faces": rng.normal(size=(4, 2))}
    given |= {"voice_identity": [*"aabb"], "face_identity": [*"aabb"], "name": "mine"}
    with pytest.raises(voiceface.UserError, match=message) as caught:
        voiceface.score(**{**given, **change})
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("mine: ")


def test_what_is_neither_checkpoint_nor_method_is_refused():
    with pytest.raises(voiceface.UserError, match="int: give a checkpoint's name or folder"):
        voiceface.evaluate(3)


def train(rank: int, corpus: str, folder: str) -> None:
    """In a process of its own: train from Python, test the checkpoint and the method, look at the run."""
    out = Path(folder)
    options = {"data__people": 6, "data__workers": 0, "trainer__val_check_interval": 2, "model__fc_rate": 1e-4}
    run = voiceface.fit("trinet", data=corpus, preset="demo", steps=4, out=out / "run", **options)
    assert run.results["training"]["steps"] == 4
    assert run.results["model"]["arguments"]["fc_rate"] == 1e-4
    assert repr(run).startswith(f"Run('{out / 'run'}': Results(trinet on ")
    assert "<pre" in run._repr_html_()
    kept = run.results["training"]["chosen"]["step"]
    assert kept in (2, 4)
    loss, accuracy = run.plot().axes
    assert loss.get_ylabel() == "training loss"
    assert accuracy.lines[0].get_xdata().tolist() == [2, 4]
    values = [row["val/accuracy_v2f_U"] for row in run.history() if "val/accuracy_v2f_U" in row]
    assert accuracy.lines[0].get_ydata().tolist() == [100 * value for value in values]
    assert (out / "run/learning_curve.png").read_bytes().startswith(b"\x89PNG")
    tested = voiceface.evaluate(run.checkpoint, corpus, workers=0)
    assert tested["scores"] == run.results["scores"]
    assert tested["model"] == run.results["model"]
    from voiceface.checkpoints import load_checkpoint

    method = voiceface.evaluate(load_checkpoint(run.checkpoint), corpus, workers=0)
    assert method["scores"] == run.results["scores"]
    for wrong, message in (
        ({"model": "trinte"}, "did you mean trinet?"),
        ({"model__margn": 1}, "did you mean margin?"),
    ):
        with pytest.raises(voiceface.UserError, match=message):
            voiceface.fit(**{"model": "trinet", "data": corpus, "preset": "demo", **wrong})
    with pytest.raises(voiceface.UserError, match="holds a finished run"):
        voiceface.fit("trinet", data=corpus, preset="demo", steps=4, out=out / "run", **options)


def test_train_and_test_from_python(tones: Path, tmp_path: Path):
    in_processes(1, train, tones, tmp_path)
