"""A leaderboard as Markdown or LaTeX, to stand in a document."""

from collections.abc import Callable, Sequence

from voiceface.compare.render.blocks import BEST, Block, Line, Shown, blocks, pack
from voiceface.compare.render.compact import differences
from voiceface.compare.render.escaping import latex, markdown, markdown_line
from voiceface.compare.render.legend import about, below, left_out_lines, legend, numbered_footnotes
from voiceface.compare.table import Comparison, Group
from voiceface.utils.text import clean

PAGE = 92  # places of a line of LaTeX's article class in \footnotesize
LABEL = 22  # of them for the names
SCREEN = 112  # places of a page on GitHub
FLOAT = 44  # lines of a table that fit a page


def to_markdown(comparison: Comparison) -> str:
    """A leaderboard as GitHub's Markdown: a heading for each group, a table for each of its blocks, the legend last."""
    parts: list[str] = []
    for group in comparison.groups:
        parts.append(f"## {markdown(group.title)}")
        parts += [markdown_line(line)] if (line := about(group)) else []
        for block in pack(blocks(group), SCREEN, LABEL):
            parts += [f"### {block.title}"] if block.title else []
            parts.append(_markdown_table(block))
        for lines in (differences(group), below(group), numbered_footnotes(group)):
            parts += _markdown_list(lines)
    explained = [*legend(comparison.groups, "Bold"), *map(clean, comparison.notes)]
    if comparison.groups and explained:
        parts += ["## How to read these tables", *_markdown_list(explained)]
    if comparison.left_out:
        parts += ["## Left out", *_markdown_list(left_out_lines(comparison))]
    return "\n\n".join(parts) + "\n"


def to_latex(comparison: Comparison) -> str:
    r"""A leaderboard as LaTeX, to be `\input`: `table` environments, each with caption, label and legend.

    A group's blocks share one as far as a page has room. Files that were left out are comments at the end.
    """
    parts = [r"% Needs \usepackage{booktabs}. Put it into a document by \input."]
    for number, group in enumerate(comparison.groups, 1):
        parts += _latex_group(group, number)
    comments = [*(latex(note) for note in comparison.notes)]
    comments += [f"left out: {latex(line)}" for line in left_out_lines(comparison)]
    return "\n\n".join(parts) + "\n" + "".join(f"% {line}\n" for line in comments)


def _markdown_list(lines: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {markdown_line(line)}" for line in lines)] if lines else []


def _markdown_table(block: Block) -> str:
    heads = ["", *(markdown(" ".join(head)) for head in block.head_lines)]
    rows = [heads, ["---", *(["---:"] * len(block.heads))]]
    rows += [_cells(line, markdown, "**{}**", "*{}*", " ") for line in block.shown]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _latex_group(group: Group, number: int) -> list[str]:
    floats: list[list[Block]] = []
    for block in pack(blocks(group), PAGE, LABEL):
        lines = len(block.shown) + 5
        if floats and sum(len(other.shown) + 5 for other in floats[-1]) + lines <= FLOAT:
            floats[-1].append(block)
        else:
            floats.append([block])
    return [_latex_float(group, part, number, place) for place, part in enumerate(floats, 1)]


def _latex_float(group: Group, parts: Sequence[Block], number: int, place: int) -> str:
    titles = "; ".join(dict.fromkeys(block.title for block in parts if block.title))
    caption = "; ".join(filter(None, (group.title, titles, about(group))))
    label = f"tab:voiceface-{number}" + (f"-{place}" if place > 1 else "")
    tables = "\n\\par\\medskip\n".join(map(_latex_table, parts))
    under = f"Signs and notes as in Table~\\ref{{tab:voiceface-{number}}}."
    if place == 1:
        said = [*below(group, legend([group], "Bold")), *numbered_footnotes(group)]
        under = latex(" ".join(line if line.endswith((".", "?", "!")) else f"{line}." for line in said if line))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex(caption)}.}}",
            rf"\label{{{label}}}",
            tables,
            rf"\par\medskip\parbox{{\linewidth}}{{\scriptsize {under}}}",
            r"\end{table}",
        ]
    )


def _latex_table(block: Block) -> str:
    heads = block.head_lines
    depth = max(map(len, heads), default=1)
    above = [[""] + [latex(([""] * (depth - len(head)) + head)[i]) for head in heads] for i in range(depth)]
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(heads)}}}",
        r"\toprule",
        *(_latex_row(row) for row in above),
        r"\midrule",
    ]
    measured = True
    for line in block.shown:
        if measured and line.kind in ("chance", "ideal"):
            lines.append(r"\midrule")
            measured = False
        lines.append(_latex_row(_cells(line, latex, r"\textbf{{{}}}", r"\emph{{{}}}", "")))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cells(line: Line, escape: Callable[[str], str], bold: str, leaning: str, space: str) -> list[str]:
    """The cells of a line, its label first."""

    def written(shown: Shown) -> str:
        text = shown.text if shown.text == "-" else escape(shown.text)
        if shown.sign == BEST:
            return bold.format(text) + escape(shown.mark)
        return text + (space + escape(shown.sign) if shown.sign else "") + escape(shown.mark)

    label = escape(line.label)
    return [label if line.kind == "model" else leaning.format(label), *map(written, line.cells)]
