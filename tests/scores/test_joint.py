"""Joint scores against loops over the means, and the draws that the means are made of."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from voiceface.scores import score
from voiceface.scores.clips import both_sides
from voiceface.scores.joint import MOST_MEANS, _means_of_all, joint_records
from voiceface.utils.errors import UserError


def people(voices, faces, seed=0, dimensions=3):
    """Embeddings of people with so many voices and faces each, in mixed order."""
    rng = np.random.default_rng(seed)
    names = np.array([f"p{i}" for i in range(len(voices))])
    centres = rng.normal(size=(len(names), dimensions))
    tables = []
    for sizes in (voices, faces):
        number = rng.permutation(np.repeat(np.arange(len(names)), sizes))
        tables += [centres[number] + rng.normal(size=(len(number), dimensions)), names[number]]
    return tables


def cell(records, task, voices, faces, direction="v2f"):
    (found,) = [
        r
        for r in records
        if (r["task"], r["protocol"], r["direction"]) == (task, f"voices={voices},faces={faces}", direction)
    ]
    return found


def mean_of(table, identity, name, kind):
    rows = table[identity == name]
    if kind == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.mean(axis=0)


def alike(a, b, kind):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b) if kind == "cosine" else -np.linalg.norm(a - b)


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_means_of_all_clips_equal_a_loop(kind):
    """Everybody has 4 voices and 4 faces, so the cell (4, 4) holds one mean of each, whatever the draw."""
    voices, voice_identity, faces, face_identity = people([4] * 7, [4] * 7, seed=1)
    names = sorted(set(voice_identity))
    sims = np.array(
        [
            [
                alike(mean_of(voices, voice_identity, a, kind), mean_of(faces, face_identity, b, kind), kind)
                for b in names
            ]
            for a in names
        ]
    )
    records = joint_records(voices, voice_identity, faces, face_identity, kind, grid=(1, 4))
    for direction, matrix in (("v2f", sims), ("f2v", sims.T)):
        wins = [matrix[a, a] > matrix[a, b] for a in range(7) for b in range(7) if a != b]
        found = cell(records, "joint_matching", 4, 4, direction)
        assert found["value"] == pytest.approx(np.mean(wins))
        assert (found["n"], found["identities"], found["trials"], found["ci_method"]) == (2, 7, 42, "identity")
        found = cell(records, "joint_retrieval", 4, 4, direction)
        precision = [average_precision_score(np.arange(7) == a, matrix[a]) for a in range(7)]
        assert found["value"] == pytest.approx(np.mean(precision))
        assert (found["n"], found["trials"], found["ci_method"]) == (7, 7, "jackknife")
        assert found["ci_low"] < found["value"] < found["ci_high"]
    assert len(records) == 2 * 2 * 4  # (1, 1), (1, 4), (4, 1), (4, 4)


def test_single_clips_give_the_plain_scores():
    voices, voice_identity, faces, face_identity = people([2, 3, 4, 5, 1], [5, 1, 2, 3, 4], seed=2)
    plain = score(voices, voice_identity, faces, face_identity, candidates=(2,))
    records = joint_records(voices, voice_identity, faces, face_identity)
    for direction in ("v2f", "f2v"):
        for task, metric, protocol in (("matching", "accuracy", "exact"), ("retrieval", "mAP", "whole_split")):
            (expected,) = [
                r
                for r in plain
                if (r["task"], r["metric"], r["direction"], r["stratum"], r["protocol"], r["n"] > 2)
                == (task, metric, direction, "U", protocol, task == "retrieval")
            ]
            found = cell(records, f"joint_{task}", 1, 1, direction)
            for key in ("value", "ci_low", "ci_high", "chance", "identities", "trials", "ties"):
                assert found[key] == pytest.approx(expected[key], abs=1e-9), key


def test_means_are_of_disjoint_clips_of_one_person():
    voices, faces = [35, 4, 12], [3, 3, 3]
    _, voice_identity, _, face_identity = people(voices, faces, seed=3)
    _, side, _ = both_sides(voice_identity, face_identity)
    order = [np.random.default_rng(i).permutation(np.flatnonzero(side.owner == i)) for i in range(3)]
    for m in (1, 3, 5):
        means, counts = _means_of_all(np.eye(51), side, order, m, "euclidean")
        assert counts.tolist() == [min(n // m, MOST_MEANS) for n in voices]
        used = means > 0
        assert (used.sum(axis=1) == m).all()
        assert (used.sum(axis=0) <= 1).all()
        np.testing.assert_allclose(means[used], 1 / m)
        for mean, person in zip(used, np.repeat(np.arange(3), counts), strict=True):
            assert set(voice_identity[mean]) == {f"p{person}"}


def test_people_with_too_few_clips_are_left_out():
    voices, voice_identity, faces, face_identity = people([60, 6, 5, 4, 9], [50, 5, 5, 9, 2], seed=4)
    records = joint_records(voices, voice_identity, faces, face_identity, grid=(1, 5, 30))
    assert cell(records, "joint_matching", 1, 1)["identities"] == 5
    assert cell(records, "joint_matching", 5, 1)["identities"] == 4
    assert cell(records, "joint_matching", 1, 5)["identities"] == 4
    assert cell(records, "joint_matching", 5, 5)["identities"] == 3
    for task in ("joint_matching", "joint_retrieval"):
        none = cell(records, task, 1, 30)
        assert (none["value"], none["ci_low"], none["identities"]) == (None, None, 1)
    full = cell(records, "joint_retrieval", 1, 1)  # at most ten voices and faces of each
    assert (full["trials"], full["n"]) == (10 + 6 + 5 + 4 + 9, 10 + 5 + 5 + 9 + 2)
    both = cell(records, "joint_matching", 5, 5)  # 10, 1, 1 mean voices and 10, 1, 1 mean faces
    assert both["trials"] == 10 * 10 * 2 + 1 * 1 * 11 + 1 * 1 * 11


def test_under_cosine_length_does_not_matter_and_draws_follow_the_seed():
    voices, voice_identity, faces, face_identity = people([6, 8, 7, 6], [7, 6, 9, 8], seed=5)
    scale = np.random.default_rng(0).uniform(0.1, 10, (len(voices), 1))
    run = lambda table, kind, seed=0: joint_records(  # noqa: E731
        table, voice_identity, faces, face_identity, kind, grid=(1, 3), seed=seed
    )
    values = [r["value"] for r in run(voices, "cosine")]
    assert [r["value"] for r in run(voices * scale, "cosine")] == values
    assert [r["value"] for r in run(voices * scale, "euclidean")] != [r["value"] for r in run(voices, "euclidean")]
    assert run(voices, "cosine") == run(voices, "cosine")
    assert [r["value"] for r in run(voices, "cosine", seed=1)] != values


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_a_constant_model_scores_chance_in_every_cell(kind):
    identity = np.repeat(np.arange(100), 40)
    ones = np.full((4000, 5), 0.37)
    records = joint_records(ones, identity, ones, identity, kind, grid=(1, 5, 15))
    for record in records:
        assert record["value"] == pytest.approx(record["chance"], abs=1e-9)
    paper = {r["protocol"]: r for r in records if r["protocol"].startswith("trinet")}
    mean_voice, mean_face = paper["trinet_gallery,voices=20,faces=1"], paper["trinet_gallery,voices=1,faces=5"]
    assert (mean_voice["n"], mean_face["n"]) == (500, 100)
    assert (mean_voice["trials"], mean_face["trials"]) == (30 * 200, 30 * 4000)
    assert mean_voice["chance"] == pytest.approx(0.02149, abs=5e-6)
    assert mean_face["chance"] == pytest.approx(0.05187, abs=5e-6)
    assert mean_face["ci_method"] == "repeats"


def test_means_help():
    """More clips of a person say more about them: the mean of all beats a single clip by far."""
    voices, voice_identity, faces, face_identity = people([20] * 30, [20] * 30, seed=6, dimensions=8)
    records = joint_records(voices, voice_identity, faces, face_identity, grid=(1, 20))
    for task in ("joint_matching", "joint_retrieval"):
        values = [cell(records, task, *m)["value"] for m in ((1, 1), (1, 20), (20, 20))]
        assert values[0] + 0.03 < values[1] < values[2]


def test_people_whose_clips_cancel_out_are_left_out_under_cosine():
    voices, voice_identity, faces, face_identity = people([2] * 5, [2] * 5)
    opposite = voices.copy()
    first, second = np.flatnonzero(voice_identity == voice_identity[0])
    opposite[second] = -opposite[first]
    found = joint_records(opposite, voice_identity, faces, face_identity, grid=(2,))
    assert {r["identities"] for r in found if r["protocol"] == "voices=2,faces=2"} == {4}
    assert all(r["value"] is not None for r in found)
    names, flat = np.repeat(list("abcde"), 2), np.where(np.arange(10)[:, None] % 2, 1.0, -1.0)
    nothing = joint_records(flat, names, flat, names, grid=(2,))
    assert all(r["value"] is None for r in nothing if r["protocol"] == "voices=2,faces=2")


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_the_size_of_embeddings_does_not_matter_under_cosine(size):
    voices, voice_identity, faces, face_identity = people([3] * 5, [2] * 5)
    found = joint_records(voices * size, voice_identity, faces * size, face_identity, grid=(1, 2))
    expected = joint_records(voices, voice_identity, faces, face_identity, grid=(1, 2))
    assert [r["value"] for r in found] == pytest.approx([r["value"] for r in expected], abs=1e-6)


def test_mistakes_are_refused():
    voices, voice_identity, faces, face_identity = people([2, 2, 2], [2, 2, 2])
    with pytest.raises(UserError, match="matrix holds no means"):
        joint_records(None, voice_identity, None, face_identity, np.zeros((6, 6)))
    with pytest.raises(UserError, match=r"grid: \[0, 5\]"):
        joint_records(voices, voice_identity, faces, face_identity, grid=(0, 5))
    with pytest.raises(UserError, match="dimensions"):
        joint_records(voices, voice_identity, faces[:, :2], face_identity)
