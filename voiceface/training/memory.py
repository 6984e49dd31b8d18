"""Whether a run's weights, gradients and optimiser state fit into memory, told before the system kills the run."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import torch
from torch import nn

from voiceface.utils.errors import UserError

CERTAIN, ADAM = 8, 16
"""Bytes of a float32 parameter that is trained: itself and its gradient; with both averages of Adam."""


def check_memory(method: nn.Module, device: torch.device) -> str | None:
    """Compare what the parameters of a method need with the memory of the device.

    Activations are not counted: they grow with the batch, and are most of what a training on large pictures needs.

    Args:
        method: The method, with fresh weights.
        device: Where it is trained.

    Returns:
        A warning where Adam's state would exceed what is free; None where all fits, or nothing is known.

    Raises:
        UserError: Weights and gradients alone exceed all the memory there is.
    """
    total, free = device_memory(device)
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in method.parameters()) - trained
    there = sum(p.numel() * p.element_size() for p in method.parameters() if p.device == device)
    where = f"{device.type.upper()} memory" if device.type != "cpu" else "memory"
    advice = "take smaller networks (--preset demo, --model.face_encoder) or freeze them, or a larger machine"
    if total is not None and CERTAIN * trained + 4 * frozen > total:
        raise UserError(
            f"--model: weights and gradients alone of {trained:,} trained parameters need "
            f"{_gb(CERTAIN * trained + 4 * frozen)}, and this machine has {_gb(total)} of {where}; {advice}"
        )
    need = ADAM * trained + 4 * frozen
    if free is not None and need - there > free:
        return (
            f"memory: weights, gradients and Adam's state need {_gb(need)}, without activations, and {_gb(free)} of "
            f"{where} are free; if the system kills the run, {advice}"
        )
    return None


def device_memory(device: torch.device, system: Path = Path("/")) -> tuple[int | None, int | None]:
    """Total and free bytes of a device's memory; None: unknown.

    Args:
        device: A CPU, whose memory a cgroup may limit, or a GPU.
        system: Root of the file system.
    """
    if device.type == "cuda":
        there = torch.cuda.mem_get_info(device)
        return there[1], there[0]
    if device.type != "cpu":
        return None, None
    total: int | None = None
    free: int | None = None
    try:
        lines = dict(line.split(":") for line in (system / "proc/meminfo").read_text().splitlines())
        total, free = (1024 * int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for most, taken in _cgroup_limits(system):
        total = most if total is None else min(total, most)
        free = total - taken if free is None else min(free, most - taken)
    return total, free


def _cgroup_limits(system: Path) -> Iterator[tuple[int, int]]:
    """Limit and use in bytes of each cgroup that this process is in, of a container or a batch job."""
    root = system / "sys/fs/cgroup"
    second = "0::", root, "memory.max", "memory.current"
    first = ":memory:", root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
    for mark, top, limit, used in (second, first):
        with contextlib.suppress(OSError):
            for line in (system / "proc/self/cgroup").read_text().splitlines():
                folder = PurePosixPath(line.partition(mark)[2] or "/") if mark in line else None
                for inner in (folder, *folder.parents) if folder else ():
                    with contextlib.suppress(OSError, ValueError):  # `max`: no limit
                        here = top / str(inner).lstrip("/")
                        most, taken = int((here / limit).read_text()), int((here / used).read_text())
                        cache = re.search(r"^inactive_file (\d+)", (here / "memory.stat").read_text(), re.M)
                        yield most, taken - int(cache[1] if cache else 0)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
