"""Probes against enumeration, against scikit-learn, and on spaces whose content is known."""

import csv
import itertools
import os
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from tests_support import examples

from voiceface.evaluation.voice_measures import voice_measures
from voiceface.scores import probes
from voiceface.scores.probes import (
    Probe,
    attribute_values,
    average_precision,
    is_chance,
    plan_probes,
    probe,
    probe_records,
)
from voiceface.utils.errors import UserError

DATA = os.environ.get("VOICEFACE_TEST_DATA", "")


def people(count, dimensions=8, clips=4, seed=0, shift=0.0):
    """Clips around one point per person; those of even people are shifted along the first axis."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count, dimensions))
    centres[::2, 0] += shift
    identity = [f"p{i:03}" for i in range(count) for _ in range(clips)]
    embeddings = np.repeat(centres, clips, axis=0) + 0.3 * rng.standard_normal((count * clips, dimensions))
    table = {f"p{i:03}": {"parity": "odd" if i % 2 else "even"} for i in range(count)}
    return embeddings, identity, table


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_average_precision_is_the_mean_over_all_orders_of_tied_items(items):
    decisions, positive = (np.array(column) for column in zip(*items, strict=True))
    if not positive.any():
        positive[0] = True
    found = []
    for order in itertools.permutations(range(len(items))):
        if all(decisions[a] >= decisions[b] for a, b in itertools.pairwise(order)):
            hits = [place for place, item in enumerate(order, 1) if positive[item]]
            found.append(mean(rank / place for rank, place in enumerate(hits, 1)))
    assert average_precision(decisions, positive[None]) == pytest.approx([mean(found)])


def test_average_precision_of_distinct_decisions_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    decisions, positive = rng.standard_normal(40), rng.random((3, 40)) < 0.4
    expected = [average_precision_score(labels, decisions) for labels in positive]
    assert average_precision(decisions, positive) == pytest.approx(expected)


def test_a_probe_is_a_linear_svm_on_the_drawn_splits(monkeypatch):
    embeddings, identity, table = people(30, shift=1.0)
    draws = []
    draw = probes._draw
    monkeypatch.setattr(probes, "_draw", lambda *given: draws.append(draw(*given)) or draws[-1])
    for name in list(table)[:24]:
        table[name]["parity"] = "odd" if name in list(table)[10:] else table[name]["parity"]
    planned = plan_probes(identity, table)[0][0]
    assert (len(planned.people), len(planned.others)) == (8, 22)
    found = probe(embeddings, identity, planned, "voice", trials=6, level=0.9)
    scores = []
    for train, positive, held, _, has in draws:
        # The features are divided by sqrt(D) = sqrt(8), which is C = 1/8 without.
        machine = make_pipeline(
            StandardScaler(), LinearSVC(C=1 / 8, class_weight="balanced", max_iter=100_000, tol=1e-6)
        )
        machine[-1].intercept_scaling = np.sqrt(8)
        machine.fit(embeddings[train], positive)
        scores.append(average_precision_score(has, machine.decision_function(embeddings[held])))
    half = student.ppf(0.95, 5) * np.std(scores, ddof=1) / np.sqrt(6)
    assert found["value"] == pytest.approx(mean(scores), abs=2e-3)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(
        (mean(scores) - half, min(1, mean(scores) + half)), abs=4e-3
    )
    assert (found["task"], found["direction"], found["stratum"]) == ("probe", "voice", "parity=even")
    assert (found["metric"], found["protocol"], found["ci_method"], found["ci_level"]) == (
        "mAP",
        "kim_probe",
        "trials",
        0.9,
    )
    assert (found["identities"], found["trials"], found["n"]) == (30, 6, 2 * 2 * 4)


@settings(max_examples=examples(30), deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=10, max_size=25),
    st.integers(5, 20),
    st.integers(1, 5),
    st.integers(0, 1000),
)
def test_nobody_is_on_both_sides_and_the_holdout_is_balanced(counts, most, clips, seed):
    identity = np.repeat([f"p{i:02}" for i in range(len(counts))], counts)
    shuffled = identity[np.random.default_rng(seed).permutation(len(identity))]
    table = {name: {"a": "yes" if int(name[1:]) % 2 else "no"} for name in set(identity)}
    planned = plan_probes(shuffled.tolist(), table)[0][0]
    rows_of = probes.rows_by_person(shuffled)
    train, positive, held, pair, has = probes._draw(planned, rows_of, np.random.default_rng(seed), most, clips)
    assert not set(shuffled[train]) & set(shuffled[held])
    assert has.sum() == (~has).sum() > 0
    assert len(set(train) | set(held)) == len(train) + len(held)
    for rows, labels in ((train, positive), (held, has)):
        assert [name in planned.people for name in shuffled[rows]] == labels.tolist()
    for number in set(pair):
        assert has[pair == number].sum() == (~has[pair == number]).sum()
        assert len(set(shuffled[held][pair == number])) == 2
    people_drawn, clips_each = np.unique(np.r_[shuffled[train], shuffled[held]], return_counts=True)
    assert clips_each.max() <= clips
    assert sum(name in planned.people for name in people_drawn) <= most


def test_what_is_in_the_space_is_found_and_what_is_not_is_chance():
    embeddings, identity, table = people(80, shift=6.0)
    for name in table:
        table[name]["random"] = str(np.random.default_rng(int(name[1:])).choice(["red", "blue"]))
    found = {r["stratum"]: r for r in probe_records(embeddings, identity, None, [], table)}
    assert found["parity=even"]["value"] > 0.97
    assert not is_chance(found["parity=even"])
    # Clips of one person lie together, so a split of clips would find this, too.
    assert found["random=red"]["value"] < 0.7
    assert is_chance(found["random=red"])


def test_a_constant_model_scores_exactly_chance():
    _, identity, table = people(24)
    (first, second) = probe_records(np.ones((96, 3)), identity, None, [], table, trials=3)
    items, harmonic = 2 * 2 * 4, sum(1 / i for i in range(1, 17))
    chance = ((items / 2 - 1) / (items - 1) * (items - harmonic) + harmonic) / items
    assert first["value"] == pytest.approx(first["chance"]) == pytest.approx(chance)
    assert second["value"] == pytest.approx(chance)
    assert first["ties"] == 3
    assert is_chance(first)


def test_the_margin_of_chance():
    record = {"ci_low": 0.66, "ci_high": 0.7, "chance": 0.6}
    assert not is_chance(record)
    assert is_chance({**record, "ci_low": 0.65})
    assert not is_chance({**record, "ci_low": 0.4, "ci_high": 0.54})


def test_people_are_enough_or_left_out_and_said_so():
    table = {f"p{i}": {"gender": "Female" if i < 7 else "m", "age": str(20 + i), "split": "test"} for i in range(12)}
    table |= {f"q{i}": {"gender": "", "age": "", "accent": "north" if i else "south"} for i in range(7)}
    found, left_out = plan_probes([*table, *table, "unknown"], table)
    assert [p.stratum for p in found] == ["gender=f", "gender=m"]
    assert found[0] == Probe("gender", "f", tuple(f"p{i}" for i in range(7)), ("p10", "p11", "p7", "p8", "p9"))
    assert left_out == [
        {"attribute": "age", "value": "", "reason": "none of its 2 values has 5 people with it and 5 without"},
        {"attribute": "accent", "value": "", "reason": "none of its 2 values has 5 people with it and 5 without"},
    ]
    for i in range(12):
        table[f"p{i}"]["accent"] = "south"
    found, left_out = plan_probes(list(table), table)
    assert [p.stratum for p in found if p.attribute == "accent"] == ["accent=north", "accent=south"]
    table["q1"]["accent"] = "east"
    reason = "1 people with it and 18 without; needs 5 of each"
    assert {"attribute": "accent", "value": "east", "reason": reason} in plan_probes(list(table), table)[1]


def test_attribute_values_are_compared_as_strata_do():
    table = {"a": {"gender": "Male", "age": "31", "identity": "a", "set": "dev"}, "b": {"gender": "f "}}
    assert attribute_values(["a", "b", "c"], table) == {"gender": ["m", "f", ""], "age": ["30s", "", ""]}


def test_another_column_changes_nothing_and_a_seed_fixes_everything():
    embeddings, identity, table = people(30, shift=1.0)
    first = probe_records(embeddings, identity, embeddings, identity, table, trials=3)
    assert [r["direction"] for r in first] == ["voice", "voice", "face", "face"]
    more = {name: {"new": "x" if name < "p015" else "y", **row} for name, row in table.items()}
    second = probe_records(embeddings, identity, embeddings, identity, more, trials=3)
    assert [r for r in second if r["stratum"].startswith("parity")] == first
    assert probe_records(embeddings, identity, None, [], table, trials=3, seed=1) != first[:2]


def test_bad_options_are_refused():
    embeddings, identity, table = people(12)
    for options in ({"trials": 1}, {"level": 1.0}):
        with pytest.raises(UserError, match="probes"):
            probe_records(embeddings, identity, None, [], table, **options)
    for wrong in (embeddings[1:], np.where(embeddings > 1, np.nan, embeddings)):
        with pytest.raises(UserError, match="faces: need one row of finite numbers for each of the 48 names"):
            probe_records(embeddings, identity, wrong, identity, table)


@pytest.mark.skipif(not DATA, reason="VOICEFACE_TEST_DATA names no folder with real recordings")
def test_gender_is_in_the_pitch_of_real_people():
    with (Path(DATA) / "people/identities.csv").open() as file:
        table = {row["identity"]: {"gender": row["gender"]} for row in csv.DictReader(file)}
    pitch, identity = [], []
    for name in table:
        for path in sorted((Path(DATA) / "people" / name).glob("voice/*.flac"))[:3]:
            samples, rate = soundfile.read(path, dtype="int16")
            pitch.append([np.log(voice_measures(samples if samples.ndim == 1 else samples[:, 0].copy(), rate)[0])])
            identity.append(name)
    found = probe_records(np.array(pitch), identity, None, [], table)
    assert [r["stratum"] for r in found] == ["gender=f", "gender=m"]
    assert all(r["value"] > 0.8 and not is_chance(r) for r in found)
