"""`voiceface list`: methods with papers, recipes, installed checkpoints, encoders; without torch."""

import argparse
import re
import textwrap
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voiceface.checkpoints.config import canonical
from voiceface.checkpoints.find import Installed, install_command, list_checkpoints, zoo_names
from voiceface.cli.common import console as new_console
from voiceface.cli.parser import Parser, add_command
from voiceface.encoders import list_encoders
from voiceface.methods.papers import paper_of, read_parameters, recipes_of
from voiceface.methods.recipes import list_methods, list_recipes, title
from voiceface.utils.own_classes import ENCODER_GROUP, METHOD_GROUP, installed
from voiceface.utils.text import printable

if TYPE_CHECKING:
    from rich.console import Console


DEMO = "the small networks of `--preset demo` have 0.8 to 0.9 M in all."


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    add_command(commands, "list", "list checkpoints, recipes and encoders", "voiceface list")


def run_list(options: Namespace) -> int:
    """Print installed checkpoints, those of the zoo, recipes by method, and encoders."""
    print_list(new_console())
    return 0


def short(number: int) -> str:
    """A number of parameters in a few characters: `43.6 M`, `66 k`, `0`."""
    if number >= 99_500:
        return f"{number / 1e6:.1f} M"
    return f"{number / 1e3:.0f} k" if number >= 1_000 else str(number)


def shortened(recipe: str, name: str) -> str:
    """A recipe's title without the method's name, below whose heading it stands, and without notes on its sources.

    Of `TriNet, VGG-M faces` it is `VGG-M faces`.

    Args:
        recipe: The recipe.
        name: The method's name in the literature; empty: unknown.
    """
    text = title(recipe)
    text = text[len(name) + 2 :] if name and text.startswith((f"{name}: ", f"{name}, ")) else text
    return re.sub(r" \([^()]*(?:recalled|not stated)\)$", "", text)  # notes on sources: docs/methods.md has them


def print_list(console: "Console") -> None:
    """Print the checkpoints that are installed, those that can be, all recipes by method, and the encoders.

    Args:
        console: Where to; texts are folded to its width, names and numbers are not. Below 100 columns the texts stand
            on lines of their own.
    """
    installed = list_checkpoints()
    _checkpoints(console, installed)
    there = {canonical(one.name) for one in installed}
    if names := [name for name in zoo_names() if canonical(name) not in there]:
        _section(
            console, f"Checkpoints of the zoo that are not installed: {install_command()}", [("", ", ".join(names))]
        )
    _print(console)
    heading = f"Recipes, by method. Parameters: face network + voice network + rest, at the paper's size; {DEMO}"
    _print(console, heading)
    known = {name: read_parameters(name) for name in list_recipes()}
    sizes = {name: [short(n) for n in parts] if parts else [] for name, parts in known.items()}
    widths = [max([len(parts[i]) for parts in sizes.values() if parts], default=0) for i in range(3)]
    longest = max(map(len, sizes))
    for method in list_methods():
        paper = paper_of(method)
        heading = f'{paper.name}: "{paper.title}" ({paper.year}) {paper.link}' if paper else method
        rows = []
        for name in recipes_of(method):
            size = " + ".join(n.rjust(w) for n, w in zip(sizes[name], widths, strict=False))
            rows.append((f"{name:{longest}}  {size:{sum(widths) + 6}}", shortened(name, paper.name if paper else "")))
        _section(console, heading, rows)
    _offered(console, "Methods of other packages (--model NAME)", METHOD_GROUP)
    folder = Path(__file__).parents[1] / "encoders"
    encoders = list_encoders()
    longest = max(len(name) for group in encoders.values() for name in group)
    for kind, names in encoders.items():
        lines = ((folder / f"{name}.py").read_text().splitlines()[0].strip('" ') for name in names)
        heading = f"{kind.title()} encoders (--model.{kind}_encoder)"
        _section(console, heading, [(f"{name:{longest}}", line) for name, line in zip(names, lines, strict=True)])
    _offered(console, "Encoders of other packages (--model.face_encoder, --model.voice_encoder)", ENCODER_GROUP)


def _offered(console: "Console", heading: str, group: str) -> None:
    """Print what installed packages offer as entry points of a group, if there are any; none is imported."""
    rows = []
    for name, entry in installed(group).items():
        of = f", {entry.dist.name} {entry.dist.version}" if entry.dist else ""
        rows.append((printable(name), printable(entry.value.replace(":", ".") + of)))
    if rows:
        _section(console, heading, rows)


def _checkpoints(console: "Console", installed: Sequence[Installed]) -> None:
    """Print what is installed: names with versions and, beside or below them, what they are; or why one cannot load."""
    if not installed:
        _section(console, "Checkpoints: none is installed", [], gap=False)
        return
    heading = "Installed checkpoints, with their 1:2 matching of voice to face / face to voice on their test people"
    rows: list[tuple[str, str]] = []
    names = [f"{one.name} {one.version}" for one in installed]
    longest = max(map(len, names))
    for name, one in zip(names, installed, strict=True):
        scores = [f"{100 * one.matching[way]:.1f}" if way in one.matching else "-" for way in ("v2f", "f2v")]
        tested = f"1:2 {' / '.join(scores)} %" if one.matching else "not tested"
        text = f"{tested}, {one.recipe or 'no recipe'} on {one.corpus}, {one.licence or 'no licence'}"
        if one.problem:
            text = f"cannot be loaded ({one.distribution}): {one.problem}"
        rows.append((printable(f"{name:{longest}}"), printable(text)))
    _section(console, heading, rows, gap=False)


def _section(console: "Console", heading: str, rows: Sequence[tuple[str, str]], gap: bool = True) -> None:
    """A heading, and below it each row's first part and its text, beside or below it; `gap`: after an empty line."""
    if gap:
        _print(console)
    _print(console, heading, style="bold")
    for first, text in rows:
        if not first:
            _print(console, text, indent=1)
        elif console.width < 100:
            _print(console, f" {first}")
            _print(console, text, indent=4)
        else:
            _print(console, text, f" {first}  ", indent=len(first) + 3)


def _print(console: "Console", text: str = "", first: str | None = None, indent: int = 0, style: str = "") -> None:
    """Print a text folded between words, after `indent` blanks; `first` stands before its first line in their place."""
    from rich.text import Text

    blanks = " " * indent
    opening = blanks if first is None else first
    lines = textwrap.wrap(
        text,
        console.width,
        initial_indent=opening,
        subsequent_indent=blanks,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines or [opening]:
        console.print(Text(line.rstrip(), style=style), soft_wrap=True, highlight=False)
