from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.encoders.audio import (
    append_reversed,
    log_mel,
    magnitude_spectrogram,
    mirrored_spectrogram,
    normalised_log_mel,
    prepare_waveforms,
    reflect_pad,
    resample,
    zero_beyond,
)
from voiceface.utils.errors import UserError

Array = npt.NDArray[np.float64]
Feature = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]


def padded_batch(lengths: list[int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    batch = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = torch.rand(length, generator=generator) - 0.5
    return batch


def naive_dft_magnitude(frames: Array, points: int, bins: int | None = None) -> Array:
    """|DFT| of each row, zero-padded to `points`, from the definition: the first `bins`, or those up to half way."""
    turns = np.outer(np.arange(frames.shape[1]), np.arange(bins or points // 2 + 1)) / points
    return np.abs(frames @ np.exp(-2j * np.pi * turns))


def reference_magnitude(waveform: Array) -> Array:
    """librosa's stft(n_fft=512, win_length=400, hop_length=160, pad_mode="reflect"), normalised per frame."""
    padded = np.pad(waveform, 256, mode="reflect")
    window = np.zeros(512)
    window[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.stack([padded[t * 160 : t * 160 + 512] * window for t in range(1 + len(waveform) // 160)])
    magnitude = naive_dft_magnitude(frames, 512).T
    return (magnitude - magnitude.mean(0)) / (magnitude.std(0) + 1e-5)


def reference_log_mel(waveform: Array, bands: int, window: int, hop: int, low: float, high: float) -> Array:
    """Log-mel bands from their definition: triangles on the HTK mel scale over the power spectrum."""
    points = max(512, window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    count = 1 + (len(waveform) - window) // hop
    frames = np.stack([waveform[t * hop : t * hop + window] * hann for t in range(count)])
    power = naive_dft_magnitude(frames, points) ** 2
    return np.log(np.maximum(reference_mel(power, bands, low, high), 1e-6)).T


def reference_mel(power: Array, bands: int, low: float, high: float) -> Array:
    """Sums of power (T, bins) under triangles of peak 1 that are evenly spaced on the HTK mel scale: (T, bands)."""
    mel_low, mel_high = (2595 * np.log10(1 + f / 700) for f in (low, high))
    corners = 700 * (10 ** (np.linspace(mel_low, mel_high, bands + 2) / 2595) - 1)
    frequency = np.linspace(0, 8000, power.shape[1])
    out = np.empty((len(power), bands))
    for b in range(bands):
        left, peak, right = corners[b : b + 3]
        weight = np.clip(np.minimum((frequency - left) / (peak - left), (right - frequency) / (right - peak)), 0, None)
        out[:, b] = power @ weight
    return out


def hamming_frames(samples: list[float]) -> Array:
    """Whole frames of 400 samples every 160, pre-emphasised over the utterance, under a symmetric Hamming window."""
    emphasised = np.array([x - 0.97 * before for before, x in zip([0.0, *samples], samples, strict=False)])
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    return np.stack([emphasised[t : t + 400] * window for t in range(0, len(samples) - 399, 160)])


def remove_dc(samples: Array) -> list[float]:
    out: list[float] = []
    for n, x in enumerate(samples):
        out.append(x - samples[n - 1] + 0.99 * out[-1] if n else x)
    return out


def reference_mirrored(waveform: Array) -> Array:
    """VGGVox's features from their definition, all 512 bins by their own DFT."""
    magnitude = naive_dft_magnitude(hamming_frames(remove_dc(waveform * 32768)), 512, 512).T
    return (magnitude - magnitude.mean(1, keepdims=True)) / magnitude.std(1, ddof=1, keepdims=True)


def reference_normalised_log_mel(waveform: Array) -> Array:
    """DIMNet's features from their definition."""
    power = naive_dft_magnitude(hamming_frames(list(waveform * 32768)), 1024) ** 2
    logarithm = np.log(np.maximum(reference_mel(power, 64, 20, 7200), 1e-5)).T
    return (logarithm - logarithm.mean(1, keepdims=True)) / logarithm.std(1, keepdims=True)


def test_prepare_scales_int16_and_keeps_floats() -> None:
    samples = torch.tensor([[-32768, 0, 16384]], dtype=torch.int16)
    scaled, lengths = prepare_waveforms(samples, None, 1)
    assert lengths is None
    assert scaled.tolist() == [[-1.0, 0.0, 0.5]]
    assert prepare_waveforms(scaled.double(), None, 1)[0].dtype == torch.float32


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(1, 40), st.integers(0, 10))
def test_prepare_repeats_each_short_utterance(lengths: list[int], minimum: int, spare: int) -> None:
    batch = torch.nn.functional.pad(padded_batch(lengths), (0, spare))
    prepared, valid = prepare_waveforms(batch, torch.tensor(lengths), minimum)
    wanted = [max(length, minimum) for length in lengths]
    assert prepared.shape[1] == max(wanted)
    assert (valid is None) == (len(set(lengths)) == 1 or max(lengths) <= minimum)
    assert valid is None or valid.tolist() == wanted
    for row, result, length, total in zip(batch.numpy(), prepared.numpy(), lengths, wanted, strict=True):
        assert np.array_equal(result[:total], np.resize(row[:length], total))
        assert not result[total:].any()


@pytest.mark.parametrize("lengths", [[0, 3], [3, 5]])
def test_prepare_refuses_impossible_lengths(lengths: list[int]) -> None:
    with pytest.raises(UserError, match=r"1\.\.4"):
        prepare_waveforms(torch.zeros(2, 4), torch.tensor(lengths), 1)


def test_prepare_refuses_an_empty_waveform() -> None:
    with pytest.raises(UserError, match="voice lengths"):
        prepare_waveforms(torch.zeros(1, 0), None, 1)


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.integers(9, 40), min_size=1, max_size=4), st.integers(0, 8))
def test_reversal_and_reflection_match_numpy(lengths: list[int], amount: int) -> None:
    batch = padded_batch(lengths)
    for valid in (torch.tensor(lengths), None):
        ends = [batch.shape[1]] * len(lengths) if valid is None else lengths
        doubled, new = append_reversed(batch, valid)
        padded = reflect_pad(batch, valid, amount)
        assert (new is None) if valid is None else (new is not None and new.tolist() == [2 * n for n in lengths])
        for i, n in enumerate(ends):
            row = batch[i, :n].numpy()
            assert np.array_equal(doubled[i, : 2 * n].numpy(), np.append(row, row[::-1]))
            assert not doubled[i, 2 * n :].any()
            assert np.array_equal(padded[i, : n + 2 * amount].numpy(), np.pad(row, amount, mode="reflect"))
            assert not padded[i, n + 2 * amount :].any()


def test_magnitude_spectrogram_matches_its_definition() -> None:
    lengths = [3000, 1777, 320]
    batch = padded_batch(lengths)
    spectrogram, frames = magnitude_spectrogram(batch, torch.tensor(lengths))
    assert spectrogram.shape == (3, 257, 19)
    assert frames is not None
    assert frames.tolist() == [19, 12, 3]
    for row, result, length in zip(batch.double().numpy(), spectrogram.numpy(), lengths, strict=True):
        expected = reference_magnitude(row[:length])
        np.testing.assert_allclose(result[:, : expected.shape[1]], expected, atol=2e-4)
        assert not result[:, expected.shape[1] :].any()
    alone, none = magnitude_spectrogram(batch[:1])
    assert none is None
    np.testing.assert_allclose(alone[0].numpy(), spectrogram[0].numpy(), atol=1e-5)


@pytest.mark.parametrize(("window", "hop", "bands"), [(400, 160, 64), (1024, 320, 80)])
def test_log_mel_matches_its_definition(window: int, hop: int, bands: int) -> None:
    lengths = [3000, 1777]
    batch = padded_batch(lengths)
    mel, frames = log_mel(batch, torch.tensor(lengths), bands=bands, window=window, hop=hop)
    assert frames is not None
    assert frames.tolist() == [1 + (n - window) // hop for n in lengths]
    for row, result, length in zip(batch.double().numpy(), mel.numpy(), lengths, strict=True):
        expected = reference_log_mel(row[:length], bands, window, hop, 20, 7600)
        np.testing.assert_allclose(result[:, : expected.shape[1]], expected, atol=1e-3)
        assert not result[:, expected.shape[1] :].any()


def test_log_mel_peaks_at_the_band_of_a_tone() -> None:
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(8000) / 16000)[None]
    mel, _ = log_mel(tone, bands=80, window=1024, hop=320)
    centres = 700 * (10 ** (np.linspace(31.75, 2595 * np.log10(1 + 7600 / 700), 82)[1:-1] / 2595) - 1)
    assert set(mel[0].argmax(0).tolist()) == {int(np.abs(centres - 440).argmin())}


PER_BIN = [
    (mirrored_spectrogram, reference_mirrored, 512, 1),
    (normalised_log_mel, reference_normalised_log_mel, 64, 0),
]


@pytest.mark.parametrize(("feature", "reference", "bins", "correction"), PER_BIN)
def test_features_normalised_per_bin_match_their_definition(
    feature: Feature, reference: Callable[[Array], Array], bins: int, correction: int
) -> None:
    lengths = [6000, 3777, 720]
    batch = padded_batch(lengths)
    batch[0, 2000:3000] = 0  # whole frames of digital silence
    batch[1, :3777] = 0.6 + 0.1 * batch[1, :3777]  # a large DC offset
    batch[2, 100:720] *= 1e-3  # near silence after a loud start
    features, frames = feature(batch, torch.tensor(lengths))
    assert frames is not None
    assert frames.tolist() == [36, 22, 3]
    assert features.shape == (3, bins, 36)
    for row, result, length, count in zip(batch.double().numpy(), features, lengths, frames.tolist(), strict=True):
        expected = reference(row[:length])
        np.testing.assert_allclose(result[:, :count].numpy(), expected, atol=1e-3)
        assert not result[:, count:].any()
        std, mean = torch.std_mean(result[:, :count], dim=1, correction=correction)
        torch.testing.assert_close(mean, torch.zeros(bins), atol=1e-5, rtol=0)
        torch.testing.assert_close(std, torch.ones(bins), atol=1e-4, rtol=0)
    alone, none = feature(batch[1:2, :3777])
    assert none is None
    torch.testing.assert_close(alone[0], features[1, :, :22], atol=1e-3, rtol=0)


@settings(max_examples=examples(10), deadline=None)
@given(st.integers(560, 4000), st.integers(0, 99))
def test_the_mirrored_spectrogram_is_symmetric_and_ignores_gain(samples: int, seed: int) -> None:
    waveform = padded_batch([samples], seed)
    features, _ = mirrored_spectrogram(waveform)
    for k in range(1, 256):
        assert torch.equal(features[:, k], features[:, 512 - k])
    torch.testing.assert_close(mirrored_spectrogram(waveform / 64)[0], features, atol=1e-4, rtol=0)


def test_padding_that_is_not_zero_does_not_matter() -> None:
    batch = padded_batch([3000, 1777])
    dirty = batch.clone()
    dirty[1, 1777:] = 0.7
    for feature in (mirrored_spectrogram, normalised_log_mel):
        lengths = torch.tensor([3000, 1777])
        assert torch.equal(feature(dirty, lengths)[0], feature(batch, lengths)[0])


def test_resample_matches_a_windowed_sinc() -> None:
    waveform = padded_batch([700])
    result = resample(waveform, 22_050)[0].double().numpy()
    assert len(result) == -(-700 * 22_050 // 16_000)
    cutoff, zeros = 0.99 * 16_000, 6
    for m in range(len(result)):
        away = cutoff * (m / 22_050 - np.arange(700) / 16_000)
        weight = np.where(np.abs(away) < zeros, 0.99 * np.sinc(away) * np.cos(np.pi * away / zeros / 2) ** 2, 0)
        assert result[m] == pytest.approx(weight @ waveform[0].double().numpy(), abs=5e-5)


def test_silence_is_finite() -> None:
    silence = torch.zeros(1, 4000)
    assert not magnitude_spectrogram(silence)[0].any()
    assert not mirrored_spectrogram(silence)[0].any()
    assert not normalised_log_mel(silence)[0].any()
    assert not mirrored_spectrogram(silence[:, :400])[0].any()
    torch.testing.assert_close(log_mel(silence)[0], torch.full((1, 64, 23), float(np.log(1e-6))))


def test_features_stay_float32_under_autocast() -> None:
    batch = padded_batch([4000])
    for function in (magnitude_spectrogram, mirrored_spectrogram, log_mel, normalised_log_mel):
        expected, _ = function(batch)
        with torch.autocast("cpu", torch.bfloat16):
            result, _ = function(batch)
        assert result.dtype == torch.float32
        assert torch.equal(result, expected)
    with torch.autocast("cpu", torch.bfloat16):
        resampled = resample(batch, 22_050)
    assert torch.equal(resampled, resample(batch, 22_050))


def test_a_bank_first_used_in_inference_mode_serves_training() -> None:
    with torch.inference_mode():
        log_mel(padded_batch([2000]), bands=37)
    waveforms = padded_batch([2000]).requires_grad_()
    log_mel(waveforms, bands=37)[0].sum().backward()
    assert waveforms.grad is not None
    assert waveforms.grad.isfinite().all()


def test_zero_beyond() -> None:
    values = torch.ones(2, 3, 1, 4)
    assert zero_beyond(values, None) is values
    kept = zero_beyond(values, torch.tensor([1, 4]))
    assert kept[0].sum(dim=-1).tolist() == [[1.0]] * 3
    assert torch.equal(kept[1], values[1])
