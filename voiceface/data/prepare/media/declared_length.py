"""The declared length of a sound file: evidence of a truncated one, and of one too long to read."""

from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

# These write the length of the sound into the file. Elsewhere FFmpeg's duration is a guess from the bit rate and proves
# nothing.
DECLARES_LENGTH = {"flac", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "aiff", "au"}


def declared_seconds(path: Path, container: InputContainer, stream: AudioStream) -> float | None:
    """How long the file says that it is, None where it says nothing."""
    name = container.format.name
    if name == "wav":  # FFmpeg corrects the header by the file's size; the header is the evidence.
        length = float((stream.duration or 0) * (stream.time_base or 0))
        return length * declared_bytes(path) / path.stat().st_size
    if name in DECLARES_LENGTH or (name == "mp3" and _has_frame_count(path)):
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        if container.duration is not None and len(container.streams) == 1:
            return container.duration / av.time_base
    return None


def declared_bytes(path: Path) -> int:
    """Least size of the file by its WAV chunks or MP4 boxes; the real size where they are satisfied or say nothing."""
    size = path.stat().st_size
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
