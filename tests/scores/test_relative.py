"""Scorers of all candidates at once: sampled accuracy against the exact one, and what the scorer is shown."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.scores.confidence import identity_interval
from voiceface.scores.matching import count
from voiceface.scores.matching_n import match_many
from voiceface.scores.relative import relative_records
from voiceface.utils.errors import UserError

NAMES = [f"p{i}" for i in range(8)]
TABLE = {name: {"gender": "mf"[i % 2]} for i, name in enumerate(NAMES)}


def world(seed=0, levels=None):
    """Similarities, and whose voices and faces they are, in mixed order; one person without a face."""
    rng = np.random.default_rng(seed)
    voices = rng.permutation(np.repeat([*NAMES, "mute"], [3, 1, 4, 2, 2, 5, 1, 3, 2]))
    faces = rng.permutation(np.repeat(NAMES, [2, 4, 1, 3, 2, 2, 5, 1]))
    sims = rng.normal(size=(len(voices), len(faces))) + 0.8 * (voices[:, None] == faces)
    return (sims if levels is None else np.round(sims * levels) / levels), voices, faces


def exact(sims, voices, faces, direction, n, mask):
    """The exact 1:N accuracy, and the matrix W."""
    names, items = (voices, faces) if direction == "v2f" else (faces, voices)
    matrix = sims if direction == "v2f" else sims.T
    q, g = (np.concatenate([np.flatnonzero(side == name) for name in NAMES]) for side in (names, items))
    code = np.array([NAMES.index(name) for name in names[q]])
    sizes = np.array([(items == name).sum() for name in NAMES])
    rows = matrix[np.ix_(q, g)]
    win_rates = count(lambda r: rows[r], code, sizes, 1).win_rates
    return match_many(lambda r: rows[r], code, sizes, mask[None], [n], 1)[0][0].accuracy, win_rates


def scorer_of(sims, direction):
    matrix = sims if direction == "v2f" else sims.T
    return lambda queries, candidates: matrix[queries[:, None], candidates]


MASKS = {"U": ~np.eye(8, dtype=bool), "G": (np.arange(8)[:, None] % 2 == np.arange(8) % 2) & ~np.eye(8, dtype=bool)}


@pytest.mark.parametrize("direction", ["v2f", "f2v"])
@pytest.mark.parametrize(("n", "levels"), [(2, None), (2, 1), (3, None), (3, 2), (4, 1)])
def test_sampled_accuracy_is_near_the_exact_one(direction, n, levels):
    sims, voices, faces = world(3, levels)
    found = relative_records(
        scorer_of(sims, direction), voices, faces, TABLE, direction, n, trials=40_000, strata=("U", "G")
    )
    for record in found:
        value, _ = exact(sims, voices, faces, direction, n, MASKS[record["stratum"]])
        assert abs(record["value"] - value) < 4 * np.sqrt(value * (1 - value) / 40_000)
        assert record["error_bound"] == pytest.approx(
            1.959964 * np.sqrt(record["value"] * (1 - record["value"]) / 40_000)
        )
        assert record["chance"] == 1 / n
        assert (record["n"], record["trials"], record["protocol"]) == (n, 40_000, "sampled")
        assert record["identities"] == 8
        assert (record["ties"] > 0) == (levels is not None)


def test_the_interval_is_that_of_people():
    sims, voices, faces = world(5)
    (record,) = relative_records(scorer_of(sims, "v2f"), voices, faces, None, "v2f", trials=300_000, level=0.9)
    _, win_rates = exact(sims, voices, faces, "v2f", 2, MASKS["U"])
    assert (record["ci_low"], record["ci_high"]) == pytest.approx(
        identity_interval(win_rates, MASKS["U"], 0.9), abs=0.005
    )
    assert (record["ci_method"], record["ci_level"]) == ("identity", 0.9)


def test_few_people_have_no_interval_among_many_candidates():
    sims, voices, faces = world(5)
    for n, known in ((2, True), (3, False)):
        (record,) = relative_records(scorer_of(sims, "v2f"), voices, faces, None, "v2f", n, trials=1_000)
        assert (record["ci_low"] is not None) == known


@settings(max_examples=examples(15), deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8))
def test_a_constant_scorer_scores_chance(seed, n):
    _, voices, faces = world(1)
    (record,) = relative_records(lambda q, c: np.zeros(c.shape), voices, faces, None, "v2f", n, trials=50, seed=seed)
    assert record["value"] == pytest.approx(1 / n, abs=1e-12)
    assert record["ties"] == 50


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_scorer_that_prefers_a_position_scores_chance(n):
    _, voices, faces = world(1)
    for slot in range(n):
        (record,) = relative_records(
            lambda q, c, slot=slot: np.tile(np.arange(c.shape[1]) == slot, (len(q), 1)) * 1.0,
            *(voices, faces, None, "v2f", n),
            trials=20_000,
        )
        assert abs(record["value"] - 1 / n) < 4 * np.sqrt((1 / n) * (1 - 1 / n) / 20_000)


def test_what_a_scorer_is_shown():
    sims, voices, faces = world(2)
    seen = []

    def scorer(queries, candidates):
        seen.append((queries, candidates))
        return sims[queries[:, None], candidates]

    relative_records(scorer, voices, faces, TABLE, "v2f", 4, trials=16_000, strata=("U",))
    queries, candidates = (np.concatenate(part) for part in zip(*seen, strict=True))
    assert (faces[candidates] == voices[queries][:, None]).sum(axis=1).tolist() == [1] * 16_000
    assert min(len(set(row)) for row in faces[candidates].tolist()) == 4  # all of different people
    assert "mute" not in set(voices[queries])
    probes = np.array([(voices[queries] == name).sum() for name in NAMES])
    assert (np.abs(probes - 2000) < 4 * np.sqrt(16_000 * 7 / 64)).all()
    # Every impostor and every slot are equally likely.
    for slot in range(4):
        assert abs((faces[candidates[:, slot]] == voices[queries]).mean() - 0.25) < 4 * np.sqrt(0.1875 / 16_000)
    of_first = candidates[voices[queries] == NAMES[0]]
    shown = np.array([(faces[of_first] == name).sum() for name in NAMES[1:]])
    assert (np.abs(shown / len(of_first) - 3 / 7) < 4 * np.sqrt(12 / 49 / len(of_first))).all()

    seen.clear()
    relative_records(scorer, voices, faces, TABLE, "v2f", 3, trials=500, strata=("G",))
    gender = {name: row["gender"] for name, row in TABLE.items()}
    for queries, candidates in seen:
        for query, shown in zip(queries, candidates, strict=True):
            assert {gender[faces[c]] for c in shown} == {gender[voices[query]]}


def test_seeds_and_strata():
    sims, voices, faces = world(4)
    run = lambda seed, **kwargs: relative_records(  # noqa: E731
        scorer_of(sims, "f2v"), voices, faces, TABLE, "f2v", trials=1000, seed=seed, **kwargs
    )
    assert run(1) == run(1)
    assert run(1)[0]["value"] != run(2)[0]["value"]
    assert [record["stratum"] for record in run(0)] == ["U", "G", "male", "female"]
    alone = {"p0": {"gender": "m"}, "p1": {"gender": "f"}}
    (record,) = relative_records(scorer_of(sims, "f2v"), voices, faces, alone, "f2v", trials=10, strata=("G",))
    assert record["value"] is None
    assert record["ci_low"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"direction": "up"}, "direction: 'up'"),
        ({"n": 1}, "at least 2 candidates"),
        ({"trials": 0}, "and 1 trial"),
        ({"scorer": lambda q, c: np.zeros(len(q))}, "scores of shape"),
        ({"scorer": lambda q, c: np.full(c.shape, np.nan)}, "NaN"),
        ({"strata": ("X",)}, "not a stratum"),
        ({"face_identity": ["other"]}, "0 have both"),
    ],
)
def test_mistakes_are_refused(change, message):
    sims, voices, faces = world()
    given = {
        "scorer": scorer_of(sims, "v2f"),
        "voice_identity": voices,
        "face_identity": faces,
        "identities": TABLE,
        "direction": "v2f",
        "trials": 10,
    }
    with pytest.raises(UserError, match=message):
        relative_records(**(given | change))
