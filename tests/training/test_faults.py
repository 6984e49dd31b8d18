"""Runs that are brought down: a short form of `benchmarks/training/faults.py`, and what each part of it rests on."""

import csv
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from killer import SLURM, Runs, differences, state_of
from tests_support import server, tone_corpus

from benchmarks.training.faults import SHORT, Cell, run_cells
from voiceface.training.arguments import RunChoice
from voiceface.training.checkpointing import DurableCheckpointIO
from voiceface.training.resume import FIXED, refuse_other, settings
from voiceface.training.run_folder import discard_if_empty, drop_rows, is_rank_zero, release, resume_from, run_folder
from voiceface.utils.errors import UserError
from voiceface.utils.files import write_atomic

SMALL = ["--model", "trinet", "--preset", "demo", "--data.people", 4, "--data.workers", 0, "--trainer.max_steps", 3]


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    runs = Runs(server())
    yield runs
    runs.close()


@pytest.mark.parametrize(
    "cells",
    [SHORT[:1], pytest.param(SHORT[1:], marks=pytest.mark.slow(reason="eight more runs, some with worker processes"))],
    ids=["a kill", "others"],
)
def test_runs_that_were_brought_down_go_on_bit_by_bit(cells: tuple[Cell, ...], runs: Runs, tmp_path: Path):
    assert [row for row in run_cells(cells, tmp_path, runs) if row["wrong"]] == []


@pytest.fixture(scope="module")
def finished(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, list[object], Path]:
    """A finished run of 3 steps, and what started it."""
    folder = tmp_path_factory.mktemp("finished")
    corpus = tone_corpus(folder / "corpus", [("train", 3, 4)] * 8 + [("val", 2, 3)] * 3 + [("test", 3, 4)] * 3)
    words = [*SMALL, "--data", corpus, "--out", folder / "run"]
    status, said = runs(*words, log=folder / "log.txt")
    assert status == 0, said
    return runs, words, folder


def test_a_finished_run_is_not_overwritten_and_resuming_it_tests_it_again(finished):
    runs, words, folder = finished
    before = state_of(folder / "run")
    status, said = runs(*words, log=folder / "again.txt")
    assert (status, len(said.splitlines())) == (2, 1)
    assert "holds a finished run; resume it by --ckpt_path last" in said
    (folder / "run/results.json").unlink()
    assert runs(*words, "--ckpt_path", "last", log=folder / "again.txt")[0] == 0
    assert differences(before, state_of(folder / "run")) == []


def test_slurms_signal_before_a_requeue_saves_between_two_steps(finished):
    runs, words, folder = finished
    fault = ["--trainer.callbacks", "killer.Fault", "--trainer.callbacks.kind", "USR1", "--trainer.callbacks.step", 1]
    words = [*words, "--out", folder / "requeued"]
    status, said = runs(*words, *fault, log=folder / "requeued.txt", environment=SLURM)
    assert status == 143, said
    assert said.splitlines()[-1].startswith("voiceface: preempted at step 2; resume with --out ")
    assert not list((folder / "requeued").glob("hpc_ckpt*"))
    assert torch.load(folder / "requeued/last.ckpt", weights_only=True)["global_step"] == 2


def test_a_checkpoint_of_another_folder_starts_a_run_of_its_own(finished):
    runs, words, folder = finished
    words = [*words, "--out", folder / "copy", "--ckpt_path", folder / "run/last.ckpt"]
    status, said = runs(*words, log=folder / "copy.txt")
    assert status == 0, said
    assert torch.load(folder / "copy/last.ckpt", weights_only=True)["global_step"] == 3


@pytest.mark.slow(reason="three more runs")
def test_more_steps_later_are_the_same_as_all_at_once(finished):
    runs, words, folder = finished
    longer = ["--trainer.max_steps", 7, "--trainer.val_check_interval", 3]
    words = [*words, *longer]
    status, said = runs(*words, "--out", folder / "once", log=folder / "once.txt")
    assert status == 0, said
    first = [*words, "--out", folder / "twice"]
    assert runs(*first, "--trainer.max_steps", 4, log=folder / "first.txt")[0] == 0
    status, said = runs(*first, "--ckpt_path", "last", log=folder / "second.txt")
    assert status == 0, said
    assert differences(state_of(folder / "once"), state_of(folder / "twice")) == []


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--seed_everything", 1, "the run had --seed_everything 0, now it is 1"),
        ("--trainer.precision", "bf16-mixed", "the run had --trainer.precision 32-true, now it is bf16-mixed"),
        ("--trainer.accumulate_grad_batches", 2, "the run had --trainer.accumulate_grad_batches 1, now it is 2"),
    ],
)
def test_other_settings_are_refused_with_both_values(finished, option: str, value: object, message: str):
    runs, words, folder = finished
    status, said = runs(*words, "--data.seed", 0, "--ckpt_path", "last", option, value, log=folder / "refused.txt")
    assert status == 2
    assert message in said.splitlines()[-1]
    assert "Traceback" not in said


