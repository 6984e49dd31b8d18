"""Scores of trial lists against plain loops, numeric derivatives and scikit-learn, and on the official lists."""

import os
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student
from sklearn.metrics import average_precision_score, roc_auc_score
from tests_support import examples

from voiceface.evaluation.embeddings import people_aliases
from voiceface.evaluation.results import RECORD
from voiceface.scores.clip_keys import parse_clip
from voiceface.scores.confidence import identity_interval
from voiceface.scores.roc import auc, eer
from voiceface.scores.trial_formats import Trials, retrieval
from voiceface.scores.trial_lists import read_trial_files, read_trials
from voiceface.scores.trials import score_trials
from voiceface.utils.errors import UserError

DATA = os.environ.get("VOICEFACE_TEST_DATA")
real = pytest.mark.skipif(not DATA, reason="VOICEFACE_TEST_DATA is not set")
SEEDS = st.integers(0, 10**6)
PERSON, NAME = attrgetter("person"), attrgetter("name")


def make(rng, kind, direction="v2f", people=5, clips=3, candidates=2, rows=40):
    """A random list in which every person has clips, asks, and stands among the other candidates."""
    names = {side: [f"p{i // clips}/{side}/{i}" for i in range(people * clips)] for side in ("voice", "face")}
    voices, faces = ([parse_clip(name, {}) for name in names[side]] for side in ("voice", "face"))
    if kind == "retrieval":
        return retrieval("a file", "some_list", direction, voices, faces)
    asking = np.arange(rows) % people
    own = rng.integers(0, clips, rows) + asking * clips
    others = np.array([(a + 1 + rng.choice(people - 1, candidates, replace=False)) % people for a in asking])
    items = others * clips + rng.integers(0, clips, others.shape)
    labels = np.zeros(items.shape, bool)
    if kind == "matching":
        column = rng.integers(0, candidates, rows)
        labels[np.arange(rows), column] = True
    else:
        labels[rng.permutation(rows)[: rows // 2], 0] = True
    items[labels] = own[labels.any(axis=1)]
    query = asking * clips + rng.integers(0, clips, rows)
    return Trials("a file", "some_list", kind, direction, voices, faces, query, items, labels)


def tables(rng, trials, levels=None, dimensions=3):
    """Embeddings of a list's clips in another order than the list's, some of them equal where `levels` is given."""
    sides = []
    for clips in (trials.voices, trials.faces):
        order = rng.permutation(len(clips))
        values = rng.normal(size=(len(clips), dimensions))
        if levels is not None:
            values = rng.normal(size=(levels, dimensions))[rng.integers(0, levels, len(clips))]
        keys = [clips[i].name for i in order]
        sides += [values.astype(np.float32), [key.split("/")[0] for key in keys], keys]
    return sides


def similarity_of(trials, sides, kind="cosine"):
    """A function from places in the list to a similarity, one pair at a time."""
    voices, _, voice_key, faces, _, face_key = sides

    def similar(voice, face):
        v = voices[voice_key.index(trials.voices[voice].name)].astype(np.float64)
        f = faces[face_key.index(trials.faces[face].name)].astype(np.float64)
        if kind == "cosine":
            return round(float(v @ f / np.linalg.norm(v) / np.linalg.norm(f)), 5)
        return round(-float(((v - f) ** 2).sum()), 5)

    return similar


def row_scores(trials, sides, kind="cosine"):
    similar = similarity_of(trials, sides, kind)
    flip = trials.direction == "f2v"
    return np.array(
        [
            [similar(item, query) if flip else similar(query, item) for item in items]
            for query, items in zip(trials.query, trials.candidates, strict=True)
        ]
    )


def values(result):
    return {r["metric"]: r["value"] for r in result.records}


def people_of(trials):
    """The people whom each row concerns: who asks, and those of the wrong candidates."""
    return [
        [trials.queries[q].person, *(trials.gallery[i].person for i, own in zip(items, labels, strict=True) if not own)]
        for q, items, labels in zip(trials.query, trials.candidates, trials.labels, strict=True)
    ]


def interval_of(value, effects, level):
    effects = np.array(effects)
    half = student.ppf(0.5 + level / 2, len(effects) - 1)
    half *= np.sqrt(len(effects) / (len(effects) - 1) * (effects**2).sum())
    return max(0.0, value - half), min(1.0, value + half)


def derivatives(trials, statistic):
    """How a score moves as one person's weight does; a row weighs the product of its people's weights."""
    people, step = people_of(trials), 1e-4

    def at(person, shift):
        return statistic(np.array([np.prod([1 + shift * (p == person) for p in row]) for row in people]))

    everybody = sorted({p for row in people for p in row})
    return [(at(p, step) - at(p, -step)) / (2 * step) for p in everybody]


@settings(max_examples=examples(25), deadline=None)
@given(SEEDS, st.sampled_from([None, 2, 4]), st.sampled_from(["cosine", "euclidean"]))
def test_verification_equals_lists_of_scores(seed, levels, kind):
    rng = np.random.default_rng(seed)
    trials = make(rng, "verification", "both", candidates=1)
    sides = tables(rng, trials, levels)
    result = score_trials(trials, *sides, kind)
    scores, labels = row_scores(trials, sides, kind)[:, 0], trials.labels[:, 0]
    assert values(result)["AUC"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert values(result)["EER"] == pytest.approx(eer(scores, labels), abs=1e-9)
    assert (result.rows, result.scored, result.positives, result.missing) == (40, 40, 20, 0)
    both = set(scores[labels]) & set(scores[~labels])
    for r in result.records:
        assert (r["task"], r["direction"], r["stratum"], r["protocol"]) == ("verification", "both", "U", "some_list")
        assert (r["n"], r["chance"], r["identities"], r["trials"]) == (1, 0.5, 5, 40)
        assert r["ties"] == sum(score in both for score in scores)


@settings(max_examples=examples(15), deadline=None)
@given(SEEDS, st.sampled_from([None, 4]), st.sampled_from([0.95, 0.5]))
def test_interval_of_the_auc_is_that_of_its_derivative_by_each_person(seed, levels, level):
    rng = np.random.default_rng(seed)
    trials = make(rng, "verification", "both", candidates=1)
    sides = tables(rng, trials, levels)
    area, rate = score_trials(trials, *sides, level=level).records
    scores, labels = row_scores(trials, sides)[:, 0], trials.labels[:, 0]
    effects = derivatives(trials, lambda weights: auc(scores, labels, weights))
    assert (area["ci_low"], area["ci_high"]) == pytest.approx(interval_of(area["value"], effects, level), abs=1e-6)
    assert (area["ci_level"], area["ci_method"], rate["ci_method"]) == (level, "identity", "identity")
    assert 0.0 <= rate["ci_low"] <= rate["value"] <= rate["ci_high"] <= 1.0


def test_interval_of_the_eer_is_that_of_its_derivative_on_a_long_list():
    # The EER moves in steps; on a long list with smooth scores 30 % of a person's weight is many of them.
    rng = np.random.default_rng(0)
    trials = make(rng, "verification", "both", people=12, clips=100, candidates=1, rows=40_000)
    owner = np.arange(1200) // 100
    matrix, own = rng.normal(size=(1200, 1200)), owner[:, None] == owner
    matrix = np.where(own, 3.0 * matrix + rng.normal(2.0, 0.5, 12)[owner], matrix)  # the ROC is steep, 1 : 3, there
    owners, keys = ([[f(clip) for clip in side] for side in (trials.voices, trials.faces)] for f in (PERSON, NAME))
    rate = score_trials(trials, None, owners[0], keys[0], None, owners[1], keys[1], matrix).records[1]
    other = trials.candidates[:, 0]
    scores, labels = matrix[trials.query, other], trials.labels[:, 0]
    moved = []
    for person in range(12):
        for shift in (0.3, -0.3):
            weights = 1 + shift * (owner[trials.query] == person)
            weights *= np.where(labels, 1.0, 1 + shift * (owner[other] == person))
            moved.append(eer(scores, labels, weights))
    effects = (np.array(moved[::2]) - moved[1::2]) / 0.6
    low, high = interval_of(rate["value"], effects, 0.95)
    assert rate["ci_high"] - rate["ci_low"] == pytest.approx(high - low, rel=0.1)


@settings(max_examples=examples(25), deadline=None)
@given(SEEDS, st.sampled_from(["v2f", "f2v"]), st.integers(2, 4), st.sampled_from([None, 2, 3]))
def test_matching_equals_a_loop_over_rows(seed, direction, candidates, levels):
    rng = np.random.default_rng(seed)
    trials = make(rng, "matching", direction, people=20, candidates=candidates)
    sides = tables(rng, trials, levels)
    result = score_trials(trials, *sides)
    credits, ties = [], 0
    for scores, labels in zip(row_scores(trials, sides), trials.labels, strict=True):
        best = [label for score, label in zip(scores, labels, strict=True) if score == max(scores)]
        credits.append(sum(best) / len(best))
        ties += any(best) and len(best) > 1
    (r,) = result.records
    assert r["value"] == pytest.approx(np.mean(credits), abs=1e-12)
    assert (r["n"], r["chance"], r["ties"], r["direction"]) == (candidates, 1 / candidates, ties, direction)
    assert (r["identities"], r["trials"], r["metric"], r["protocol"]) == (20, 40, "accuracy", "some_list")
    assert (result.rows, result.scored, result.positives) == (40, 40, 40)
    effects = derivatives(trials, lambda weights: weights @ credits / weights.sum())
    assert (r["ci_low"], r["ci_high"]) == pytest.approx(interval_of(r["value"], effects, 0.95), abs=1e-6)


def test_many_candidates_of_few_people_have_no_interval():
    rng = np.random.default_rng(0)
    for candidates, people, known in ((2, 3, True), (3, 14, False), (3, 15, True), (4, 19, False)):
        trials = make(rng, "matching", people=people, candidates=candidates)
        (r,) = score_trials(trials, *tables(rng, trials)).records
        assert (r["ci_low"] is not None, r["ci_method"]) == (known, "identity" if known else None)


def test_interval_of_two_candidates_is_the_identity_interval_of_the_row_counts():
    rng = np.random.default_rng(3)
    trials = make(rng, "matching", people=7, rows=90)
    sides = tables(rng, trials, 6)
    (r,) = score_trials(trials, *sides).records
    m, credit = np.zeros((2, 7, 7))
    for scores, labels, (asking, other) in zip(
        row_scores(trials, sides), trials.labels, people_of(trials), strict=True
    ):
        a, b = int(asking[1:]), int(other[1:])
        m[a, b] += 1
        credit[a, b] += (scores[labels][0] > scores[~labels][0]) + 0.5 * (scores[labels][0] == scores[~labels][0])
    assert (r["ci_low"], r["ci_high"]) == pytest.approx(identity_interval(credit / np.maximum(m, 1), m), abs=1e-12)


@settings(max_examples=examples(15), deadline=None)
@given(SEEDS, st.sampled_from(["v2f", "f2v"]))
def test_retrieval_equals_plain_rankings(seed, direction):
    rng = np.random.default_rng(seed)
    trials = make(rng, "retrieval", direction, people=4, clips=3)
    trials = replace(trials, query=rng.choice(trials.query, 8, replace=False))
    sides = tables(rng, trials)
    result = score_trials(trials, *sides)
    similar = similarity_of(trials, sides)
    average, first = {}, {}
    for query in trials.query.tolist():
        person = trials.queries[query].person
        scores = [similar(query, i) if direction == "v2f" else similar(i, query) for i in range(12)]
        own = [clip.person == person for clip in trials.gallery]
        average[query] = average_precision_score(own, scores)
        first[query] = min(sum(s > score for s in scores) + 1 for score, mine in zip(scores, own, strict=True) if mine)
    found = {r["metric"]: r for r in result.records}
    assert set(found) == {"mAP", "R@1", "R@5", "R@10", "median_rank"}
    assert found["median_rank"]["value"] == np.median(list(first.values()))
    expected = {"mAP": average} | {f"R@{k}": {q: rank <= k for q, rank in first.items()} for k in (1, 5, 10)}
    for metric, of_query in expected.items():
        r, value = found[metric], np.mean(list(of_query.values()))
        assert r["value"] == pytest.approx(value, abs=1e-6)
        if 0 < value < 1:
            assert r["ci_low"] < r["value"] < r["ci_high"]
            assert r["ci_method"] == "jackknife"
        people = len({trials.queries[q].person for q in of_query})
        assert (r["n"], r["identities"], r["trials"], r["direction"]) == (12, people, 8, direction)
    assert (result.rows, result.scored, result.positives) == (8, 8, 24)


KINDS = [("verification", "both"), ("matching", "v2f"), ("matching", "f2v"), ("retrieval", "v2f"), ("retrieval", "f2v")]


@pytest.mark.parametrize(("kind", "direction"), KINDS)
@settings(max_examples=examples(8), deadline=None)
@given(SEEDS, st.sampled_from([None, 2]))
def test_order_means_nothing(kind, direction, seed, levels):
    rng = np.random.default_rng(seed)
    trials = make(rng, kind, direction, candidates=1 if kind == "verification" else 3)
    sides = tables(rng, trials, levels)
    before = score_trials(trials, *sides)
    rows, columns = rng.permutation(len(trials.query)), rng.permutation(trials.candidates.shape[1])
    shuffled = replace(
        trials,
        query=trials.query[rows],
        candidates=trials.candidates[rows][:, columns],
        labels=trials.labels[rows][:, columns],
    )
    moved = []
    for table, owners, keys in (sides[:3], sides[3:]):
        order = rng.permutation(len(keys))
        moved += [table[order], [owners[i] for i in order], [keys[i] for i in order]]
    after = score_trials(shuffled, *moved)
    for one, other in zip(before.records, after.records, strict=True):
        assert set(one) == set(RECORD)
        for key, value in one.items():
            assert other[key] == (pytest.approx(value, abs=1e-12) if isinstance(value, float) else value), key


@pytest.mark.parametrize(("kind", "direction"), KINDS)
def test_a_constant_model_gets_chance_and_a_perfect_one_everything(kind, direction):
    rng = np.random.default_rng(0)
    trials = make(rng, kind, direction, candidates=1 if kind == "verification" else 4)
    sides = tables(rng, trials)
    constant = [np.full_like(side, 0.3) if k in (0, 3) else side for k, side in enumerate(sides)]
    for similarity in ("cosine", "euclidean", np.zeros((15, 15), np.float16)):
        for r in score_trials(trials, *constant, similarity).records:
            assert r["value"] == pytest.approx(r["chance"], abs=1e-12)
            assert r["ties"] == r["trials"]
    perfect = [np.eye(5)[[int(name[1:]) for name in sides[k + 1]]] if k in (0, 3) else sides[k] for k in range(6)]
    best = {"EER": 0.0, "median_rank": 1.0}
    for r in score_trials(trials, *perfect).records:
        assert r["value"] == best.get(r["metric"], 1.0)


@pytest.mark.parametrize(("kind", "direction"), KINDS)
def test_a_matrix_gives_the_scores_of_its_embeddings_and_may_lie_on_disk(kind, direction, tmp_path):
    rng = np.random.default_rng(1)
    trials = make(rng, kind, direction, candidates=1 if kind == "verification" else 3)
    sides = tables(rng, trials)
    expected = score_trials(trials, *sides)
    voices, faces = (sides[k] / np.linalg.norm(sides[k].astype(float), axis=1, keepdims=True) for k in (0, 3))
    np.save(tmp_path / "s.npy", (voices @ faces.T).astype(np.float32))
    matrix = np.load(tmp_path / "s.npy", mmap_mode="r")
    result = score_trials(trials, None, *sides[1:3], None, *sides[4:], matrix)
    for one, other in zip(expected.records, result.records, strict=True):
        assert one["value"] == pytest.approx(other["value"], abs=1e-6)


def test_only_what_the_list_needs_is_read():
    rng = np.random.default_rng(2)
    trials = make(rng, "matching", people=6)
    sides = tables(rng, trials)
    few = replace(trials, query=trials.query[:6], candidates=trials.candidates[:6], labels=trials.labels[:6])
    named = {(int(q), int(i)) for q, items in zip(few.query, few.candidates, strict=True) for i in items}
    matrix = np.full((18, 18), np.nan)
    for voice, face in named:
        row, column = sides[2].index(few.voices[voice].name), sides[5].index(few.faces[face].name)
        matrix[row, column] = voice + face / 100
    score_trials(few, None, *sides[1:3], None, *sides[4:], matrix)
    matrix[row, column] = np.inf
    with pytest.raises(UserError, match="similarity: holds NaN or infinite values where the list needs"):
        score_trials(few, None, *sides[1:3], None, *sides[4:], matrix)


def hundred(rng):
    """100 matching rows with voices of their own, and 100 more voices that the list does not name."""
    voices = [parse_clip(f"p{i % 5}/voice/{i}", {}) for i in range(100)]
    faces = [parse_clip(f"p{i}/face/{i}", {}) for i in range(5)]
    items = np.array([[i % 5, (i + 1) % 5] for i in range(100)])
    labels = np.tile([True, False], (100, 1))
    trials = Trials("the/file.txt", "file", "matching", "v2f", voices, faces, np.arange(100), items, labels)
    keys = [f"p{i % 5}/voice/{i}" for i in range(200)]
    sides = [rng.normal(size=(200, 3)), [k.split("/")[0] for k in keys], keys]
    return trials, [*sides, rng.normal(size=(5, 3)), [f"p{i}" for i in range(5)], [f"p{i}/face/{i}" for i in range(5)]]


def without(sides, rows):
    kept = [i for i in range(len(sides[2])) if i not in rows]
    return [sides[0][kept], [sides[1][i] for i in kept], [sides[2][i] for i in kept], *sides[3:]]


def test_coverage_is_counted_and_refused_past_one_per_cent():
    trials, sides = hundred(np.random.default_rng(0))
    whole, one_less = score_trials(trials, *sides), score_trials(trials, *without(sides, {7}))
    assert (whole.rows, whole.scored, whole.missing) == (100, 100, 0)
    assert (one_less.rows, one_less.scored, one_less.positives, one_less.missing) == (100, 99, 99, 1)
    assert one_less.records[0]["trials"] == 99
    rest = np.arange(100) != 7
    same = replace(trials, query=trials.query[rest], candidates=trials.candidates[rest], labels=trials.labels[rest])
    assert one_less.records == score_trials(same, *sides).records
    with pytest.raises(UserError, match=r"the/file.txt: 2 of 100 rows .* lack 2 of its clips, such as 'p2/voice/7'"):
        score_trials(trials, *without(sides, {7, 8}))
    renamed = [*sides[:2], [f"x{k}" for k in sides[2]], *sides[3:]]
    with pytest.raises(UserError, match=r"100 of 100 rows .* give vox1_meta\.csv"):
        score_trials(trials, *renamed)


def test_coverage_of_a_retrieval():
    rng = np.random.default_rng(0)
    voices = [parse_clip(f"p{i % 4}/voice/{i}", {}) for i in range(200)]
    faces = [parse_clip(f"p{i % 4}/face/{i}", {}) for i in range(200)]
    trials = retrieval("the/file.txt", "file", "v2f", voices, faces)

    def run(lost_voices, lost_faces):
        sides = []
        for clips, lost in ((voices, lost_voices), (faces, lost_faces)):
            keys = [clip.name for i, clip in enumerate(clips) if i >= lost]
            sides += [rng.normal(size=(len(keys), 3)), [k.split("/")[0] for k in keys], keys]
        return score_trials(trials, *sides)

    result = run(2, 2)
    assert (result.rows, result.scored, result.missing) == (200, 198, 4)
    assert (result.records[0]["n"], result.records[0]["trials"]) == (198, 198)
    for lost in ((3, 0), (0, 3)):
        with pytest.raises(UserError, match="the embeddings lack 3 of its clips"):
            run(*lost)


def test_identities_may_have_other_names_but_not_be_other_people():
    rng = np.random.default_rng(0)
    trials = make(rng, "matching")
    sides = tables(rng, trials)
    expected = score_trials(trials, *sides).records
    renamed = [[f"person {name}" for name in side] if k in (1, 4) else side for k, side in enumerate(sides)]
    assert score_trials(trials, *renamed).records == expected
    aliases = [[f"n{name}" for name in side] if k == 4 else side for k, side in enumerate(sides)]
    people = {f"{mark}p{i}": f"p{i}" for i in range(5) for mark in ("", "n")}
    assert score_trials(trials, *aliases, people=people).records == expected
    with pytest.raises(UserError, match="embedding's identity is 'np"):
        score_trials(trials, *aliases)
    for changed in ("p1", "nobody"):
        wrong = [*sides[:1], [changed if i == 4 else name for i, name in enumerate(sides[1])], *sides[2:]]
        if wrong[1] != sides[1]:
            with pytest.raises(UserError, match=r"a file: 'p.* is of 'p.*', but its embedding's identity is"):
                score_trials(trials, *wrong)


def test_a_label_is_checked_where_names_do_not_say_whose_they_are(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("a.wav,x.jpg,1\na.wav,y.jpg,0\nb.wav,y.jpg,1\n")
    sides = [np.eye(2), ["p", "q"], ["a", "b"], np.eye(2), ["p", "q"], ["x", "y"]]
    result = score_trials(read_trials(path), *sides)
    assert values(result) == {"AUC": 1.0, "EER": 0.0}
    with pytest.raises(UserError, match=r"pairs.csv: whose a.wav, x.jpg are differs"):
        score_trials(read_trials(path), *sides[:4], ["q", "p"], sides[5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: None}, "voices: embeddings are missing"),
        ({0: np.zeros((200, 3))}, "voices: the embedding of 'p0/voice/0' is not finite, or zero under cosine"),
        ({0: np.full((200, 3), np.nan)}, "voices: the embedding of 'p0/voice/0' is not finite"),
        ({0: np.ones((200, 4))}, "voices have 4 dimensions, faces 3"),
        ({0: np.ones((199, 3))}, "voices: float64 of shape \\(199, 3\\) is not numbers \\(200, dimensions\\)"),
        ({1: ["p0"]}, "voice_key: 200 keys for 1 identities"),
        ({2: ["p0/voice/0"] * 200}, "voice_key: duplicate key, 'p0/voice/0' and 'p0/voice/0' name one clip"),
        ({6: "dot"}, "similarity: 'dot' is not known"),
        ({6: np.zeros((5, 200))}, "similarity: float64 of shape \\(5, 200\\) is no matrix of numbers \\(200, 5\\)"),
        ({7: 95.0}, "level: 95.0 is not between 0 and 1"),
    ],
)
def test_what_is_refused(change, message):
    trials, sides = hundred(np.random.default_rng(0))
    with pytest.raises(UserError, match=message):
        score_trials(trials, *[change.get(k, side) for k, side in enumerate([*sides, "cosine", 0.95])])


# The official lists name real people: nothing below prints one.
VOXCELEB = Path(DATA or "") / "voxceleb"
ONE_LIST = "veriflist_test_random_unseenunheard"


@pytest.fixture(scope="module")
def people():
    return people_aliases(VOXCELEB / "vox1_meta.csv")


@real
@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        (f"{ONE_LIST}*", 1),
        ("matching_v2f_U*", 1),
        pytest.param("*", 12, marks=pytest.mark.slow(reason="270,000 rows; the quick ones are a list of either kind")),
    ],
)
def test_constant_and_random_models_on_the_official_lists(people, pattern, count):
    lists = read_trial_files(sorted((VOXCELEB / "lists").glob(pattern)), people)
    assert len(lists) == count
    rng = np.random.default_rng(0)
    for trials in lists:
        if trials.kind == "retrieval":  # a part of the queries, for the time it takes; the whole gallery
            trials = replace(trials, query=rng.choice(trials.query, 2000, replace=False))
        owners, keys = ([[f(clip) for clip in side] for side in (trials.voices, trials.faces)] for f in (PERSON, NAME))
        for constant in (True, False):
            voices, faces = (
                np.full((len(k), 5), 0.3, np.float32) if constant else rng.normal(size=(len(k), 5)) for k in keys
            )
            result = score_trials(trials, voices, owners[0], keys[0], faces, owners[1], keys[1], people=people)
            assert result.rows == result.scored == len(trials.query)
            for r in result.records:
                assert r["protocol"] == trials.name
                if constant:
                    assert r["value"] == pytest.approx(r["chance"], abs=1e-9)
                    assert r["ties"] == r["trials"]
                elif r["metric"] == "median_rank":
                    assert r["value"] == pytest.approx(r["chance"], rel=0.15)
                else:
                    assert r["value"] == pytest.approx(r["chance"], abs=0.03)
                    assert r["ci_low"] < r["value"] < r["ci_high"]


