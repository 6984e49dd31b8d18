"""The short table of `voiceface compare` alone, and the difference of two models in words."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from compare_support import result, write
from leaderboard_support import measured
from rich.cells import cell_len

from voiceface.compare.grouping import compare_results
from voiceface.compare.reading import find_results, reference_results
from voiceface.compare.render.compact import SEEDED, TASKS, compact, differences
from voiceface.compare.render.documents import to_markdown
from voiceface.compare.render.terminal import plain_leaderboard
from voiceface.compare.table import Comparison
from voiceface.evaluation.results import write_results


def test_every_recipe_on_fewer_than_60_lines_of_80_places():
    found = reference_results()
    whole = compare_results(found, TASKS)
    text = plain_leaderboard(compact(whole), 80, short=True)
    lines = text.splitlines()
    assert len(lines) < 60
    assert max(map(cell_len, lines)) <= 80
    assert text.count("ideal observer ") == 1
    values = {line.split()[0]: re.findall(r"(?<= )(?:\d+\.\d|-)(?=[★≈?]| |$)", line) for line in lines if line.strip()}
    for group in whole.groups:
        for row in group.rows:
            if row.kind == "model":
                by = dict(zip([c.name for c in group.columns], row.cells, strict=True))
                cells = [by.get(name) for name in wanted_names()]
                shown = [f"{100 * c.value:.1f}" if c and c.value is not None else "-" for c in cells]
                assert values[row.name] == shown, row.name
    widest = max(
        50 * (c.high - c.low)
        for group in whole.groups
        for row in group.rows
        for c in row.cells
        if row.kind == "model" and c.low is not None and c.high is not None
    )
    assert f"± {widest:.1f} at most" in text


def wanted_names() -> list[str]:
    return [
        *("1:2/U/v2f", "1:2/G/v2f", "1:2/U/f2v", "1:2/G/f2v"),
        *("AUC/U", "mAP/U/v2f", "mAP/U/f2v"),
    ]


def test_sampled_trials_stand_in_the_same_table_unranked(tmp_path: Path):
    made = result("network", 0.1)
    made["scores"] = [{**r, "protocol": "sampled"} for r in made["scores"] if r["task"] == "matching" and r["n"] == 2]
    write_results(tmp_path / "network.json", made)
    results, _ = find_results([write(tmp_path / "a.json", "a", 1.0), tmp_path / "network.json"])
    (group,) = compact(compare_results(results, TASKS)).groups
    assert [(row.name, row.ranked) for row in group.rows if row.kind == "model"] == [("a", True), ("network", False)]
    assert SEEDED in group.rows[1].notes
    assert group.rows[1].cells[0].value is not None
    assert group.rows[1].cells[-1].value is None
    alone = compact(compare_results(results[1:], TASKS))
    assert [row.name for row in alone.groups[0].rows[:1]] == ["network"]


def test_no_name_is_broken_inside_a_word():
    names = ("trinet_euclidean", "kim_classifier", "an_unusually_long_name_of_a_model_with_many_words")
    group = measured(models=3)
    rows = [replace(row, name=name) for row, name in zip(group.rows, names, strict=False)]
    text = plain_leaderboard(Comparison((replace(group, rows=(*rows, *group.rows[3:])),)), 80)
    assert max(map(cell_len, text.splitlines())) <= 80
    for name in names[:2]:
        assert re.search(rf"^{name} ", text, re.M)
    pieces = re.findall(r"^(an_\S+_|many_words)(?: |$)", text, re.M)
    assert "".join(pieces[:2]) == names[2]


def test_two_models_say_their_difference(tmp_path: Path):
    better, worse = (write(tmp_path / f"{name}.json", name, noise) for name, noise in (("mine", 1.0), ("other", 2.0)))
    results, _ = find_results([better, worse])
    (group,) = compare_results(results, level=0.9).groups
    lines = differences(group)
    first, second = [row.name for row in group.rows[:2]]
    assert lines[0] == f"{first} - {second}: the difference, its 90 % interval, paired over people"
    for line in lines[1:]:
        assert re.fullmatch(r"  .+? +[+-]\d+\.\d \[[+-]\d+\.\d, [+-]\d+\.\d\]  p (= 0\.\d+|= 1|< 0\.001)", line), line
    column = next(i for i, c in enumerate(group.columns) if c.name == "AUC/U")
    values = [100 * float(row.cells[column].value or 0) for row in group.rows[:2]]
    (told,) = [line.split()[1] for line in lines if line.split()[0] == "AUC" and len(line.split()) == 7]
    assert float(told) == pytest.approx(values[0] - values[1], abs=0.051)
    swapped = replace(group, rows=(group.rows[1], group.rows[0], *group.rows[2:]))
    signs = {"+": "-", "-": "+"}
    for line, other in zip(lines[1:], differences(swapped)[1:], strict=True):
        ends = re.findall(r"[+-]\d+\.\d", line)
        turned = [signs[end[0]] + end[1:] for end in (ends[0], ends[2], ends[1])]
        assert [end.replace("-0.0", "+0.0") for end in re.findall(r"[+-]\d+\.\d", other)] == [
            end.replace("-0.0", "+0.0") for end in turned
        ]
    for text in (plain_leaderboard(Comparison((group,)), 80), to_markdown(Comparison((group,)))):
        assert f"{first} - {second}" in text
    one = replace(group, rows=(group.rows[0], *group.rows[2:]))
    assert differences(one) == []
    untested = [replace(r, cells=tuple(replace(c, difference=None) for c in r.cells)) for r in group.rows]
    assert differences(replace(group, rows=tuple(untested))) == []
