"""A leaderboard in the terminal."""

import re
import sys
from io import StringIO

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.console import Group as Together
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from voiceface.compare.render.blocks import BEST, Block, blocks, labels, pack
from voiceface.compare.render.compact import differences, short_block
from voiceface.compare.render.legend import about, below, left_out_lines, legend, numbered_footnotes
from voiceface.compare.table import Comparison, Group
from voiceface.utils.text import clean

PIPED = 160  # places where standard output is no terminal


def print_leaderboard(comparison: Comparison, short: bool = False) -> None:
    """Print a leaderboard to standard output, as wide as the terminal; piped, 160 places wide and plain.

    Args:
        comparison: Groups of rows.
        short: It is one of `voiceface.compare.render.compact`.
    """
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(leaderboard(comparison, console.width, short))
    else:
        sys.stdout.write(plain_leaderboard(comparison, PIPED, short))


def plain_leaderboard(comparison: Comparison, width: int = PIPED, short: bool = False) -> str:
    """A leaderboard as text without colour."""
    console = Console(width=width, color_system=None, highlight=False, force_terminal=False)
    with console.capture() as capture:
        console.print(leaderboard(comparison, width, short))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def picture(comparison: Comparison, title: str, width: int = 112) -> str:
    """A leaderboard as it looks in a terminal, as SVG.

    Args:
        comparison: Groups of rows.
        title: In the frame's head.
        width: Columns of the terminal.
    """
    console = Console(record=True, width=width, file=StringIO(), highlight=False, force_terminal=True)
    console.print(leaderboard(comparison, width))
    # No fonts from the network: any monospaced one will do.
    return re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title=title), flags=re.S)


def leaderboard(comparison: Comparison, width: int, short: bool = False) -> Together:
    """Lay out a leaderboard for the terminal.

    Each group of results is a few tables with a line for each model, cut and packed to the width.

    Args:
        comparison: Groups of rows.
        width: Columns of the terminal; laid out for 80 and more.
        short: It is one of `voiceface.compare.render.compact`.

    Returns:
        Rich tables and texts; values in per cent.
    """
    parts: list[RenderableType] = []
    for group in comparison.groups:
        parts += [_group(group, width, short), ""]
    signs = legend(comparison.groups, f"{BEST} (bold)")
    notes = [clean(note) for note in comparison.notes]
    parts += [Text(line, style="italic") for line in (*signs, *notes)]
    if comparison.left_out:
        parts += ["" if parts else Text(), Text("Left out", style="bold yellow")]
        parts += [_hanging(line) for line in left_out_lines(comparison)]
    return Together(*parts)


def _group(group: Group, width: int, short: bool) -> Together:
    parts: list[RenderableType] = [Text(clean(group.title), style="bold")]
    if line := about(group):
        parts.append(Text(line, style="dim"))
    parts.append("")
    longest = max((cell_len(name) for name in labels(group)), default=0)
    label = max(14, width // 6, min(longest, width // 4))
    for block in pack([short_block(group)] if short else blocks(group), width, label):
        parts += [_table(block, max(label, width - block.width(0))), ""]
    told = [] if short else differences(group)
    said = below(group)
    parts += [Text(line) for line in (*told, *([""] if told and said else []), *said)]
    parts += [_hanging(line) for line in numbered_footnotes(group)]
    return Together(*parts)


def _hanging(line: str) -> RenderableType:
    return Padding(Text(line), (0, 0, 0, 2))


def _folded(name: str, width: int) -> str:
    """A name that is too long for a line, broken after a blank or one of `_-/.` where that is possible."""
    lines = [""]
    for part in re.split(r"(?<=[ _/.-])", name):
        if lines[-1] and cell_len((lines[-1] + part).rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def _table(block: Block, label: int) -> Table:
    table = Table(
        title=block.title or None,
        title_justify="left",
        title_style="bold cyan",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("", overflow="fold", max_width=label)
    beside = [block.beside(number) for number in range(len(block.heads))]
    for head, places in zip(block.head_lines, beside, strict=True):
        # Signs hang out of the column of numbers, so that their points stand below each other.
        above = Text("\n".join(part + " " * places for part in head))
        table.add_column(above, justify="right", vertical="bottom", no_wrap=True)
    lines = block.shown
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        last = line.kind in ("model", "spread") and following is not None and following.kind in ("chance", "ideal")
        cells = [
            Text(shown.text + shown.beside.ljust(places), style="bold" if shown.sign == BEST else "")
            for shown, places in zip(line.cells, beside, strict=True)
        ]
        style = None if line.kind == "model" else "dim"
        table.add_row(Text(_folded(line.label, label)), *cells, style=style, end_section=last)
    return table
