"""Where runs are logged: real loggers, real failures, and a real run that logs everywhere."""

import csv
import importlib.util
import io
import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from failing_logger import FailingLogger
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tests_support import voiceface
from torch.utils.data import DataLoader

from voiceface.evaluation.results import read_results
from voiceface.training.loggers import Guarded, RunLogger, run_loggers
from voiceface.utils.errors import UserError

installed = importlib.util.find_spec
needs_tensorboard = pytest.mark.skipif(installed("tensorboard") is None, reason="tensorboard is not installed")
needs_wandb = pytest.mark.skipif(installed("wandb") is None, reason="wandb is not installed")
STEPS = 14


class Line(pl.LightningModule):
    """One weight, which follows 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.save_hyperparameters({"width": 1})

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = (self.weight - 1).square().sum()
        self.log("train/loss", loss)
        if batch_idx == 4:
            self.log("late", 1.0)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(loggers: list[Guarded], *callbacks: pl.Callback) -> list[float]:
    """Six steps; the losses, which are those of steps that nothing disturbed."""
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=loggers,
        callbacks=list(callbacks),
        max_steps=6,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Line(), DataLoader(torch.zeros(6, 1)))
    assert trainer.global_step == 6
    return [0.64**step for step in range(6)]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("where", ["experiment", "log_metrics", "log_hyperparams", "save", "finalize"])
def test_a_logger_that_fails_is_named_once_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    failing = FailingLogger(where)
    losses = train([Guarded(RunLogger(str(tmp_path))), Guarded(failing)])
    (warned,) = (r.getMessage() for r in caplog.records if r.name == "voiceface.training.loggers")
    assert warned == (
        "FailingLogger failed (ConnectionError: the server is gone); the run goes on and is no longer logged there"
    )
    assert failing.calls.count(where) == 1
    assert failing.calls[-1] == where
    assert [float(r["train/loss"]) for r in rows(tmp_path)] == pytest.approx(losses)


class SpoilMetrics(pl.Callback):
    """Puts something in the place of metrics.csv that cannot be written, before the fourth step is logged."""

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: object, idx: int) -> None:
        if idx == 3:
            self.path.rename(self.path.with_suffix(".before"))
            if self.what == "folder":
                self.path.mkdir()
            else:
                self.path.symlink_to("/dev/full")


@needs_tensorboard
@pytest.mark.parametrize("what", ["folder", "full disk"])
def test_metrics_that_cannot_be_written_any_more_do_not_stop_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    if what == "full disk" and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    losses = train(run_loggers(tmp_path), SpoilMetrics(tmp_path / "metrics.csv", what))
    (warned,) = (r.getMessage() for r in caplog.records if r.name == "voiceface.training.loggers")
    assert warned.startswith("RunLogger failed (IsADirectoryError" if what == "folder" else "RunLogger failed (OSError")
    assert [value for _, value in scalars(tmp_path)["train/loss"]] == pytest.approx(losses)
    before = list(csv.DictReader((tmp_path / "metrics.before").open()))
    assert [float(r["train/loss"]) for r in before] == pytest.approx(losses[:3])


def test_a_stop_by_the_user_is_no_failure() -> None:
    logger = Guarded(FailingLogger("none"))
    with pytest.raises(KeyboardInterrupt):
        logger._guard(lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert not logger.failed


def test_a_guarded_logger_passes_for_the_one_inside(tmp_path: Path) -> None:
    guarded = Guarded(CSVLogger(tmp_path, name="n", version=3))
    assert isinstance(guarded, CSVLogger)
    assert not isinstance(guarded, TensorBoardLogger)
    assert (guarded.name, guarded.version, guarded.log_dir) == ("n", 3, str(tmp_path / "n" / "version_3"))
    assert guarded.experiment is guarded.inside.experiment
    assert not hasattr(guarded, "log_image")
    copy = pickle.loads(pickle.dumps(Guarded(FailingLogger("save"))))
    copy.save()
    assert (copy.inside.where, copy.failed) == ("save", True)


def test_a_new_column_leaves_the_rows_before_as_they_were(tmp_path: Path) -> None:
    losses = train([Guarded(RunLogger(str(tmp_path)))])
    logged = rows(tmp_path)
    assert [r["late"] for r in logged] == ["", "", "", "", "1.0", "1.0"]  # Lightning repeats a step's value
    assert [float(r["train/loss"]) for r in logged] == pytest.approx(losses)
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


def test_what_is_not_installed_is_left_out_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert [type(logger.inside) for logger in run_loggers(tmp_path)] == [RunLogger]
    with pytest.raises(UserError, match=r"--wandb mine: the package is missing; pip install 'voiceface\[wandb\]'"):
        run_loggers(tmp_path, wandb="mine")


def test_the_users_own_loggers_come_after_ours(tmp_path: Path) -> None:
    own = [FailingLogger("none"), CSVLogger(tmp_path / "mine")]
    assert [logger.inside for logger in run_loggers(tmp_path, own)][-2:] == own
    assert run_loggers(tmp_path, own[0])[-1].inside is own[0]
    assert [type(logger.inside) for logger in run_loggers(tmp_path, False)] == [RunLogger]


@needs_wandb
def test_wandb_without_a_login_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "NETRC"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    try:
        with pytest.raises(UserError, match=r"^--wandb mine: .*wandb login.* set WANDB_MODE=offline$"):
            run_loggers(tmp_path, wandb="mine")
    finally:
        wandb.teardown()


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads: step and value by name."""
    return {tag: [(e.step, e.value) for e in events(run).Scalars(tag)] for tag in events(run).Tags()["scalars"]}


