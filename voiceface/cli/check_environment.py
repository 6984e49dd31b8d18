"""The environment report of `voiceface check`. Imports only what prints, for any library may be broken."""

import platform

from rich.markup import escape
from rich.table import Table

from voiceface.cli.common import console
from voiceface.utils.environment import EXTRAS, Library, installed_version, libraries
from voiceface.utils.errors import UserError
from voiceface.utils.processes import cores
from voiceface.utils.version import __version__


def check_environment(whole: bool) -> None:
    """Import every library, and say whether the environment is sound.

    Args:
        whole: Print versions, devices and extras too.

    Raises:
        UserError: A library does not load; where it is one alone, the message is its line.
    """
    loaded = list(libraries())
    problems = list(dict.fromkeys(library.problem for library in loaded if library.problem))
    if whole:
        _print(loaded)
    print("environment: sound" if not problems else f"environment: {len(problems)} problems")
    if len(problems) > 1:
        print(*(f"  {problem}" for problem in problems), sep="\n")
        raise UserError(f"environment: {len(problems)} problems, listed above")
    if problems:
        raise UserError(problems[0])


def _print(loaded: list[Library]) -> None:
    machine = f"{platform.system()} {platform.machine()}, {cores()} cores"
    print(f"voiceface {__version__}, Python {platform.python_version()}, {machine}")
    print(f"computes on: {_devices(loaded)}\n")
    table = Table("library", "version", "", box=None, pad_edge=False)
    for library in loaded:
        table.add_row(library.name, library.version or "-", "does not load" if library.problem else "loads")
    extras = Table("extra", "", "brings", box=None, pad_edge=False)
    for extra, names in EXTRAS.items():
        versions = {name: installed_version(name) for name in names}
        state = "installed" if all(versions.values()) else escape(f"pip install 'voiceface[{extra}]'")
        extras.add_row(extra, state, ", ".join(f"{name} {found or '(absent)'}" for name, found in versions.items()))
    for one in (table, extras):
        console().print(one)
        print()


def _devices(loaded: list[Library]) -> str:
    if any(library.problem for library in loaded if library.name == "torch"):
        return "unknown, for torch does not load"
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"CPU, {torch.get_num_threads()} threads" + "".join(f"; {gpu}" for gpu in gpus)
