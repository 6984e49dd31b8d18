"""Voices and faces in any form - files, arrays, pictures - converted to the input of a checkpoint's networks."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from voiceface.data.corpus.bundles import encode_jpeg
from voiceface.data.corpus.clips import cut_face
from voiceface.data.prepare.folder import EXTENSIONS
from voiceface.data.prepare.media.faces import FORMATS, Face, FaceOptions, read_faces, upright
from voiceface.data.prepare.media.rejected import Rejected
from voiceface.utils.audio import SAMPLE_RATE
from voiceface.utils.errors import UserError, reason

Kind = Literal["voice", "face"]
OTHER: dict[Kind, Kind] = {"voice": "face", "face": "voice"}
LOUDEST = 16.0  # floats may slightly exceed 1; larger values are unscaled 16-bit samples
FRAME = 480  # samples whose level is measured: 30 ms
STEADY = 6.0  # dB: the level of speech varies by more
STORED_SIZE = 224  # side of the faces stored by `voiceface prepare`
WRONG_KIND = {"voice": "a picture, where a voice is wanted", "face": "no picture, where a face is wanted"}


@dataclass(frozen=True)
class FaceReading:
    """How pictures are converted to the face network's input.

    Args:
        size: Side of the network's input, pixels.
        wanted: Scale of the face box in the network's input.
        detect: Detect the face in each picture; otherwise the picture is already a face crop.
        margin: Scale of the face box in such crops; None: `wanted`.
        device: Device of the detector.
    """

    size: int
    wanted: float
    detect: bool = True
    margin: float | None = None
    device: str = "cpu"


def kind_of(path: Path) -> Kind:
    """Return whether a file is a face or a voice: by its suffix, or by its content if the suffix is unknown."""
    for kind in ("voice", "face"):
        if path.suffix.lower() in EXTENSIONS[kind]:
            return "voice" if kind == "voice" else "face"
    try:
        with Image.open(path, formats=FORMATS):
            return "face"
    except (OSError, ValueError, Image.DecompressionBombError):
        return "voice"


def files_below(folder: Path, kind: Kind) -> list[tuple[str, Path]]:
    """List the voices or faces below a folder, by file suffix, in order.

    Args:
        folder: Folder; hidden files and folders are skipped.
        kind: Kind of files to list.

    Returns:
        Name relative to the folder, with slashes, and path of each.

    Raises:
        UserError: There is no such folder, no such file in it, or a subfolder cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = []
    for here, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(here, name)
            if path.suffix.lower() in EXTENSIONS[kind] and not name.startswith("."):
                found.append((path.relative_to(folder).as_posix(), path))
    if not found:
        raise UserError(f"{folder}: no {kind}s in it; known endings: {' '.join(sorted(EXTENSIONS[kind]))}")
    return sorted(found)


def _unreadable(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename}: cannot be read ({reason(error)}); let it be read, or move it away") from None


def as_list(items: Any, kind: Kind) -> list[Any]:
    """Return one or several voices or faces as a list."""
    array = isinstance(items, np.ndarray) or _is_tensor(items)
    if array and items.ndim == (1 if kind == "voice" else 3):
        return [items]
    if array and kind == "voice":
        raise UserError(f"an array of shape {tuple(items.shape)} is no voice; give (T,) samples, or a list of such")
    pair = kind == "voice" and isinstance(items, tuple) and len(items) == 2 and np.ndim(items[1]) == 0
    if isinstance(items, (str, Path, Image.Image)) or (pair and not isinstance(items[1], (str, Path))):
        return [items]
    try:
        return list(items)
    except TypeError:
        raise UserError(f"{type(items).__name__} is no {kind}; give a file, an array or a list of these") from None


def name_of(item: Any, number: int, kind: Kind) -> str:
    """Name a voice or face in messages: its path, or its index among the given items, from 0."""
    return str(item) if isinstance(item, (str, Path)) else f"{kind} {number}"


def read_one_voice(item: Any, maximum_seconds: float = 3600.0) -> NDArray[np.int16]:
    """Read a voice: a file, samples at 16 kHz, or (samples, rate); int16, or float in [-1, 1].

    Args:
        item: The voice.
        maximum_seconds: Longer files are refused, seconds.

    Returns:
        int16 of shape (T,), 16 kHz, of any length.

    Raises:
        Rejected: The file or array is unusable.
    """
    from voiceface.data.prepare.media import speech

    if isinstance(item, (str, Path)):
        path = Path(item)
        _is_there(path, "voice")
        try:
            return speech.read_voice(path, speech.VoiceOptions(maximum_seconds=maximum_seconds))[0]
        except Rejected as rejected:
            raise _explained(path, "voice", rejected) from None
    samples, rate = item if isinstance(item, tuple) else (item, SAMPLE_RATE)
    wave = samples.detach().cpu().numpy() if _is_tensor(samples) else np.asarray(samples)
    if wave.ndim != 1 or not wave.size:
        raise Rejected("voice", f"an array of shape {wave.shape}; give (T,) samples")
    if int(rate) not in speech.RATES:
        raise Rejected("voice", f"sample rate {rate}; give {speech.RATES[0]} to {speech.RATES[-1]} Hz")
    if wave.dtype == np.int16:
        if rate == SAMPLE_RATE:
            return wave
        wave = wave.astype(np.float32) / 32768
    elif wave.dtype.kind != "f":
        raise Rejected("voice", f"samples of type {wave.dtype}; give int16, or float in [-1, 1]")
    if not np.isfinite(wave).all():
        raise Rejected("voice", "values that are not finite")
    if np.abs(wave).max() > LOUDEST:
        raise Rejected("voice", f"samples of up to {np.abs(wave).max():.0f}; give int16, or float in [-1, 1]")
    # The resampler used for files, so that an array and its source file give the same result.
    wave = speech._resample(wave.astype(np.float32), int(rate))
    return np.rint(wave * 32768).clip(-32768, 32767).astype(np.int16)


