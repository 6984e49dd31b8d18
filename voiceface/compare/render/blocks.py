"""A leaderboard group as blocks of text: the common content of the terminal, Markdown and LaTeX."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from rich.cells import cell_len

from voiceface.compare.table import Cell, Column, Group, Row
from voiceface.evaluation.cells import DIRECTIONS, cell, plain
from voiceface.utils.text import clean

BEST, SAME, UNTESTED = "★", "≈", "?"
SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
SYMBOLS = "*†‡§¶"
NOTHING = "-"
GAP = 2  # places between columns


class Head(NamedTuple):
    """What stands above a column."""

    what: str
    """What is measured; of anything else than a score all there is to say."""
    arrow: str = ""
    stratum: str | None = None
    """In words, empty for anybody; None: no score."""


class Shown(NamedTuple):
    """A value as it is shown."""

    text: str
    sign: str = ""
    """★ best, ≈ no significant difference to the best, ? not tested."""
    mark: str = ""
    """Symbol of what is said of this value alone."""

    @property
    def beside(self) -> str:
        """What hangs out to the right of the value."""
        return self.sign + self.mark


class Line(NamedTuple):
    """A line of a block."""

    label: str
    kind: str
    """model, spread (over the seeds of the model above), chance or ideal."""
    cells: tuple[Shown, ...]
    bare: bool = False
    """Whether its row holds no value in the whole group."""


@dataclass(frozen=True)
class Block:
    """Some columns of a group; each block has the same lines."""

    title: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]

    @property
    def head_lines(self) -> list[list[str]]:
        """Above each column: what, direction and stratum, without what is the same everywhere."""
        told = any(words in self.title for words in DIRECTIONS.values())
        one = told and len({head.arrow for head in self.heads if head.arrow}) == 1
        strata = {head.stratum for head in self.heads if head.stratum is not None}
        lines = []
        for head in self.heads:
            what = f"{head.what} {head.arrow}" if head.arrow and not one else head.what
            stratum = "" if head.stratum is None or not any(strata) else head.stratum or "anybody"
            lines.append([what, *stratum.replace("same ", "same\n").replace(" probe, ", "\nprobe, ").splitlines()])
        return lines

    @property
    def shown(self) -> list[Line]:
        """The lines that say something here, and those of models that have no value anywhere."""
        return [line for line in self.lines if line.bare or any(c.text not in ("", NOTHING) for c in line.cells)]

    def width(self, label: int) -> int:
        """Places that it takes in the terminal, beside labels of so many places at most."""
        widths = []
        for i, head in enumerate(self.head_lines):
            texts = [*head, *(line.cells[i].text for line in self.lines)]
            widths.append(max(map(cell_len, texts)) + self.beside(i))
        return min(label, max((cell_len(line.label) for line in self.lines), default=0)) + sum(w + GAP for w in widths)

    def beside(self, number: int) -> int:
        """Places that signs and marks take beside this column."""
        return max((len(line.cells[number].beside) for line in self.lines), default=0)


def blocks(group: Group) -> list[Block]:
    """Lay out a group: verification, matching either way, retrieval, and what is known of the models.

    Args:
        group: Of a leaderboard.

    Returns:
        One block for each of these that the group has; values in per cent.
    """
    titles: dict[str, list[int]] = {}
    for number, column in enumerate(group.columns):
        titles.setdefault(_title(column), []).append(number)
    marks = mark_symbols(group)
    made = [_scores(group, title, numbers, marks) for title, numbers in titles.items()]
    facts = _facts(group)
    return [*made, facts] if facts else made


def pack(parts: Sequence[Block], width: int, label: int) -> list[Block]:
    """Fit blocks to a page: cut those that are too wide, put neighbours beside each other that have room.

    Args:
        parts: Blocks of one group.
        width: Places of the page.
        label: Places that the first column may take; longer names go on in a line below.

    Returns:
        Blocks as wide as the page at most, as long as no single column is wider; a single one needs no title.
    """
    packed: list[Block] = []
    for block in parts:
        for part in _cut(block, width, label):
            if packed and packed[-1].title != part.title and (both := joined(packed[-1], part)).width(label) <= width:
                packed[-1] = both
            else:
                packed.append(part)
    packed = [block for block in packed if block.shown]
    return [replace(packed[0], title="")] if len(packed) == 1 else packed


def labels(group: Group) -> list[str]:
    """The rows' names on one line each, with the number of their footnote."""
    numbered = footnotes(group)
    return [
        f"{clean(row.name)}{f' [{numbered.index(note) + 1}]' if (note := _note(row)) else ''}" for row in group.rows
    ]


def footnotes(group: Group) -> list[str]:
    """The different notes of the rows; their numbers count from 1."""
    return list(dict.fromkeys(note for row in group.rows if (note := _note(row))))


