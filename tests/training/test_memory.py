"""A run that needs more memory than there is says so before it starts."""

from pathlib import Path

import pytest
import torch
from torch import nn

from voiceface.training import memory
from voiceface.training.fit import fit
from voiceface.training.memory import check_memory, device_memory
from voiceface.utils.errors import UserError

CPU = torch.device("cpu")
MEMINFO = "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    600 kB\n"


def system(root: Path, **files: str) -> Path:
    """A file system of these files, `__` in their names for slashes."""
    for name, text in {"proc__meminfo": MEMINFO, **files}.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_limit_of_a_container_or_of_a_job_counts(tmp_path: Path):
    assert device_memory(CPU, system(tmp_path / "a")) == (1_024_000, 614_400)
    limits = {"sys__fs__cgroup__job__memory.max": "500000\n", "sys__fs__cgroup__job__memory.current": "300000\n"}
    limits |= {"sys__fs__cgroup__job__memory.stat": "anon 1\ninactive_file 100000\n"}
    limits |= {"sys__fs__cgroup__job__step__memory.max": "max\n", "proc__self__cgroup": "0::/job/step\n"}
    assert device_memory(CPU, system(tmp_path / "b", **limits)) == (500_000, 300_000)
    first = {"sys__fs__cgroup__memory__memory.limit_in_bytes": "400000", "proc__self__cgroup": "3:cpu:/\n9:memory:/\n"}
    first |= {"sys__fs__cgroup__memory__memory.usage_in_bytes": "100000"}
    first |= {"sys__fs__cgroup__memory__memory.stat": "cache 1\n"}
    assert device_memory(CPU, system(tmp_path / "c", **first)) == (400_000, 300_000)


def test_the_real_machine_has_memory():
    total, free = device_memory(CPU)
    assert total is not None
    assert total > 10**8
    assert free is None or 0 < free <= total


def test_what_cannot_fit_is_refused_and_what_may_not_is_said(monkeypatch: pytest.MonkeyPatch):
    def with_memory(total: int | None, free: int | None) -> str | None:
        monkeypatch.setattr(memory, "device_memory", lambda device: (total, free))
        return check_memory(networks, CPU)

    networks = nn.ModuleList([nn.Linear(1000, 1000, bias=False), nn.Linear(1000, 500, bias=False)])
    networks[1].requires_grad_(False)
    needed = 8 * 1_000_000 + 4 * 500_000  # weights and gradients, and the frozen weights
    with pytest.raises(UserError, match=r"1,000,000 trained parameters need 0\.0 GB, and this machine has .* memory;"):
        with_memory(needed - 1, needed - 1)
    assert with_memory(None, None) is None
    adam = 16 * 1_000_000 + 4 * 500_000 - 4 * 1_500_000  # what is still to come
    assert with_memory(10**9, adam) is None
    said = with_memory(10**9, adam - 1)
    assert said is not None
    assert "without activations" in said


def test_fit_says_so_before_the_first_step(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "device_memory", lambda device: (1000, 1000))
    words = ["--model", "infonce", "--preset", "demo", "--data", str(tones), "--out", str(tmp_path / "run")]
    with pytest.raises(UserError, match=r"weights and gradients alone of 828,161 trained parameters"):
        fit([*words, "--data.people", "4", "--trainer.accelerator", "cpu"])
    assert not list(tmp_path.rglob("*.ckpt"))
