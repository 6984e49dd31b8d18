"""The real command on a small synthetic corpus: what it leaves behind, that it repeats itself, and that it survives a
kill."""

import csv
import json
import random
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from killer import Runs, differences, state_of
from safetensors.torch import load_file
from tests_support import server
from tests_support import voiceface as run_voiceface

from voiceface.checkpoints.card import card_of
from voiceface.evaluation.results import read_results

STEPS = 14
SMALL = [
    "--preset",
    "demo",
    "--data.people",
    "6",
    "--trainer.max_steps",
    str(STEPS),
    "--trainer.val_check_interval",
    "5",
]


def voiceface(*words: object, status: int | None = 0, fresh: bool = False) -> subprocess.CompletedProcess[str]:
    return run_voiceface(*words, status=status, fresh=fresh)


@pytest.fixture(scope="session")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run without workers."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    done = voiceface("fit", "--model", "trinet", "--data", corpus, "--out", out, "--data.workers", 0, *SMALL)
    (out / "stdout.txt").write_text(done.stdout)
    (out / "stderr.txt").write_text(done.stderr)
    assert "Traceback" not in done.stderr
    return out


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = torch.load(run / "last.ckpt", weights_only=True)
    assert state["global_step"] == STEPS
    return state["state_dict"]


def assert_bit_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name


def test_a_run_leaves_all_its_files_and_prints_its_table(run: Path, corpus: Path):
    left = {p.name for p in run.iterdir()} - {"stdout.txt", "stderr.txt"}
    assert left == {
        "config.yaml",
        "metrics.csv",
        "tensorboard",
        "last.ckpt",
        "best.ckpt",
        "results.json",
        "results.effects.npz",
        "embeddings.png",
        "learning_curve.png",
        "checkpoint",
    }
    assert {p.name for p in (run / "checkpoint").iterdir()} == {
        "model.safetensors",
        "config.json",
        "identities.txt",
        "training.json",
        "results.json",
        "results.effects.npz",
        "README.md",
    }
    results = read_results(run / "results.json")
    assert read_results(run / "checkpoint" / "results.json") == results
    calibration = json.loads((run / "checkpoint" / "config.json").read_text())["calibration"]
    assert calibration == results["calibration"]
    assert calibration.keys() == {"v2f", "f2v"}
    assert all(one["slope"] >= 0 and 0 <= one["error"] <= 1 for one in calibration.values())
    card = (run / "checkpoint" / "README.md").read_text()
    assert card == card_of(run / "checkpoint")
    assert "Expected calibration error on the test people" in card
    table = (run / "stdout.txt").read_text()
    for words in (
        "trinet on synthetic",
        "same gender",
        "ideal",
        "retrieval over the whole split",
        "chance",
        "these numbers say nothing about real people",
    ):
        assert words in table
    results = read_results(run / "results.json")
    assert results["model"]["recipe"] == "trinet"
    assert results["data"]["identities"] == 10
    assert results["data"]["voices"] == 20
    assert results["environment"]["seed"] == 0
    found = {(r["task"], r["direction"], r["stratum"]) for r in results["scores"]}
    assert {
        ("matching", d, s) for d in ("v2f", "f2v") for s in ("U", "G", "N", "A", "GN", "GNA", "male", "female")
    } <= found
    assert {r["metric"] for r in results["ideal_observer"]} >= {"accuracy", "mAP", "R@1"}


def test_metrics_are_logged_step_by_step(run: Path):
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    logged = [int(r["step"]) for r in rows if r["val/accuracy_v2f_U"]]
    assert logged == [4, 9]
    assert all(0 <= float(r["val/accuracy_f2v_G"]) <= 1 for r in rows if r["val/accuracy_f2v_G"])