def mark_symbols(group: Group) -> dict[str, str]:
    """A symbol for each thing that is said of a value."""
    marks = list(dict.fromkeys(c.mark for row in group.rows for c in row.cells if c.mark))
    return {mark: SYMBOLS[i % len(SYMBOLS)] * (i // len(SYMBOLS) + 1) for i, mark in enumerate(marks)}


def shared_facts(group: Group) -> str:
    """What all models have in common, such as their training data; empty: nothing that several models share."""
    models = [row for row in group.rows if row.kind == "model"]
    known = {name: {fact(row) for row in models} for name, fact in FACTS.items()}
    same = [
        f"{name} {next(iter(values))}" for name, values in known.items() if len(values) == 1 and not values & UNTOLD
    ]
    return f"The same for all: {'; '.join(same)}." if same and len(models) > 1 else ""


def value(own: Cell, column: Column, printed: bool = False) -> str:
    """A value and its interval in per cent; `printed`: with the places that the literature gives, two at most."""
    whole = own.low is not None and own.high is not None
    if printed and own.value is not None and column.metric != "median_rank":
        texts = [f"{100 * own.value:.2f}"]
        if own.low is not None and own.high is not None:
            texts.append(f"{50 * (own.high - own.low):.2f}")
        places = 1 if all(text.endswith("0") for text in texts) else 0
        return " ± ".join(text[: len(text) - places] for text in texts)
    ends = {"ci_low": own.low if whole else None, "ci_high": own.high}
    return cell({"value": own.value, "metric": column.metric, **ends})


def sign_of(row: Row, number: int, group: Group) -> str:
    """★, ≈ or ? of the value in a column; empty: none, as where only one model is ranked in the column."""
    own, ranked = row.cells[number], [r for r in group.rows if r.kind == "model" and r.ranked]
    if row.kind != "model" or not row.ranked or own.value is None:
        return ""
    if sum(r.cells[number].value is not None for r in ranked) < 2:
        return ""
    if own.best:
        return BEST
    if own.same is None:
        return UNTESTED if group.kind == "measured" else ""
    return SAME if own.same else ""


def _title(column: Column) -> str:
    if column.task != "matching":
        return column.task
    return f"matching, {DIRECTIONS[column.direction]}"


def _scores(group: Group, title: str, numbers: Sequence[int], marks: dict[str, str]) -> Block:
    papers = {n for n in numbers if any(row.cells[n].paper is not None for row in group.rows)}
    heads: list[Head] = []
    for n in numbers:
        what, arrow, stratum = group.columns[n].words
        heads += [Head(what, arrow, stratum), *([Head("paper")] if n in papers else [])]
    lines = []
    for label, row in zip(labels(group), group.rows, strict=True):
        shown: list[Shown] = []
        spread: list[Shown] = []
        for n in numbers:
            own, column = row.cells[n], group.columns[n]
            shown.append(
                Shown(value(own, column, group.kind == "published"), sign_of(row, n, group), marks.get(own.mark, ""))
            )
            spread.append(Shown("" if own.spread is None else _spread(own.spread, column)))
            if n in papers:
                shown.append(Shown(value(Cell(own.paper), column, printed=True)))
                spread.append(Shown(""))
        bare = row.kind == "model" and all(c.value is None for c in row.cells)
        lines.append(Line(label, row.kind, tuple(shown), bare))
        if any(c.spread is not None for c in row.cells):
            lines.append(Line(f"  {SIGMA} of {row.seeds} seeds", "spread", tuple(spread)))
    return Block(title, tuple(heads), tuple(lines))


def _facts(group: Group) -> Block | None:
    """What is known of the models and is not the same for all."""
    models = [row for row in group.rows if row.kind == "model"]
    wanted = {name: fact for name, fact in FACTS.items() if len({fact(row) for row in models}) > 1}
    if len(models) == 1:
        wanted = {name: fact for name, fact in FACTS.items() if fact(models[0]) not in UNTOLD}
    if not wanted:
        return None
    lines = []
    for label, row in zip(labels(group), group.rows, strict=True):
        texts = [fact(row) or NOTHING if row.kind == "model" else "" for fact in wanted.values()]
        lines.append(Line(label, row.kind, tuple(map(Shown, texts))))
        if any(c.spread is not None for c in row.cells):
            lines.append(Line("", "spread", tuple(Shown("") for _ in wanted)))
    return Block("models", tuple(map(Head, wanted)), tuple(lines))


def _parameters(row: Row) -> str:
    if row.parameters is None:
        return ""
    millions = row.parameters / 1e6
    return (
        f"{millions:,.{0 if millions >= 100 else 1 if millions >= 10 else 2}f} M"
        if millions >= 0.1
        else f"{row.parameters:,}"
    )


FACTS: dict[str, Callable[[Row], str]] = {
    "parameters": _parameters,
    "training data": lambda row: clean(row.training_data),
    "steps": lambda row: "" if row.steps is None else f"{row.steps:,}",
    "seeds": lambda row: str(row.seeds),
}


UNTOLD = {"", "1"}  # facts that go without saying: what nobody knows, and one seed


def _spread(spread: float, column: Column) -> str:
    return plain(spread) if column.metric == "median_rank" else f"{100 * spread:.{2 if spread < 0.0005 else 1}f}"


def _note(row: Row) -> str:
    notes = "; ".join(clean(note) for note in row.notes)
    if row.kind == "model" and not row.ranked and "not ranked" not in notes:
        return f"not ranked: {notes}" if notes else "not ranked"
    return notes


def _cut(block: Block, width: int, label: int) -> list[Block]:
    """Cut a block into as few as fit, of about as many columns each; a paper's column stays with ours."""
    starts = [i for i, head in enumerate(block.heads) if head.what != "paper"]
    for count in range(1, len(starts) + 1):
        edges = [starts[len(starts) * k // count] for k in range(count)] + [len(block.heads)]
        parts = [_columns(block, a, b) for a, b in pairwise(edges)]
        if all(part.width(label) <= width for part in parts):
            break
    return parts


def _columns(block: Block, start: int, end: int) -> Block:
    lines = tuple(line._replace(cells=line.cells[start:end]) for line in block.lines)
    return replace(block, heads=block.heads[start:end], lines=lines)


def joined(left: Block, right: Block) -> Block:
    """Put two blocks of the same lines beside each other."""
    lines = tuple(a._replace(cells=a.cells + b.cells) for a, b in zip(left.lines, right.lines, strict=True))
    return Block(f"{left.title}; {right.title}", left.heads + right.heads, lines)
