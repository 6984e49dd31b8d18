"""Spectrograms for the voice encoders: from a padded batch of waveforms to features, on the batch's device.

Waveforms are (B, T), 16 kHz, zero-padded at the end; `lengths` (B,) counts each utterance's samples and is None when
every utterance fills the batch. Every function treats each utterance by its own length, so that what else is in the
batch never changes its features. All of it runs in float32, under autocast too.
"""

import functools

import torch
import torchaudio
from torch import Tensor

from voiceface.errors import UserError

SAMPLE_RATE = 16_000


def prepare_waveforms(waveforms: Tensor, lengths: Tensor | None, minimum: int) -> tuple[Tensor, Tensor | None]:
    """Scales a batch to [-1, 1], cuts padding that nobody needs, and repeats short utterances end to end.

    Args:
        waveforms: int16, or floating point in [-1, 1], (B, T), zero-padded at the end.
        lengths: Samples of each utterance, (B,), 1..T; None when all have T.
        minimum: Utterances shorter than this many samples are repeated until they have exactly this many.

    Returns:
        float32 waveforms (B, N), zero beyond each length, and their lengths (B,), or None when all have N samples.

    Raises:
        UserError: If an utterance has no samples or a length exceeds T.
    """
    scaled = waveforms.float() / 32768 if waveforms.dtype == torch.int16 else waveforms.float()
    total = scaled.shape[1]
    if lengths is None:
        shortest = longest = total
    else:
        lengths = lengths.to(scaled.device)
        shortest, longest = (int(n) for n in torch.stack(torch.aminmax(lengths)).tolist())
    if shortest < 1 or longest > total:
        raise UserError(f"voice lengths must lie in 1..{total}, the batch's width, but are {shortest}..{longest}")
    scaled = scaled[:, :longest]
    if shortest == longest:
        lengths = None
    if shortest >= minimum:
        return scaled, lengths
    positions = torch.arange(max(longest, minimum), device=scaled.device).unsqueeze(0)
    if lengths is None:
        return _take(scaled, positions % longest), None
    full = lengths.clamp(min=minimum)
    repeated = _take(scaled, torch.where(lengths[:, None] < minimum, positions % lengths[:, None], positions))
    return zero_beyond(repeated, full), None if longest <= minimum else full


def append_reversed(waveforms: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Appends to every utterance its own reversal, as the evaluation of Thin-ResNet34 does (Xie et al. 2019).

    Args:
        waveforms: (B, N).
        lengths: (B,) or None.

    Returns:
        Waveforms (B, 2N), zero beyond each length, and the doubled lengths.
    """
    ends = _ends(waveforms, lengths)
    positions = torch.arange(2 * waveforms.shape[1], device=waveforms.device).unsqueeze(0)
    doubled = _take(waveforms, torch.where(positions < ends, positions, 2 * ends - 1 - positions))
    lengths = None if lengths is None else 2 * lengths
    return zero_beyond(doubled, lengths), lengths


def reflect_pad(waveforms: Tensor, lengths: Tensor | None, amount: int) -> Tensor:
    """Pads both true ends of every utterance by reflection, without repeating the end sample.

    Args:
        waveforms: (B, N).
        lengths: (B,) or None; each more than `amount`.
        amount: Samples to add at each end.

    Returns:
        Waveforms (B, N + 2 * amount), zero beyond each utterance's own padding.
    """
    last = _ends(waveforms, lengths) - 1
    positions = torch.arange(-amount, waveforms.shape[1] + amount, device=waveforms.device).unsqueeze(0).abs()
    padded = _take(waveforms, last - (last - positions).abs())
    return zero_beyond(padded, None if lengths is None else lengths + 2 * amount)


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
        magnitude = torch.stft(padded, 512, 160, 400, window, center=False, return_complex=True).abs()
        std, mean = torch.std_mean(magnitude, dim=1, keepdim=True, correction=0)
        frames = None if lengths is None else 1 + lengths // 160
        return zero_beyond((magnitude - mean) / (std + 1e-5), frames), frames


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
        framed = waveforms.float().unfold(1, window, hop) * torch.hann_window(window, device=waveforms.device)
        spectrum = torch.fft.rfft(framed, points)
        power = spectrum.real.square() + spectrum.imag.square()
        filters = _mel_filters(points // 2 + 1, bands, low, high, waveforms.device)
        logarithm = (power @ filters).clamp(min=1e-6).log().transpose(1, 2)
        frames = None if lengths is None else 1 + (lengths - window) // hop
        return zero_beyond(logarithm, frames), frames


def zero_beyond(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Zeroes what lies beyond each item's length along the last axis.

    A convolution then sees the same zeros there as its own padding, whatever the batch is padded to.

    Args:
        values: (B, ..., T).
        lengths: Valid steps of each item, (B,); None leaves `values` as it is.

    Returns:
        A tensor like `values`.
    """
    if lengths is None:
        return values
    beyond = torch.arange(values.shape[-1], device=values.device) >= lengths[:, None]
    return values.masked_fill(beyond.view(len(values), *[1] * (values.ndim - 2), -1), 0)


def _ends(waveforms: Tensor, lengths: Tensor | None) -> Tensor:
    """Lengths as a column: (B, 1), or (1, 1) when all utterances have the same."""
    return torch.tensor([[waveforms.shape[1]]], device=waveforms.device) if lengths is None else lengths[:, None]


def _take(waveforms: Tensor, positions: Tensor) -> Tensor:
    """Samples at `positions`, (B, M), or (1, M) for the same in every row; positions beyond the ends are clamped."""
    positions = positions.clamp(0, waveforms.shape[1] - 1)
    return waveforms[:, positions[0]] if len(positions) == 1 else waveforms.gather(1, positions)


@functools.cache
def _mel_filters(bins: int, bands: int, low: float, high: float, device: torch.device) -> Tensor:
    # Outside inference mode: the cached tensor must serve a later training step as well.
    with torch.inference_mode(False):
        filters: Tensor = torchaudio.functional.melscale_fbanks(bins, low, high, bands, SAMPLE_RATE)
        return filters.to(device)
