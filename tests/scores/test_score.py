"""`score`: its records, its invariances and its refusals."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.scores import score
from voiceface.utils.errors import UserError

KEYS = ["task", "direction", "stratum", "n", "metric", "value", "ci_low", "ci_high", "ci_level", "ci_method", "chance"]
KEYS += ["identities", "trials", "ties", "protocol", "error_bound"]


def people(seed, voices=(3, 1, 2, 2, 4), faces=(2, 5, 1, 3, 2), dimensions=6):
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(len(voices), dimensions))
    voice_of, face_of = np.repeat(np.arange(len(voices)), voices), np.repeat(np.arange(len(faces)), faces)
    names = [f"id{a}" for a in range(len(voices))]
    v = centre[voice_of] + rng.normal(size=(len(voice_of), dimensions))
    f = centre[face_of] + rng.normal(size=(len(face_of), dimensions))
    table = {name: {"gender": "mf"[i % 2], "nationality": "ab"[i % 3 == 0]} for i, name in enumerate(names)}
    return v, [names[a] for a in voice_of], f, [names[a] for a in face_of], table


def values(records):
    return {
        tuple(r[k] for k in ("task", "direction", "stratum", "n", "metric", "protocol")): r["value"] for r in records
    }


def one(records, **wanted):
    found = [r for r in records if all(r[k] == v for k, v in wanted.items())]
    assert len(found) == 1
    return found[0]


def test_records_have_the_keys_of_the_schema_and_are_json():
    records = score(*people(0))
    assert all(list(r) == KEYS for r in records)
    assert json.loads(json.dumps(records)) == records
    assert {(r["task"], r["protocol"]) for r in records} == {
        ("matching", "exact"),
        ("matching", "clip_weighted"),
        ("retrieval", "whole_split"),
        ("verification", "exact"),
    }
    assert {r["stratum"] for r in records} == {"U", "G", "N", "GN", "male", "female"}
    for r in records:
        if r["ci_low"] is not None:
            assert r["ci_low"] <= r["value"] <= r["ci_high"]
            jackknife = r["task"] == "retrieval" or (r["task"] == "matching" and r["n"] > 2)
            assert r["ci_method"] == ("jackknife" if jackknife else "identity")


def test_exact_accuracy_draws_two_people_and_then_clips():
    v, voice_identity, f, face_identity, table = people(1)
    similarity = (v @ f.T) / np.linalg.norm(v, axis=1)[:, None] / np.linalg.norm(f, axis=1)
    voice_identity, face_identity = np.array(voice_identity), np.array(face_identity)
    for stratum, allowed in {
        "U": lambda a, b: True,
        "G": lambda a, b: table[a]["gender"] == table[b]["gender"],
        "female": lambda a, b: table[a]["gender"] == table[b]["gender"] == "f",
    }.items():
        rates, triplets = [], 0
        for a in table:
            for b in table:
                if a == b or not allowed(a, b):
                    continue
                own = similarity[voice_identity == a][:, face_identity == a][:, :, None]
                other = similarity[voice_identity == a][:, face_identity == b][:, None, :]
                rates.append(((own > other) + 0.5 * (own == other)).mean())
                triplets += own.size * other.shape[2]
        record = one(
            score(v, voice_identity, f, face_identity, table), direction="v2f", stratum=stratum, protocol="exact", n=2
        )
        assert record["value"] == pytest.approx(np.mean(rates))
        assert record["trials"] == triplets


@settings(max_examples=examples(15), deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["cosine", "euclidean", "matrix"]))
def test_order_of_clips_and_names_of_people_do_not_matter(seed, similarity):
    v, voice_identity, f, face_identity, table = people(seed)
    rng = np.random.default_rng(seed)
    new = dict(zip(table, rng.permutation([f"new{i}" for i in range(len(table))]).tolist(), strict=True))
    i, j = rng.permutation(len(v)), rng.permutation(len(f))
    matrix = np.round(v @ f.T, 1)
    first = score(v, voice_identity, f, face_identity, table, matrix if similarity == "matrix" else similarity)
    second = score(
        v[i],
        [new[voice_identity[k]] for k in i],
        f[j],
        [new[face_identity[k]] for k in j],
        {new[name]: row for name, row in table.items()},
        matrix[i][:, j] if similarity == "matrix" else similarity,
    )
    for a, b in zip(first, second, strict=True):
        assert a == pytest.approx(b, abs=1e-7)  # the AUC's interval sums in float32


@settings(max_examples=examples(15), deadline=None)
@given(st.integers(0, 10**6))
def test_monotone_transforms_and_swapped_directions(seed):
    v, voice_identity, f, face_identity, table = people(seed)
    matrix = np.round(v @ f.T, 1)  # with ties
    records = score(None, voice_identity, None, face_identity, table, matrix)
    for transformed in (np.exp(matrix), matrix + 100.0, matrix * 3, np.arctan(matrix)):
        assert score(None, voice_identity, None, face_identity, table, transformed) == records
    swapped = score(None, face_identity, None, voice_identity, table, matrix.T)
    turned = {"v2f": "f2v", "f2v": "v2f", "both": "both"}
    swapped_values = values([r | {"direction": turned[r["direction"]]} for r in swapped])
    assert swapped_values == pytest.approx(values(records), abs=1e-12)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_a_constant_model_scores_chance(similarity):
    v, voice_identity, f, face_identity, table = people(0)
    for r in score(v, voice_identity, np.ones_like(f), face_identity, table, similarity):
        if r["direction"] == "v2f":
            if r["value"] is None:
                continue
            assert r["ties"] == r["trials"] > 0
            if r["task"] == "matching" and r["n"] == 2:
                assert r["value"] == 0.5
            else:
                assert r["value"] == pytest.approx(r["chance"], rel=1e-12)


def test_a_perfect_model_scores_one():
    _, voice_identity, _, face_identity, table = people(0)
    codes = np.eye(len(table))
    v, f = (codes[[int(name[2:]) for name in names]] for names in (voice_identity, face_identity))
    for r in score(v, voice_identity, f, face_identity, table):
        if r["value"] is not None and (not r["metric"].startswith("R@") or r["metric"] == "R@1"):
            assert r["value"] == pytest.approx(float(r["metric"] != "EER"), abs=1e-12)


def test_people_without_a_partner_are_distractors_only():
    v, voice_identity, f, face_identity, table = people(4)
    names = sorted(table)
    keep_v = [i for i, name in enumerate(voice_identity) if name != names[0]]  # the first has faces only
    keep_f = [j for j, name in enumerate(face_identity) if name != names[1]]  # the second has voices only
    voice_identity, face_identity = [voice_identity[i] for i in keep_v], [face_identity[j] for j in keep_f]
    matrix = (v @ f.T)[keep_v][:, keep_f]
    records = score(None, voice_identity, None, face_identity, similarity=matrix)
    queries = [name != names[1] for name in voice_identity]
    record = one(records, direction="v2f", metric="mAP")
    assert (record["n"], record["trials"], record["identities"]) == (len(face_identity), sum(queries), 3)
    precision = []
    for line, name in zip(matrix[queries], np.array(voice_identity)[queries], strict=True):
        hits = np.array(face_identity)[np.argsort(-line)] == name
        precision.append((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
    assert record["value"] == pytest.approx(np.mean(precision))
    both = [name in names[2:] for name in voice_identity], [name in names[2:] for name in face_identity]
    alone = score(
        None,
        np.array(voice_identity)[both[0]],
        None,
        np.array(face_identity)[both[1]],
        similarity=matrix[both[0]][:, both[1]],
    )
    matching = [r for r in records if r["task"] == "matching"]
    assert matching == [r for r in alone if r["task"] == "matching"]


def test_a_stratum_without_a_pair_has_no_value():
    v, voice_identity, f, face_identity, _ = people(0)
    records = score(v, voice_identity, f, face_identity, strata=["G"])
    assert all(r["value"] is None and r["trials"] == 0 for r in records if r["task"] == "verification")
    record = one(records, direction="v2f", protocol="exact", task="matching")
    assert record["value"] is record["ci_low"] is record["ci_high"] is record["ci_level"] is record["ci_method"] is None
    assert record["identities"] == record["trials"] == record["ties"] == 0


def test_recall_needs_a_gallery_of_its_size():
    metrics = {r["metric"] for r in score(*people(0)) if r["task"] == "retrieval"}
    assert metrics == {"mAP", "median_rank", "R@1", "R@5", "R@10"}


def test_one_in_n_is_scored_as_far_as_there_are_people():
    v, voice_identity, f, face_identity, table = people(0)  # 3 men, 2 women
    found = {
        (r["direction"], r["stratum"], r["n"]): r
        for r in score(v, voice_identity, f, face_identity, table)
        if r["task"] == "matching" and r["n"] > 2
    }
    expected = {(d, s, n) for d in ("v2f", "f2v") for s, n in (("U", 3), ("U", 4), ("U", 5), ("G", 3), ("male", 3))}
    assert {key for key in found if key[1] not in ("N", "GN")} == expected
    assert found["v2f", "G", 3]["identities"] == 3
    assert found["v2f", "U", 4]["identities"] == 5
    assert found["v2f", "U", 4]["trials"] == 3 * 2 + 1 * 5 + 2 * 1 + 2 * 3 + 4 * 2
    assert found["v2f", "U", 4]["chance"] == 0.25
    accuracies = [found["v2f", "U", n]["value"] for n in (3, 4, 5)]
    assert accuracies == sorted(accuracies, reverse=True)
    chosen = score(v, voice_identity, f, face_identity, table, candidates=(4, 3, 4, 2, 50))
    assert [r["n"] for r in chosen if r["task"] == "matching" and r["direction"] == "v2f" and r["stratum"] == "U"] == [
        2,
        2,
        3,
        4,
    ]


def test_verification_of_a_constant_model_is_chance():
    v, voice_identity, f, face_identity, table = people(0)
    matrix = np.zeros((len(v), len(f)))
    records = score(None, voice_identity, None, face_identity, table, matrix)
    verification = [r for r in records if r["task"] == "verification"]
    assert {(r["metric"], r["stratum"]) for r in verification} == {
        (m, s) for m in ("AUC", "EER") for s in ("U", "G", "N", "GN", "male", "female")
    }
    for r in verification:
        assert r["value"] == pytest.approx(0.5, abs=1e-12)
        assert 0 < r["ties"] < r["trials"]  # all negatives tie
        assert (r["ci_method"] is not None) == (r["identities"] >= 3)


def broken(name, change):
    arguments = dict(zip(("voices", "voice_identity", "faces", "face_identity", "identities"), people(0), strict=True))
    arguments[name] = change(arguments.get(name))
    return arguments


def with_value(value):
    def change(array):
        array = array.copy()
        array[1] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("voices", with_value(np.nan), "voices: holds NaN"),
        ("faces", with_value(np.inf), "faces: holds NaN or infinite"),
        ("faces", with_value(0.0), "faces: row 1 is a zero vector"),
        ("voices", lambda v: v[:-1], "voices: shape"),
        ("voices", lambda v: v[:, :-1], "dimensions"),
        ("voices", lambda v: v[:, 0], "voices: shape"),
        ("voices", lambda v: v.astype(str), "voices: values of type"),
        ("voices", lambda v: None, "voices: embeddings are missing"),
        ("voice_identity", lambda names: [], "voice_identity: "),
        ("voice_identity", lambda names: ["id0"] * len(names), "1 have both a voice and a face"),
        ("identities", lambda table: {"somebody else": {}}, "none of the 5 people"),
        ("similarity", lambda _: "dot", "'dot' is not known"),
        ("similarity", lambda _: np.zeros((3, 3)), r"shape \(3, 3\) is not \(12, 13\)"),
        ("similarity", lambda _: np.full((12, 13), -np.inf), "similarity: holds NaN or infinite"),
        ("strata", lambda _: ["GX"], "'GX' is not a stratum"),
        ("level", lambda _: 95, "level: 95"),
        ("candidates", lambda _: [2, 1], "candidates: "),
    ],
)
def test_mistakes_are_refused_in_one_line(name, change, message):
    with pytest.raises(UserError, match=message) as refusal:
        score(**broken(name, change))
    assert "\n" not in str(refusal.value)


def test_embeddings_of_other_number_types():
    v, voice_identity, f, face_identity, _ = people(0)
    half = score(v.astype(np.float16), voice_identity, f.astype(np.float16), face_identity)
    single = score(
        v.astype(np.float16).astype(np.float32), voice_identity, f.astype(np.float16).astype(np.float32), face_identity
    )
    assert values(half) == values(single)


def test_scores_do_not_import_torch():
    command = "import sys; import voiceface.scores; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_same_and_cross_video_split_the_positives():
    v, voice_identity, f, face_identity, table = people(2)
    rng = np.random.default_rng(0)
    videos = [[f"{name}/{rng.integers(2)}" for name in names] for names in (voice_identity, face_identity)]
    videos[0][0] = videos[1][1] = ""  # unknown: in neither
    matrix = np.round(v @ f.T)
    records = score(
        None, voice_identity, None, face_identity, table, matrix, voice_video=videos[0], face_video=videos[1]
    )
    for protocol in ("same_video", "cross_video"):
        for direction in ("v2f", "f2v"):
            lines = matrix if direction == "v2f" else matrix.T
            queries, items = (voice_identity, face_identity) if direction == "v2f" else (face_identity, voice_identity)
            seen, other = videos if direction == "v2f" else videos[::-1]
            credits = {}
            for q, a in enumerate(queries):
                for g, own in enumerate(items):
                    same = seen[q] == other[g]
                    if own != a or not seen[q] or not other[g] or same != (protocol == "same_video"):
                        continue
                    for h, b in enumerate(items):
                        if b != a:
                            credit = (lines[q, g] > lines[q, h]) + 0.5 * (lines[q, g] == lines[q, h])
                            credits.setdefault((a, b), []).append(credit)
            record = one(records, task="matching", direction=direction, protocol=protocol, stratum="U")
            assert record["value"] == pytest.approx(np.mean([np.mean(c) for c in credits.values()]))
            assert record["trials"] == sum(map(len, credits.values()))
            assert one(records, task="retrieval", direction=direction, protocol=protocol, stratum="U", metric="mAP")[
                "value"
            ]
        assert one(records, task="verification", protocol=protocol, stratum="U", metric="AUC")["value"] is not None
    without = [r for r in records if r["protocol"] not in ("same_video", "cross_video")]
    assert without == score(None, voice_identity, None, face_identity, table, matrix)
    unknown = score(
        None, voice_identity, None, face_identity, table, matrix, voice_video=videos[0], face_video=[""] * len(f)
    )
    assert unknown == without
    with pytest.raises(UserError, match="face_video: shape"):
        score(None, voice_identity, None, face_identity, table, matrix, voice_video=videos[0], face_video=["a"])
