"""Read a voice from any container that FFmpeg knows, as a 16 kHz mono int16 waveform, or say why it cannot be used."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
# 16-bit dither alone is near -95 dBFS; real speech at -72 dBFS still uses six bits.
SILENCE_RMS = 10 ** (-85 / 20)
CLIPPED_LEVEL = 0.999
CLIPPED_SHARE = 0.001
DC_LEVEL = 0.01
# Four AAC frames of 1024 samples at 16 kHz: encoder delay and padding stay below this.
MISSING_SECONDS = 0.25
LOST_PACKETS = 0.01
# These write the length of the sound into the file. Elsewhere FFmpeg's duration is a guess from the bit rate and proves
# nothing.
DECLARES_LENGTH = {"flac", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "aiff", "au"}
# 64 zero crossings: flat to 7.2 kHz, images and aliases below -90 dB past 8.5 kHz. FFmpeg's default (32, linear) loses
# 0.4 dB at 7 kHz and lets 8.5 kHz through at -26 dB; resampling here needs no library beside the one that decodes.
RESAMPLER = f"{SAMPLE_RATE}:filter_size=64:cutoff=0.97:exact_rational=1"


class Rejected(Exception):
    """One input is left out.

    Args:
        stage: Stage that refused it: `collect`, `voice` or `face`.
        reason: Why, without numbers of the single file, so that rejects can be counted by reason.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(stage, reason)
        self.stage = stage
        self.reason = reason


def read_voice(path: Path, minimum_seconds: float = 0.5) -> tuple[NDArray[np.int16], list[str]]:
    """Read the first audio stream of a sound or video file.

    Channels are averaged; where they cancel (antiphase), the strongest is taken. The level is kept: nothing is
    normalised, a quiet voice stays quiet, a loud one saturates. There is no voice activity detection: noise is used.

    A file that is shorter than it declares is rejected, because a loss that nobody sees spoils a benchmark. A file that
    only ends early (a cut Ogg, MPEG stream or MP3 without a Xing header) is used: nothing in it says that it was
    longer.

    Args:
        path: Sound or video file.
        minimum_seconds: Shortest voice that is used, seconds.

    Returns:
        The waveform, int16 of shape (T,), 16 kHz; and warnings, such as "clipped 3.1 %", "DC offset 2.0 %", "antiphase
        channels".

    Raises:
        Rejected: The file is empty, unreadable, truncated, damaged (more than 1 % of its packets do not decode), has no
            audio stream, changes its rate or channels midway, is shorter than `minimum_seconds`, holds values that are
            not finite, or is silent (RMS below -85 dBFS once the DC offset is taken out).
    """
    try:
        size, declared = _size(path), _declared_bytes(path)
        if not size:
            raise Rejected("voice", "empty file")
        # FFmpeg gets an open file and no protocol: a playlist in disguise cannot make it read other files or addresses.
        with path.open("rb") as file, av.open(file, "r", options={"protocol_whitelist": "none"}) as container:
            channels, rate, warnings = _decode(path, container)
    except (av.FFmpegError, OSError) as error:
        cut = isinstance(error, av.FFmpegError) and declared > size
        raise Rejected("voice", "truncated" if cut else f"unreadable ({error.strerror})") from error
    if channels.shape[1] < minimum_seconds * rate:
        raise Rejected("voice", f"shorter than {minimum_seconds:g} s")
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


def _decode(path: Path, container: InputContainer) -> tuple[NDArray[np.float32], int, list[str]]:
    """Decode all that decodes: samples of shape (channels, T), full scale 1, their rate, and warnings."""
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        raise Rejected("voice", "no audio stream")
    parts: list[NDArray[np.float32]] = []
    shapes: set[tuple[int, int]] = set()
    packets = lost = 0
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
    if len(shapes) > 1:
        raise Rejected("voice", "sample rate or channels change midway")
    if not parts:
        raise Rejected("voice", "damaged" if lost else "no sound in the audio stream")
    channels, rate = np.concatenate(parts, axis=1), shapes.pop()[1]
    declared = _declared_seconds(path, container, stream)
    if declared is not None and declared - channels.shape[1] / rate > MISSING_SECONDS:
        raise Rejected("voice", "truncated")
    if declared is None and last_lost:
        raise Rejected("voice", "truncated")
    if lost > LOST_PACKETS * packets:
        raise Rejected("voice", "damaged")
    return channels, rate, [f"{lost} of {packets} packets do not decode"] if lost else []


def _samples(data: NDArray[Any], channels: int, planar: bool) -> NDArray[np.float32]:
    """Turn a decoded frame into float32 of shape (channels, T); FFmpeg keeps 24 bit in the upper part of 32."""
    if not planar:
        data = data.reshape(-1, channels).T
    if data.dtype == np.uint8:
        data = data.astype(np.int16) - 128
        return np.asarray(data / 128, np.float32)
    if np.issubdtype(data.dtype, np.integer):
        return np.asarray(data / -float(np.iinfo(data.dtype).min), np.float32)
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


def _declared_seconds(path: Path, container: InputContainer, stream: AudioStream) -> float | None:
    """How long the file says that it is, None where it says nothing."""
    name = container.format.name
    if name == "wav":  # FFmpeg corrects the header by the file's size; the header is the evidence.
        length = float((stream.duration or 0) * (stream.time_base or 0))
        return length * _declared_bytes(path) / _size(path)
    if name in DECLARES_LENGTH or (name == "mp3" and _has_frame_count(path)):
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        if container.duration is not None and len(container.streams) == 1:
            return container.duration / av.time_base
    return None


def _declared_bytes(path: Path) -> int:
    """Least size of the file by its WAV chunks or MP4 boxes; the real size where they are satisfied or say nothing."""
    size = _size(path)
    with path.open("rb") as file:
        head = file.read(12)
        wav = head[:4] == b"RIFF" and head[8:] == b"WAVE"
        if not wav and head[4:8] != b"ftyp":
            return size
        start = 12 if wav else 0
        while start + 8 <= size:
            file.seek(start)
            chunk = file.read(16)
            if wav:
                length = int.from_bytes(chunk[4:8], "little") + 8
                if chunk[:4] == b"data":  # A writer that could not seek back left a placeholder near 2 or 4 GiB.
                    return size if length > 0x7FFF0000 else max(size, start + length)
                length += length % 2
            else:
                length = int.from_bytes(chunk[:4], "big")
                if length == 1:
                    length = int.from_bytes(chunk[8:16], "big")
                elif length == 0:
                    return size
            if length < 8:
                return size
            start += length
        return size if wav else max(size, start)


def _has_frame_count(path: Path) -> bool:
    """Whether an MP3's first frame is a Xing or Info header, which counts the frames."""
    with path.open("rb") as file:
        head = file.read(10)
        # ID3v2 stores its size in four bytes of seven bits.
        tag = (
            10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
            if head[:3] == b"ID3"
            else 0
        )
        file.seek(tag)
        first = file.read(256)
    return b"Xing" in first or b"Info" in first


def _size(path: Path) -> int:
    return path.stat().st_size
