"""Cutting a stored clip to what an encoder takes; no more of it is decoded than needed."""

import io

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image


def cut_face(data: bytes, stored_size: int, stored_margin: float, size: int, margin: float) -> NDArray[np.uint8]:
    """Decode a stored face and cut an encoder's own crop and size out of it.

    The JPEG decoder itself halves the picture as often as the size allows.

    Args:
        data: JPEG bytes.
        stored_size: Side of the stored picture, pixels.
        stored_margin: Face box scale of the stored picture.
        size: Side wanted, pixels.
        margin: Face box scale wanted, at most `stored_margin`.

    Returns:
        uint8 of shape (size, size, 3).
    """
    with Image.open(io.BytesIO(data)) as image:
        whole = round(size * stored_margin / margin)
        image.draft("RGB", (whole, whole))
        picture = image.convert("RGB")
    side = picture.width * margin / stored_margin
    edge = (picture.width - side) / 2
    if side != size or edge != int(edge):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC, box=(edge, edge, edge + side, edge + side))
    elif edge:
        picture = picture.crop((int(edge), int(edge), int(edge) + size, int(edge) + size))
    return np.asarray(picture)


def cut_voice(data: bytes, samples: int | None, rng: np.random.Generator | None) -> NDArray[np.int16]:
    """Decode a stored voice, whole or a random crop; a crop seeks and decodes no more than it needs.

    Args:
        data: FLAC bytes.
        samples: Length of the crop; a shorter voice is repeated. None: the whole voice.
        rng: Draws where the crop starts.

    Returns:
        int16 of shape (samples,).
    """
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        if samples is None or rng is None:
            voice = file.read(dtype="int16")
            if len(voice) < file.frames:
                raise ValueError(f"{len(voice)} of {file.frames} samples decoded")
            return np.asarray(voice)
        if file.frames > samples:
            file.seek(int(rng.integers(file.frames - samples + 1)))
            voice = file.read(samples, dtype="int16")
            if len(voice) < samples:
                raise ValueError(f"{len(voice)} of {samples} samples decoded")
            return np.asarray(voice)
        voice = file.read(dtype="int16")
    return np.resize(np.roll(voice, -int(rng.integers(len(voice)))), samples)
