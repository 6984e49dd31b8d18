"""Results as an object: what it says is what the records say."""

from pathlib import Path

import numpy as np
import pytest

from voiceface.evaluation.results import read_results
from voiceface.evaluation.view import Results
from voiceface.utils.errors import UserError

ZOO = sorted(Path(__file__).parents[2].glob("zoo/*/src/*/results.json"))
TRINET, SVHF = (next(path for path in ZOO if path.parts[-4] == name) for name in ("trinet-synthetic", "svhf-synthetic"))


@pytest.fixture(scope="module")
def results() -> Results:
    return Results.read(TRINET)


def record(content, **wanted):
    (found,) = (r for r in content["scores"] if all(r[key] == value for key, value in wanted.items()))
    return found


def test_it_is_the_mapping_of_its_file(results: Results):
    content = read_results(TRINET)
    assert dict(results) == content
    assert len(results) == len(content)
    assert results.get("nothing") is None


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, {"task": "matching", "direction": "v2f", "stratum": "U", "n": 2, "protocol": "exact"}),
        (
            {"direction": "f2v", "stratum": "G", "n": 10},
            {"task": "matching", "direction": "f2v", "stratum": "G", "n": 10, "protocol": "exact"},
        ),
        ({"metric": "AUC", "stratum": "GN"}, {"metric": "AUC", "stratum": "GN"}),
        ({"metric": "R@10", "direction": "f2v"}, {"metric": "R@10", "direction": "f2v", "stratum": "U"}),
    ],
)
def test_find_gives_the_one_record(results: Results, asked: dict, wanted: dict):
    assert results.find(**asked) == record(results, **wanted)


def test_what_is_not_there_is_none(results: Results):
    assert results.find("accuracy", n=77) is None
    assert results.find("R@3") is None
    assert Results.read(SVHF).find("AUC") is None


def test_the_sentence_has_value_interval_chance_and_the_best_possible(results: Results):
    first, second = results.summary().splitlines()
    value = results.find()
    assert first.startswith(f"A voice finds its face among two {100 * value['value']:.1f} % ± ")
    assert f"± {50 * (value['ci_high'] - value['ci_low']):.1f} of the time; chance is 50, the best possible " in first
    best = {"scores": results["ideal_observer"]}
    ideal = record(best, task="matching", direction="f2v", stratum="U", n=2, protocol="exact")
    assert second.endswith(f"the best possible {100 * ideal['value']:.1f}.")
    sampled = Results.read(SVHF)
    assert sampled.summary().count("\n") == 0, "it chooses in one direction"


def test_table_repr_and_html_show_the_same_number(results: Results):
    shown = f"{100 * results.find()['value']:.1f} ± "
    assert shown in results.table()
    assert len(results.table(everything=True)) > len(results.table())
    assert max(map(len, results.table(width=80).splitlines())) <= 80
    assert shown.replace(" ±", " % ±") in repr(results)
    assert shown in results._repr_html_()
    assert "<script" not in results._repr_html_()


def test_saving_and_reading_again(results: Results, tmp_path: Path):
    results.save(tmp_path / "r.json")
    assert Results.read(tmp_path / "r.json")["scores"] == results["scores"]
    with pytest.raises(UserError, match="no such result file"):
        Results.read(tmp_path / "nothing.json")


def test_a_data_frame_has_a_row_per_score(results: Results, monkeypatch: pytest.MonkeyPatch):
    class Frame:
        def __init__(self, rows, **options):
            self.rows = rows

    import sys
    from types import SimpleNamespace

    for name, other in (("pandas", "polars"), ("polars", "pandas")):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(DataFrame=Frame))
        monkeypatch.setitem(sys.modules, other, None)
        assert results.to_frame().rows == results["scores"]
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(UserError, match="needs pandas or polars"):
        results.to_frame()


def test_intervals_are_drawn_where_the_records_say(results: Results):
    (panel,) = results.plot_intervals().axes
    drawn = [line for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    ends = np.array([line.get_xdata() for line in drawn])
    wanted = [
        (100 * r["ci_low"], 100 * r["ci_high"])
        for r in results["scores"]
        if (r["task"], r["n"], r["protocol"]) == ("matching", 2, "exact")
    ]
    assert sorted(map(tuple, ends.tolist())) == sorted(wanted)
    assert [tick.get_text() for tick in panel.get_yticklabels()][-1] == "anybody"


def test_the_roc_curves_are_those_of_the_result(results: Results):
    (panel,) = results.plot_roc().axes
    for line, hits in zip(panel.lines, results["roc"].values(), strict=False):
        assert line.get_ydata().tolist() == [100 * hit for hit in hits]
        assert line.get_xdata()[-1] == 100
    with pytest.raises(UserError, match="no ROC curve"):
        Results.read(SVHF).plot_roc()


def test_one_among_many_by_the_number_of_candidates(results: Results):
    (panel,) = results.plot_many().axes
    numbers = sorted({r["n"] for r in results["scores"] if r["task"] == "matching" and r["protocol"] == "exact"})
    assert panel.lines[0].get_xdata().tolist() == numbers
    wanted = [100 * results.find(n=n)["value"] for n in numbers]
    assert panel.lines[0].get_ydata().tolist() == wanted
    assert [100 / n for n in numbers] in [line.get_ydata().tolist() for line in panel.lines]


def test_results_without_matching_have_no_such_figure(results: Results):
    empty = Results({**results, "scores": []})
    for figure in (empty.plot_intervals, empty.plot_many):
        with pytest.raises(UserError, match="no 1:2 matching"):
            figure()
