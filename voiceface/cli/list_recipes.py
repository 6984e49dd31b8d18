"""`voiceface list`: recipes, installed checkpoints and encoders."""

import argparse
from argparse import Namespace

from voiceface.cli.parser import Parser, add_command


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    add_command(commands, "list", "recipes, installed checkpoints and encoders", "voiceface list")


def run_list(options: Namespace) -> int:
    """Print recipes by method, installed checkpoints and encoders."""
    from rich.console import Console

    from voiceface.cli.listing import print_list

    print_list(Console(width=None if Console().is_terminal else 160))
    return 0