def events(run: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run / "tensorboard")).Reload()


def words(corpus: Path, out: Path) -> list[object]:
    chosen = ["--model", "trinet", "--data", corpus, "--out", out, "--preset", "demo"]
    sizes = ["--data.people", 6, "--data.workers", 0, "--trainer.max_steps", STEPS, "--trainer.val_check_interval", 5]
    return ["fit", *chosen, *sizes, "--trainer.log_every_n_steps", 2]


@pytest.fixture(scope="session")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that logs to files and TensorBoard, beside a logger of the user's that fails."""
    out = tmp_path_factory.mktemp("runs") / "run"
    failing = ["--trainer.logger", "failing_logger.FailingLogger", "--trainer.logger.where", "log_metrics"]
    done = voiceface(*words(corpus, out), *failing, status=0)
    assert done.stderr.count("FailingLogger failed (ConnectionError: the server is gone)") == 1
    return out


@pytest.fixture(scope="session")
def at_wandb(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, which logs to W&B too; W&B writes the rest of its file when the interpreter ends."""
    out = tmp_path_factory.mktemp("wandb") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        voiceface(*words(corpus, out), "--wandb", "faces", status=0, fresh=True)
    return out


@needs_tensorboard
def test_tensorboard_holds_what_metrics_csv_holds(run: Path) -> None:
    found = scalars(run)
    for name in ("train/loss", "train/grad_norm", "lr/fc", "speed/data_wait", "val/accuracy", "test/accuracy"):
        wanted = [(int(r["step"]), float(r[name])) for r in rows(run) if r[name]]
        assert wanted
        assert found[name] == [(step, pytest.approx(value, rel=1e-6)) for step, value in wanted]
    assert events(run).Tags()["images"] == ["embeddings"]


@needs_wandb
@pytest.mark.slow(reason="a process of its own, whose end writes the file")
def test_an_offline_wandb_run_holds_settings_metrics_and_the_picture(at_wandb: Path) -> None:
    run = at_wandb
    (folder,) = (run / "wandb").glob("offline-run-*")
    (log,) = folder.glob("*.wandb")
    about, history = wandb_records(log.read_bytes())
    assert (about["recipe"], about["preset"], about["save_every"]) == ("trinet", "demo", 200)
    assert about["trainer"]["max_steps"] == STEPS
    assert about["model"]["init_args"]["margin"] == 1.0
    for name in ("train/loss", "lr/fc", "train/grad_norm", "val/accuracy", "test/accuracy"):
        wanted = [(int(r["step"]), float(r[name])) for r in rows(run) if r[name]]
        assert [(h["trainer/global_step"], h[name]) for h in history if name in h] == wanted
    (picture,) = (folder / "files" / "media" / "images").glob("embeddings_*.png")
    assert picture.read_bytes() == (run / "embeddings.png").read_bytes()


def wandb_records(data: bytes) -> tuple[dict, list[dict]]:
    """The settings and the logged rows of a run's file, which `wandb sync` uploads: LevelDB's log of protobufs."""
    from wandb.proto.wandb_internal_pb2 import Record

    assert data[:4] == b":W&B"
    place, part, about, history = 7, b"", {}, []
    while place + 7 <= len(data):
        left = 32_768 - place % 32_768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = Record.FromString(part)
            part = b""
            for item in [*record.run.config.update, *record.config.update]:
                about[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
            if record.history.item:
                row = {i.key or ".".join(i.nested_key): i.value_json for i in record.history.item}
                history.append({name: json.loads(value) for name, value in row.items()})
    return about, history


def test_the_picture_shows_people_in_colours(run: Path) -> None:
    pixels = np.asarray(Image.open(run / "embeddings.png").convert("RGB")).reshape(-1, 3)
    assert len(pixels) > 300_000
    assert (pixels == 255).all(axis=1).mean() > 0.7
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)):
        assert (np.abs(pixels.astype(int) - colour).max(axis=1) < 12).sum() > 50


def test_the_result_file_says_what_the_training_took(run: Path) -> None:
    results = read_results(run / "results.json")
    training = results["training"]
    assert [training[k] for k in ("steps", "voices", "faces", "processes", "resumed")] == [14, 14 * 12, 14 * 12, 1, 0]
    epoch = next(int(r["step"]) for r in rows(run) if r["epoch"] == "1")
    assert training["epochs"] == pytest.approx(14 / (epoch // 2 * 2), abs=1e-3)
    validated = {int(r["step"]) + 1: float(r["val/accuracy"]) for r in rows(run) if r["val/accuracy"]}
    assert validated.keys() == {5, 10}
    chosen = training["chosen"]
    assert chosen["by"] == "val/accuracy"
    assert chosen["value"] == max(validated.values()) == validated[chosen["step"]]
    assert 0 < training["seconds"] < 600
    assert 0 < training["validation_seconds"] < 600
    assert 0 < training["data_wait"] < 1
    assert (training["devices"]["kind"], training["devices"]["count"]) == ("cpu", 1)
    assert training["devices"]["name"]
    assert training["precision"] == "32-true"
    assert json.loads((run / "checkpoint" / "training.json").read_text()) == training


def test_the_test_split_is_read_after_all_is_chosen_and_totals_go_on_over_a_resume(
    run: Path, corpus: Path, tmp_path: Path
) -> None:
    """With a test split that cannot be read, a run ends with the same checkpoint as one that could read it."""
    own = Path(shutil.copytree(corpus, tmp_path / corpus.name))
    command = [*words(own, tmp_path / "blind"), "--trainer.accelerator", "cpu"]
    test_shards = sorted((own / "test").glob("*.tar"))
    assert test_shards
    for path in test_shards:
        path.write_bytes(bytes(path.stat().st_size))
    refused = voiceface(*command, status=2)
    shutil.copytree(corpus, own, dirs_exist_ok=True)
    assert "voiceface: " in refused.stderr
    assert not (tmp_path / "blind" / "results.json").exists()
    weights = "checkpoint/model.safetensors"
    assert (tmp_path / "blind" / weights).read_bytes() == (run / weights).read_bytes()
    blind, seeing = (
        json.loads((folder / "checkpoint/config.json").read_text()) for folder in (tmp_path / "blind", run)
    )
    for fitted in seeing["calibration"].values():
        assert fitted["error"] is not None, "measured in the test"
        fitted["error"] = None
    assert blind == seeing

    def choices(folder: Path) -> list[tuple[str, str]]:
        return [(r["step"], r["val/accuracy"]) for r in rows(folder) if r["val/accuracy"]]

    assert choices(tmp_path / "blind") == choices(run)
    voiceface(*command, "--ckpt_path", "last", "--trainer.max_steps", STEPS + 6, status=0)
    training = read_results(tmp_path / "blind" / "results.json")["training"]
    first = json.loads((run / "checkpoint" / "training.json").read_text())
    assert [training[k] for k in ("steps", "voices", "faces", "resumed")] == [20, 20 * 12, 20 * 12, 1]
    assert training["epochs"] == pytest.approx(first["epochs"] * 20 / 14, abs=2e-3)
