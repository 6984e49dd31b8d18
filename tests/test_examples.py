"""The files and notebooks of `examples/` run, with fewer steps, on a small corpus in place of the built-in one."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests_support import in_processes

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
CHECKPOINT = ROOT / "zoo/trinet-synthetic/src/voiceface_trinet_synthetic"

pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="no examples beside the tests")


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # `voiceface.fit` names the class by its path
    spec.loader.exec_module(module)
    return module


def test_score_embeddings(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    example("score_embeddings").main(str(tmp_path / "r.json"))
    assert "A voice finds its face among two 81.5 %" in capsys.readouterr().out
    assert (tmp_path / "r.json").exists()


def test_own_people(capsys: pytest.CaptureFixture[str]):
    with pytest.warns(UserWarning, match="synthetic people"):
        example("own_people").main([], str(CHECKPOINT))
    assert f"1. {ROOT / 'docs/example/b.jpg'}  similarity 0.74" in capsys.readouterr().out


def run_training(rank: int, corpus: str, folder: str) -> None:
    os.chdir(folder)
    short = {"steps": 4, "data": corpus, "preset": "demo", "data__people": 6, "data__workers": 0}
    example("train").main(**short)
    assert {"curve.png", "intervals.png"} <= {file.name for file in Path("runs/trinet").iterdir()}
    example("compare_models").main(**short)
    assert "pins" in Path("leaderboard.html").read_text()
    example("own_method").main(**short)


@pytest.mark.slow(reason="four short trainings; tests/test_api.py has one")
def test_the_examples_that_train(tones: Path, tmp_path: Path):
    in_processes(1, run_training, tones, tmp_path)


@pytest.mark.slow(reason="starts a Jupyter kernel for each notebook")
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("train_and_read", "steps, options, data = 4, {'data__people': 6, 'data__workers': 0}, {corpus!r}"),
        ("score_your_embeddings", "people = 12"),
        ("own_people", f"checkpoint = {str(CHECKPOINT)!r}"),
    ],
)
def test_a_notebook_runs(name: str, parameters: str, tones: Path, tmp_path: Path):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    book = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    (place,) = (i for i, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", ()))
    book.cells.insert(place + 1, nbformat.v4.new_code_cell(parameters.replace("{corpus!r}", repr(str(tones)))))
    folder = tmp_path if name == "train_and_read" else EXAMPLES  # where its relative paths lead
    client.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    shown = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
