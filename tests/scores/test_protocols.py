"""The papers' protocols: exact values against loops over all trials, sampled values against the exact ones."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from tests_support import examples

from voiceface.scores import clips as clips_module
from voiceface.scores import protocols
from voiceface.scores.clips import Clips
from voiceface.scores.confidence import binomial_interval
from voiceface.scores.pair_lists import list_auc, sample_pairs
from voiceface.scores.protocol_tasks import Split
from voiceface.scores.protocols import missing_parts, protocol_records
from voiceface.utils.errors import UserError

NAMES = [f"p{i}" for i in range(8)]
TABLE = {
    name: {"gender": "mfmfmmfm"[i], "nationality": "aabbbabc"[i], "age": "20304050203040502"[2 * i : 2 * i + 2]}
    | {"ethnicity": "xxyyxxyz"[i], "first_language": "1"}
    for i, name in enumerate(NAMES)
}
KEYS = {"U": (), "G": ("gender",), "N": ("nationality",), "A": ("age",), "E": ("ethnicity",)}
KEYS |= {"GN": ("gender", "nationality"), "GE": ("gender", "ethnicity"), "GNA": ("gender", "nationality", "age")}
KEYS |= {"GEFA": ("gender", "ethnicity", "first_language", "age"), "male": ("gender",), "female": ("gender",)}


def world(seed=0, levels=None):
    """A similarity matrix and whose its voices and faces are, in mixed order; two people lack the other modality."""
    rng = np.random.default_rng(seed)
    voices = rng.permutation(np.repeat([*NAMES, "mute"], [3, 1, 4, 2, 2, 5, 1, 3, 2]))
    faces = rng.permutation(np.repeat([*NAMES, "unseen"], [2, 4, 1, 3, 2, 2, 5, 1, 3]))
    sims = rng.normal(size=(len(voices), len(faces))) + 0.8 * (voices[:, None] == faces)
    return (sims if levels is None else np.round(sims * levels) / levels), voices, faces


def run(name, sims, voices, faces, **options):
    return protocol_records(name, None, voices, None, faces, TABLE, similarity=sims, **options)


def meets(stratum, a, b):
    if stratum in ("male", "female") and TABLE[a]["gender"] != stratum[0]:
        return False
    return a != b and all(TABLE[a][key] == TABLE[b][key] for key in KEYS[stratum])


def credit(own, other):
    return (own > other) + 0.5 * (own == other)


def slow_accuracy(sims, voices, faces, direction, stratum, weight_of):
    """Loop over all triplets; impostors of a probe weigh alike, and so do the items of each."""
    queries, items, matrix = (voices, faces, sims) if direction == "v2f" else (faces, voices, sims.T)
    total, won = 0.0, 0.0
    for a in NAMES:
        others = [b for b in NAMES if meets(stratum, a, b)]
        if not others:
            continue
        means = []
        for q in np.flatnonzero(queries == a):
            for g in np.flatnonzero(items == a):
                for b in others:
                    means.append(np.mean([credit(matrix[q, g], matrix[q, i]) for i in np.flatnonzero(items == b)]))
        weight = weight_of(a, (queries == a).sum())
        total += weight
        won += weight * np.mean(means)
    return won / total


def men_as_often_as_women(a, _clips):
    return 1 / sum(row["gender"] == TABLE[a]["gender"] for row in TABLE.values())


WEIGHTS = {
    "trinet": men_as_often_as_women,
    "kim": lambda a, clips: clips,
    "drl": lambda a, clips: 1,
    "pins": lambda a, clips: 1,
}
STRATA = {"trinet": "U male female", "kim": "U G E GE GEFA", "drl": "U G N GN", "pins": "U"}


@pytest.mark.parametrize("levels", [None, 1])
@pytest.mark.parametrize("name", ["trinet", "kim", "drl", "pins"])
def test_matching_beside_its_exact_value(name, levels):
    sims, voices, faces = world(3, levels)
    trials = 40_000 if name in ("trinet", "kim") else None
    records = [r for r in run(name, sims, voices, faces, trials=trials) if r["task"] == "matching" and r["n"] == 2]
    pairs = list(zip(records[0::2], records[1::2], strict=True))
    directions = {"trinet": ["v2f"], "pins": ["f2v"]}.get(name, ["v2f", "f2v"])
    wanted = [s for s in STRATA[name].split() if any(meets(s, a, b) for a in NAMES for b in NAMES)]
    assert [(s["direction"], s["stratum"]) for s, _ in pairs] == [(d, s) for d in directions for s in wanted]
    for sampled, exact in pairs:
        assert (sampled["protocol"], exact["protocol"]) == (name, f"{name}_exact")
        assert exact["stratum"] == sampled["stratum"]
        assert exact["direction"] == sampled["direction"]
        value = slow_accuracy(sims, voices, faces, sampled["direction"], sampled["stratum"], WEIGHTS[name])
        assert exact["value"] == pytest.approx(value, abs=1e-9)
        assert abs(sampled["value"] - value) <= 4 * np.sqrt(value * (1 - value) / sampled["trials"]) + 1e-12
        level = 0.99 if name == "trinet" else 0.95
        interval = binomial_interval(sampled["value"], sampled["trials"], level)
        assert (sampled["ci_low"], sampled["ci_high"]) == pytest.approx(interval)
        assert (sampled["ci_method"], sampled["ci_level"]) == ("binomial", level)
        if exact["ci_method"]:
            assert (exact["ci_method"], exact["ci_level"]) == ("identity", 0.95)
        probes = sum(any(meets(sampled["stratum"], a, b) for b in NAMES) for a in NAMES)
        expected = {"trinet": 40_000, "kim": 10_000}.get(name, 40 * probes)
        assert sampled["trials"] == expected


@pytest.mark.parametrize("levels", [None, 1])
def test_one_of_three_beside_its_exact_value(levels):
    sims, voices, faces = world(4, levels)
    sampled, exact = (r for r in run("trinet", sims, voices, faces, trials=20_000) if r["n"] == 3)
    won = []
    for a in NAMES:
        of_person = []
        others = [np.flatnonzero(faces == b) for b in NAMES if b != a]
        for q in np.flatnonzero(voices == a):
            for own in sims[q, faces == a]:
                for i in range(7):
                    for j in range(i):
                        for x in sims[q, others[i]]:
                            for y in sims[q, others[j]]:
                                share = 1 / (1 + (x == own) + (y == own)) if own >= max(x, y) else 0.0
                                of_person.append(share / len(others[i]) / len(others[j]))
        won.append(sum(of_person) / (voices == a).sum() / (faces == a).sum() / 21 * men_as_often_as_women(a, 0) / 2)
    assert exact["value"] == pytest.approx(sum(won), abs=1e-9)
    assert abs(sampled["value"] - sum(won)) < 4 * np.sqrt(sum(won) * (1 - sum(won)) / 10_000)
    assert (sampled["trials"], sampled["ci_method"], sampled["ci_level"]) == (10_000, "binomial", 0.99)
    assert exact["ci_low"] < exact["value"] < exact["ci_high"]


@pytest.mark.parametrize("name", ["trinet", "kim", "drl", "pins"])
def test_a_constant_model_scores_chance(name):
    sims, voices, faces = world()
    for record in run(name, np.full(sims.shape, 0.3), voices, faces, trials=500):
        if record["metric"] != "accuracy_spread":
            assert record["value"] == pytest.approx(record["chance"], abs=1e-9), record
            if record["task"] == "matching":
                assert record["ties"] == record["trials"] or record["protocol"].startswith("trinet_subsets")


def test_seeds_and_fewer_trials():
    sims, voices, faces = world(5)
    for name in ("kim", "drl"):
        first = run(name, sims, voices, faces, seed=1, trials=101)
        assert first == run(name, sims, voices, faces, seed=1, trials=101)
        assert first != run(name, sims, voices, faces, seed=2, trials=101)
        sampled = [r for r in first if r["protocol"] == name]
        assert {r["trials"] for r in sampled if r["task"] == "matching" and r["stratum"] == "U"} == {101}
        assert max(r["trials"] for r in sampled) == 101


def test_the_papers_counts_and_intervals(monkeypatch):
    monkeypatch.setattr(protocols, "TRINET_TRIPLETS", 3000)
    trials = {r["stratum"]: r["trials"] for r in run("trinet", *world()) if r["protocol"] == "trinet" and r["n"] == 2}
    assert trials == {"U": 3000, "male": 1500, "female": 1500}
    monkeypatch.undo()
    assert protocols.TRINET_TRIPLETS == 10_000 * 3072
    low, high = binomial_interval(0.81, 10_000, protocols.TRINET_LEVEL)
    assert round((high - low) / 2, 4) == 0.0101  # SVHF's 81.00 +- 1.01
    low, high = binomial_interval(0.8448, protocols.TRINET_TRIPLETS, 0.95)
    assert round((high - low) / 2, 4) == 0.0001  # 84.48 +- 0.01
    low, high = binomial_interval(0.8448, protocols.TRINET_TRIPLETS, 0.99)
    assert (high - low) / 2 == pytest.approx(0.000168, abs=5e-7)  # at 99 % it would be printed 0.02
    assert [protocols.PROBES_PER_PERSON * people for people in (250, 234, 228)] == [10_000, 9_360, 9_120]


def test_subsets_equal_a_loop():
    rng = np.random.default_rng(0)
    names = np.array([f"q{i:03}" for i in range(110)])
    sims = rng.normal(size=(110, 110)) + np.eye(110)
    table = {name: {"gender": "mf"[i % 3 == 0]} for i, name in enumerate(names)}
    records = protocol_records("trinet", None, names, None, names, table, sims, trials=100, seed=6, level=0.9)
    found = [r for r in records if r["protocol"].startswith("trinet_subsets")]
    assert [(r["protocol"], r["metric"]) for r in found] == [
        ("trinet_subsets_100", "accuracy"),
        ("trinet_subsets_100", "accuracy_spread"),
    ]
    rng, values = np.random.default_rng(6), []
    women = sum(row["gender"] == "f" for row in table.values())
    for _ in range(30):
        chosen = rng.choice(110, 100, replace=False)
        won = total = 0.0
        for a in chosen:
            weight = 1 / (women if table[names[a]]["gender"] == "f" else 110 - women)
            won += weight * sum(credit(sims[a, a], sims[a, b]) for b in chosen if b != a)
            total += weight * 99
        values.append(won / total)
    assert found[0]["value"] == pytest.approx(np.mean(values))
    assert found[1]["value"] == pytest.approx(np.std(values, ddof=1))
    half = 1.699127 * np.std(values, ddof=1) / np.sqrt(30)  # t of 29 degrees of freedom at 90 %
    assert (found[0]["ci_low"], found[0]["ci_high"]) == pytest.approx((np.mean(values) - half, np.mean(values) + half))
    assert (found[0]["identities"], found[0]["ci_method"], found[0]["ci_level"]) == (100, "subsets", 0.9)
    missing = missing_parts("trinet", names, names)
    assert missing["trinet_subsets_189", "v2f"] == "needs more than 189 people, there are 110"
    assert ("trinet_gallery", "v2f") in missing


def all_pairs(sims, voices, faces, stratum):
    """Every row that a pair list can hold: similarity, label, weight, whose voice, whose face."""
    rows = []
    usable = [a for a in NAMES if any(meets(stratum, a, b) for b in NAMES)]
    for a in usable:
        for v in np.flatnonzero(voices == a):
            own = np.flatnonzero(faces == a)
            rows += [(sims[v, f], 1, 1 / len(own), a, a) for f in own]
            others = [f for f, b in enumerate(faces) if b in NAMES and meets(stratum, a, b)]
            rows += [(sims[v, f], 0, 1 / len(others), a, faces[f]) for f in others]
    return rows


def listed(sims, voices, faces, strata):
    clips = Clips.of(None, voices, None, faces, sims)
    masks = np.array([[[meets(s, a, b) for b in NAMES] for a in NAMES] for s in strata])
    return list_auc(clips.rows("v2f"), clips.voices.owner, clips.faces.sizes, masks, threads=1)


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 1, 2]))
def test_auc_over_all_lists_equals_scikit_learn(seed, levels):
    sims, voices, faces = world(seed, levels)
    strata = ("U", "G", "N", "GNA")
    for stratum, found in zip(strata, listed(sims, voices, faces, strata), strict=True):
        rows = all_pairs(sims, voices, faces, stratum)
        if not rows:
            assert found is None
            continue
        scores, labels, weights, *_ = zip(*rows, strict=True)
        assert found.auc == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-9)
        assert found.bound == 0
        assert found.pairs == len(rows)
        positive = {s for s, label in zip(scores, labels, strict=True) if label}
        assert found.ties == sum(not label and s in positive for s, label in zip(scores, labels, strict=True))


def test_influence_on_the_auc_is_its_derivative():
    sims, voices, faces = world(8, 2)
    (found,) = listed(sims, voices, faces, ("U",))
    scores, labels, weights, voice_of, face_of = zip(*all_pairs(sims, voices, faces, "U"), strict=True)
    slopes = []
    for person in NAMES:
        # A person's weight counts once in a positive pair and, in a negative one, as voice and as face.
        near = [
            roc_auc_score(labels, scores, sample_weight=[
                w * (1 + step * ((a == person) if label else (a == person) + (b == person)))
                for w, label, a, b in zip(weights, labels, voice_of, face_of, strict=True)
            ])
            for step in (1e-5, -1e-5)
        ]  # fmt: skip
        slopes.append((near[0] - near[1]) / 2e-5)
    assert found.influence == pytest.approx(slopes, abs=1e-6)
    assert found.influence.sum() == pytest.approx(0, abs=1e-12)


def test_with_fewer_cuts_the_auc_stays_within_its_bound(monkeypatch):
    sims, voices, faces = world(9)
    (exact,) = listed(sims, voices, faces, ("U",))
    for cuts in (1, 2, 5, 20):
        monkeypatch.setattr("voiceface.scores.kernels.thresholds.MOST_CUTS", cuts)
        (found,) = listed(sims, voices, faces, ("U",))
        assert 0 < found.bound <= 0.5
        assert abs(found.auc - exact.auc) <= found.bound + 1e-12


@pytest.mark.parametrize("scale", [1e308, 1e-320, 0.0])
def test_auc_of_similarities_at_the_ends_of_float64(scale):
    sims, voices, faces = world(10, 1)
    scaled = np.sign(sims) * scale
    (found,) = listed(scaled, voices, faces, ("U",))
    scores, labels, weights, *_ = zip(*all_pairs(np.sign(scaled), voices, faces, "U"), strict=True)
    assert found.auc == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-9)


@pytest.mark.parametrize("name", ["drl", "pins"])
def test_verification_beside_its_exact_value(name):
    sims, voices, faces = world(11, 3)
    seeds = range(40)
    runs = [[r for r in run(name, sims, voices, faces, seed=s) if r["task"] == "verification"] for s in seeds]
    for place in range(0, len(runs[0]), 2):
        sampled, exact = [r[place] for r in runs], runs[0][place + 1]
        assert (sampled[0]["protocol"], exact["protocol"]) == (name, f"{name}_exact")
        stratum = sampled[0]["stratum"]
        scores, labels, weights, *_ = zip(*all_pairs(sims, voices, faces, stratum), strict=True)
        value = roc_auc_score(labels, scores, sample_weight=weights)
        assert exact["value"] == pytest.approx(value, abs=1e-9)
        usable = sum(any(meets(stratum, a, b) for b in NAMES) for a in voices if a in NAMES)
        assert {r["trials"] for r in sampled} == {usable}  # every voice in one row
        values = [r["value"] for r in sampled]
        error = np.sqrt(value * (1 - value) / (usable // 2))
        assert all(abs(v - value) <= 4 * error + 1e-9 for v in values)
        assert abs(np.mean(values) - value) <= 4 * np.std(values) / np.sqrt(len(values)) + 0.02
        assert sampled[0]["ci_high"] - sampled[0]["ci_low"] > 0 or values[0] in (0, 1)
    assert [r["stratum"] for r in runs[0][0::2]] == [
        s for s in ("U", "G", "N", "A", "GNA") if any(meets(s, a, b) for a in NAMES for b in NAMES)
    ]


def test_a_drawn_pair_list():
    sims, voices, faces = world(12)
    clips = Clips.of(None, voices, None, faces, sims)
    voice_names, face_names = voices[clips.voices.order], faces[clips.faces.order]
    allowed = np.array([[meets("G", a, b) for b in NAMES] for a in NAMES])
    seen = []

    def scorer(queries, items):
        seen.append((queries, items[:, 0]))
        return np.zeros(items.shape)

    negatives, positives = Counter(), Counter()
    for seed in range(2000):
        _, labels = sample_pairs(scorer, clips.voices, clips.faces, allowed, np.random.default_rng(seed))
        queries, items = seen.pop()
        assert sorted(queries.tolist()) == list(range(21))  # every voice once
        assert labels.sum() == 11
        assert (voice_names[queries] == face_names[items]).tolist() == labels.tolist()
        for query, item, label in zip(queries.tolist(), items.tolist(), labels, strict=True):
            assert label or meets("G", voice_names[query], face_names[item])
            (positives if label else negatives)[query, item] += 1
    for pairs, share in ((positives, 11 / 21), (negatives, 10 / 21)):
        for query in range(21):
            shown = {item: n for (q, item), n in pairs.items() if q == query}
            own = voice_names[query]
            pool = [f for f, b in enumerate(face_names) if (b == own if pairs is positives else meets("G", own, b))]
            assert set(shown) == set(pool)
            chance = share / len(pool)
            assert all(abs(n - 2000 * chance) < 5 * np.sqrt(2000 * chance) for n in shown.values())


def test_one_drawn_gallery_equals_scikit_learn():
    """As many voices as faces, so a draw of that size takes them all."""
    rng = np.random.default_rng(13)
    voices, faces = np.repeat(list("abcde"), [1, 2, 3, 4, 2]), np.repeat(list("abcde"), [4, 1, 1, 3, 3])
    sims = np.round(rng.normal(size=(12, 12)), 1)
    split = Split("drl", Clips.of(None, voices, None, faces, sims), [{}] * 5, 0.95, 0, None)
    for record, matrix, queries, items in zip(
        split.retrieval(12), (sims, sims.T), (voices, faces), (faces, voices), strict=True
    ):
        precision = []
        for _ in range(30):  # ties are in random order
            noise = rng.uniform(0, 0.01, matrix.shape)
            precision.append([
                average_precision_score(items == own, line)
                for own, line in zip(queries, matrix + noise, strict=True)
            ])  # fmt: skip
        assert record["value"] == pytest.approx(np.mean(precision), abs=0.02)
        assert (record["n"], record["trials"], record["identities"]) == (12, 12, 5)
        assert (record["protocol"], record["metric"]) == ("drl", "mAP")
    flat = Split("drl", Clips.of(None, voices, None, faces, sims * 0), [{}] * 5, 0.95, 3, None)
    for record in flat.retrieval(6):
        assert record["value"] == pytest.approx(record["chance"])
        assert record["n"] == 6
        assert record["trials"] <= 6  # a query without an item of its person is left out
    assert split.retrieval(13) == []
    limited = Split("drl", split.clips, [{}] * 5, 0.95, 0, 5)
    assert [r["trials"] for r in limited.retrieval(12)] == [5, 5]
    assert [r["n"] for r in limited.retrieval(12)] == [12, 12]


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_embeddings_matrix_and_gathered_pairs_agree(kind, monkeypatch):
    _, voices, faces = world()
    rng = np.random.default_rng(14)
    v, f = rng.normal(size=(len(voices), 5)), rng.normal(size=(len(faces), 5))
    difference = v[:, None] - f
    sims = -np.linalg.norm(difference, axis=2)
    if kind == "cosine":
        sims = (v / np.linalg.norm(v, axis=1)[:, None]) @ (f / np.linalg.norm(f, axis=1)[:, None]).T
    values = []
    for matrix_scores in (clips_module.MATRIX_SCORES, 0):
        monkeypatch.setattr(clips_module, "MATRIX_SCORES", matrix_scores)
        monkeypatch.setattr(clips_module, "GATHERED_NUMBERS", 100)
        monkeypatch.setattr(clips_module, "BLOCK_SCORES", 60)
        records = protocol_records("kim", v, voices, f, faces, TABLE, kind, trials=3000)
        values.append([r["value"] for r in records])
    expected = [r["value"] for r in run("kim", sims, voices, faces, trials=3000)]
    assert values[0] == pytest.approx(expected, abs=1e-9)
    assert values[1] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_equal_embeddings_tie_when_pairs_are_gathered(kind, monkeypatch):
    _, voices, faces = world()
    monkeypatch.setattr(clips_module, "MATRIX_SCORES", 0)
    rng = np.random.default_rng(15)
    v, f = rng.normal(size=(len(voices), 37)), np.tile(rng.normal(size=37), (len(faces), 1))
    records = protocol_records("drl", v, voices, f, faces, TABLE, kind, trials=500)
    sampled = [r for r in records if r["direction"] == "v2f"]
    assert {r["value"] for r in sampled} == {0.5}
    assert all(r["ties"] == r["trials"] for r in sampled)


def test_parts_that_are_missing():
    _, voices, faces = world()
    assert missing_parts("pins", voices, faces) == {}
    assert missing_parts("drl", voices, faces)["drl", "v2f"] == (
        "retrieval needs 20000 voices and faces, there are 21 and 20"
    )
    assert len(missing_parts("kim", voices, faces)) == 6
    assert len(missing_parts("trinet", voices, faces)) == 6
    unknown = protocol_records("kim", None, voices, None, faces, None, world()[0])
    assert {r["stratum"] for r in unknown} == {"U"}


def test_mistakes_are_refused():
    sims, voices, faces = world()
    with pytest.raises(UserError, match="protocol: 'other' is not known; use one of trinet, kim, drl, pins"):
        run("other", sims, voices, faces)
    with pytest.raises(UserError, match="trials: 1 are too few"):
        run("kim", sims, voices, faces, trials=1)
    for table in (None, {**TABLE, "p3": {}}):
        with pytest.raises(UserError, match=r"gender of 'p[03]'"):
            protocol_records("trinet", None, voices, None, faces, table, sims)
    men = {name: {"gender": " Male "} for name in NAMES}
    with pytest.raises(UserError, match="all people have one gender"):
        protocol_records("trinet", None, voices, None, faces, men, sims)
    with pytest.raises(UserError, match="shape"):
        run("kim", sims[1:], voices, faces)


@pytest.mark.skipif("VOICEFACE_TEST_DATA" not in os.environ, reason="VOICEFACE_TEST_DATA is not set")
def test_the_published_lists_are_drawn_as_we_draw():
    lists = Path(os.environ["VOICEFACE_TEST_DATA"]) / "voxceleb" / "lists"
    with open(lists / "veriflist_test_random_unseenunheard.txt") as file:
        rows = list(csv.DictReader(file))
    assert len({row["voice-path"] for row in rows}) == len(rows) == 30_496
    assert sum(row["label"] == "1" for row in rows) == 15_248
    own = Counter(row["voice-speaker-id"] for row in rows if row["label"] == "1")
    other = Counter(row["voice-speaker-id"] for row in rows if row["label"] == "0")
    assert max(abs(own[person] - other[person]) for person in own | other) <= 1
    # The negative faces come from the people who have many clips more often.
    face = Counter(row["face-speaker-id"] for row in rows if row["label"] == "0")
    people = sorted(own)
    assert np.corrcoef([own[p] for p in people], [face[p] for p in people])[0, 1] > 0.9
    for name in ("matching_v2f_U.csv", "matching_f2v_U.csv", "matching_v2f_G.csv"):
        probes, impostors = Counter(), Counter()
        for line in (lists / name).read_text().splitlines():
            probe, _, negative = line.split()
            probes[probe.split("/")[0]] += 1
            impostors[negative.split("/")[0]] += 1
        assert set(probes.values()) == {40}
        assert len(probes) == 250
        assert np.std(list(impostors.values())) < 1.2 * np.sqrt(40)  # all impostors alike
