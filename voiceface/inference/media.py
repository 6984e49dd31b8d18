"""Voices and faces of any kind - files, arrays, pictures - as a checkpoint's networks take them."""

import os
from collections.abc import Iterator, Sequence
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
LOUDEST = 16.0  # floats may run over a little; those of 16 bits left unscaled are another matter
STORED_SIZE = 224  # side of the faces that `voiceface prepare` stores
WRONG_KIND = {"voice": "a picture, where a voice is wanted", "face": "no picture, where a face is wanted"}


@dataclass(frozen=True)
class FaceReading:
    """How pictures become the face network's input.

    Args:
        size: Side that the network takes, pixels.
        wanted: Face box scale that the network takes.
        detect: Find the face in each picture; else the picture is a face crop already.
        margin: How many times the face box such crops show; None: `wanted`.
        device: Device of the detector.
    """

    size: int
    wanted: float
    detect: bool = True
    margin: float | None = None
    device: str = "cpu"


def kind_of(path: Path) -> Kind:
    """Whether a file is a face or a voice: by its name's ending, by its content where that says nothing."""
    for kind in ("voice", "face"):
        if path.suffix.lower() in EXTENSIONS[kind]:
            return "voice" if kind == "voice" else "face"
    try:
        with Image.open(path, formats=FORMATS):
            return "face"
    except (OSError, ValueError, Image.DecompressionBombError):
        return "voice"


def files_below(folder: Path, kind: Kind) -> list[tuple[str, Path]]:
    """The voices or faces of a folder and the folders below it, by their names' endings, in order.

    Args:
        folder: Folder; hidden files and folders are left out.
        kind: Which are taken.

    Returns:
        Name below the folder, with slashes, and path of each.

    Raises:
        UserError: There is no such folder or no such file in it, or a folder below it cannot be read.
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
    """One voice or face, or several of them, as a list."""
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
    """What to call one voice or face in a message: its path, or its number among those given, from 0."""
    return str(item) if isinstance(item, (str, Path)) else f"{kind} {number}"


def read_one_voice(item: Any) -> NDArray[np.int16]:
    """A voice: a file, samples at 16 kHz, or (samples, rate); int16, or float in [-1, 1].

    Returns:
        int16 of shape (T,), 16 kHz: whole, however long.

    Raises:
        Rejected: The file or the array cannot be used.
    """
    from voiceface.data.prepare.media import speech

    if isinstance(item, (str, Path)):
        path = Path(item)
        _is_there(path, "voice")
        try:
            return speech.read_voice(path)[0]
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
    # The resampler of files, so that an array and the file it came from give one result.
    wave = speech._resample(wave.astype(np.float32), int(rate))
    return np.rint(wave * 32768).clip(-32768, 32767).astype(np.int16)


def check_detector() -> None:
    """Refuse to find faces without the extra that does.

    Raises:
        UserError: It is not installed.
    """
    if find_spec("mtcnn") is None:
        raise UserError(
            "finding faces needs the extra `prepare`: pip install 'voiceface[prepare]'; or say that the pictures are "
            "face crops already: --asis, detect=False"
        )


def read_many_faces(items: Sequence[Any], reading: FaceReading) -> list[NDArray[np.uint8] | Rejected]:
    """Faces: files, PIL pictures, or RGB uint8 of shape (H, W, 3); cut, stored and cut again as those of a corpus.

    Crops that are arrays of the very size and margin that the network takes are given to it as they are.

    Returns:
        uint8 of shape (size, size, 3), or why there is none, in order.

    Raises:
        UserError: Faces are to be found, and the detector is not installed.
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


def by_length(lengths: Sequence[int], clips: int, samples: int) -> Iterator[list[int]]:
    """Batches of voices of like length.

    Args:
        lengths: Samples of each voice.
        clips: Voices in a batch at most.
        samples: Samples of a batch at most, padding included, unless one voice alone has more.

    Yields:
        Places of a batch's voices.
    """
    batch: list[int] = []
    for place in np.argsort(lengths, kind="stable").tolist():
        if batch and (len(batch) == clips or (len(batch) + 1) * lengths[place] > samples):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _is_tensor(item: Any) -> bool:
    return type(item).__module__.partition(".")[0] == "torch"  # a mistaken command is answered before torch is imported


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
    """The same, unless the file is of the other kind: that explains more."""
    wrong = kind_of(path) != kind
    return Rejected(kind, f"{WRONG_KIND[kind]} ({rejected.reason})") if wrong else rejected