@pytest.mark.parametrize(
    "fresh", [False, pytest.param(True, marks=pytest.mark.slow(reason="another process, which imports all of it"))]
)
def test_a_user_may_log_elsewhere_too_and_twice_the_same_seed_gives_the_same_bits(
    fresh: bool, run: Path, corpus: Path, tmp_path: Path
):
    logger = ["--trainer.logger", "pytorch_lightning.loggers.CSVLogger", "--trainer.logger.save_dir", tmp_path / "mine"]
    words = ["fit", "--model", "trinet", "--data", corpus, "--data.workers", 0, *SMALL]
    voiceface(*words, "--out", tmp_path / "again", *logger, fresh=fresh)
    assert_bit_equal(weights(run), weights(tmp_path / "again"))
    assert (tmp_path / "again" / "metrics.csv").exists()
    assert list((tmp_path / "mine").rglob("metrics.csv"))


def test_another_seed_gives_other_weights(run: Path, corpus: Path, tmp_path: Path):
    words = ["fit", "--model", "trinet", "--data", corpus, "--data.workers", 0, *SMALL]
    voiceface(*words, "--out", tmp_path / "other", "--seed_everything", 1, "--trainer.limit_val_batches", 0)
    first = next(iter(weights(run)))
    assert not torch.equal(weights(run)[first], weights(tmp_path / "other")[first])


WORKERS_IMPORT = pytest.mark.slow(reason="its worker processes import torch anew, six times in all")


@pytest.mark.parametrize(
    "start_method",
    ["fork", pytest.param("spawn", marks=WORKERS_IMPORT), pytest.param("forkserver", marks=WORKERS_IMPORT)],
)
def test_killed_at_a_random_step_and_resumed_gives_the_same_bits(
    run: Path, corpus: Path, tmp_path: Path, start_method: str
):
    step = random.Random(start_method).randrange(4, STEPS)
    words = ["fit", "--model", "trinet", "--data", corpus, "--out", tmp_path / "run", "--save_every", 3, *SMALL]
    words += ["--data.workers", 3, "--data.start_method", start_method]
    killed = voiceface(*words, "--trainer.callbacks", "killer.Fault", "--trainer.callbacks.step", step, status=None)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"]
    due = [s for s in range(step + 1) if s % 3 == 0 or s % 5 in (0, 4)]
    assert saved == due[-1], "saved every 3 steps, before and after validation"
    voiceface(*words, "--ckpt_path", "last")
    assert differences(state_of(run), state_of(tmp_path / "run")) == []


def test_the_saved_config_starts_a_run_of_its_own(run: Path, corpus: Path, tmp_path: Path):
    before = (run / "results.json").read_bytes()
    words = ["fit", "--config", run / "config.yaml", "--out", tmp_path / "again", "--trainer.max_steps", 5]
    run_voiceface(*words, status=0)
    assert (run / "results.json").read_bytes() == before
    assert (tmp_path / "again" / "results.json").exists()


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param("torchrun", marks=pytest.mark.slow(reason="two processes; the quick one is of test_distributed")),
        pytest.param("own", marks=pytest.mark.slow(reason="two processes import all of it, as a user's do")),
    ],
)
def test_two_processes_train_into_one_run_folder(launcher: str, corpus: Path, tmp_path: Path):
    two = ["--trainer.accelerator", "cpu", "--trainer.devices", 2, "--trainer.strategy", "ddp", "--data.workers", 0]
    words = ["--model", "trinet", "--data", corpus, *SMALL, "--trainer.max_steps", 4, *two]
    if launcher == "own":
        said = run_voiceface("fit", *words, cwd=tmp_path, status=0, fresh=True).stdout
    else:
        words += ["--out", tmp_path / "runs/trinet"]
        status, said = Runs(server())(*words, log=tmp_path / "log.txt", processes=2)
        assert status == 0, said
    assert said.count("trinet on synthetic") == 1
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["trinet"]
    results = read_results(tmp_path / "runs/trinet/results.json")
    assert (results["data"]["voices"], results["data"]["faces"]) == (20, 20)
    tested = voiceface("test", tmp_path / "runs/trinet/checkpoint", "--data", corpus, "--out", tmp_path / "r.json")
    assert tested.returncode == 0
    assert [r["value"] for r in read_results(tmp_path / "r.json")["scores"]] == pytest.approx(
        [r["value"] for r in results["scores"]], abs=0.02
    )


