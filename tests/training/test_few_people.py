"""A corpus with fewer people than the demo preset's batch: as many as there are, said and written down."""

from pathlib import Path

import pytest
import yaml
from tests_support import Counts, tone_corpus, voiceface

from voiceface.evaluation.results import read_results
from voiceface.methods.recipes import FOLDER
from voiceface.training.few_people import processes

FIT = ["fit", "--model", "trinet", "--data.workers", 0, "--trainer.max_steps", 3, "--trainer.accelerator", "cpu"]


def corpus(folder: Path, people: int) -> Path:
    counts: list[Counts] = [("train", 2, 2)] * people + [("val", 2, 2)] * 2 + [("test", 2, 2)] * 2
    return tone_corpus(folder / f"corpus{people}", counts)


def test_the_demo_preset_takes_as_many_as_there_are(tmp_path: Path):
    words = [*FIT, "--data", corpus(tmp_path, 5), "--out", tmp_path / "run"]
    done = voiceface(*words, "--preset", "demo", status=0)
    said = "--data.people 5, not the demo preset's 32: the train split has 5 people"
    assert done.stderr.splitlines().count(said) == 1
    training = read_results(tmp_path / "run/results.json")["training"]
    assert (training["note"], training["settings"]["data.people"], training["voices"]) == (said, 5, 3 * 5 * 2)
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["data"]["people"] == 5
    again = voiceface(*words, "--preset", "demo", "--ckpt_path", "last", "--trainer.max_steps", 4, status=0)
    assert said in again.stderr
    copied = voiceface("fit", "--config", tmp_path / "run/config.yaml", "--out", tmp_path / "copy", status=0)
    assert "preset's" not in copied.stderr


def test_where_the_user_or_the_paper_gave_the_number_it_is_an_error(tmp_path: Path):
    small, one = corpus(tmp_path, 5), corpus(tmp_path, 1)
    (tmp_path / "own.yaml").write_text("data: {people: 32}")
    demo = yaml.safe_load((FOLDER / "demo.yaml").read_text())["model"]["init_args"]
    networks = [f"--model.{name}={'null' if value is None else value}" for name, value in demo.items()]
    for words, said in (
        ([small, "--preset", "demo", "--data.people", 6], "--data.people 6: the train split has 5 people"),
        ([small, "--preset", "demo", "--config", tmp_path / "own.yaml"], "--data.people 32: the train split has 5"),
        ([small, "--model", "pins", *networks], "--data.people 64: the train split has 5 people"),
        ([one, "--preset", "demo"], "the train split has 1 identity"),
    ):
        done = voiceface(*FIT, "--data", *words, "--out", tmp_path / "run", status=2)
        assert said in done.stderr.splitlines()[-1]
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("trainer", "world", "expected"),
    [
        ({"devices": 2}, None, 2),
        ({"devices": "2", "num_nodes": 3}, None, 6),
        ({"devices": [0, 3, 5]}, None, 3),
        ({"devices": "auto"}, None, 1),
        ({"devices": "0,1"}, None, 2),
        ({"devices": 1}, "4", 4),
        ({"devices": "auto", "num_nodes": 2}, "4", 4),
    ],
)
def test_processes_are_counted_as_lightning_will_start_them(
    trainer: dict, world: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if world is not None:
        monkeypatch.setenv("WORLD_SIZE", world)
    assert processes({"accelerator": "cpu", "num_nodes": 1, **trainer}) == expected
