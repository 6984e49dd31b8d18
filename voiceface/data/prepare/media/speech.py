"""Read a voice from any container that FFmpeg knows, as a 16 kHz mono int16 waveform, or say why it cannot be used."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from voiceface.data.prepare.media.declared_length import declared_bytes, declared_seconds

# Re-exported: reading and refusing go together.
from voiceface.data.prepare.media.rejected import Rejected, unchanged
from voiceface.data.prepare.media.vad import Span, speech_spans
from voiceface.utils.audio import SAMPLE_RATE

# 16-bit dither alone is near -95 dBFS; real speech at -72 dBFS still uses six bits.
SILENCE_RMS = 10 ** (-85 / 20)
CLIPPED_LEVEL = 0.999
CLIPPED_SHARE = 0.001
DC_LEVEL = 0.01
# Four AAC frames of 1024 samples at 16 kHz: encoder delay and padding stay below this.
MISSING_SECONDS = 0.25
LOST_PACKETS = 0.01
# No speech below, no recorder above.
RATES = range(4_000, 384_001)
MAXIMUM_CHANNELS = 64
# Over all channels: 2 GiB as float32. An hour of stereo at 48 kHz is 346 million.
MAXIMUM_SAMPLES = 2**29
# Stretches of speech for videos: nearer ones are one, longer ones are cut, seconds.
JOINED_GAP = 0.3
LONGEST_REGION = 20.0
# 64 zero crossings: flat to 7.2 kHz, images and aliases below -90 dB past 8.5 kHz. FFmpeg's default (32, linear) loses
# 0.4 dB at 7 kHz and lets 8.5 kHz through at -26 dB; resampling here needs no library beside the one that decodes.
RESAMPLER = f"{SAMPLE_RATE}:filter_size=64:cutoff=0.97:exact_rational=1"


@dataclass(frozen=True)
class VoiceOptions:
    """How voices are read.

    Args:
        minimum_seconds: Shorter voices are left out, seconds.
        maximum_seconds: Longer sounds are refused, seconds: before they are decoded where they say how long they are.
        vad: Detector of speech, see `voiceface.data.prepare.media.vad.speech_spans`; `none` takes the whole sound.
    """

    minimum_seconds: float = 0.5
    maximum_seconds: float = 3600.0
    vad: Literal["none", "silero", "webrtc"] = "none"


def read_voice(path: Path, options: VoiceOptions = VoiceOptions()) -> tuple[NDArray[np.int16], list[str]]:
    """Read the first audio stream of a sound or video file.

    Channels are averaged; where they cancel (antiphase), the strongest is taken. The level is kept: nothing is
    normalised, a quiet voice stays quiet, a loud one saturates. Without voice activity detection noise is used; with
    it, what is not speech is cut out and the speech joined.

    A file that is shorter than it declares is rejected, because a loss that nobody sees spoils a benchmark. A file that
    only ends early (a cut Ogg, MPEG stream or MP3 without a Xing header) is used: nothing in it says that it was
    longer.

    Args:
        path: Sound or video file.
        options: What is used.

    Returns:
        The waveform, int16 of shape (T,), 16 kHz; and warnings, such as "clipped 3.1 %", "DC offset 2.0 %", "antiphase
        channels".

    Raises:
        Rejected: The file is empty, unreadable, truncated, damaged (more than 1 % of its packets do not decode), has no
            audio stream, changes its rate or channels midway, is too short, too long or too large, has a sample rate or
            a number of channels that no recorder has, holds values that are not finite, is silent (RMS below -85 dBFS
            once the DC offset is taken out), holds no or too little speech, or is changed or removed while it is read.
        UserError: The detector of speech is not installed.
    """
    waveform, warnings = _read(path, options)
    if options.vad == "none":
        return waveform, warnings
    spans = speech_spans(waveform, options.vad)
    if not spans:
        raise Rejected("voice", "no speech")
    speech = np.concatenate([waveform[start:end] for start, end in spans])
    if len(speech) < options.minimum_seconds * SAMPLE_RATE:
        raise Rejected("voice", f"less than {options.minimum_seconds:g} s of speech")
    return speech, warnings


def read_speech(path: Path, options: VoiceOptions) -> tuple[list[tuple[float, NDArray[np.int16]]], list[str]]:
    """Read the stretches of speech of a sound or video file, one by one.

    Stretches less than 0.3 s apart are one, with the gap between them; those over 20 s are cut into equal parts; what
    is shorter than `options.minimum_seconds` is left out. Without a detector the whole sound is one stretch.

    Args:
        path: Sound or video file.
        options: What is used.

    Returns:
        For each stretch its start in seconds, counted from the first sample, and its waveform, int16 of shape (T,), 16
        kHz; at least one. And warnings, as `read_voice`.

    Raises:
        Rejected: As `read_voice`.
        UserError: The detector of speech is not installed.
    """
    waveform, warnings = _read(path, options)
    spans = [(0, len(waveform))] if options.vad == "none" else speech_spans(waveform, options.vad)
    if not spans:
        raise Rejected("voice", "no speech")
    regions = [(a, b) for a, b in regions_of(spans) if b - a >= options.minimum_seconds * SAMPLE_RATE]
    if not regions:
        raise Rejected("voice", f"less than {options.minimum_seconds:g} s of speech")
    return [(start / SAMPLE_RATE, waveform[start:end]) for start, end in regions], warnings


def regions_of(spans: Sequence[Span]) -> list[Span]:
    """Join spans of samples at 16 kHz less than 0.3 s apart, then cut those over 20 s into equal parts."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start - joined[-1][1] < JOINED_GAP * SAMPLE_RATE:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    regions: list[Span] = []
    for start, end in joined:
        parts = math.ceil((end - start) / (LONGEST_REGION * SAMPLE_RATE))
        edges = [start + (end - start) * i // parts for i in range(parts + 1)]
        regions += pairwise(edges)
    return regions


def _read(path: Path, options: VoiceOptions) -> tuple[NDArray[np.int16], list[str]]:
    """Read the whole sound, see `read_voice`."""
    with unchanged(path, "voice"):
        channels, rate, warnings = _open(path, options.maximum_seconds)
    if channels.shape[1] < options.minimum_seconds * rate:
        raise Rejected("voice", f"shorter than {options.minimum_seconds:g} s")
    if not np.isfinite(channels).all():
        raise Rejected("voice", "values that are not finite")
    clipped = float((np.abs(channels) >= CLIPPED_LEVEL).mean(axis=1).max())
    if clipped > CLIPPED_SHARE:
        warnings.append(f"clipped {clipped:.1%}".replace("%", " %"))
    waveform = _mono(channels, warnings)
    offset = float(waveform.mean())
    if abs(offset) > DC_LEVEL:
        warnings.append(f"DC offset {offset:.1%}".replace("%", " %"))
    if float(np.std(waveform)) < SILENCE_RMS:
        raise Rejected("voice", "silent")
    samples = np.rint(_resample(waveform, rate) * 32768).clip(-32768, 32767)
    return samples.astype(np.int16), warnings


def _open(path: Path, maximum_seconds: float) -> tuple[NDArray[np.float32], int, list[str]]:
    """Open and decode a file: samples of shape (channels, T), full scale 1, their rate, and warnings."""
    size = least = 0
    try:
        size, least = path.stat().st_size, declared_bytes(path)
        if not size:
            raise Rejected("voice", "empty file")
        # FFmpeg gets an open file and no protocol: a playlist in disguise cannot make it read other files or addresses.
        with path.open("rb") as file, av.open(file, "r", options={"protocol_whitelist": "none"}) as container:
            return _decode(path, container, maximum_seconds)
    except (av.FFmpegError, OSError) as error:
        cut = isinstance(error, av.FFmpegError) and least > size
        raise Rejected("voice", "truncated" if cut else f"unreadable ({error.strerror})") from error


def _decode(
    path: Path, container: InputContainer, maximum_seconds: float
) -> tuple[NDArray[np.float32], int, list[str]]:
    """Decode all that decodes, unless the sound is too long or too large."""
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        raise Rejected("voice", "no audio stream")
    declared = declared_seconds(path, container, stream)
    _check_size(stream.channels, stream.rate, (declared or 0) * stream.rate, maximum_seconds)
    parts: list[NDArray[np.float32]] = []
    shapes: set[tuple[int, int]] = set()
    packets = lost = length = 0
    last_lost = False
    for packet in container.demux(stream):
        if packet.size:
            packets, last_lost = packets + 1, False
        try:
            frames = packet.decode()
        except av.FFmpegError:
            lost, last_lost = lost + 1, True
            continue
        for frame in frames:
            shapes.add((frame.layout.nb_channels, frame.sample_rate))
            parts.append(_samples(frame.to_ndarray(), frame.layout.nb_channels, frame.format.is_planar))
            length += frame.samples
            _check_size(frame.layout.nb_channels, frame.sample_rate, length, maximum_seconds)
    if len(shapes) > 1:
        raise Rejected("voice", "sample rate or channels change midway")
    if not parts:
        raise Rejected("voice", "damaged" if lost else "no sound in the audio stream")
    count, rate = shapes.pop()
    channels = np.concatenate(parts, axis=1, out=np.empty((count, length), np.float32))
    if declared is not None and declared - channels.shape[1] / rate > MISSING_SECONDS:
        raise Rejected("voice", "truncated")
    if declared is None and last_lost:
        raise Rejected("voice", "truncated")
    if lost > LOST_PACKETS * packets:
        raise Rejected("voice", "damaged")
    return channels, rate, [f"{lost} of {packets} packets do not decode"] if lost else []


def _check_size(channels: int, rate: int, length: float, maximum_seconds: float) -> None:
    """Refuse a sound of so many samples per channel before it fills the memory; zeros are not known yet."""
    if rate and rate not in RATES:
        raise Rejected("voice", f"sample rate outside {RATES[0] // 1000} to {RATES[-1] // 1000} kHz")
    if channels > MAXIMUM_CHANNELS:
        raise Rejected("voice", f"more than {MAXIMUM_CHANNELS} channels")
    if length > maximum_seconds * rate:
        raise Rejected("voice", f"longer than {maximum_seconds:g} s")
    if length * channels > MAXIMUM_SAMPLES:
        raise Rejected("voice", f"more than {MAXIMUM_SAMPLES // 10**6} million samples")


def _samples(data: NDArray[Any], channels: int, planar: bool) -> NDArray[np.float32]:
    """Turn a decoded frame into float32 of shape (channels, T); FFmpeg keeps 24 bit in the upper part of 32."""
    if not planar:
        data = data.reshape(-1, channels).T
    if data.dtype == np.uint8:
        data = data.astype(np.int16) - 128
        data = np.multiply(data, 1 / 128, dtype=np.float32)
    elif data.dtype.kind == "i":
        data = np.multiply(data, -1 / int(np.iinfo(data.dtype).min), dtype=np.float32)
    return np.asarray(data, np.float32)


def _mono(channels: NDArray[np.float32], warnings: list[str]) -> NDArray[np.float32]:
    """Average channels, unless that leaves under a tenth of what the strongest would leave beside silent ones."""
    mean = np.asarray(channels.mean(axis=0))
    power = channels.var(axis=1)
    if mean.var() >= 0.1 * power.max() / len(channels) ** 2:
        return mean
    warnings.append("antiphase channels")
    return np.asarray(channels[power.argmax()])


def _resample(waveform: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Resample a waveform of shape (T,) to 16 kHz without delay: T * 16000 / rate samples."""
    if rate == SAMPLE_RATE:
        return waveform
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
    resampler, keep_float = graph.add("aresample", RESAMPLER), graph.add("aformat", "sample_fmts=flt")
    graph.link_nodes(source, resampler, keep_float, graph.add("abuffersink")).configure()
    frame = av.AudioFrame.from_ndarray(waveform[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    graph.push(frame)
    graph.push(None)
    parts: list[NDArray[np.float32]] = []
    while True:
        try:
            pulled = graph.pull()
        except av.EOFError:
            return np.concatenate(parts)
        assert isinstance(pulled, av.AudioFrame)
        parts.append(pulled.to_ndarray()[0])
