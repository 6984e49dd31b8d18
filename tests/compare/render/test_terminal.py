"""The leaderboard in the terminal: it fits, loses nothing, and each sign says what the comparison says."""

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from leaderboard_support import COLUMNS, comparisons, measured, naive, published, rich_comparison, study
from rich.cells import cell_len
from rich.console import Console
from tests_support import examples

from voiceface.compare.render.blocks import SIGMA
from voiceface.compare.render.terminal import leaderboard, plain_leaderboard, print_leaderboard
from voiceface.compare.table import EMPTY, Cell, Comparison, Group, Row

FAST = settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def values_of(text: str, name: str) -> list[str]:
    """The values in all lines that begin with a name, in order; a value and its interval are one."""
    lines = [line[len(name) :] for line in text.splitlines() if re.match(rf"{re.escape(name)}( \[\d+\])? ", line)]
    words = " ".join(lines).replace(" ± ", "±").replace(" (", "(").split()
    return [word for word in words if not re.fullmatch(r"\[\d+\]", word)]


BLOCKS = (
    ("verification", "both"),
    ("matching", "v2f"),
    ("matching", "f2v"),
    ("retrieval", "v2f"),
    ("retrieval", "f2v"),
)
ORDER = [i for block in BLOCKS for i, c in enumerate(COLUMNS) if (c.task, c.direction) == block]


def shown(row: Row) -> list[str]:
    return [naive(row.cells[i], COLUMNS[i]).replace(" ± ", "±").replace(" (", "(") for i in ORDER]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_each_row_holds_its_values_in_order(width: int):
    group = measured(models=5)
    text = plain_leaderboard(Comparison((group,)), width)
    for row in group.rows if width > 80 else [r for r in group.rows if len(r.name) < 14]:  # others take two lines
        found = [re.sub("[★≈?]$", "", word) for word in values_of(text, row.name)]
        assert found[: len(COLUMNS)] == shown(row)


