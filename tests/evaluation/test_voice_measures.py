"""Pitch and loudness of sounds whose pitch and loudness are known."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.voice import _manner, voice_clip
from voiceface.evaluation.voice_measures import voice_measures

DATA = os.environ.get("VOICEFACE_TEST_DATA", "")
TIME = np.arange(16_000) / 16_000


@settings(max_examples=examples(40), deadline=None)
@given(
    st.floats(80, 400),
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
    st.floats(0, 0.1),
    st.integers(0, 99),
)
def test_the_pitch_of_a_harmonic_tone_is_its_fundamental(pitch, harmonics, noise, seed):
    rng = np.random.default_rng(seed)
    tone = np.sin(2 * np.pi * pitch * TIME)
    for number, strength in enumerate(harmonics, 2):
        tone += strength / number * np.sin(2 * np.pi * (number * pitch * TIME + rng.random()))
    found, _ = voice_measures(0.2 * tone + noise * rng.standard_normal(16_000) * 0.2)
    assert found == pytest.approx(pitch, rel=0.01)


@pytest.mark.parametrize("pitch", [82.4, 246.9])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_any_rate_and_a_missing_fundamental(pitch, rate):
    time = np.arange(rate) / rate
    tone = sum(np.sin(2 * np.pi * number * pitch * time + number**2) for number in range(2, 9))
    assert voice_measures(0.05 * tone.astype(np.float32), rate)[0] == pytest.approx(pitch, rel=0.01)


def test_noise_silence_and_crumbs_have_no_pitch():
    rng = np.random.default_rng(0)
    for samples in (0.1 * rng.standard_normal(48_000), np.full(16_000, 0.1), np.zeros(16_000), np.zeros(0), TIME[:500]):
        assert math.isnan(voice_measures(samples)[0])


def test_pauses_do_not_count_but_five_voiced_frames_do():
    tone = 0.3 * np.sin(2 * np.pi * 150 * TIME)
    hum = 0.005 * np.sin(2 * np.pi * 60 * np.arange(64_000) / 16_000)
    hum[:16_000] += tone
    assert voice_measures(hum)[0] == pytest.approx(150, rel=0.01)
    beep = np.zeros(16_000)
    beep[8_000:8_160] = tone[:160]
    assert math.isnan(voice_measures(beep)[0])


@settings(max_examples=examples(20), deadline=None)
@given(st.floats(0.001, 1), st.floats(80, 400))
def test_loudness_is_the_root_mean_square(amplitude, pitch):
    sine = amplitude * np.sin(2 * np.pi * pitch * np.arange(160_000) / 16_000)
    expected = 20 * math.log10(math.sqrt(sum(s * s for s in sine.tolist()) / len(sine)))
    assert voice_measures(sine)[1] == pytest.approx(expected, abs=1e-3)


def test_loudness_of_the_extremes():
    assert voice_measures(np.full(1000, -32768, np.int16))[1] == 0.0
    assert voice_measures(np.zeros(1000, np.int16))[1] == -math.inf
    assert voice_measures(np.zeros(0, np.int16))[1] == -math.inf


def test_int16_and_float_give_the_same():
    samples = np.round(8_000 * np.sin(2 * np.pi * 200 * TIME)).astype(np.int16)
    assert voice_measures(samples) == pytest.approx(voice_measures(samples / 32768.0), rel=1e-6)


def test_a_long_clip_is_measured_in_blocks_alike():
    one = 0.3 * np.sin(2 * np.pi * 180 * np.arange(16_000 * 25) / 16_000)
    assert voice_measures(one)[0] == pytest.approx(180, rel=1e-4)


@pytest.mark.parametrize("samples", [np.zeros((2, 100), np.int16), np.zeros(100, np.int32)])
def test_other_samples_are_refused(samples):
    with pytest.raises(ValueError, match=r"\(T,\) of int16 or float"):
        voice_measures(samples)


def test_synthetic_voices_have_the_pitch_that_they_were_made_with():
    apart = []
    for index in range(25):
        made = person(SyntheticOptions(), index)
        apart.append(12 * np.log2(voice_measures(voice_clip(made, 0)[0])[0] / _manner(made).pitch))
    assert abs(np.median(apart)) < 0.5
    assert np.mean(np.abs(apart) < 2) >= 0.9


@pytest.mark.skipif(not DATA, reason="VOICEFACE_TEST_DATA names no folder with real recordings")
def test_real_speech_at_every_rate_has_one_pitch_and_noise_has_none():
    media = Path(DATA) / "media/audio"
    pitches = []
    for name in ("jfk_16k_mono.wav", "jfk_8k.wav", "jfk.mp3", "jfk_8k_mulaw.wav"):
        samples, rate = soundfile.read(media / name)
        pitches.append(voice_measures(samples if samples.ndim == 1 else samples[:, 0].copy(), rate)[0])
    assert max(pitches) / min(pitches) < 1.02
    assert 85 < pitches[0] < 300
    for name in ("noise_3s.wav", "silent_3s.wav"):
        assert math.isnan(voice_measures(*soundfile.read(media / name))[0])
