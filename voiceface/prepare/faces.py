"""Read a face picture of any kind as a square RGB image, or say why it cannot be used.

This is `--faces asis`: the picture is taken as the face box itself, so its margin is 1.0 unless the user says that the
pictures were cropped with another (`CorpusOptions.face_margin`). Nothing is detected: a picture without a face, of
noise, or of two people is used.
"""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from voiceface.prepare.speech import Rejected

FLAT_DEVIATION = 1.0


def read_face(path: Path, size: int = 224, minimum_side: int = 32) -> NDArray[np.uint8]:
    """Read a picture: turn it upright by its EXIF tag, make it RGB, cut the central square, resize it (Lanczos).

    Transparent pixels show white, as in viewers; 16-bit levels are scaled by 255/65535 (within one level: Pillow halves
    16-bit colour itself); of an animation the first frame is taken; colour profiles are ignored. A damaged JPEG that
    still decodes is used: it cannot be known.

    Args:
        path: Picture file.
        size: Side of the result, pixels.
        minimum_side: Smallest width or height that is used, pixels.

    Returns:
        uint8 RGB of shape (size, size, 3).

    Raises:
        Rejected: The file is empty, not an image, truncated, damaged, smaller than `minimum_side`, so large that Pillow
            takes it for a decompression bomb (over 89 megapixels), of unknown range (floating-point pixels, 32-bit
            integers past 65535), or flat (every channel's standard deviation below one level of 255).
    """
    image = _open(path)
    width, height = image.size
    if min(width, height) < minimum_side:
        raise Rejected("face", f"smaller than {minimum_side} px")
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = _rgb(image).resize((size, size), Image.Resampling.LANCZOS, (left, top, left + side, top + side))
    pixels = np.asarray(square)
    if pixels.std(axis=(0, 1)).max() < FLAT_DEVIATION:
        raise Rejected("face", "flat picture")
    return pixels


def _open(path: Path) -> Image.Image:
    """Decode a picture and turn it upright."""
    try:
        if not path.stat().st_size:
            raise Rejected("face", "empty file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Odd EXIF and metadata: of no concern to the pixels.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return ImageOps.exif_transpose(image)
    except Rejected:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise Rejected("face", "too large (over 89 megapixels)") from error
    except UnidentifiedImageError as error:
        raise Rejected("face", "not an image") from error
    except (
        Exception
    ) as error:  # On damaged files Pillow's readers raise OSError, SyntaxError, struct.error, IndexError ...
        reason = "truncated" if "truncated" in str(error).lower() else "damaged"
        if isinstance(error, OSError) and error.errno is not None:
            reason = f"unreadable ({error.strerror})"
        raise Rejected("face", reason) from error


def _rgb(image: Image.Image) -> Image.Image:
    """Turn any Pillow mode into RGB."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise Rejected("face", "32-bit pixels of unknown range")
        return Image.fromarray(np.rint(levels / 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise Rejected("face", "floating-point pixels of unknown range")
    try:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        return image.convert("RGB")
    except ValueError as error:
        raise Rejected("face", f"unsupported pixel format {image.mode}") from error
