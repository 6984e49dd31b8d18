"""Result files to tables: what is ranked together, what is the best, what is merged and what is said."""

import re
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_support import embeddings, identities, result, write

from voiceface.compare.grouping import compare_results
from voiceface.compare.reading import Found, find_results
from voiceface.compare.render.legend import legend
from voiceface.compare.significance import holm
from voiceface.compare.table import DRAWN, Group, Row
from voiceface.evaluation.results import read_results, write_results
from voiceface.evaluation.scoring import score_embeddings
from voiceface.scores.confidence import paired_difference
from voiceface.scores.matching import count
from voiceface.scores.similarity import similarity_rows
from voiceface.utils.errors import UserError

TRAINED = {"method": "TriNet", "arguments": {"dim": 8}, "training_data": {"corpus": "small", "split": "train"}}


def run(seed: int) -> dict[str, int]:
    return {"seed": seed, "steps": 7}


def found(*paths: Path) -> list[Found]:
    return find_results(list(paths))[0]


def value(row: Row, group: Group, name: str) -> float | None:
    return row.cells[[c.name for c in group.columns].index(name)].value


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("three")
    return [write(folder / f"{name}.json", name, noise) for name, noise in (("good", 1.0), ("fair", 1.5), ("bad", 6.0))]


def test_one_table_of_models_in_order_with_the_values_of_their_files(three: list[Path]):
    (group,) = compare_results(found(*three)).groups
    assert [row.name for row in group.rows] == ["good", "fair", "bad", "chance"]
    assert (group.kind, group.protocol, group.level) == ("measured", "exact", 0.95)
    assert [c.name for c in group.columns] == [
        *("AUC/U", "AUC/G", "AUC/N"),
        *(f"1:2/{s}/{d}" for d in ("v2f", "f2v") for s in ("U", "G", "N", "GN")),
        *("1:10/U/v2f", "1:10/U/f2v", "mAP/U/v2f", "R@10/U/v2f", "mAP/U/f2v", "R@10/U/f2v"),
    ]
    for path, row in zip(three, group.rows, strict=False):
        for column, cell in zip(group.columns, row.cells, strict=True):
            (record,) = (
                r
                for r in read_results(path)["scores"]
                if r["protocol"] in ("exact", "whole_split")
                and (r["metric"], r["stratum"], r["direction"]) == (column.metric, column.stratum, column.direction)
                and (r["task"] != "matching" or r["n"] == column.n)
            )
            assert (cell.value, cell.low, cell.high) == (record["value"], record["ci_low"], record["ci_high"])
    chance = group.rows[-1]
    assert [value(chance, group, n) for n in ("AUC/U", "1:2/G/v2f", "1:10/U/f2v")] == [0.5, 0.5, 0.1]


def test_the_test_against_the_best_is_that_of_the_win_rates(three: list[Path]):
    (group,) = compare_results(found(*three), ["1:2/v2f"]).groups
    tables = []
    for noise in (1.0, 1.5, 6.0):
        made = embeddings(noise)
        people = np.repeat(np.arange(12), 3)
        tables.append(count(similarity_rows(made.voices, made.faces, "cosine"), people, np.full(12, 2)).win_rates)
    mask = ~np.eye(12, dtype=bool)
    every = [paired_difference(tables[i], tables[j], mask) for i, j in ((1, 0), (2, 0), (2, 1))]
    corrected = holm(np.array([d.p_value for d in every if d is not None]))
    cells = [row.cells[0] for row in group.rows[:3]]
    assert [cell.best for cell in cells] == [True, False, False]
    assert cells[0].same is None
    for cell, expected, p_value in zip(cells[1:], every, corrected, strict=False):
        assert expected is not None
        assert cell.difference == pytest.approx((expected.value, expected.low, expected.high), abs=2e-5)
        assert cell.p_value == pytest.approx(p_value, rel=2e-3)
        assert cell.same == (p_value >= 0.05)
    assert cells[2].same is False  # noise six times as strong


def test_other_clips_make_another_table_and_the_reason_is_said(three: list[Path], tmp_path: Path):
    other = write(tmp_path / "other.json", "other", 1.0, clips=1)
    comparison = compare_results(found(*three, other))
    assert [[row.name for row in group.rows] for group in comparison.groups] == [
        ["good", "fair", "bad", "chance"],
        ["other", "chance"],
    ]
    first, second = (
        [sum(row.cells[i].best for row in g.rows) for i in range(len(g.columns))] for g in comparison.groups
    )
    assert min(first) >= 1
    assert max(second) == 0  # alone, nothing is the best
    assert "not ranked with each other" in comparison.notes[0]
    assert compare_results(found(*three)).notes == ()


