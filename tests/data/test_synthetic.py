import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.data import synthetic
from voiceface.data.synthetic import (
    CATEGORICAL,
    CONTINUOUS,
    LANGUAGES,
    NATIONALITIES,
    TRAITS,
    SyntheticOptions,
    SyntheticPerson,
    age_in_years,
    cross_modal_correlation,
    log_likelihood_ratio,
    person,
)
from voiceface.utils.errors import UserError


def _people(count: int, strength: float = 1.0, seed: int = 0) -> list[SyntheticPerson]:
    options = SyntheticOptions(seed=seed, strength=strength)
    return [person(options, index) for index in range(count)]


def _observed(people: list[SyntheticPerson]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([p.voice.vector() for p in people]), np.array([p.face.vector() for p in people])


def _accuracy(people: list[SyntheticPerson], strength: float, agree: tuple[str, ...]) -> tuple[float, float]:
    """1:2 accuracy of the ideal observer, voice to face, among people who agree, and its standard error over people."""
    ratio = log_likelihood_ratio(*_observed(people), strength)
    own = np.diag(ratio)[:, None]
    wins = (own > ratio) + 0.5 * (own == ratio)
    mask = ~np.eye(len(people), dtype=bool)
    for name in agree:
        values = np.array([p.attributes[name] for p in people])
        mask &= values[:, None] == values
    theta = wins[mask].mean()
    errors = np.where(mask, wins - theta, 0)
    return float(theta), float(np.sqrt(((errors + errors.T).sum(axis=1) ** 2).sum()) / mask.sum())


@pytest.mark.parametrize(
    "values",
    [
        {"identities": 0},
        {"voices": 0},
        {"faces": -1},
        {"seed": -1},
        {"seed": 2**32},
        {"strength": -0.1},
        {"strength": math.nan},
    ],
)
def test_options_out_of_range_are_refused_by_name(values):
    with pytest.raises(UserError, match=next(iter(values))):
        SyntheticOptions(**values)


def test_person_depends_on_seed_and_index_only():
    few, many = SyntheticOptions(identities=3, voices=1, faces=1, seed=5), SyntheticOptions(identities=900, seed=5)
    assert [person(few, k) for k in range(3)] == [person(many, k) for k in range(3)]
    assert person(few, 0).truth != person(few, 1).truth
    assert person(few, 0).truth != person(SyntheticOptions(seed=6), 0).truth


def test_strength_changes_only_how_well_continuous_traits_show():
    off, strong = person(SyntheticOptions(strength=0), 3), person(SyntheticOptions(strength=1e6), 3)
    assert off.truth == strong.truth
    for name in CATEGORICAL:
        assert getattr(off.voice, name) == getattr(strong.voice, name)
    np.testing.assert_allclose(strong.voice.vector()[:4], strong.truth.vector()[:4], atol=1e-4)
    np.testing.assert_allclose(strong.face.vector()[:4], strong.truth.vector()[:4], atol=1e-4)


def test_random_streams_of_a_person_differ():
    someone = person(SyntheticOptions(), 0)
    generators = [someone.voice_generator(), someone.face_generator()]
    generators += [draw(clip) for draw in (someone.voice_generator, someone.face_generator) for clip in (0, 1)]
    assert len({generator.random() for generator in generators}) == 6


def test_population_follows_the_documented_law():
    people = _people(5000)
    voices, faces = _observed(people)
    truth = np.array([p.truth.vector() for p in people])
    rho = cross_modal_correlation(1.0)
    count = len(CONTINUOUS)
    for shown in (voices, faces, truth):
        np.testing.assert_allclose(shown[:, :count].mean(axis=0), 0, atol=0.05)
        np.testing.assert_allclose(shown[:, :count].std(axis=0), 1, atol=0.04)
        for k, name in enumerate(CATEGORICAL):
            shares = np.bincount(shown[:, count + k].astype(int)) / len(people)
            np.testing.assert_allclose(shares, synthetic._SHARES[name], atol=0.025)
    correlations = np.corrcoef(voices[:, :count].T, faces[:, :count].T)[:count, count:]
    np.testing.assert_allclose(correlations, np.diag(rho), atol=0.05)
    assert 0.52 < np.mean([p.attributes["gender"] == "m" for p in people]) < 0.58
    assert {p.attributes["age"] for p in people} == {f"{a}-{a + 9}" for a in range(20, 80, 10)}
    assert {p.attributes["nationality"] for p in people} == set(NATIONALITIES)
    assert {p.attributes["first_language"] for p in people} == set(LANGUAGES)


@settings(max_examples=examples(50), deadline=None)
@given(st.floats(-8, 8), st.floats(-8, 8))
def test_age_rises_with_its_latent_value(one, other):
    assert 20 <= age_in_years(one) <= 80
    low, high = sorted((one, other))
    assert age_in_years(low) <= age_in_years(high)


def _brute_force_ratio(voice: np.ndarray, face: np.ndarray, strength: float) -> float:
    """The same ratio by numerical integration over the latent value and by summing over all true categories."""
    latent, step = np.linspace(-9, 9, 4001, retstep=True)

    def normal(x, mean, variance):
        return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)

    total = 0.0
    for k, rho in enumerate(cross_modal_correlation(strength)):
        loading = math.sqrt(rho)
        prior = normal(latent, 0, 1)
        voice_given = normal(voice[k], loading * latent, 1 - rho)
        face_given = normal(face[k], loading * latent, 1 - rho)
        joint = (prior * voice_given * face_given).sum() * step
        total += math.log(joint / ((prior * voice_given).sum() * step * (prior * face_given).sum() * step))

    def channel(name, confusion, true, shown):
        return confusion[name] * synthetic._SHARES[name][shown] + (1 - confusion[name]) * (true == shown)

    joint = voice_alone = face_alone = 0.0
    for gender in range(2):
        for nationality in range(len(NATIONALITIES)):
            for language in range(len(LANGUAGES)):
                main = synthetic._MAIN_LANGUAGE[nationality] == language
                prior = (1 - synthetic._MAIN_LANGUAGE_SHARE) / len(LANGUAGES) + synthetic._MAIN_LANGUAGE_SHARE * main
                prior *= synthetic._GENDER_SHARES[gender] * synthetic._NATIONALITY_SHARES[nationality]
                voice_given = face_given = 1.0
                for k, (name, true) in enumerate(zip(CATEGORICAL, (gender, nationality, language), strict=True)):
                    voice_given *= channel(name, synthetic._VOICE_CONFUSION, true, voice[4 + k])
                    face_given *= channel(name, synthetic._FACE_CONFUSION, true, face[4 + k])
                joint += prior * voice_given * face_given
                voice_alone += prior * voice_given
                face_alone += prior * face_given
    return total + math.log(joint / (voice_alone * face_alone))


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0, 2.0])
def test_ratio_equals_brute_force_integration(strength):
    def to_ints(vector):
        return [*vector[:4].tolist(), *vector[4:].astype(int).tolist()]

    people = _people(60, strength=max(strength, 0.3), seed=4)
    voices, faces = (table[:12] for table in _observed(people))
    ratio = log_likelihood_ratio(voices, faces[:9], strength)
    assert ratio.shape == (12, 9)
    assert ratio.dtype == np.float32
    expected = [[_brute_force_ratio(to_ints(v), to_ints(f), strength) for f in faces[:9]] for v in voices]
    np.testing.assert_allclose(ratio, expected, rtol=1e-4, atol=1e-4)