def has_speech(wave: NDArray[np.int16]) -> bool:
    """Return whether speech is found in a voice.

    With the extra `prepare`, silero's detector decides. Without it, a voice whose level hardly changes has no speech:
    the power of its first differences in frames of 30 ms varies by 6 dB at most (5th to 95th percentile). In 347
    recordings of speech it varied by 23 dB and more; in white, pink and brown noise, hum and tones by 1 dB at most.
    Music, and noise that comes and goes, are not noticed.

    Args:
        wave: int16 of shape (T,), 16 kHz.
    """
    from voiceface.data.prepare.media.vad import speech_spans

    try:
        return bool(speech_spans(wave, "silero"))
    except UserError:  # the extra is not installed
        return level_range(wave) > STEADY


def level_range(wave: NDArray[np.int16]) -> float:
    """Range of the level of a voice, int16 of shape (T,), in dB; see `has_speech`. Below 30 ms: infinite."""
    steps = np.diff(wave.astype(np.float64))
    frames = steps[: len(steps) // FRAME * FRAME].reshape(-1, FRAME)
    if not len(frames):
        return math.inf
    low, high = np.percentile(10 * np.log10((frames**2).mean(axis=1) + 1), (5, 95))
    return float(high - low)


def check_detector() -> None:
    """Check that the extra for face detection is installed.

    Raises:
        UserError: It is not installed.
    """
    if find_spec("mtcnn") is None:
        raise UserError(
            "finding faces needs the extra `prepare`: pip install 'voiceface[prepare]'; or say that the pictures are "
            "face crops already: --asis, detect=False"
        )


def read_many_faces(items: Sequence[Any], reading: FaceReading) -> list[NDArray[np.uint8] | Rejected]:
    """Read faces: files, PIL pictures, or RGB uint8 of shape (H, W, 3); cropped and stored as in a corpus.

    Arrays of exactly the network's input size and margin are passed on unchanged.

    Returns:
        uint8 of shape (size, size, 3), or the reason why there is none, in order.

    Raises:
        UserError: Faces are to be detected, and the detector is not installed.
    """
    if reading.detect:
        check_detector()
    margin = reading.wanted if reading.detect or reading.margin is None else reading.margin
    if not reading.wanted <= margin < 100:
        raise UserError(
            f"--margin {margin:g}: the face network wants {reading.wanted:g} times the face box; give pictures that "
            "show as much, and less than 100 times"
        )
    stored = max(STORED_SIZE, reading.size)
    options = FaceOptions(
        "detect" if reading.detect else "asis", stored, margin, device=reading.device if reading.detect else "cpu"
    )
    ready = (reading.size, reading.size, 3) if not reading.detect and margin == reading.wanted else None
    opened: list[Any] = [_picture(item) for item in items]
    usable = [one for one in opened if not isinstance(one, Rejected) and np.shape(one) != ready]
    faces = iter(read_faces(usable, options))
    read: list[NDArray[np.uint8] | Rejected] = []
    for one in opened:
        if np.shape(one) == ready:
            read.append(one)
            continue
        face = one if isinstance(one, Rejected) else next(faces)
        if isinstance(face, Face):
            read.append(cut_face(encode_jpeg(face.pixels), stored, margin / reading.wanted, reading.size, 1.0))
        else:
            read.append(_explained(one, "face", face) if isinstance(one, Path) else face)
    return read


def _is_tensor(item: Any) -> bool:
    return type(item).__module__.partition(".")[0] == "torch"  # reports a wrong command before importing torch


def _picture(item: Any) -> Path | NDArray[np.uint8] | Rejected:
    if isinstance(item, (str, Path)):
        try:
            _is_there(Path(item), "face")
        except Rejected as rejected:
            return rejected
        return Path(item)
    if isinstance(item, Image.Image):
        try:
            return np.asarray(upright(item))
        except Rejected as rejected:
            return rejected
    pixels = item.detach().cpu().numpy() if _is_tensor(item) else np.asarray(item)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        return Rejected("face", f"{pixels.dtype} of shape {pixels.shape}; give RGB, uint8 of shape (H, W, 3)")
    return pixels


def _is_there(path: Path, kind: Kind) -> None:
    if path.is_dir():
        raise Rejected(kind, "a folder, where a file is wanted")
    if not path.exists():
        raise Rejected(kind, "no such file")


def _explained(path: Path, kind: Kind, rejected: Rejected) -> Rejected:
    """Return the rejection, with a better explanation if the file is of the other kind."""
    wrong = kind_of(path) != kind
    return Rejected(kind, f"{WRONG_KIND[kind]} ({rejected.reason})") if wrong else rejected