@pytest.mark.parametrize("width", [60, 80, 100, 130, 160, 250])
def test_it_fits_and_no_word_is_cut(width: int):
    text = plain_leaderboard(rich_comparison(), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text
    assert not {"nan", "none", "inf", "null"} & set(text.lower().split())


def test_no_short_name_takes_two_lines():
    group = measured(models=3, columns=COLUMNS[:9])
    for width in range(56, 171, 3):
        lines = plain_leaderboard(Comparison((group,)), width).splitlines()
        assert all(any(line.startswith(f"{row.name} ") for line in lines) for row in group.rows), width
        assert not any(re.match(r"\w+$", line) for line in lines[3:] if line not in ("verification", "models")), width


def test_a_wide_terminal_puts_blocks_beside_each_other():
    heads = [len(re.findall("─+", plain_leaderboard(Comparison((measured(),)), width))) for width in (80, 100, 160)]
    assert heads == sorted(heads, reverse=True)
    assert heads[0] > heads[2]
    assert plain_leaderboard(Comparison((published(),)), 100).count("AUC") == 1


def test_signs_say_what_the_comparison_says():
    group = measured(models=8)
    text = plain_leaderboard(Comparison((group,)), 160)
    for row in group.rows[:8]:
        words = values_of(text, row.name)[: len(COLUMNS)]
        for cell, word in zip([row.cells[i] for i in ORDER], words, strict=False):
            expected = "★" if cell.best else "≈" if cell.same else "?" if cell.same is None else ""
            if not row.ranked or cell.value is None:
                expected = ""
            assert re.findall("[★≈?]", word) == list(expected), (row.name, word)


def test_one_model_alone_is_the_best_of_nothing():
    text = plain_leaderboard(Comparison((measured(models=1),)), 100)
    assert "★" not in text
    assert "best of its column" not in text


def test_the_only_model_of_a_column_has_no_sign_there():
    group = measured(models=7, columns=COLUMNS[-2:])
    rows = (group.rows[0], *(replace(r, cells=(r.cells[0], Cell(None))) for r in group.rows[1:7]), *group.rows[7:])
    rows = (replace(rows[0], cells=(rows[0].cells[0], replace(rows[0].cells[1], best=False))), *rows[1:])
    words = values_of(plain_leaderboard(Comparison((replace(group, rows=rows),)), 100), "trinet")
    assert words[1] == naive(rows[0].cells[1], COLUMNS[-1]).replace(" (", "(")


def test_a_difference_that_was_not_tested_is_not_taken_for_a_real_one():
    group = measured(models=3)
    untested = tuple(replace(cell, same=None, p_value=None, difference=None) for cell in group.rows[1].cells)
    rows = (group.rows[0], replace(group.rows[1], cells=untested), *group.rows[2:])
    text = plain_leaderboard(Comparison((replace(group, rows=rows),)), 100)
    assert all(word.endswith(("?", "★")) for word in values_of(text, "dimnet_ig")[: len(COLUMNS)])
    assert "?: not tested" in text
    none = tuple(replace(row, cells=tuple(replace(c, same=None) for c in row.cells)) for row in group.rows)
    text = plain_leaderboard(Comparison((replace(group, rows=none),)), 100)
    assert all(word.endswith(("?", "★")) for word in values_of(text, "dimnet_ig")[: len(COLUMNS)])
    assert "≈:" not in text
    assert "?" not in plain_leaderboard(Comparison((replace(group, rows=none, kind="published"),)), 100)


def test_columns_in_which_nobody_has_a_value_are_no_table():
    group = measured(models=2)
    nothing = tuple(replace(row, cells=(EMPTY,) * len(row.cells)) for row in group.rows if row.kind != "model")
    text = plain_leaderboard(Comparison((replace(group, rows=nothing, notes=("nothing is here",)),)), 100)
    assert "nothing is here" in text
    assert "AUC" not in text


def test_spread_over_seeds_stands_below_the_mean():
    group = measured(models=5)
    lines = plain_leaderboard(Comparison((group,)), 100).splitlines()
    (first, *_) = [i for i, line in enumerate(lines) if line.startswith("svhf* ")]
    spreads = [f"{100 * (c.spread or 0):.1f}" for c in group.rows[4].cells[:5]]
    assert lines[first + 1].split() == [SIGMA, "of", "3", "seeds", *spreads]
    assert f"{SIGMA}: standard deviation" in "\n".join(lines)


def test_the_papers_values_stand_beside_ours():
    text = plain_leaderboard(Comparison((study(),)), 100)
    assert values_of(text, "headline") == ["79.7±2.5", "84.48", "66.0", "73.5", "78.8", "27.7", "63"]
    assert "paper: what the paper reports" in text
    assert "EER and median rank: lower is better" in text


def test_printed_numbers_keep_their_places():
    text = plain_leaderboard(Comparison((published(),)), 100)
    assert values_of(text, "DRL")[-5:] == ["85.03★", "85.18★", "85.42★", "6.75", "6.19"]
    assert "83.8*" in text
    assert "* read off a plot" in text
    assert "† curve of Fig. 3" in text
    exact = Row("TriNet", (Cell(0.8448, 0.8447, 0.8449),))
    own = Group("t", "published", "p", published().columns[1:2], (exact, Row("x", (Cell(0.8966, 0.8886, 0.9046),))))
    assert "84.48 ± 0.01" in plain_leaderboard(Comparison((own,)), 100)
    assert "89.66 ± 0.80" in plain_leaderboard(Comparison((own,)), 100)


def test_notes_facts_and_left_out_files_are_said_once():
    text = plain_leaderboard(rich_comparison(), 100)
    assert text.count("[2] trained on 12 of these 150 people: not ranked") == 1
    assert "<pins> [2]" in text
    assert "The same for all: steps 800." in text
    assert "0.83 M" in text
    assert text.rstrip().endswith("b_*.json: empty | file")
    assert text.count("Per cent, but for the median rank.") == 1
    bare = Row("nothing", tuple(Cell(None) for _ in COLUMNS), ranked=False)
    group = measured(models=2)
    text = plain_leaderboard(Comparison((replace(group, rows=(*group.rows, bare)),)), 100)
    assert "[2] not ranked" in text or "[1] not ranked" in text
    assert set(values_of(text, "nothing")[: len(COLUMNS)]) == {"-"}


def test_a_model_stands_only_in_tables_where_it_has_values():
    group = measured(models=7)
    text = plain_leaderboard(Comparison((group,)), 80)
    title = re.compile("^retrieval$", re.MULTILINE)
    assert "horiguchi" not in text[title.search(text).start() : text.index("\nmodels\n")]  # type: ignore[union-attr]
    assert text.count("horiguchi") == 7  # two tables of verification and of each way of matching, models


def test_each_table_says_which_way_it_is():
    text = plain_leaderboard(Comparison((measured(models=3),)), 80)
    for block in re.split(r"\n\n", text):
        if "1:2" in block or "mAP" in block:
            assert ("voice → face" in block) + ("face → voice" in block) == 1 or re.search("v→f|f→v", block), block


def test_the_legend_explains_no_sign_that_is_not_there():
    text = plain_leaderboard(Comparison((published(),)), 100)
    for sign in ("≈", SIGMA, "paper:", "ideal observer", "lower is better", "[1]", "Left out", "95 %"):
        assert sign not in text


def test_piped_it_is_plain_and_wide(capsys: pytest.CaptureFixture[str]):
    print_leaderboard(rich_comparison())
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert 130 < max(map(cell_len, text.splitlines())) <= 160
    assert [line.rstrip() for line in text.splitlines()] == plain_leaderboard(rich_comparison(), 160).splitlines()


def test_in_a_terminal_the_best_is_bold_and_chance_dim():
    console = Console(width=100, force_terminal=True, color_system="standard", highlight=False)
    with console.capture() as capture:
        console.print(leaderboard(Comparison((measured(models=2),)), 100))
    bold = re.findall(r"\x1b\[1m\s*([^\x1b]*?)\s*\x1b\[0m", capture.get())
    assert sum("★" in word for word in bold) == len(COLUMNS)
    assert re.search(r"\x1b\[2mchance", capture.get())
    assert not any("≈" in word for word in bold if "±" in word)


def test_names_cannot_act_on_the_terminal():
    group = measured(models=2)
    rows = (replace(group.rows[0], name="\x1b[31mred\nline\x07 [bold]x[/bold]\u202e"), *group.rows[1:])
    lines = plain_leaderboard(Comparison((replace(group, rows=rows),)), 160)
    assert "[31mred line [bold]x[/bold]" in lines
    assert not set(lines) & set("\x1b\x07\u202e")


def test_nothing_at_all_is_no_error():
    assert plain_leaderboard(Comparison(()), 80).strip() == ""
    assert plain_leaderboard(Comparison((), (("a.json", "empty"),)), 80).strip() == "Left out\n  a.json: empty"


@FAST
@given(comparisons())
def test_whatever_it_holds_every_value_is_shown_and_fits(comparison: Comparison):
    text = plain_leaderboard(comparison, 100)
    assert max(map(cell_len, text.splitlines())) <= 100
    for group in comparison.groups:
        for row in group.rows:
            for cell, column in zip(row.cells, group.columns, strict=True):
                assert naive(cell, column) in text
