"""Leaderboards in TensorBoard and at Weights & Biases: what was written is read back."""

import importlib.util
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voiceface.compare.grouping import compare_results
from voiceface.compare.reading import find_results
from voiceface.compare.render.data_files import NAMES, tidy
from voiceface.compare.render.documents import to_markdown
from voiceface.compare.render.log import check_loggers, log_comparison
from voiceface.compare.table import Comparison
from voiceface.evaluation.result_schema import DATA
from voiceface.evaluation.results import write_results
from voiceface.scores import score
from voiceface.utils.errors import UserError

installed = importlib.util.find_spec
needs_tensorboard = pytest.mark.skipif(installed("tensorboard") is None, reason="tensorboard is not installed")
needs_wandb = pytest.mark.skipif(installed("wandb") is None, reason="wandb is not installed")
MODELS = ("plain", "a/b: ünï", "a b; ünï")


@pytest.fixture
def wandb_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Weights & Biases offline, which reads the environment and the folder when it starts, and goes on between runs."""
    import wandb

    wandb.teardown()
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    wandb.teardown()


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Three models with odd names on the same clips, one of them trained."""
    folder = tmp_path_factory.mktemp("results")
    owner = np.repeat([f"p{i}" for i in range(12)], 2).tolist()
    for number, name in enumerate(MODELS):
        similarity = np.random.default_rng(number).normal(size=(24, 24)) + number * np.kron(np.eye(12), np.ones((2, 2)))
        records = score(None, owner, None, owner, similarity=similarity, strata=["U"], candidates=(2, 3, 10))
        model = {"recipe": name, "method": "embeddings", **dict.fromkeys(("arguments", "parameters", "checkpoint"))}
        data = dict.fromkeys(DATA) | {"clips_sha256": "ab", "identities": 12, "voices": 24, "faces": 24, "skipped": 0}
        sections = {"schema": 2, "model": {**model, "training_data": None}, "data": data, "environment": {}}
        training = {"training": {"steps": 20, "curve": [[10, 0.5], [20, 0.625]]}} if number == 0 else {}
        write_results(folder / f"{number}.json", {**sections, "scores": records, **training})
    return compare_results(find_results([folder])[0])


def value(comparison: Comparison, model: str, **wanted: Any) -> float:
    """A score as the result file has it."""
    ((_, results),) = comparison.groups[0].results[model]
    (record,) = (r for r in results["scores"] if all(r[k] == v for k, v in wanted.items()))
    return float(record["value"])


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0}).Reload()


def about(steps: tuple[int, ...], values: list[float]) -> list[tuple[int, Any]]:
    """Event files keep floats of 32 bits."""
    return [(step, pytest.approx(value, rel=1e-6)) for step, value in zip(steps, values, strict=True)]


@needs_tensorboard
def test_tensorboard_holds_the_table_the_plots_and_each_models_curves(comparison: Comparison, tmp_path: Path):
    log_comparison(comparison, tensorboard=tmp_path / "board")
    runs = {path.name for path in (tmp_path / "board").iterdir()}
    assert runs == {"leaderboard", "plain", "a_b_ünï", "a_b_ünï-2", "chance"}
    shown = events(tmp_path / "board" / "leaderboard")
    (text,) = shown.Tensors("leaderboard")
    assert text.tensor_proto.string_val[0].decode() == to_markdown(comparison)
    names = {tag.rpartition("/")[2] for tag in shown.Tags()["images"]}
    assert names >= {"many_curves", "recall_curves", "training_curves"}
    for tag in shown.Tags()["images"]:
        (picture,) = shown.Images(tag)
        pixels = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)).convert("L"))
        assert pixels.shape == (picture.height, picture.width)
        assert pixels.std() > 5  # something is drawn
    curves = events(tmp_path / "board" / "plain")
    points = {
        tag.partition("/")[2]: [(e.step, e.value) for e in curves.Scalars(tag)] for tag in curves.Tags()["scalars"]
    }
    for direction, words in (("v2f", "voice → face"), ("f2v", "face → voice")):
        wanted = [
            value(comparison, "plain", task="matching", n=n, protocol="exact", direction=direction) for n in (2, 3, 10)
        ]
        assert points[f"1:N accuracy {words}"] == about((2, 3, 10), wanted)
        wanted = [value(comparison, "plain", metric=f"R@{k}", direction=direction) for k in (1, 5, 10)]
        assert points[f"R@K {words}"] == about((1, 5, 10), wanted)
    assert points["validation accuracy"] == [(10, 0.5), (20, 0.625)]
    assert len(points) == 5


