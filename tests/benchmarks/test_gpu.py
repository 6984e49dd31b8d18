"""The GPU benchmark in a small form on the CPU: its file holds what it says, and a failure is a row."""

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from voiceface.methods.recipes import list_recipes

ROOT = Path(__file__).parents[2]
# The machine that it is meant for may lack these.
ABSENT = ("numba", "sklearn", "jsonargparse", "shtab", "av", "wandb", "tensorboard")


@pytest.fixture
def gpu() -> ModuleType:
    return importlib.import_module("benchmarks.training.gpu")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    """The result file and the table of one recipe, in a process that lacks some packages."""
    out = tmp_path_factory.mktemp("gpu")
    words = ["gpu.py", "--device", "cpu", "--small", "--recipes", "trinet,trinet_crop", "--minutes", "5"]
    words += ["--seconds", "0.02", "--workers", "0", "--no-compile", "--out", str(out)]
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({ABSENT}))\n"
        f"sys.argv = {words!r}; sys.path.insert(0, {str(ROOT)!r})\n"
        "runpy.run_module('benchmarks.training.gpu', run_name='__main__')"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    (file,) = out.iterdir()
    return json.loads(file.read_text()), done.stdout, file


BENCHMARK = pytest.mark.slow(reason="the benchmark itself, small, in a process of its own that lacks packages")


@BENCHMARK
def test_a_row_says_how_fast_and_how_long(ran: tuple[dict[str, Any], str, Path]):
    result, text, file = ran
    assert list(result["recipes"]) == ["trinet"]
    row = result["recipes"]["trinet"]
    assert row["same"] == ["trinet_crop"]
    assert row["max_steps"] == 70_000
    step = row["step"]
    assert (step["voices_per_step"], step["faces_per_step"], step["pairs_per_step"]) == (16, 16, 16.0)
    for mode in ("float32", "bf16", "bf16 unchecked", "bf16 channels-last"):
        seconds = row[mode]["milliseconds_per_step"] / 1000
        assert row[mode]["pairs_per_second"] == pytest.approx(16 / seconds)
        assert row[mode]["hours"] == pytest.approx(70_000 * seconds / 3600)
        assert row[mode]["teraflop_per_second"] == pytest.approx(step["teraflop_per_step"] / seconds)
        assert row[mode]["share_of_peak"] is None
        assert len(row[mode]["windows"]) == 5
        assert min(row[mode]["windows"]) <= row[mode]["milliseconds_per_step"] + 1e-3
    assert 0 < row["data"]["data_wait_share"] < 1, "without workers the step waits for decoding"
    assert "bf16 channels-last compiled" not in row
    assert result["device"].replace(" ", "_").lower() in file.stem.replace(" ", "_") or file.stem.startswith("gpu_")
    assert "not run" in text
    assert str(file) in text


@BENCHMARK
def test_the_operations_of_a_step_are_those_of_its_layers(ran: tuple[dict[str, Any], str, Path]):
    """Of the small face network by hand: convolutions forward, and twice as much backward, the first without inputs."""
    forward, size, inputs = [], 64, 3
    for width in (32, 64, 96, 128):
        size //= 2
        forward.append(2 * size * size * width * inputs * 9)
        inputs = width
    forward.append(2 * 128 * 16 * 128)
    of_faces = 16 * (3 * sum(forward) - forward[0])
    step = ran[0]["recipes"]["trinet"]["step"]["teraflop_per_step"] * 1e12
    assert 1.5 * of_faces < step < 10 * of_faces, "the voices' network is larger"


def test_recipes_of_one_kind_share_a_row(gpu: ModuleType):
    kinds = gpu.distinct(list_recipes())
    everything = [name for first, same in kinds.items() for name in (first, *same)]
    assert sorted(everything) == list_recipes()
    assert "trinet_s512" in kinds["trinet"]
    assert {"drl", "kim", "svhf", "svhf_nway", "trinet_vggm", "trinet_frozenface"} <= set(kinds)


@pytest.mark.parametrize(
    ("device", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16-mixed", 989.4),
        ("NVIDIA H100 80GB HBM3", "32-true", 494.7),
        ("NVIDIA A100-SXM4-80GB", "bf16-mixed", 312.0),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16-mixed", None),
        ("NVIDIA A10G", "bf16-mixed", None),
        ("AMD EPYC", "bf16-mixed", None),
    ],
)
def test_peaks(gpu: ModuleType, device: str, precision: str, peak: float | None):
    assert gpu.peak(device, precision) == peak


def test_a_failure_and_the_end_of_the_time_are_rows_and_another_go_adds(gpu: ModuleType, tmp_path: Path):
    def fail() -> dict[str, Any]:
        raise RuntimeError("out of\nmemory")

    def hang() -> dict[str, Any]:
        time.sleep(60)
        return {}

    row: dict[str, Any] = {}
    report = gpu.Report(tmp_path / "r.json", 1000, {"recipes": {"x": row}})
    report.measure(row, "broken", fail)
    report.measure(row, "fine", lambda: {"value": 1})
    assert json.loads((tmp_path / "r.json").read_text())["recipes"]["x"] == {
        "broken": {"error": "RuntimeError: out of memory"},
        "fine": {"value": 1},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "LONGEST", 0.05)
        report.measure(row, "slow", hang)
    assert row["slow"] == {"error": "TimeoutError: not finished in 0 s"}
    gpu.Report(tmp_path / "r.json", 1, {}).measure(row, "late", fail)
    assert row["late"] == {"not_run": "out of time"}
    report.measure(row, "late", lambda: {"value": 2})
    report.measure(row, "fine", fail)
    assert row["late"] == {"value": 2}
    assert row["fine"] == {"value": 1}
