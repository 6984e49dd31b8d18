import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceface.errors import UserError
from voiceface.features import (
    append_reversed,
    log_mel,
    magnitude_spectrogram,
    prepare_waveforms,
    reflect_pad,
    zero_beyond,
)

Array = npt.NDArray[np.float64]


def padded_batch(lengths: list[int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    batch = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = torch.rand(length, generator=generator) - 0.5
    return batch


def naive_dft_magnitude(frames: Array, points: int) -> Array:
    """|DFT| of each row, zero-padded to `points`, from the definition."""
    samples = np.arange(frames.shape[1])
    bins = np.arange(points // 2 + 1)
    return np.abs(frames @ np.exp(-2j * np.pi * np.outer(samples, bins) / points))


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
    mel_low, mel_high = (2595 * np.log10(1 + f / 700) for f in (low, high))
    corners = 700 * (10 ** (np.linspace(mel_low, mel_high, bands + 2) / 2595) - 1)
    frequency = np.arange(points // 2 + 1) * 16000 / points
    out = np.empty((bands, count))
    for b in range(bands):
        left, peak, right = corners[b : b + 3]
        weight = np.clip(np.minimum((frequency - left) / (peak - left), (right - frequency) / (right - peak)), 0, None)
        out[b] = np.log(np.maximum(power @ weight, 1e-6))
    return out


def test_prepare_scales_int16_and_keeps_floats() -> None:
    samples = torch.tensor([[-32768, 0, 16384]], dtype=torch.int16)
    scaled, lengths = prepare_waveforms(samples, None, 1)
    assert lengths is None
    assert scaled.tolist() == [[-1.0, 0.0, 0.5]]
    assert prepare_waveforms(scaled.double(), None, 1)[0].dtype == torch.float32


@settings(max_examples=40, deadline=None)
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


@settings(max_examples=30, deadline=None)
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


def test_silence_is_finite() -> None:
    silence = torch.zeros(1, 4000)
    assert not magnitude_spectrogram(silence)[0].any()
    torch.testing.assert_close(log_mel(silence)[0], torch.full((1, 64, 23), float(np.log(1e-6))))


def test_features_stay_float32_under_autocast() -> None:
    batch = padded_batch([4000])
    for function in (magnitude_spectrogram, log_mel):
        expected, _ = function(batch)
        with torch.autocast("cpu", torch.bfloat16):
            result, _ = function(batch)
        assert result.dtype == torch.float32
        assert torch.equal(result, expected)


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