def test_seeds_become_one_row_their_mean(tmp_path: Path):
    paths = [
        write(
            tmp_path / f"seed-{s}" / "results.json", "m", 1.0, seed=s, model=TRAINED, training={"seed": s, "steps": 7}
        )
        for s in range(3)
    ]
    (group,) = compare_results(found(*paths)).groups
    row = group.rows[0]
    assert (row.name, row.seeds, row.steps, row.training_data) == ("m", 3, 7, "small, train")
    place = [c.name for c in group.columns].index("1:2/U/v2f")
    each = [
        r["value"]
        for path in paths
        for r in read_results(path)["scores"]
        if (r["n"], r["protocol"], r["stratum"], r["direction"], r["task"]) == (2, "exact", "U", "v2f", "matching")
    ]
    cell = row.cells[place]
    assert cell.value == pytest.approx(statistics.fmean(each))
    assert cell.spread == pytest.approx(statistics.stdev(each))
    assert cell.low is not None
    assert cell.high is not None
    assert cell.low < cell.value < cell.high
    # The same seed twice, or settings that differ, are no draws of one training.
    again = write(
        tmp_path / "again" / "results.json", "m", 1.0, seed=9, model=TRAINED, training={"seed": 0, "steps": 7}
    )
    (group,) = compare_results(found(paths[0], again)).groups
    assert [row.seeds for row in group.rows] == [1, 1, 1]
    assert {row.name for row in group.rows} == {"m (seed-0)", "m (again)", "chance"} or {
        row.name for row in group.rows
    } == {f"m ({tmp_path.name})", "m (again)", "chance"}
    assert any(note.startswith("In brackets after a name: the folder or file") for note in group.notes)


def test_a_model_that_knew_the_people_is_shown_and_not_ranked(three: list[Path], tmp_path: Path):
    leaking = write(tmp_path / "leaking.json", "leaking", 0.1, data={"leaking_identities": 5})
    (group,) = compare_results(found(*three, leaking)).groups
    first = group.rows[0]
    assert (first.name, first.ranked) == ("leaking", False)
    assert "trained on 5 of these 12 people" in first.notes[0]
    assert not any(cell.best for cell in first.cells)
    assert any(cell.best for cell in group.rows[1].cells)


def test_sampled_trials_stand_apart(three: list[Path], tmp_path: Path):
    made = result("network", 1.0)
    made["scores"] = [{**r, "protocol": "sampled"} for r in made["scores"] if r["task"] == "matching" and r["n"] == 2]
    write_results(tmp_path / "network.json", made)
    comparison = compare_results(found(*three, tmp_path / "network.json"))
    assert [group.protocol for group in comparison.groups] == ["exact", "sampled"]
    assert "not ranked together" in comparison.groups[1].notes[0]
    assert {c.metric for c in comparison.groups[1].columns} == {"accuracy"}


def test_tasks_choose_columns_and_a_protocol_that_is_asked_for_is_found(three: list[Path]):
    (group,) = compare_results(found(*three), ["mAP/f2v", "1:2/G", "EER", "1:2/GNA"]).groups
    assert [c.name for c in group.columns] == ["mAP/U/f2v", "1:2/G/v2f", "1:2/G/f2v", "EER/U"]
    assert "1:2/GNA/v2f, 1:2/GNA/f2v" in group.notes[-1]
    errors = [value(row, group, "EER/U") for row in group.rows[:3]]
    best = [row.cells[3].best for row in group.rows[:3]]
    assert best[errors.index(min(errors))]  # of an error rate the smallest
    (weighted,) = compare_results(found(*three), protocols=["clip_weighted"]).groups
    assert weighted.protocol == "clip_weighted"
    assert {c.metric for c in weighted.columns} == {"accuracy"}
    assert compare_results(found(*three), protocols=["nobody"]).groups == ()
    for word in ("1:1", "AUC/v2f", "AUCC", "1:2/X", "1:2/NG", "1:2/G/v2f/x", ""):
        with pytest.raises(UserError, match="--tasks"):
            compare_results(found(*three), [word])


def test_the_ideal_observer_closes_the_table(three: list[Path], tmp_path: Path):
    made = result("model", 2.0)
    made["ideal_observer"] = result("ideal", 0.5)["scores"]
    write_results(tmp_path / "model.json", made)
    (group,) = compare_results(found(tmp_path / "model.json")).groups
    assert [(row.name, row.kind) for row in group.rows[-2:]] == [("chance", "chance"), ("ideal observer", "ideal")]
    wanted = next(r["value"] for r in made["ideal_observer"] if r["metric"] == "AUC" and r["stratum"] == "U")
    assert value(group.rows[-1], group, "AUC/U") == wanted
    assert not any(cell.best for cell in group.rows[-1].cells)


