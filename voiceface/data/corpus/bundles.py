"""A bundle: one identity's voices and faces, encoded, as consecutive members of a tar file.

They are `KEY.json`, `KEY.v00.flac`, `KEY.v01.flac`, ..., `KEY.f00.jpg`, ...; `voiceface.data.corpus.shards` reads them.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from voiceface.data.corpus.index import Bundle
from voiceface.utils.audio import SAMPLE_RATE
from voiceface.utils.seeds import seeded

BLOCK = tarfile.BLOCKSIZE
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Clip:
    """One voice or one face, encoded, with what is known of its origin.

    Args:
        key: Name of the clip, unique within the corpus.
        data: FLAC (voice, 16 kHz mono 16-bit) or JPEG (face) bytes.
        video: Video that the clip was cut from, empty if unknown.
        time: Seconds from the start of that video.
        source: Path of the source file relative to the raw material's folder.
        observed: What a perfect observer of this clip would know of the shared traits (synthetic corpus only).
        landmarks: x1, y1 ... x5, y5 of a detected face, as shares of its picture's side: eyes, nose, mouth's corners.
    """

    key: str
    data: bytes = field(repr=False)
    video: str = ""
    time: float | None = None
    source: str = ""
    observed: tuple[float, ...] | None = None
    landmarks: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Reject:
    """An input that was left out: its path, the stage that refused it, and why."""

    path: str
    stage: str
    reason: str


@dataclass(frozen=True)
class Person:
    """Everything that preparation found of one identity.

    Args:
        identity: The person.
        split: The person's split.
        voices: What was kept of the voices.
        faces: What was kept of the faces.
        rejects: What was left out.
        notes: What is strange about what was kept.
        stamps: Absolute path, size in bytes and time of change (`st_mtime_ns`) of every file that was read, as they
            were before it was read.
    """

    identity: str
    split: str
    voices: tuple[Clip, ...] = ()
    faces: tuple[Clip, ...] = ()
    rejects: tuple[Reject, ...] = ()
    notes: tuple[Reject, ...] = ()
    stamps: tuple[tuple[str, int, int], ...] = ()


def encode_flac(waveform: NDArray[np.int16]) -> bytes:
    """Encode a 16 kHz mono int16 waveform of shape (T,) as 16-bit FLAC."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """Encode an RGB image, uint8 of shape (H, W, 3), as JPEG of quality 92 without chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def deal(person: Person, max_voices: int, max_faces: int, seed: int) -> list[Person]:
    """Deal a person's clips to bundles at random, evenly, each clip once.

    Every bundle holds at least one voice and one face where the person has both, even where that makes a bundle larger
    than asked.

    Args:
        person: The person to deal.
        max_voices: Voices that a bundle should hold at most.
        max_faces: Faces that a bundle should hold at most.
        seed: Seed of the order.

    Returns:
        One `Person` per bundle.
    """
    voices, faces = len(person.voices), len(person.faces)
    bundles = max(-(-voices // max_voices), -(-faces // max_faces))
    if voices and faces:
        bundles = min(bundles, voices, faces)
    rng = np.random.default_rng(seeded(seed, "deal", person.identity))
    voice_parts = np.array_split(rng.permutation(voices), bundles)
    face_parts = np.array_split(rng.permutation(faces), bundles)
    return [
        Person(person.identity, person.split, tuple(person.voices[i] for i in v), tuple(person.faces[i] for i in f))
        # Reversed: array_split gives the longer parts first, and bundles should be of even size.
        for v, f in zip(voice_parts, reversed(face_parts), strict=True)
    ]


def write_bundles(
    stream: IO[bytes], bundles: Sequence[tuple[str, Person]], suffixes: tuple[str, str] = ("flac", "jpg")
) -> list[Bundle]:
    """Write bundles to a tar stream, without the end mark, so that tars can be joined end to end.

    Args:
        stream: Writable binary file.
        bundles: Key and content of each bundle; keys hold no dot.
        suffixes: Of the names of voices and of faces.

    Returns:
        Where each bundle lies; `shard` is left empty.
    """
    from webdataset.writer import TarWriter  # imports torch, which readers of a corpus can do without

    rows = []
    for key, part in bundles:
        content: dict[str, Any] = {}
        described: dict[str, Any] = {"identity": part.identity, "voices": [], "faces": []}
        for kind, suffix, clips in zip(("voices", "faces"), suffixes, (part.voices, part.faces), strict=True):
            for number, clip in enumerate(clips):
                name = f"{kind[0]}{number:02d}.{suffix}"
                meta = {k: v for k, v in asdict(clip).items() if k != "data" and v not in ("", None)}
                described[kind].append({**meta, "name": name, "bytes": len(clip.data)})
                content[name] = clip.data
        header = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
        buffer = io.BytesIO()
        with TarWriter(buffer, encoder=False, mtime=0, user="", group="", compress=False) as tar:
            tar.write({"__key__": key, "json": header})
            tar.write({"__key__": key, **content})
        size = padded(len(header)) + sum(padded(len(data)) for data in content.values())
        start = stream.tell()
        stream.write(buffer.getbuffer()[:size])
        rows.append(Bundle("", key, part.identity, start, size, len(part.voices), len(part.faces)))
    return rows


def padded(size: int) -> int:
    """Bytes that a member of this size takes in a tar: its header block and its content in whole blocks."""
    return BLOCK + -(-size // BLOCK) * BLOCK
