"""Batches of waveforms: scaling, repetition, reversal, padding and resampling, each utterance by its own length."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
import torchaudio
from torch import Tensor

from voiceface.utils.audio import SAMPLE_RATE
from voiceface.utils.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")


def not_compiled(feature: Callable[P, R]) -> Callable[P, R]:
    """Keep `torch.compile` out of a feature: one break of the graph, and the network behind it stays whole.

    Features look at values and take Fourier transforms, which would break it in many places.
    """
    eager: Callable[P, R] = torch.compiler.disable(feature)  # type: ignore[no-untyped-call]
    return eager


@not_compiled
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
    if torch.compiler.is_exporting() and lengths is not None:  # a graph cannot look at values: the general way, always
        width: int = torch.sym_max(total, minimum)  # type: ignore[no-untyped-call]
        return _repeat(scaled, lengths, width, minimum)
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
    if lengths is None:
        positions = torch.arange(minimum, device=scaled.device).unsqueeze(0)
        return _take(scaled, positions % longest), None
    repeated, full = _repeat(scaled, lengths, max(longest, minimum), minimum)
    return repeated, None if longest <= minimum else full


def _repeat(waveforms: Tensor, lengths: Tensor, width: int, minimum: int) -> tuple[Tensor, Tensor]:
    """Repeats those of (B, N) with fewer than `minimum` samples until they have that many: (B, width), and lengths."""
    positions = torch.arange(width, device=waveforms.device).unsqueeze(0)
    repeated = _take(waveforms, torch.where(lengths[:, None] < minimum, positions % lengths[:, None], positions))
    full = lengths.clamp(min=minimum)
    return zero_beyond(repeated, full), full


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


@not_compiled
def resample(waveforms: Tensor, rate: int) -> Tensor:
    """Resamples from 16 kHz by torchaudio's windowed sinc; what lies beyond the ends counts as zero.

    Args:
        waveforms: float32 (B, N).
        rate: Samples per second of the result.

    Returns:
        float32 (B, ceil(N * rate / 16000)), also under autocast.
    """
    with torch.autocast(waveforms.device.type, enabled=False):
        resampled: Tensor = torchaudio.functional.resample(waveforms.float(), SAMPLE_RATE, rate)
        return resampled


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
    shape = (values.shape[0], *[1] * (values.ndim - 2), values.shape[-1])  # of -1 and len() export makes constants
    return values.masked_fill(beyond.view(shape), 0)


def _ends(waveforms: Tensor, lengths: Tensor | None) -> Tensor:
    """Lengths as a column: (B, 1), or (1, 1) when all utterances have the same."""
    return torch.tensor([[waveforms.shape[1]]], device=waveforms.device) if lengths is None else lengths[:, None]


def _take(waveforms: Tensor, positions: Tensor) -> Tensor:
    """Samples at `positions`, (B, M), or (1, M) for the same in every row; positions beyond the ends are clamped."""
    positions = positions.clamp(0, waveforms.shape[1] - 1)
    return waveforms[:, positions[0]] if positions.shape[0] == 1 else waveforms.gather(1, positions)