def test_ratio_of_groups_of_traits_uses_them_alone_and_adds_up():
    voices, faces = (table[:12] for table in _observed(_people(60, strength=0.5, seed=4)))
    parts = {group: log_likelihood_ratio(voices, faces, 0.5, [group]) for group in ("continuous", "gender", "origin")}
    np.testing.assert_allclose(sum(parts.values()), log_likelihood_ratio(voices, faces, 0.5), rtol=1e-5, atol=1e-5)
    same = voices[:, TRAITS.index("gender")][:, None] == faces[:, TRAITS.index("gender")]
    assert parts["gender"][same].min() > 0 > parts["gender"][~same].max()
    assert len(np.unique(parts["gender"])) <= 4
    shifted = voices.copy()
    shifted[:, :4] += 1.0
    for group in ("gender", "origin"):
        assert np.array_equal(log_likelihood_ratio(shifted, faces, 0.5, [group]), parts[group])


def test_ratio_is_calibrated():
    """E[exp(-ratio)] over true pairs is 1, as for every likelihood ratio."""
    people = _people(6000, strength=0.5, seed=8)
    voices, faces = _observed(people)
    ratios = [np.diag(log_likelihood_ratio(voices[k : k + 500], faces[k : k + 500], 0.5)) for k in range(0, 6000, 500)]
    weights = np.exp(-np.concatenate(ratios).astype(np.float64))
    assert abs(weights.mean() - 1) < 5 * weights.std() / math.sqrt(len(weights))


def test_default_ceiling():
    people = _people(1500, seed=1)
    assert 0.90 < _accuracy(people, 1.0, ())[0] < 0.93
    assert 0.81 < _accuracy(people, 1.0, ("gender",))[0] < 0.85


def test_without_continuous_traits_people_who_agree_on_every_category_cannot_be_told_apart():
    people = _people(2000, strength=0.0, seed=2)
    accuracy, error = _accuracy(people, 0.0, ("gender", "nationality", "first_language"))
    assert abs(accuracy - 0.5) < 4 * error < 0.06
    alike = [dataclasses.replace(p, voice=people[0].voice, face=people[0].face) for p in people[:5]]
    assert np.unique(log_likelihood_ratio(*_observed(alike), 0.0)).size == 1
    assert _accuracy(people, 0.0, ())[0] > 0.8