def wandb_files(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"wandb/offline-run-*/files/media/{kind}/**/*.*"))


@pytest.mark.slow(reason="Weights & Biases starts a server of its own")
@needs_wandb
def test_an_offline_run_at_wandb_holds_cells_pictures_and_page(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wandb_anew: None
):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    log_comparison(comparison, wandb_project="boards")
    (table,) = wandb_files(tmp_path, "table")
    found = json.loads(table.read_text())
    assert found["columns"] == list(NAMES)
    wanted = [[line[name] for name in NAMES] for line in tidy(comparison)]
    assert found["data"] == json.loads(json.dumps(wanted))
    assert {line[NAMES.index("model")] for line in found["data"]} == {*MODELS, "chance"}
    (page,) = wandb_files(tmp_path, "html")
    text = page.read_text()
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert "a/b: ünï" in text
    pictures = {path.name.partition("_curves")[0].partition("_bars")[0] for path in wandb_files(tmp_path, "images")}
    assert {"many", "recall", "training"} <= pictures
    for path in wandb_files(tmp_path, "images"):
        assert np.asarray(Image.open(path).convert("L")).std() > 5


@needs_tensorboard
def test_what_fails_is_told_in_a_line_and_nothing_else_is_lost(
    comparison: Comparison, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        log_comparison(comparison, tensorboard=tmp_path / "file")
    (warned,) = (r.getMessage() for r in caplog.records if r.name == "voiceface.compare.render.log")
    assert warned.startswith("TensorBoard failed (")
    assert warned.endswith("); the leaderboard is not, or not wholly, logged there")
    assert "\n" not in warned


@needs_wandb
def test_a_failure_at_wandb_does_not_keep_tensorboard_from_its_part(
    comparison: Comparison,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wandb_anew: None,
):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        log_comparison(comparison, wandb_project="no/such:name", tensorboard=tmp_path / "board")
    (warned,) = (r.getMessage() for r in caplog.records if r.name == "voiceface.compare.render.log")
    assert warned.startswith("Weights & Biases failed (")
    assert (tmp_path / "board" / "plain").is_dir()


def test_a_package_that_is_missing_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"--wandb mine: the package is missing; pip install 'voiceface\[wandb\]'"):
        check_loggers("mine")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.delitem(sys.modules, "tensorboard", raising=False)
    with pytest.raises(UserError, match=r"--tensorboard .*board: the package is missing; pip install 'voiceface\[te"):
        check_loggers(tensorboard=tmp_path / "board")
    check_loggers()


@pytest.mark.slow(reason="a fresh process")
@needs_tensorboard
def test_logging_to_tensorboard_needs_no_torch(tmp_path: Path):
    golden = Path(__file__).parents[2] / "golden" / "results" / "schema2.json"
    program = (
        "import sys; from pathlib import Path; from voiceface.compare.grouping import compare_results; "
        "from voiceface.compare.reading import find_results; from voiceface.compare.render.log import log_comparison; "
        f"log_comparison(compare_results(find_results([Path({str(golden)!r})])[0]), tensorboard={str(tmp_path)!r}); "
        "print({'torch', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    assert done.stderr == ""
    assert (tmp_path / "golden").is_dir()
