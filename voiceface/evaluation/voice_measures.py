"""Pitch and loudness of a voice clip."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

LOWEST, HIGHEST = 60.0, 500.0  # Hz
FRAME, HOP = 0.050, 0.010  # seconds; a Hann window needs three periods of the lowest pitch
VOICED = 0.5  # minimum autocorrelation of a voiced frame
QUIET = 0.05  # a frame whose peak is below this share of the clip's peak contains no voice
OCTAVE_COST = 0.02  # per octave: keeps one period from being mistaken for two
STEP = 1 / 32768  # anything below one 16-bit step is not a voice
LEAST_VOICED = 5  # minimum number of frames for a median
_BLOCK = 1000


def voice_measures(samples: NDArray[Any], rate: int = 16_000) -> tuple[float, float]:
    """Compute the median pitch and the loudness of a clip.

    Pitch: per frame of 50 ms, every 10 ms, the highest peak between 60 and 500 Hz of the autocorrelation divided by
    that of the Hann window (Boersma, "Accurate short-term analysis of the fundamental frequency and the
    harmonics-to-noise ratio of a sampled sound", 1993, without its search for a smooth path: the median needs none).
    Frames that are quiet or whose peak is below 0.5 are unvoiced and ignored.

    Loudness: root mean square over the whole clip, pauses included; a full-scale square wave has 0 dBFS, a full-scale
    sine -3.01.

    Args:
        samples: int16 (T,), or float (T,) in [-1, 1]: mono.
        rate: Samples per second.

    Returns:
        Median fundamental frequency of the voiced frames in Hz, NaN with fewer than 5 voiced frames; loudness in dBFS,
        at most 0, minus infinity for digital silence or an empty clip.

    Raises:
        ValueError: `samples` is not mono int16 or float.
    """
    if samples.ndim != 1 or (samples.dtype != np.int16 and samples.dtype.kind != "f"):
        raise ValueError(f"samples of shape {samples.shape} and type {samples.dtype} are not (T,) of int16 or float")
    wave = samples.astype(np.float32) / (32768.0 if samples.dtype == np.int16 else 1.0)
    power = float(np.square(wave, dtype=np.float64).mean()) if len(wave) else 0.0
    loudness = 10.0 * math.log10(power) if power > 0.0 else -math.inf
    return _median_pitch(wave, rate), loudness


def _median_pitch(wave: NDArray[np.float32], rate: int) -> float:
    length, hop = round(FRAME * rate), round(HOP * rate)
    if len(wave) < length:
        return math.nan
    frames = np.lib.stride_tricks.sliding_window_view(wave, length)[::hop]
    least = max(QUIET * float(np.abs(wave - wave.mean()).max()), STEP)
    pitches = np.concatenate(
        [_pitches(frames[start : start + _BLOCK], rate, least) for start in range(0, len(frames), _BLOCK)]
    )
    return float(np.median(pitches)) if len(pitches) >= LEAST_VOICED else math.nan


def _pitches(frames: NDArray[np.float32], rate: int, least: float) -> NDArray[np.float64]:
    """Compute the pitches in Hz of the voiced frames among (B, L); `least` is the peak of the quietest voiced frame."""
    frames = frames - frames.mean(axis=1, keepdims=True)
    frames = frames[np.abs(frames).max(axis=1) > least]
    longest, shortest = math.ceil(rate / LOWEST) + 1, math.floor(rate / HIGHEST) - 1
    window = np.hanning(frames.shape[1]).astype(np.float32)
    own = _autocorrelation(window[None], longest)
    curve = _autocorrelation(frames * window, longest) / own
    lags = np.arange(shortest + 1, longest)
    before, at, after = (curve[:, lags + step] for step in (-1, 0, 1))
    bend = before - 2.0 * at + after
    peaks = (at >= before) & (at >= after) & (bend < 0.0)
    shift = 0.5 * (before - after) / np.where(peaks, bend, -np.inf)  # of the parabola through three points
    height = at - 0.25 * (before - after) * shift
    best = np.argmax(np.where(peaks, height - OCTAVE_COST * np.log2(lags / lags[0]), -np.inf), axis=1)[:, None]
    voiced = np.take_along_axis(peaks & (height >= VOICED), best, axis=1)
    pitches: NDArray[np.float64] = (rate / (lags[best] + np.take_along_axis(shift, best, axis=1)))[voiced]
    return pitches


def _autocorrelation(frames: NDArray[np.float32], longest: int) -> NDArray[np.float32]:
    """Autocorrelation of frames (B, L) at the lags 0 .. longest, 1 at lag 0."""
    size = 1 << (frames.shape[1] + longest).bit_length()
    spectrum = rfft(frames, size, axis=1)
    curve = irfft(spectrum.real**2 + spectrum.imag**2, size, axis=1)[:, : longest + 1]
    normal: NDArray[np.float32] = curve / curve[:, :1]
    return normal