def test_resume_refuses_another_model_and_other_settings(run: Path, corpus: Path, tmp_path: Path):
    words = [
        "fit",
        "--model",
        "trinet",
        "--data",
        corpus,
        "--out",
        tmp_path / "x",
        *SMALL,
        "--ckpt_path",
        run / "last.ckpt",
    ]
    other = voiceface(*words, "--model.margin", 0.5, status=2)
    assert "--model.margin 1.0, this run has 0.5" in other.stderr
    batch = voiceface(*words, "--data.people", 5, status=2)
    assert "the run had --data.people 6, now it is 5" in batch.stderr
    (tmp_path / "torn.ckpt").write_bytes((run / "last.ckpt").read_bytes()[:5000])
    torn = voiceface(*words[:-1], tmp_path / "torn.ckpt", status=2)
    assert "not a training state, or damaged" in torn.stderr
    taken = voiceface("fit", "--model", "trinet", "--data", corpus, "--out", run, *SMALL, status=2)
    assert "holds a finished run" in taken.stderr
    for done in (other, batch, torn, taken):
        assert len(done.stderr.strip().splitlines()) <= 2


def test_each_validation_leaves_a_line_with_its_accuracy_and_the_best(run: Path):
    told = (run / "stderr.txt").read_text()
    said = re.findall(
        r"^step (\d+)/14  [\d:]+ left  [\d.]+ steps/s .*val ([\d.]+) % \((best(?: [\d.]+)?)\)", told, re.M
    )
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/accuracy"]]
    values = [100 * float(row["val/accuracy"]) for row in rows]
    assert [int(step) for step, _, _ in said] == [int(row["step"]) + 1 for row in rows] == [5, 10]
    assert [float(value) for _, value, _ in said] == [round(value, 1) for value in values]
    best = [max(values[: i + 1]) for i in range(2)]
    wanted = ["best" if value >= top else f"best {top:.1f}" for value, top in zip(values, best, strict=True)]
    assert [text for _, _, text in said] == wanted


def test_test_and_embed_give_what_fit_gave(run: Path, corpus: Path, tmp_path: Path):
    tested = voiceface("test", run / "checkpoint", "--data", corpus, "--out", tmp_path / "r.json", "--workers", 0)
    assert "trinet on synthetic" in tested.stdout
    again, first = read_results(tmp_path / "r.json"), read_results(run / "results.json")
    assert again["scores"] == first["scores"]
    assert again["data"] == first["data"]
    assert again["model"] == first["model"]
    assert again["training"] == first["training"]

    voiceface("embed", run / "checkpoint", "--data", corpus, "--out", tmp_path / "e.npz", "--workers", 0)
    table = np.load(tmp_path / "e.npz")
    clips = {"voices", "voice_identity", "voice_key", "faces", "face_identity", "face_key"}
    assert set(table) == clips | {"about", "similarity", "voice_pitch", "voice_loudness"}
    assert table["voices"].shape == (20, 128)
    assert np.allclose(np.linalg.norm(table["faces"], axis=1), 8, atol=1e-2)
    assert all(f"/{i}/" in k for k, i in zip(table["voice_key"], table["voice_identity"], strict=True))
    from voiceface.scores import score

    records = score(table["voices"], table["voice_identity"], table["faces"], table["face_identity"], strata=["U"])
    wanted = next(r for r in first["scores"] if r["task"] == "matching" and r["direction"] == "v2f")
    found = next(r for r in records if r["task"] == "matching" and r["direction"] == "v2f")
    assert found["value"] == pytest.approx(wanted["value"])