def test_settings_are_compared_by_what_they_mean():
    config = {name: None for name in FIXED if "." not in name}
    config["trainer"] = {name.partition(".")[2]: None for name in FIXED if "." in name}
    mine = settings(config)
    assert set(mine) == set(FIXED)
    for precision in (None, 32, "32", "32-true"):
        assert settings(config | {"trainer": config["trainer"] | {"precision": precision}}) == mine
    refuse_other({}, mine)
    for name in FIXED:
        with pytest.raises(UserError, match=f"the run had --{name} other"):
            refuse_other(mine | {name: "other"}, mine)


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="mounting a small file system needs root on Linux"
)
def test_a_checkpoint_on_a_full_file_system_leaves_the_one_before_it(tmp_path: Path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    try:
        path = tmp_path / "last.ckpt"
        DurableCheckpointIO().save_checkpoint({"a": torch.zeros(20_000)}, path)
        with pytest.raises(UserError, match=r"last\.ckpt: cannot be written \(no space left on device\); make room"):
            DurableCheckpointIO().save_checkpoint({"a": torch.ones(1_000_000)}, path)
        assert torch.equal(torch.load(path, weights_only=True)["a"], torch.zeros(20_000))
        assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_checkpoint_that_cannot_be_pickled_is_no_users_mistake(tmp_path: Path):
    with pytest.raises(Exception, match="pickle") as raised:
        DurableCheckpointIO().save_checkpoint({"a": lambda: None}, tmp_path / "last.ckpt")
    assert not isinstance(raised.value, UserError)
    assert list(tmp_path.iterdir()) == []


HOLDER = """
import sys
from voiceface.training.arguments import RunChoice
from voiceface.training.run_folder import run_folder
run_folder(RunChoice(out=sys.argv[1]), None)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_run_at_work_holds_its_folder_until_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("VOICEFACE_RUN_FOLDER", raising=False)
    chosen = RunChoice(out=str(tmp_path / "run"))
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, chosen.out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for resumed in (None, "last"):
            with pytest.raises(UserError, match="a run is at work in it"):
                run_folder(chosen, resumed)
        # The other processes of a run share its folder.
        with monkeypatch.context() as rank:
            rank.setenv("RANK", "1")
            assert run_folder(chosen, None) == tmp_path / "run"
    finally:
        other.kill()
        other.communicate()
    for name in ("last.ckpt.tmp", "mine.tmp"):
        write_atomic(tmp_path / "run" / name, b"half")
    try:
        run_folder(chosen, None)
        assert {file.name for file in (tmp_path / "run").iterdir()} == {".lock", "mine.tmp"}
    finally:
        release()
    assert not (tmp_path / "run/.lock").exists()


def test_a_refused_run_gives_its_folder_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("VOICEFACE_RUN_FOLDER", raising=False)
    run_folder(RunChoice(out=str(tmp_path / "run")), None)
    discard_if_empty()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "1"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1", "SLURM_PROCID": "0"}, False),
        ({"SLURM_PROCID": "3", "SLURM_LOCALID": "0"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
    ],
)
def test_one_process_of_a_run_writes(environment: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_rank_zero() is first


def test_rows_after_the_state_are_dropped(tmp_path: Path):
    metrics = tmp_path / "metrics.csv"
    drop_rows(metrics, 3)
    assert not metrics.exists()
    metrics.write_text('epoch,step,note\n0,1,"a, b"\n0,2,\n0,3,x\n0,4,y\n0,1')
    drop_rows(metrics, 3)
    assert list(csv.reader(metrics.open(newline=""))) == [["epoch", "step", "note"], ["0", "1", "a, b"], ["0", "2", ""]]


@pytest.mark.parametrize("resumed", [None, "last"])
def test_rows_of_a_run_that_saved_nothing_do_not_mix_with_those_of_the_next(resumed: str | None, tmp_path: Path):
    (tmp_path / "config.yaml").touch()
    (tmp_path / "metrics.csv").write_text("epoch,step\n0,24\n0,49\n")
    assert resume_from(resumed, tmp_path) is None
    assert (tmp_path / "metrics.csv").read_text().split() == ["epoch,step"]


def test_a_lock_whose_file_was_removed_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("VOICEFACE_RUN_FOLDER", raising=False)
    out, lock = tmp_path / "run", fcntl.lockf

    def removed_first(*arguments: object) -> None:
        monkeypatch.undo()
        (out / ".lock").unlink()  # as the run that ends does, between opening and locking
        lock(*arguments)

    monkeypatch.setattr(fcntl, "lockf", removed_first)
    try:
        run_folder(RunChoice(out=str(out)), None)
        assert (out / ".lock").exists()
    finally:
        release()


def test_a_refused_run_leaves_the_folder_of_an_earlier_one_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("VOICEFACE_RUN_FOLDER", raising=False)
    for name in ("first", "second"):
        run_folder(RunChoice(out=str(tmp_path / name)), None)
        (release if name == "first" else discard_if_empty)()
        monkeypatch.delenv("VOICEFACE_RUN_FOLDER", raising=False)
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
