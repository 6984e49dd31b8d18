"""A run that was stopped under 0.1.0, before modules moved into rooms, goes on."""

import csv
import shutil
from pathlib import Path

import torch
from tests_support import voiceface

from voiceface.evaluation.results import read_results

KEPT = Path(__file__).parents[1] / "golden/before_rooms"  # TriNet on 128 features a clip, two steps, seed 0


def test_it_goes_on_from_its_last_step_and_a_finished_one_is_read(tmp_path: Path):
    shutil.copytree(KEPT, tmp_path, dirs_exist_ok=True)
    before = read_results(tmp_path / "run/results.json")
    assert before["model"]["recipe"] == "trinet"
    config = ["--model", "trinet", "--preset", "demo", "--encoders", "features", "--data", "features", "--out", "run"]
    more = ["--data.people", 4, "--data.workers", 0, "--trainer.max_steps", 4, "--trainer.val_check_interval", 1]
    more += ["--trainer.accelerator", "cpu", "--ckpt_path", "last"]
    voiceface("fit", *config, *more, cwd=tmp_path, status=0)
    state = torch.load(tmp_path / "run/last.ckpt", weights_only=True)
    assert state["global_step"] == 4
    steps = [int(row["step"]) for row in csv.DictReader((tmp_path / "run/metrics.csv").open()) if row["val/accuracy"]]
    assert steps == [0, 1, 2, 3], "the first two are the earlier run's"
    assert read_results(tmp_path / "run/results.json")["data"] == before["data"]
