"""Verification against scikit-learn and against loops over all pairs of a positive and a negative."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve
from tests_support import examples

from voiceface.scores.confidence import student_interval
from voiceface.scores.roc import auc, eer
from voiceface.scores.verification import verify
from voiceface.utils.errors import UserError

SIZES = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=3, max_size=6)


def slow_eer(scores, labels, weights):
    """Walk along the ROC of scikit-learn to where misses meet false alarms."""
    alarms, hits, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    for i in range(1, len(alarms)):
        if alarms[i] >= 1 - hits[i] - 1e-15:
            a, b = alarms[i - 1] - (1 - hits[i - 1]), alarms[i] - (1 - hits[i])
            return alarms[i - 1] + (alarms[i] - alarms[i - 1]) * (-a / (b - a))
    raise AssertionError


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.sampled_from([None, 2, 5]), st.booleans())
def test_lists_equal_scikit_learn(seed, trials, levels, weighted):
    rng = np.random.default_rng(seed)
    labels = np.arange(trials) % 3 == 0
    scores = rng.normal(size=trials) if levels is None else rng.integers(0, levels, trials) / 3
    weights = rng.uniform(0.1, 2.0, trials) if weighted else None
    assert auc(scores, labels, weights) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-9)
    assert eer(scores, labels, weights) == pytest.approx(slow_eer(scores, labels, weights), abs=1e-9)
    order = rng.permutation(trials)
    shuffled = scores[order], labels[order], None if weights is None else weights[order]
    assert auc(*shuffled) == pytest.approx(auc(scores, labels, weights), abs=1e-12)
    assert auc(np.exp(scores), labels, weights) == auc(scores, labels, weights)
    assert eer(np.exp(scores), labels, weights) == eer(scores, labels, weights)
    assert auc(-scores, labels, weights) == pytest.approx(1 - auc(scores, labels, weights), abs=1e-12)
    assert eer(-scores, labels, weights) == pytest.approx(1 - eer(scores, labels, weights), abs=1e-9)


def test_known_values():
    assert auc([3, 2, 1, 0], [1, 1, 0, 0]) == 1.0
    assert eer([3, 2, 1, 0], [1, 1, 0, 0]) == 0.0
    assert auc([3, 2, 1, 0], [0, 0, 1, 1]) == 0.0
    assert eer([3, 2, 1, 0], [0, 0, 1, 1]) == 1.0
    assert auc([5] * 7, [1, 0, 0, 1, 0, 0, 0]) == 0.5
    assert eer([5] * 7, [1, 0, 0, 1, 0, 0, 0]) == 0.5
    assert eer([4, 3, 2, 1], [1, 0, 1, 0]) == 0.5  # at threshold 3 there is one false alarm of two, one miss of two


@pytest.mark.parametrize(
    ("scores", "labels", "weights", "message"),
    [
        ([1.0, 2.0], [1], None, "have shapes"),
        ([1.0, 2.0], [1, 0], [1.0], "have shapes"),
        ([1.0, np.nan], [1, 0], None, "must be finite"),
        ([1.0, 2.0], [1, 0], [1.0, -1.0], "not negative"),
        ([1.0, 2.0], [1, 1], None, "both positive and negative"),
        ([1.0, 2.0], [1, 0], [1.0, 0.0], "both positive and negative"),
    ],
)
def test_mistakes_in_lists_are_refused(scores, labels, weights, message):
    for function in (auc, eer):
        with pytest.raises(UserError, match=message):
            function(scores, labels, weights)


def draw(seed, sizes, levels):
    rng = np.random.default_rng(seed)
    voices, faces = np.array(sizes).T
    faces = np.append(faces, 2)  # and faces of somebody without a voice
    shape = voices.sum(), faces.sum()
    scores = rng.normal(size=shape) if levels is None else rng.integers(0, levels, shape) / 7
    masks = np.zeros((3, len(voices), len(voices)), bool)
    masks[0] = True
    group = rng.integers(0, 2, len(voices))
    masks[1] = group[:, None] == group
    masks[:, np.arange(len(voices)), np.arange(len(voices))] = False
    return scores.astype(np.float32), np.repeat(np.arange(len(voices)), voices), faces, masks


def trials_of(scores, voice_identity, faces, mask):
    """Scores, labels, weights, and the two identities of all trials of a stratum."""
    owner = np.repeat(np.arange(len(faces)), faces)
    used = mask.any(axis=0) | mask.any(axis=1)
    rows = []
    for v, a in enumerate(voice_identity):
        for f, b in enumerate(owner):
            if b < len(mask) and (mask[a, b] or (a == b and used[a])):
                rows.append((scores[v, f], a == b, 1 / ((voice_identity == a).sum() * faces[b]), a, b))
    return [np.array(column) for column in zip(*rows, strict=True)] if rows else None


@settings(max_examples=examples(40), deadline=None)
@given(st.integers(0, 10**6), SIZES, st.sampled_from([None, 1, 3, 30]))
def test_strata_equal_loops_over_all_pairs(seed, sizes, levels):
    scores, voice_identity, faces, masks = draw(seed, sizes, levels)
    found = verify(lambda rows: scores[rows], voice_identity, faces, masks, threads=1)
    owner = np.repeat(np.arange(len(faces)), faces)
    positives = set(scores[voice_identity[:, None] == owner])
    for result, mask in zip(found, masks, strict=True):
        trials = trials_of(scores, voice_identity, faces, mask)
        assert (result is None) == (trials is None)
        if trials is None:
            continue
        values, labels, weights, a, b = trials
        assert result.auc == pytest.approx(roc_auc_score(labels, values, sample_weight=weights), abs=1e-12)
        assert result.eer == pytest.approx(slow_eer(values, labels, weights), abs=1e-9)
        assert result.pairs == len(values)
        assert result.ties == sum(value in positives for value in values[~labels])
        assert result.auc_bound == result.eer_bound == 0.0
        # The effect of a person is the derivative of the AUC by that person's weight.
        step = 1e-6
        people = np.unique(a)
        for person, effect in zip(people, result.auc_influence, strict=True):
            involved = (a == person).astype(float) + ((b == person) & (a != b))
            ends = [roc_auc_score(labels, values, sample_weight=weights * (1 + s * involved)) for s in (step, -step)]
            assert effect == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)
        assert result.auc_influence.sum() == pytest.approx(0.0, abs=1e-6)
        assert result.eer_influence.sum() == pytest.approx(0.0, abs=1e-9)


def test_one_person_a_voice_and_a_face_is_the_plain_score():
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(7, 7))
    result = verify(lambda rows: scores[rows], np.arange(7), np.ones(7, int), ~np.eye(7, dtype=bool)[None], threads=1)[
        0
    ]
    labels = np.eye(7, dtype=bool).ravel()
    assert result.auc == pytest.approx(roc_auc_score(labels, scores.ravel()))
    assert result.auc == pytest.approx(auc(scores.ravel(), labels))
    assert result.eer == pytest.approx(eer(scores.ravel(), labels))


@pytest.mark.parametrize("spread", [1e-30, 1e30, 1e308])
def test_outliers_and_blocks_change_nothing(spread, monkeypatch):
    scores, voice_identity, faces, masks = draw(1, [(30, 3), (20, 4), (15, 2)], 12)
    scores = scores.astype(np.float64)
    expected = verify(lambda rows: scores[rows], voice_identity, faces, masks[:1], threads=1)[0]
    monkeypatch.setattr("voiceface.scores.kernels.blocks.BLOCK_SCORES", 1)
    scores = np.where(scores == scores.max(), 1.0, scores * 1e-5) * spread
    for threads in (1, 3):
        result = verify(lambda rows: scores[rows], voice_identity, faces, masks[:1], threads)[0]
        assert result.auc == pytest.approx(expected.auc, abs=1e-12)
        assert result.eer == pytest.approx(expected.eer, abs=1e-12)


@pytest.mark.parametrize(
    ("draws", "least", "most"),
    [
        (80, 0.85, 1.0),
        pytest.param(400, 0.913, 0.987, marks=pytest.mark.slow(reason="400 populations, scored; the quick one has 80")),
    ],
)
def test_the_interval_covers_the_population(draws: int, least: float, most: float):
    """Draws of 40 people; their share at a true coverage of 0.95 stays within the bounds with probability 0.999."""
    people, clips, agreement = 40, 2, 0.7
    rng = np.random.default_rng(5)
    identity, counts = np.repeat(np.arange(people), clips), np.full(people, clips)
    mask = ~np.eye(people, dtype=bool)[None]
    results = []
    for _ in range(draws):
        voice = rng.normal(size=(people, 4))
        face = agreement * voice + np.sqrt(1 - agreement**2) * rng.normal(size=(people, 4))
        voices, faces = (
            np.repeat(side, clips, axis=0) + rng.normal(size=(people * clips, 4)) for side in (voice, face)
        )
        scores = voices @ faces.T
        results.append(verify(lambda rows, scores=scores: scores[rows], identity, counts, mask, threads=1)[0])
    for kind in ("auc", "eer"):
        values = [getattr(r, kind) for r in results]
        truth = np.mean(values)  # its own error is a small part of half an interval
        intervals = [student_interval(v, getattr(r, f"{kind}_influence")) for v, r in zip(values, results, strict=True)]
        covered = np.mean([low <= truth <= high for low, high in intervals])
        assert least <= covered <= most, (kind, covered)


@pytest.mark.parametrize("levels", [None, 50])
def test_with_few_cuts_the_exact_value_lies_within_the_bound(levels, monkeypatch):
    scores, voice_identity, faces, masks = draw(4, [(6, 8)] * 12, levels)
    exact = verify(lambda rows: scores[rows], voice_identity, faces, masks[:2], threads=1)
    for cuts in (1, 7, 40):
        monkeypatch.setattr("voiceface.scores.kernels.thresholds.MOST_CUTS", cuts)
        found = verify(lambda rows: scores[rows], voice_identity, faces, masks[:2], threads=1)
        for result, expected in zip(found, exact, strict=True):
            assert 0.0 < result.auc_bound <= 0.5
            assert abs(result.auc - expected.auc) <= result.auc_bound + 1e-12
            assert abs(result.eer - expected.eer) <= result.eer_bound + 1e-12
            assert result.ties >= expected.ties


def test_positives_that_take_no_part_are_left_out():
    scores, voice_identity, faces, masks = draw(8, [(3, 4)] * 6, 9)
    owner = np.repeat(np.arange(len(faces)), faces)
    gone = (voice_identity[:, None] == owner) & (np.random.default_rng(0).random(scores.shape) < 0.4)
    result = verify(lambda rows: np.where(gone, np.nan, scores)[rows], voice_identity, faces, masks[:1], threads=1)[0]
    labels = (voice_identity[:, None] == owner)[:, owner < 6]
    weights = np.full(labels.shape, 1 / 12)
    for a in range(6):
        own = (voice_identity == a)[:, None] & (owner[owner < 6] == a)
        weights[own] = 1 / (own & ~gone[:, owner < 6]).sum()
    kept = ~gone[:, owner < 6]
    truth = labels[kept], scores[:, owner < 6][kept]
    assert result.auc == pytest.approx(roc_auc_score(*truth, sample_weight=weights[kept]), abs=1e-12)
    assert result.pairs == kept.sum()
