"""Markdown and LaTeX: parsers of their own see the same tables, names and values."""

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any
from unicodedata import lookup

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from leaderboard_support import comparisons, measured, naive, published, rich_comparison, study
from markdown_it import MarkdownIt
from pylatexenc.latex2text import LatexNodes2Text
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker
from tests_support import examples

from voiceface.compare.render.documents import to_latex, to_markdown
from voiceface.compare.render.escaping import latex, markdown
from voiceface.compare.table import Cell, Comparison, Group, Row
from voiceface.utils.text import clean

FAST = settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
COLUMN = rich_comparison().groups[0].columns[:1]


def words_of(token: Any) -> str:
    """What a reader sees of an inline token."""
    return "".join(words_of(child) for child in token.children) if token.children else token.content


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Tables, rows, cells, as a parser of CommonMark with GitHub's tables sees them."""
    tables: list[list[list[str]]] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for before, token in pairwise(tokens):
        if before.type == "table_open":
            tables.append([])
        elif before.type == "tr_open":
            tables[-1].append([])
        if before.type in ("th_open", "td_open"):
            tables[-1][-1].append(words_of(token))
    return tables


def latex_tables(text: str) -> list[list[list[str]]]:
    """Tables, rows, cells, as a parser of LaTeX sees them; it raises where braces or environments do not match."""
    nodes, _, _ = LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
    floats = [n for n in nodes if isinstance(n, LatexEnvironmentNode)]
    assert {n.environmentname for n in floats} <= {"table"}
    tables = []
    for tabular in (n for f in floats for n in f.nodelist if isinstance(n, LatexEnvironmentNode)):
        source = tabular.latex_verbatim()
        spec = re.match(r"\\begin\{tabular\}\{(\w+)\}\n", source)
        assert spec
        body = source[spec.end() : source.index(r"\end{tabular}")]
        rows = [re.sub(r"\\(top|mid|bottom)rule\s*", "", row).strip() for row in body.split(r"\\" + "\n")]
        split = [[plain(cell) for cell in re.split(r"(?<!\\)&", row)] for row in rows if row]
        assert {len(row) for row in split} == {len(spec[1])}
        tables.append(split)
    return tables


def plain(source: str) -> str:
    return " ".join(LatexNodes2Text(strict_latex_spaces=True).latex_to_text(source).split())


def test_markdown_tables_hold_the_values():
    group = measured(models=4)
    tables = markdown_tables(to_markdown(Comparison((group,))))
    for row in group.rows:
        found = [cell for table in tables for line in table if line[0].split(" [")[0] == row.name for cell in line[1:]]
        found = [cell.removesuffix(" ≈").removesuffix(" ?") for cell in found]
        for cell, column in zip(row.cells, group.columns, strict=True):
            assert naive(cell, column) in found
    assert "| trinet | **" in to_markdown(Comparison((group,)))


def test_markdown_has_a_heading_for_each_group_and_the_legend_last():
    text = to_markdown(rich_comparison())
    heads = re.findall("^## (.*)$", text, re.MULTILINE)
    assert heads[0].startswith("synthetic, test split")
    assert heads[1:] == [r"DRL (2021), Table 2: verification \& matching", "TriNet ablation", *heads[-2:]]
    assert heads[-2:] == ["How to read these tables", "Left out"]
    assert "- Bold: the best of its column." in text
    assert text.endswith("\\| file\n")


@FAST
@given(comparisons())
def test_markdown_tables_are_rectangular_and_names_are_read_back(comparison: Comparison):
    tables = markdown_tables(to_markdown(comparison))
    cells = {cell for table in tables for row in table for cell in row}
    for table in tables:
        assert len({len(row) for row in table}) == 1
    for group in comparison.groups:
        for row in group.rows:
            name = clean(row.name)
            assert any(cell == name or re.fullmatch(re.escape(name) + r" ?\[\d+\]", cell) for cell in cells)
            for cell, column in zip(row.cells, group.columns, strict=True):
                assert any(shown.startswith(naive(cell, column)) for shown in cells)


@settings(max_examples=examples(150), deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("\\`*_{}[]<>|~&#$+-.=!1) "), max_size=25))
def test_any_text_is_text_in_markdown(name: str):
    tables = markdown_tables(f"| {markdown(name)} | x |\n| --- | --- |\n")
    assert tables == [[[clean(name), "x"]]]


