"""Cutting a stored clip to what an encoder takes; no more of it is decoded than needed."""

import io

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from voiceface.utils.npy import npy_header


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

    Raises:
        OSError: They are of another format, or damaged; Pillow raises SyntaxError and ValueError for some damages, and
            DecompressionBombError where the picture has more pixels than a face can have.
    """
    # By default Pillow also opens formats that other programs decode, such as EPS.
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        whole = round(size * stored_margin / margin)
        image.draft("RGB", (whole, whole))
        picture = image.convert("RGB")
    # Not by the ratio where there is none: 224 * 1.36 / 1.36 is more than 224 in floating point.
    side = picture.width if margin == stored_margin else picture.width * margin / stored_margin
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


def change_speed(voice: NDArray[np.int16], percent: int, samples: int) -> NDArray[np.int16]:
    """Play a voice faster or slower, its pitch with it: a tone of f Hz becomes one of f * percent / 100 Hz.

    SciPy resamples on one thread whatever the process, so that every worker gives the same samples.

    Args:
        voice: int16 of shape (speed_samples(samples, percent),) or longer.
        percent: Speed, 100 for the voice as it is.
        samples: Length of the result.

    Returns:
        int16 of shape (samples,).
    """
    if percent == 100:
        return voice[:samples]
    # Here, because it takes a second to import and most runs never change speed.
    from scipy.signal import resample_poly  # type: ignore[attr-defined, unused-ignore]

    played = resample_poly(voice.astype(np.float32), 100, percent)[:samples]
    return np.asarray(np.clip(np.rint(played), -32768, 32767), np.int16)


def speed_samples(samples: int, percent: int) -> int:
    """Samples that become `samples` when played at `percent` of their speed, rounded up."""
    return -(-samples * percent // 100)


def jitter_face(image: NDArray[np.uint8], brightness: float, saturation: float) -> NDArray[np.uint8]:
    """Change brightness, then saturation.

    Every value is multiplied by `brightness`; then every pixel goes to luma + saturation * (pixel - luma), with
    luma = 0.299 R + 0.587 G + 0.114 B. Both steps clip to 0..255 and keep whole numbers.

    Args:
        image: RGB, uint8 of shape (H, W, 3).
        brightness: Factor, 0 or more; 1 changes nothing.
        saturation: Factor, 0 (grey) or more; 1 changes nothing.

    Returns:
        uint8 of shape (H, W, 3).
    """
    bright = ImageEnhance.Brightness(Image.fromarray(image)).enhance(brightness)
    return np.asarray(ImageEnhance.Color(bright).enhance(saturation))


def cut_feature(data: bytes, dim: int, dtype: str) -> NDArray[np.float32]:
    """Decode a stored feature. Nothing but an array of this shape and type is read, so no pickle ever is.

    Args:
        data: Bytes of an .npy file.
        dim: Length of the feature.
        dtype: Type that is stored, `float32` or `float16`.

    Returns:
        float32 of shape (dim,).

    Raises:
        ValueError: They are those of something else, or a value is NaN or infinite.
    """
    header = npy_header(dim, dtype)
    if not data.startswith(header) or len(data) != len(header) + dim * np.dtype(dtype).itemsize:
        raise ValueError(f"not an .npy array of {dtype} and shape ({dim},)")
    feature = np.frombuffer(data, dtype, offset=len(header)).astype(np.float32)
    if not np.isfinite(feature).all():
        raise ValueError("a value is NaN or infinite")
    return feature
