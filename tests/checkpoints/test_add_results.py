"""A checkpoint folder and the result of its test: put together, or refused before anything is written."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voiceface.checkpoints.config import FIRST
from voiceface.checkpoints.weights import add_results, halve, load_checkpoint, read_config, save_checkpoint
from voiceface.evaluation.results import content_hash, read_effects, read_results, write_results
from voiceface.methods.trinet import TriNet
from voiceface.scores import score
from voiceface.utils.errors import UserError

DATA = {"corpus": "synthetic", "version": "abc", "split": "train"}
CALIBRATION = {way: {"slope": 2.0, "intercept": 0.0, "error": None} for way in ("v2f", "f2v")}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    method = TriNet(face_encoder="face_small", voice_encoder="voice_small", freeze_voice=False, dim=16)
    folder = tmp_path_factory.mktemp("saved") / "checkpoint"
    save_checkpoint(method, folder, "trinet", DATA, calibration=CALIBRATION)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "checkpoint"))


def result_of(sha256: str | None, out: Path, **sections: Any) -> Path:
    """A small result file with effects, as a test of these weights writes it."""
    rng = np.random.default_rng(0)
    people = np.repeat([f"p{i}" for i in range(8)], 2).tolist()
    rows = rng.standard_normal((16, 4)).astype(np.float32)
    noisy = rows + rng.standard_normal((16, 4)).astype(np.float32)
    records = score(rows, people, noisy, people, similarity="cosine", strata=["U"])
    model: dict[str, Any] = {"recipe": "trinet", "method": "TriNet", "arguments": {}, "parameters": 1}
    model |= {"checkpoint": sha256, "training_data": None}
    data: dict[str, Any] = {"corpus": "synthetic", "version": "v", "synthetic": True, "clips_sha256": "c"}
    data |= {"split": "test", "identities": 8, "voices": 16, "faces": 16, "skipped": 0, "leaking_identities": 0}
    content = {"schema": 2, "model": model, "data": data, "environment": {}, "scores": records, **sections}
    write_results(out, content)
    return out


def test_a_result_of_these_weights_completes_the_folder(folder: Path, tmp_path: Path):
    sha256 = read_config(folder)["sha256"]
    measured = {"v2f": {"slope": 2.0, "intercept": 0.0, "error": 0.0123}}
    path = result_of(sha256, tmp_path / "mine.json", calibration=measured)
    add_results(folder, path)
    inside = read_results(folder / "results.json")
    assert inside["scores"] == read_results(path)["scores"]
    effects, wanted = read_effects(folder / "results.json", inside), read_effects(path, read_results(path))
    assert effects is not None
    assert wanted is not None
    assert effects.keys() == wanted.keys() != set()
    calibration = load_checkpoint(folder).calibration
    assert calibration == {"v2f": {**CALIBRATION["v2f"], "error": 0.0123}, "f2v": CALIBRATION["f2v"]}
    (value,) = (
        r["value"]
        for r in inside["scores"]
        if (r["task"], r["direction"], r["n"]) == ("matching", "v2f", 2) and r["protocol"] == "exact"
    )
    text = (folder / "README.md").read_text()
    assert f"| anybody | {100 * value:.1f} [" in text
    assert "voice to face 1.2" in text
    with pytest.raises(UserError, match="scores of other weights"):
        add_results(folder, result_of("0" * 64, tmp_path / "other.json"))
    save_checkpoint(load_checkpoint(folder), folder, "trinet", DATA)
    assert not list(folder.glob("results*")), "those were scores of the weights before"


@pytest.mark.parametrize("lie", [{"v2f": 3}, {"up": {}}, {"v2f": {"slope": 1.0, "intercept": 0.0, "error": "x"}}, []])
def test_a_result_with_a_calibration_that_is_none_changes_nothing(folder: Path, tmp_path: Path, lie: Any):
    path = result_of(read_config(folder)["sha256"], tmp_path / "mine.json")
    content = {**json.loads(path.read_text()), "calibration": lie}
    path.write_text(json.dumps({**content, "sha256": content_hash(content)}))
    before = (folder / "config.json").read_bytes()
    with pytest.raises(UserError, match="its section calibration is not as voiceface writes it"):
        add_results(folder, path)
    assert (folder / "config.json").read_bytes() == before
    assert not (folder / "results.json").exists()


def test_a_checkpoint_of_schema_1_gets_no_result(folder: Path, tmp_path: Path):
    config = read_config(folder)
    (folder / "config.json").write_text(json.dumps({key: config[key] for key in FIRST} | {"schema": 1}))
    with pytest.raises(UserError, match="of checkpoint schema 1"):
        add_results(folder, result_of(config["sha256"], tmp_path / "r.json"))
    assert not (folder / "results.json").exists()


def test_what_is_no_folder_is_told(saved: Path, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"file/results\.json: cannot be removed"):
        halve(saved, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