@pytest.mark.parametrize("name", ["- a", "1. a", "+ a", "# a", "> a", "=== ", "---", "2) b", "* c", "-"])
def test_a_note_is_one_item_of_its_list(name: str):
    group = Group("t", "measured", "exact", COLUMN, (Row("m", (Cell(0.5),)),), notes=(name,))
    tokens = MarkdownIt("commonmark").enable("table").parse(to_markdown(Comparison((group,))))
    items = [words_of(b) for a, b in pairwise(tokens) if a.type == "paragraph_open" and b.level == 3]
    assert items[0] == clean(name)


def test_latex_tables_hold_the_values():
    group = measured(models=4)
    text = to_latex(Comparison((group,)))
    assert text.isascii()
    tables = latex_tables(text)
    for row in group.rows:
        found = [cell for table in tables for line in table if line[0].split(" [")[0] == row.name for cell in line[1:]]
        found = [re.sub("[≈?]$", "", cell) for cell in found]
        for cell, column in zip(row.cells, group.columns, strict=True):
            assert naive(cell, column) in found
    assert text.count(r"\textbf{") == len(group.columns)
    assert text.count(r"\midrule") == len(tables) + text.count(r"\emph{chance}")


def test_latex_labels_are_unique_and_legends_said_once_a_group():
    text = to_latex(rich_comparison())
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == len(set(labels)) == text.count(r"\begin{table}") > 3
    assert text.count("Signs and notes as in Table~\\ref{tab:voiceface-1}.") == len(labels) - 3
    assert text.startswith("% Needs \\usepackage{booktabs}.")
    for environment in re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, re.DOTALL):
        assert environment.count(r" \\") < 60  # a page


@FAST
@given(comparisons())
def test_latex_tables_are_rectangular_and_nothing_is_lost(comparison: Comparison):
    text = to_latex(comparison)
    assert text.isascii()
    cells = {cell for table in latex_tables(text) for row in table for cell in row}
    for group in comparison.groups:
        for row in group.rows:
            for cell, column in zip(row.cells, group.columns, strict=True):
                assert any(shown.startswith(naive(cell, column)) for shown in cells)


LATIN = "".join(map(chr, range(33, 127))).replace('"', "") + "éÀüñçåŠőßøŁæ±→≈ "


@settings(max_examples=examples(150), deadline=None)
@given(st.text(alphabet=LATIN, max_size=25))
def test_latin_names_are_read_back_from_latex(name: str):
    source = latex(name)
    assert source.isascii()
    LatexWalker(source, tolerant_parsing=False).get_latex_nodes()
    # Typographic forms of the same signs, as LaTeX has them.
    forms = {"RIGHT SINGLE QUOTATION MARK": "'", "LEFT SINGLE QUOTATION MARK": "`"}
    forms |= {"MODIFIER LETTER CIRCUMFLEX ACCENT": "^", "SMALL TILDE": "~"}
    assert plain(source).translate({ord(lookup(form)): sign for form, sign in forms.items()}) == clean(name)


def test_what_latex_has_no_letter_for_is_its_number():
    assert latex("中 a") == "U+4E2D a"
    assert latex("--x") == "-{}-x"
    assert latex("[1]*") == "{[}1{]}{*}"


@pytest.mark.skipif(not (shutil.which("pdflatex") or shutil.which("tectonic")), reason="no TeX here")
def test_latex_compiles(tmp_path: Path):
    hostile = Row('a\\b_{c}^d%e&f#g~h$i[j]*k<l>|"m`n--o é中', (Cell(0.5),))
    group = Group("\\input{x} & 50 %", "measured", "exact", COLUMN, (hostile, hostile), notes=("#1 [x]",))
    comparison = Comparison((measured(), published(), study(), group), rich_comparison().left_out)
    (tmp_path / "table.tex").write_text(to_latex(comparison))
    (tmp_path / "main.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table}\\end{document}\n"
    )
    tex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error"] if shutil.which("pdflatex") else ["tectonic"]
    done = subprocess.run([*tex, "main.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "too large" not in done.stdout
