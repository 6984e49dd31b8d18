"""Training on several processes is training on one with the same batch."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed_support import LAYERS, clips_of, process, share
from killer import Runs
from recipe_support import DISTINCT, FIRST, eight_people, met
from tests_support import in_processes, server, voiceface

from voiceface.evaluation.results import read_results
from voiceface.methods.base import Method
from voiceface.training.launch import started_by

STEPS = 50
MINING = ["drl", "kim", "trinet"]
"""One that mines, one that draws, one that sums."""


@pytest.fixture(
    scope="module",
    params=[
        (2, FIRST),
        pytest.param((2, DISTINCT), marks=pytest.mark.slow(reason="23 recipes; the quick one has one of each method")),
        pytest.param((4, MINING), marks=pytest.mark.slow(reason="four processes")),
    ],
    ids=lambda param: f"{param[0]} processes, {len(param[1])} recipes",
)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of several processes found; `recipes` names those that it trained."""
    world, recipes = request.param
    folder = tmp_path_factory.mktemp("processes")
    in_processes(world, process, world, folder, ",".join(recipes))
    return [torch.load(folder / f"{rank}.pt") | {"recipes": recipes} for rank in range(world)]


def test_gather_joins_by_rank_and_its_gradient_is_the_sum_over_all_processes(found: list[dict[str, Any]]):
    parts = [torch.arange(6.0).reshape(2, 3) + 10 * rank for rank in range(len(found))]
    of_squares = 2 * sum(range(1, len(found) + 1))
    for rank, of_rank in enumerate(found):
        joined, gradient, ranks = of_rank["gather"]
        assert torch.equal(joined, torch.cat(parts, dim=1))
        assert ranks.tolist() == list(range(len(found)))
        wanted = of_squares * parts[0] if rank == 0 else torch.zeros(2, 3)
        if rank == len(found) - 1:
            wanted[:, -1] += len(found) / 2
        torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("kind", LAYERS)
