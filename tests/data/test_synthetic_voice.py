import dataclasses
import hashlib

import numpy as np
import pytest

from voiceface.data.synthetic import SyntheticOptions, SyntheticPerson, person
from voiceface.data.synthetic.voice import voice_clip
from voiceface.utils.audio import SAMPLE_RATE

OPTIONS = SyntheticOptions()


def _showing(someone: SyntheticPerson, **traits: float) -> SyntheticPerson:
    """The same person whose voice shows average traits except these."""
    average = {"age": 0.0, "size": 0.0, "build": 0.0, "vigour": 0.0, "gender": 0, "nationality": 0, "language": 0}
    return dataclasses.replace(someone, voice=dataclasses.replace(someone.voice, **{**average, **traits}))


def _spectrum(waveform: np.ndarray) -> np.ndarray:
    """Mean power of 32 ms frames, 257 bins of 31.25 Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform / 32768, 512)[::256] * np.hanning(512)
    return (np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0)


def _pitch(waveform: np.ndarray) -> float:
    """Median over clearly voiced 64 ms frames of the highest autocorrelation peak between 60 and 400 Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform / 32768, 1024)[::512] * np.hanning(1024)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 2048)) ** 2)[:, :270]
    correlation = correlation / correlation[:, :1]
    lags = correlation[:, 40:].argmax(axis=1) + 40
    voiced = correlation[np.arange(len(lags)), lags] > 0.4
    return float(SAMPLE_RATE / np.median(lags[voiced]))


def _mean(measure, people):
    return np.mean([measure(voice_clip(someone, clip)[0]) for someone in people for clip in range(2)], axis=0)


CROWD = [person(OPTIONS, index) for index in range(6)]


@pytest.mark.parametrize("index", range(4))
def test_clip_format(index):
    someone = person(OPTIONS, index)
    lengths = set()
    for clip in range(3):
        waveform, observed = voice_clip(someone, clip)
        assert waveform.dtype == np.int16
        assert waveform.ndim == 1
        assert 2.6 <= len(waveform) / SAMPLE_RATE <= 3.6
        assert 1000 < np.abs(waveform.astype(int)).max() < 32000
        np.testing.assert_array_equal(observed, someone.voice.vector())
        lengths.add(len(waveform))
    assert len(lengths) == 3


def test_extreme_traits_stay_in_range():
    for sign in (-9.0, 9.0):
        waveform, _ = voice_clip(_showing(CROWD[0], age=sign, size=-sign, build=sign, vigour=sign), 0)
        assert np.abs(waveform.astype(int)).max() < 32000
        assert waveform.std() > 300


def test_clips_are_reproducible_in_any_order():
    someone = person(OPTIONS, 2)
    first, _ = voice_clip(someone, 1)
    voice_clip(someone, 0)
    np.testing.assert_array_equal(first, voice_clip(person(SyntheticOptions(identities=9, voices=2), 2), 1)[0])


def test_golden_clips():
    digest = hashlib.sha256()
    for clip, index in enumerate((0, 1, 3, 6, 599)):
        digest.update(voice_clip(person(OPTIONS, index), clip)[0].astype("<i2").tobytes())
    assert digest.hexdigest() == "8584fa2c90cf526d4885e87399d069f69259476db3eb34b27b3b453888a88f38"


def test_gender_and_size_show_in_pitch():
    men, women = (_mean(_pitch, [_showing(p, gender=g) for p in CROWD]) for g in (0, 1))
    assert 90 < men < 140
    assert 170 < women < 245
    small, large = (_mean(_pitch, [_showing(p, size=s) for p in CROWD]) for s in (-2.0, 2.0))
    assert small > 1.08 * large


def test_size_shifts_formants_down():
    def centroid(waveform):
        power = np.sqrt(_spectrum(waveform)[10:130])
        return (power * np.arange(10, 130)).sum() / power.sum()

    small, large = (_mean(centroid, [_showing(p, size=s) for p in CROWD]) for s in (-2.0, 2.0))
    assert small > 1.1 * large


def test_build_darkens_and_age_adds_breath():
    def brightness(waveform):
        power = _spectrum(waveform)
        return 10 * np.log10(power[64:128].mean() / power[4:32].mean())

    slim, full = (_mean(brightness, [_showing(p, build=b) for p in CROWD]) for b in (-2.0, 2.0))
    assert slim > full + 6

    def floor(waveform):
        power = (waveform[: len(waveform) // 400 * 400].reshape(-1, 400).astype(float) ** 2).mean(axis=1)
        return 10 * np.log10(np.quantile(power, 0.05) / power.mean())

    young, old = (_mean(floor, [_showing(p, age=a) for p in CROWD]) for a in (-2.0, 2.0))
    assert old > young + 3


def test_vigour_quickens_speech():
    def modulation(waveform):
        envelope = np.sqrt((waveform[: len(waveform) // 160 * 160].reshape(-1, 160).astype(float) ** 2).mean(axis=1))
        power = np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(len(envelope)), 1000))[10:90] ** 2
        return (power * np.arange(10, 90)).sum() / power.sum() / 10

    calm, lively = (_mean(modulation, [_showing(p, vigour=v) for p in CROWD]) for v in (-2.0, 2.0))
    assert lively > 1.2 * calm


def test_language_and_nationality_change_the_spectrum():
    def profile(trait, value):
        return np.log(_mean(_spectrum, [_showing(p, **{trait: value}) for p in CROWD[:3]]))

    for trait, count in (("language", 6), ("nationality", 8)):
        profiles = [profile(trait, value) for value in range(count)]
        distances = [np.abs(a - b).mean() for k, a in enumerate(profiles) for b in profiles[:k]]
        assert min(distances) > 0.1