def test_other_protocols_have_their_own_ideal_or_none(tmp_path: Path):
    made, ideal = result("model", 2.0), result("ideal", 0.5)["scores"]
    made["scores"] += [{**r, "protocol": "kim", "ci_method": "binomial"} for r in made["scores"] if r["n"] == 2]
    made["ideal_observer"] = ideal
    write_results(tmp_path / "model.json", made)
    (weighted,) = compare_results(found(tmp_path / "model.json"), ["1:2/v2f"], ["clip_weighted"]).groups
    (wanted,) = (
        r["value"]
        for r in ideal
        if (r["protocol"], r["n"], r["stratum"], r["direction"]) == ("clip_weighted", 2, "U", "v2f")
    )
    assert (weighted.rows[-1].name, value(weighted.rows[-1], weighted, "1:2/U/v2f")) == ("ideal observer", wanted)
    (drawn,) = compare_results(found(tmp_path / "model.json"), protocols=["kim"]).groups
    assert [row.kind for row in drawn.rows] == ["model", "chance"]  # the ideal observer was not scored so
    assert (DRAWN in drawn.notes, DRAWN in weighted.notes) == (True, False)
    assert ["people being the sampling unit" in " ".join(legend([g], "bold")) for g in (drawn, weighted)] == [
        False,
        True,
    ]


def test_the_spread_of_subsets_is_no_column(tmp_path: Path):
    made = result("model", 2.0)
    one = next(r for r in made["scores"] if (r["n"], r["stratum"], r["direction"]) == (2, "U", "v2f"))
    subsets = [{**one, "protocol": "trinet_subsets_100", "metric": m} for m in ("accuracy", "accuracy_spread")]
    made["scores"] = [*made["scores"], *subsets]
    write_results(tmp_path / "model.json", made)
    (group,) = compare_results(found(tmp_path / "model.json"), protocols=["trinet_subsets_100"]).groups
    assert [column.metric for column in group.columns] == ["accuracy"]


def renamed(order: list[int]) -> dict[str, dict[str, str]]:
    """The people of `compare_support` by other names."""
    return {name: {**row, "identity": f"q{order[i]:02d}"} for i, (name, row) in enumerate(identities().items())}


def test_people_by_other_names_are_paired_only_in_the_same_order(three: list[Path], tmp_path: Path):
    """The same clips and numbers of people and trials: nothing else tells that effects are of others."""
    for name, order in (("backward", list(range(12))[::-1]), ("forward", list(range(12)))):
        made = score_embeddings(embeddings(1.5), name, renamed(order), note=lambda line: None)
        write_results(tmp_path / f"{name}.json", made)
    cells = {}
    for name in ("backward", "forward"):
        (group,) = compare_results(found(three[0], tmp_path / f"{name}.json"), ["1:2/v2f"]).groups
        cells[name] = group.rows[1].cells[0]
    (group,) = compare_results(found(*three[:2]), ["1:2/v2f"]).groups
    assert cells["forward"].p_value == group.rows[1].cells[0].p_value is not None
    assert cells["backward"].value == cells["forward"].value
    assert cells["backward"].p_value is None


def test_clips_that_are_said_to_be_of_fewer_people_make_another_table(three: list[Path], tmp_path: Path):
    pairs = score_embeddings(embeddings(1.0), "pairs", renamed([i // 2 for i in range(12)]), note=lambda line: None)
    write_results(tmp_path / "pairs.json", pairs)
    comparison = compare_results(found(three[0], tmp_path / "pairs.json"))
    assert [group.data["identities"] for group in comparison.groups] == [12, 6]
    assert "or people" in comparison.notes[0]


def renamed_clips(change: Callable[[str], str]) -> dict[str, Any]:
    """A result of the same clips, the keys of the voices changed."""
    made = embeddings(2.0)
    keys = np.array([change(key) for key in made.voice_key.tolist()])
    return score_embeddings(replace(made, voice_key=keys), "mine", identities(), note=lambda line: None)


@pytest.mark.parametrize(
    ("change", "differ"),
    [
        (lambda key: f"{key}.flac", True),
        (lambda key: f"wav/{key}.m4a", True),
        (lambda key: key.removeprefix("0/"), True),
        (lambda key: key.replace("voice", "speech"), False),
    ],
)
def test_keys_that_differ_in_ending_or_folder_are_named(change: Callable[[str], str], differ: bool, tmp_path: Path):
    write_results(tmp_path / "mine.json", renamed_clips(change))
    comparison = compare_results(found(write(tmp_path / "a.json", "a", 1.0), tmp_path / "mine.json"))
    assert len(comparison.groups) == 2
    assert len(comparison.notes) == 1 + differ
    if differ:
        named = {name: key for key, name in re.findall(r"'(\S+)' in (a|mine)", comparison.notes[0])}
        assert named["mine"] == change(named["a"])
        assert named["a"] in embeddings(1.0).voice_key
        assert "voiceface clips CORPUS" in comparison.notes[0]


def test_the_title_names_the_corpus_if_one_result_does(tmp_path: Path):
    named = write(tmp_path / "named.json", "named", 2.0, data={"corpus": "people", "split": "test"})
    (group,) = compare_results(found(write(tmp_path / "mine.json", "mine", 1.0), named)).groups
    assert group.title.startswith("people, test split: 12 people")
