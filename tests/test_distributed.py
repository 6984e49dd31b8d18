"""Training on several processes is training on one with the same batch."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from distributed_support import LAYERS, clips_of, process, recipes, share
from recipe_support import eight_people, met
from tests_support import voiceface

from voiceface.launch import started_by
from voiceface.method import Method
from voiceface.results import read_results

STEPS = 50


@pytest.fixture(scope="module", params=[2, 4])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of several processes found."""
    folder = tmp_path_factory.mktemp("processes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        mp.get_context("forkserver").set_forkserver_preload(["distributed_support"])
        mp.start_processes(process, args=(request.param, str(folder)), nprocs=request.param, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


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
    for recipe in recipes(len(found)):
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


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("distributed") / "corpus"
    voiceface("prepare", "synthetic", out, "--identities", 40, "--voices", 2, "--faces", 2, status=0)
    return out


FIT = ["fit", "--model", "trinet", "--preset", "demo", "--data.workers", 0, "--trainer.accelerator", "cpu"]
DDP = ["--data.people", 3, "--trainer.strategy", "ddp", "--sync-batchnorm"]


def start(*words: object, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    """Python in a process group of its own, with the tests' modules importable."""
    own = {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
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


def test_two_nodes_of_torchrun_train_as_one_process_with_the_same_batch(corpus: Path, tmp_path: Path):
    """At small rates: at the preset's Adam makes of the last bit of a gradient a difference of 1e-2 within 50 steps.

    One process with another number of threads differs as much.
    """
    rates = [f"--model.{part}_rate=3e-6" for part in ("fc", "face", "voice")]
    once = ["--trainer.max_steps", STEPS, "--trainer.val_check_interval", STEPS, "--trainer.log_every_n_steps", 1]
    words = [*FIT, *rates, *once, "--data", corpus, "--data.voices", 1, "--data.faces", 1]
    node = ["torch.distributed.run", "--nnodes", 2, "--nproc_per_node", 1, "--master_addr", "127.0.0.1"]
    node += ["--master_port", free_port()]
    two = ["-m", "voiceface", *words, *DDP, "--trainer.num_nodes", 2, "--trainer.devices", 1, "--out", tmp_path / "two"]
    nodes = [start(*node, "--node_rank", rank, *two) for rank in range(2)]
    said = [n.communicate() for n in nodes]
    assert [n.returncode for n in nodes] == [0, 0], said
    assert "trinet on synthetic" in said[0][0]
    assert said[1] == ("", "")
    voiceface(*words, "--data.people", 6, "--out", tmp_path / "one", status=0)
    one, both = (losses(tmp_path / name) for name in ("one", "two"))
    assert len(one) == len(both) == STEPS
    assert both == pytest.approx(one, abs=1e-5)
    assert one[-1] < one[0] - 0.05
    results = read_results(tmp_path / "two/results.json")
    assert (results["data"]["voices"], results["data"]["faces"]) == (20, 20)
    voiceface("test", tmp_path / "two/checkpoint", "--data", corpus, "--out", tmp_path / "r.json", "--workers", 0)
    assert read_results(tmp_path / "r.json")["scores"] == results["scores"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_takes_the_others_with_it(corpus: Path, tmp_path: Path, rank: int):
    killer = ["--trainer.callbacks", "killer.Fault", "--trainer.callbacks.step", 1, "--trainer.callbacks.rank", rank]
    words = [*FIT, *DDP, "--data", corpus, "--out", tmp_path / "run", *killer]
    run = start("voiceface", *words, "--data.workers", 1, "--trainer.devices", 2)
    run.communicate()  # returns once nobody holds its output any more
    assert run.returncode == -signal.SIGKILL
    for _ in range(300):
        listed = subprocess.run(["ps", "-axo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
        alive = [line for line in listed.splitlines() if int(line.split()[0]) == run.pid and "Z" not in line]
        if not alive:
            break
        time.sleep(0.1)
    assert not alive


@pytest.mark.parametrize(
    ("environment", "launcher"),
    [
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "torchrun"),
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, None),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}, "srun"),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "bash"}, None),
        ({"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}, None),
        ({}, None),
    ],
)
def test_who_started_the_processes(environment: dict[str, str], launcher: str | None, monkeypatch: pytest.MonkeyPatch):
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "LOCAL_RANK", "SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert started_by() == launcher