@real
def test_one_set_of_embeddings_under_any_spelling_scores_an_official_list_alike(people):
    (trials,) = read_trial_files(list((VOXCELEB / "lists").glob(f"{ONE_LIST}*")), people)
    rng = np.random.default_rng(0)
    voices, faces = rng.normal(size=(len(trials.voices), 4)), rng.normal(size=(len(trials.faces), 4))
    records = []
    for marks in (("", ""), ("voice/", "face/"), ("", "1.6/")):
        voice_key, face_key = (
            [clip.stem.replace("/", f"/{mark}", 1) for clip in clips]
            for clips, mark in zip((trials.voices, trials.faces), marks, strict=True)
        )
        owners = [clip.person for clip in trials.voices], [clip.person for clip in trials.faces]
        result = score_trials(trials, voices, owners[0], voice_key, faces, owners[1], face_key, people=people)
        records.append(result.records)
    assert records[0] == records[1] == records[2]
    with pytest.raises(UserError, match="30496 of 30496 rows cannot be scored"):
        score_trials(trials, voices, owners[0], voice_key, faces, owners[1], [f"x{k}" for k in face_key], people=people)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("cosine", lambda x: x * np.float32(1e25)),
        ("cosine", lambda x: x * np.float32(1e-30)),
        ("euclidean", lambda x: x * np.float32(1e25)),
        ("euclidean", lambda x: x.astype(np.float64) * 1e300),
        ("euclidean", lambda x: x.astype(np.float64) + 1e6),
    ],
)
def test_the_size_and_place_of_embeddings_do_not_matter(tmp_path, kind, change):
    rng = np.random.default_rng(0)
    names = [f"p{i}" for i in range(12)]
    voices, faces = rng.normal(size=(2, 12, 5)).astype(np.float32)
    faces += voices
    lines = [f"{i},{a},{b},{int(a == b)},{a}/v.wav,{b}/f.jpg" for i, a in enumerate(names) for b in names]
    path = tmp_path / "list.csv"
    path.write_text("id,voice-speaker-id,face-speaker-id,label,voice-path,face-path\n" + "\n".join(lines) + "\n")
    keys = [f"{a}/v.wav" for a in names], [f"{a}/f.jpg" for a in names]

    def values(make):
        result = score_trials(read_trials(path), make(voices), names, keys[0], make(faces), names, keys[1], kind)
        return [r["value"] for r in result.records]

    assert values(change) == pytest.approx(values(lambda x: x), abs=1e-3)
