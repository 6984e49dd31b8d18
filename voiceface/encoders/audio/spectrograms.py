"""Spectrograms of the voice encoders; each network has its own, and one is no use to another's weights."""

import functools

import torch
import torchaudio
from torch import Tensor

from voiceface.encoders.audio.waveforms import not_compiled, reflect_pad, zero_beyond
from voiceface.utils.audio import SAMPLE_RATE


@not_compiled
def magnitude_spectrogram(waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The features of Thin-ResNet34: a magnitude spectrogram, each frame normalised over frequency.

    As `librosa.stft(n_fft=512, win_length=400, hop_length=160)` and `(x - mean) / (std + 1e-5)` over the 257 bins of
    each frame in the authors' code (Xie et al. 2019). The ends are padded by reflection, librosa's default when that
    code was published (versions before 0.10).

    Args:
        waveforms: float32 in [-1, 1], (B, N), zero-padded; more than 256 samples each.
        lengths: Samples of each utterance, (B,), or None.

    Returns:
        float32 (B, 257, 1 + N // 160), zero beyond each utterance's frames, and its frames (B,), or None.
    """
    with torch.autocast(waveforms.device.type, enabled=False):
        window = torch.hann_window(400, device=waveforms.device)
        padded = reflect_pad(waveforms.float(), lengths, 256)
        if torch.compiler.is_exporting():  # to what runtimes know
            spectrum = _spectrum(padded, torch.nn.functional.pad(window, (56, 56)), 160, 512)
            magnitude = _power(spectrum).sqrt().transpose(1, 2)
        else:
            magnitude = torch.stft(padded, 512, 160, 400, window, center=False, return_complex=True).abs()
        std, mean = torch.std_mean(magnitude, dim=1, keepdim=True, correction=0)
        frames = None if lengths is None else 1 + lengths // 160
        return zero_beyond((magnitude - mean) / (std + 1e-5), frames), frames


@not_compiled
def mirrored_spectrogram(waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The features of VGGVox: all 512 bins of the magnitude spectrum, each normalised over the utterance's time.

    As the authors' MATLAB code (a-nagrani/VGGVox, `mfcc`): samples in the range of int16, DC removal
    y[n] = x[n] - x[n-1] + 0.99 y[n-1], pre-emphasis 0.97, frames of 400 samples every 160 wholly inside the utterance,
    symmetric Hamming window, |FFT| of 512 points without logarithm, then (x - mean) / std of each bin, std with N - 1.
    Bin 512 - k mirrors bin k. The authors' dither is left out: it is random, at 1e-6 of the signal's std.

    Args:
        waveforms: float32 in [-1, 1], (B, N), zero-padded; at least 400 samples each.
        lengths: Samples of each utterance, (B,), or None.

    Returns:
        float32 (B, 512, 1 + (N - 400) // 160), zero beyond each utterance's frames and where a bin never changes, and
        its frames (B,), or None.
    """
    with torch.autocast(waveforms.device.type, enabled=False):
        emphasised = _pre_emphasise(_remove_dc(zero_beyond(waveforms.float() * 32768, lengths)))
        magnitude = _spectrum(emphasised, _hamming(waveforms.device), 160, 512).abs().transpose(1, 2)
        frames = None if lengths is None else 1 + (lengths - 400) // 160
        half = _normalise_bins(magnitude, frames, correction=1)
        return torch.cat([half, half[:, 1:256].flip(1)], dim=1), frames


@not_compiled
def log_mel(
    waveforms: Tensor,
    lengths: Tensor | None = None,
    *,
    bands: int = 64,
    window: int = 400,
    hop: int = 160,
    low: float = 20.0,
    high: float = 7600.0,
) -> tuple[Tensor, Tensor | None]:
    """Natural logarithm of mel-band power (HTK mel scale, triangular filters of peak 1, periodic Hann window).

    Frames lie wholly inside the utterance: the ends are not padded. The FFT has 512 points, or as many as the window
    needs. Power is floored at 1e-6, which is near the rounding noise of 16-bit audio.

    Args:
        waveforms: float32 in [-1, 1], (B, N), zero-padded; at least `window` samples each.
        lengths: Samples of each utterance, (B,), or None.
        bands: Mel bands.
        window: Window length in samples.
        hop: Step between frames in samples.
        low: Lower edge of the lowest band in Hz.
        high: Upper edge of the highest band in Hz.

    Returns:
        float32 (B, bands, 1 + (N - window) // hop), zero beyond each utterance's frames, and its frames (B,), or None.
    """
    with torch.autocast(waveforms.device.type, enabled=False):
        points = max(512, window)
        spectrum = _spectrum(waveforms.float(), torch.hann_window(window, device=waveforms.device), hop, points)
        filters = _mel_filters(points // 2 + 1, bands, low, high, waveforms.device)
        logarithm = (_power(spectrum) @ filters).clamp(min=1e-6).log().transpose(1, 2)
        frames = None if lengths is None else 1 + (lengths - window) // hop
        return zero_beyond(logarithm, frames), frames


@not_compiled
def normalised_log_mel(waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The features of DIMNet's voice network: 64 log-mel bands, each normalised over the utterance's time.

    As the code of the same first author (cmu-mlsp/reconstructing_faces_from_voices); that DIMNet used just this is
    inferred. Samples in the range of int16, pre-emphasis 0.97, frames of 400 samples every 160, symmetric Hamming
    window, FFT of 1024 points, power in 64 triangular bands between 20 and 7200 Hz on the HTK mel scale, natural
    logarithm of at least 1e-5, which only digital silence falls below, then (x - mean) / std of each band.

    Three details differ from that code: the band edges are not rounded to FFT bins, the first sample of a frame is
    emphasised against the sample before it (there against the last of the previous frame), and the ends are not padded
    (there two more frames are filled up by repetition). The filters' height, 1 here, only shifts the logarithm.

    Args:
        waveforms: float32 in [-1, 1], (B, N), zero-padded; at least 400 samples each. Silence is cut out beforehand.
        lengths: Samples of each utterance, (B,), or None.

    Returns:
        float32 (B, 64, 1 + (N - 400) // 160), zero beyond each utterance's frames and where a band never changes, and
        its frames (B,), or None.
    """
    with torch.autocast(waveforms.device.type, enabled=False):
        emphasised = _pre_emphasise(waveforms.float() * 32768)
        spectrum = _spectrum(emphasised, _hamming(waveforms.device), 160, 1024)
        filters = _mel_filters(513, 64, 20.0, 7200.0, waveforms.device)
        logarithm = (_power(spectrum) @ filters).clamp(min=1e-5).log().transpose(1, 2)
        frames = None if lengths is None else 1 + (lengths - 400) // 160
        return _normalise_bins(logarithm, frames, correction=0), frames


def _remove_dc(waveforms: Tensor) -> Tensor:
    """Filters (B, N) by y[n] = x[n] - x[n-1] + 0.99 y[n-1].

    In closed form y[n] = x[n] - 0.01 * sum over k >= 0 of 0.99^k x[n-1-k]. The sum is a convolution by FFT, cut where
    its weights pass below 1e-8; its rounding error is reduced by the factor 0.01.
    """
    if torch.compiler.is_exporting():  # the size of the transform below would be a constant of the graph
        sums = 0.99 ** torch.arange(2047, -1, -1, device=waveforms.device, dtype=torch.float32)
        before = torch.nn.functional.pad(waveforms, (2048, 0))[:, None, :-1]
        return waveforms - 0.01 * torch.nn.functional.conv1d(before, sums[None, None])[:, 0]
    samples = waveforms.shape[1]
    # A power of two: quick for every length, and few different plans.
    points = 1 << (samples + 2048).bit_length()
    weights = torch.tensor(0.99, device=waveforms.device).pow(torch.arange(2048, device=waveforms.device))
    spectrum = torch.fft.rfft(waveforms, points) * torch.fft.rfft(weights, points)
    past = torch.fft.irfft(spectrum, points)[:, : samples - 1]
    return waveforms - 0.01 * torch.nn.functional.pad(past, (1, 0))


def _pre_emphasise(waveforms: Tensor) -> Tensor:
    return torch.cat([waveforms[:, :1], waveforms[:, 1:] - 0.97 * waveforms[:, :-1]], dim=1)


@functools.cache
def _hamming(device: torch.device) -> Tensor:
    """The 25 ms window of MATLAB and numpy, symmetric: (400,)."""
    with torch.inference_mode(False):  # cached, as the filters are
        return torch.hamming_window(400, periodic=False, device=device)


def _spectrum(waveforms: Tensor, window: Tensor, hop: int, points: int) -> Tensor:
    """Spectra of the frames that lie wholly inside (B, N): complex (B, T, points // 2 + 1)."""
    spectrum: Tensor = torch.fft.rfft(waveforms.unfold(1, len(window), hop) * window, points)
    return spectrum


def _power(spectrum: Tensor) -> Tensor:
    power: Tensor = spectrum.real.square() + spectrum.imag.square()
    return power


def _normalise_bins(values: Tensor, frames: Tensor | None, correction: int) -> Tensor:
    """Gives each bin of (B, F, T) mean 0 and standard deviation 1 over the utterance's own frames, and zero beyond."""
    count = values.new_tensor([values.shape[2]]) if frames is None else frames
    # Without this shift a bin that never changes would come out as rounding error over rounding error, not as 0.
    values = zero_beyond(values - values[:, :, :1], frames)
    mean = values.sum(dim=2, keepdim=True) / count[:, None, None]
    deviation = zero_beyond(values - mean, frames)
    variance = deviation.square().sum(dim=2, keepdim=True) / (count - correction).clamp(min=1)[:, None, None]
    return deviation / (variance.sqrt() + torch.finfo(torch.float32).eps)


@functools.cache
def _mel_filters(bins: int, bands: int, low: float, high: float, device: torch.device) -> Tensor:
    # Outside inference mode: the cached tensor must serve a later training step as well.
    with torch.inference_mode(False):
        filters: Tensor = torchaudio.functional.melscale_fbanks(bins, low, high, bands, SAMPLE_RATE)
        return filters.to(device)