def test_batch_norm_is_that_of_the_joined_batch(found: list[dict[str, Any]], kind: str):
    layer, world = LAYERS[kind][0](), range(len(found))
    for number in range(2):
        x = torch.cat([clips_of(kind, rank, number) for rank in world]).requires_grad_()
        out = layer(x)
        (out * torch.cat([clips_of(kind, rank, 7) for rank in world])).square().sum().backward()
        outs, gradients = (torch.cat([f[kind][0][number][which] for f in found]) for which in (0, 1))
        torch.testing.assert_close(outs, out.detach(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(gradients, x.grad, atol=1e-4, rtol=1e-4)
    for index, p in enumerate(layer.parameters()):
        torch.testing.assert_close(sum(f[kind][1][index] for f in found), p.grad, atol=1e-4, rtol=1e-5)
    layer.eval()
    for rank, of_rank in enumerate(found):
        torch.testing.assert_close(of_rank[kind][2], layer.state_dict(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(of_rank[kind][3], layer(clips_of(kind, rank, 3)), atol=1e-5, rtol=1e-5)


def test_losses_and_gradients_are_those_of_one_process_with_the_whole_batch(found: list[dict[str, Any]]):
    for recipe in found[0]["recipes"]:
        alone = met(recipe).train()
        alone.on_train_batch_start(None, 0)
        loss = alone.training_step(eight_people(), 0)
        loss.backward()
        for of_rank in found:
            torch.testing.assert_close(of_rank[recipe][0], loss.detach(), atol=1e-5, rtol=1e-5, msg=recipe)
            assert_same_gradients(of_rank[recipe][1], alone)


def assert_same_gradients(found: dict[str, torch.Tensor], alone: Method) -> None:
    """To 1e-5, of the largest where that is above 1."""
    wanted = {name: p.grad for name, p in alone.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    atol = 1e-5 * max(1.0, *(float(gradient.abs().max()) for gradient in wanted.values()))
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], atol=atol, rtol=1e-5, msg=f"{type(alone)}: {name}")


def test_negatives_of_the_own_rank_give_the_mean_of_the_ranks_gradients(found: list[dict[str, Any]]):
    alone = met("trinet").eval()
    losses = [alone.training_step(share(eight_people(), rank, len(found)), 0) for rank in range(len(found))]
    torch.stack(losses).mean().backward()
    for of_rank, loss in zip(found, losses, strict=True):
        torch.testing.assert_close(of_rank["rank"][0], loss.detach(), atol=1e-4, rtol=1e-5)
    assert_same_gradients(found[0]["rank"][1], alone)


def test_frozen_networks_stay_and_processes_share_out_what_a_batch_embeds(found: list[dict[str, Any]]):
    assert all(of_rank["frozen"] for of_rank in found)
    people = {2: 2, 4: 1}[len(found)]
    assert all(of_rank["keep"] == [2 * people] for of_rank in found)


FIT = ["fit", "--model", "horiguchi", "--preset", "demo", "--data.workers", 0, "--trainer.accelerator", "cpu"]
DDP = ["--data.people", 3, "--trainer.strategy", "ddp", "--sync-batchnorm"]


def start(*words: object, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    """Python in a process group of its own, with the tests' modules importable."""
    own = {"PYTHONPATH": str(Path(__file__).parents[1] / "support"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        env=os.environ | own | environment,
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def losses(run: Path) -> list[float]:
    rows = csv.DictReader((run / "metrics.csv").open())
    return [float(row["train/loss"]) for row in rows if row["train/loss"]]


def once(corpus: Path, steps: int) -> list[object]:
    """Words of a run that logs every step.

    At a tenth and a hundredth of the preset's rates: at those the last bit of a gradient grows to more than 1e-5. So
    does that of one process with another number of threads.
    """
    words = [*FIT, "--model.rate=1e-4", "--model.encoder_rate=1e-5", "--data", corpus, "--data.voice_seconds", 1]
    words += ["--data.voices", 2, "--data.faces", 2, "--trainer.max_steps", steps]
    return [*words, "--trainer.val_check_interval", steps, "--trainer.log_every_n_steps", 1]


def assert_as_one_process(words: list[object], corpus: Path, folder: Path, steps: int) -> list[float]:
    """Its losses are those of one process with the same batch, and its scores those of `voiceface test`.

    Args:
        words: Words of both runs.
        corpus: Corpus.
        folder: Holds the run `two`.
        steps: Steps of both.

    Returns:
        The losses of one process.
    """
    voiceface(*words, "--data.people", 6, "--out", folder / "one", status=0)
    one, both = (losses(folder / name) for name in ("one", "two"))
    assert len(one) == len(both) == steps
    assert both == pytest.approx(one, abs=1e-5)
    results = read_results(folder / "two/results.json")
    assert (results["data"]["voices"], results["data"]["faces"]) == (20, 20)
    again = folder / "again.json"
    voiceface("test", folder / "two/checkpoint", "--data", corpus, "--out", again, "--workers", 0, status=0)
    assert read_results(again)["scores"] == results["scores"]
    return one


def test_two_processes_train_as_one_with_the_same_batch(corpus: Path, tmp_path: Path):
    words = once(corpus, 6)
    two = [*words[1:], *DDP, "--trainer.devices", 2, "--out", tmp_path / "two"]
    status, said = Runs(server())(*two, log=tmp_path / "log.txt", processes=2)
    assert status == 0, said
    assert said.count("horiguchi on synthetic") == 1
    assert_as_one_process(words, corpus, tmp_path, 6)


@pytest.mark.slow(reason="two torchruns with a process each import torch, and 50 steps show that it learns")
def test_two_nodes_of_torchrun_train_as_one_process_with_the_same_batch(corpus: Path, tmp_path: Path):
    words = once(corpus, STEPS)
    node = ["torch.distributed.run", "--nnodes", 2, "--nproc_per_node", 1, "--master_addr", "127.0.0.1"]
    node += ["--master_port", free_port()]
    two = ["-m", "voiceface", *words, *DDP, "--trainer.num_nodes", 2, "--trainer.devices", 1, "--out", tmp_path / "two"]
    nodes = [start(*node, "--node_rank", rank, *two) for rank in range(2)]
    said = [n.communicate() for n in nodes]
    assert [n.returncode for n in nodes] == [0, 0], said
    assert "horiguchi on synthetic" in said[0][0]
    assert said[1] == ("", "")
    one = assert_as_one_process(words, corpus, tmp_path, STEPS)
    assert sum(one[-10:]) < sum(one[:10]) - 0.1


@pytest.mark.slow(reason="a user's own launch: two processes import all of it, and end one after the other")
def test_a_process_that_dies_takes_the_others_with_it(corpus: Path, tmp_path: Path):
    killer = ["--trainer.callbacks", "killer.Fault", "--trainer.callbacks.step", 1, "--trainer.callbacks.rank", 1]
    words = [*FIT, *DDP, "--data", corpus, "--out", tmp_path / "run", *killer]
    run = start("voiceface", *words, "--data.workers", 1, "--trainer.devices", 2)
    run.communicate()  # returns once nobody holds its output any more: the other process and all workers are gone
    assert run.returncode not in (0, 2)


def test_a_process_ends_with_the_one_that_started_it():
    """Also where that is dead before the other looks."""
    call = (
        "import os, subprocess, sys, time; from voiceface.training.launch import end_with_launcher as end; end(0.1); "
    )
    waiting = call + "time.sleep(30); print('outlived')"
    starting = call + f"os.environ['LOCAL_RANK'] = '1'; subprocess.Popen([sys.executable, '-c', {waiting!r}])"
    without = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK")}
    ended = subprocess.run([sys.executable, "-c", starting], env=without, stdout=subprocess.PIPE, check=True)
    assert ended.stdout == b""


@pytest.mark.parametrize(
    ("environment", "launcher"),
    [
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "0"}, "torchrun"),
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, None),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "the launcher"),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "1", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "bash"}, None),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}, "srun"),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "bash"}, None),
        ({"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}, None),
        ({}, None),
    ],
)
def test_who_started_the_processes(environment: dict[str, str], launcher: str | None, monkeypatch: pytest.MonkeyPatch):
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", "LOCAL_RANK", "SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert started_by() == launcher