def test_checkpoints_that_do_not_fit_are_refused_in_one_line(run: Path, corpus: Path, tmp_path: Path):
    def copy(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in (run / "checkpoint").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return folder

    damaged = copy("damaged")
    content = bytearray((damaged / "model.safetensors").read_bytes())
    content[-8] ^= 1
    (damaged / "model.safetensors").write_bytes(bytes(content))
    wider = copy("wider")
    config = json.loads((wider / "config.json").read_text())
    config["arguments"]["dim"] = 64
    (wider / "config.json").write_text(json.dumps(config))
    foreign = copy("foreign")
    config["method"], config["class"] = "os", "system"
    (foreign / "config.json").write_text(json.dumps(config))
    for folder, message in (
        (damaged, "damaged (its sha256"),
        (wider, "config.json says parameters"),
        (foreign, "needs the class os.system, and no checkpoint chooses what is imported"),
        (tmp_path / "none", "none: no such folder; give a checkpoint folder"),
    ):
        done = voiceface("test", folder, "--data", corpus, "--out", tmp_path / "r.json", status=2)
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "r.json").exists()


def test_the_checkpoint_holds_the_best_weights(run: Path):
    best = torch.load(run / "best.ckpt", weights_only=True)["state_dict"]
    assert_bit_equal(load_file(run / "checkpoint" / "model.safetensors"), best)


def test_a_refused_run_leaves_no_folder(corpus: Path, tmp_path: Path):
    out = tmp_path / "new"
    refused = voiceface(
        "fit", "--model", "trinet", "--data", corpus, "--out", out, *SMALL, "--model.face_margin", 1.5, status=2
    )
    assert "stores faces with margin 1.25, the face encoder wants 1.5; give --model.face_margin 1.25" in refused.stderr
    assert not out.exists()
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "config.yaml").write_text("mine")
    voiceface("fit", "--model", "trinet", "--data", corpus, "--out", kept, *SMALL, "--data.people", 999, status=2)
    assert (kept / "config.yaml").exists()


def test_a_method_that_compares_candidates_goes_through_its_commands(corpus: Path, tmp_path: Path):
    out, again = tmp_path / "svhf", tmp_path / "again.json"
    few = ["--metrics.trials", 500, "--metrics.validation_trials", 100, "--data.workers", 0]
    done = voiceface("fit", "--model", "svhf", "--data", corpus, "--out", out, *SMALL, "--trainer.max_steps", 2, *few)
    assert "Candidates are compared with each other: 500 seeded trials" in " ".join(done.stdout.split())
    scores = read_results(out / "results.json")["scores"]
    assert {(r["task"], r["direction"], r["protocol"], r["n"]) for r in scores} == {("matching", "v2f", "sampled", 2)}
    voiceface("test", out / "checkpoint", "--data", corpus, "--out", again, "--sampled", 500)
    assert read_results(again)["scores"] == scores
    refused = voiceface("embed", out / "checkpoint", "--data", corpus, "--out", tmp_path / "e.npz", status=2)
    assert "use `voiceface test`" in refused.stderr
    assert not (tmp_path / "e.npz").exists()


def test_a_method_that_scores_pairs_is_scored_alike_from_its_embeddings(corpus: Path, tmp_path: Path):
    out, emb, scored = tmp_path / "kim", tmp_path / "emb.npz", tmp_path / "scored.json"
    few = [*SMALL, "--trainer.max_steps", 2, "--data.workers", 0]
    voiceface("fit", "--model", "kim_classifier", "--data", corpus, "--out", out, *few)
    voiceface("embed", out / "checkpoint", "--data", corpus, "--out", emb)
    voiceface("score", emb, "--out", scored)
    one, two = (
        {tuple(r[k] for k in ("task", "metric", "direction", "stratum", "protocol", "n")): r["value"] for r in records}
        for records in (read_results(out / "results.json")["scores"], read_results(scored)["scores"])
    )
    assert one == {k: v for k, v in two.items() if k in one}
    assert len(one) > 50
