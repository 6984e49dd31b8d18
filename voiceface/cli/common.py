"""Output and checks that several commands share."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from voiceface.utils.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console


def console(piped: int = 160) -> "Console":
    """A console for standard output: as wide as the terminal, or so many columns where there is none."""
    from rich.console import Console

    return Console(width=None if Console().is_terminal else piped)


def print_splits(splits: dict[str, dict[str, int]]) -> None:
    """Print how many people, voices and faces each split has."""
    from rich.console import Console
    from rich.table import Table

    table = Table("split", box=None, pad_edge=False)
    for kind in ("identities", "voices", "faces"):
        table.add_column(kind, justify="right")
    for split, counts in splits.items():
        table.add_row(split, *(f"{counts[kind]:,}" for kind in ("identities", "voices", "faces")))
    Console().print(table)
    few = [split for split, counts in splits.items() if counts["identities"] < 2]
    if few:
        print(f"`voiceface fit` needs two people or more in each split; {' and '.join(few)} has fewer")


def print_next(corpus: str | Path, splits: Mapping[str, Mapping[str, int]]) -> None:
    """Print the command that trains small networks on a corpus, where each split has people enough."""
    if all(counts["identities"] >= 2 for counts in splits.values()):
        print(f"next: voiceface fit --model trinet --data {shlex.quote(str(corpus))} --preset demo")


def check_gpus(wanted: int) -> None:
    """Refuse more GPUs than there are."""
    import torch

    if wanted > torch.cuda.device_count():
        raise UserError(
            f"--gpus {wanted}: this machine has {torch.cuda.device_count()} GPUs; leave --gpus out to use the CPU"
        )


def note(line: str) -> None:
    """Tell the user something beside the result, on standard error."""
    print(f"voiceface: {line}", file=sys.stderr)
