"""Read a face from a picture of any kind as a square RGB image, or say why it cannot be used.

`--faces asis` takes the picture as the face box itself, so its margin is 1.0 unless the user says that the pictures
were cropped with another. Nothing is detected: a picture without a face, of noise, or of two people is used.
`--faces detect` finds the faces (`voiceface.data.prepare.media.detector`), takes one, and cuts a square around it.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from voiceface.data.prepare.media.rejected import Rejected, unchanged

if TYPE_CHECKING:
    from voiceface.data.prepare.media.detector import Detection

# What cameras, browsers and data sets write. Pillow reads more, some by a program of another maker (EPS: Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
FLAT_DEVIATION = 1.0
PIXELS_AT_ONCE = 50_000_000


@dataclass(frozen=True)
class FaceOptions:
    """How faces are read and stored.

    Args:
        faces: `asis`: the picture is the face box; `detect`: faces are found in it.
        size: Side of the stored face, pixels.
        margin: `asis`: how many times the face box the pictures show; `detect`: box scale that is cut.
        minimum_side: Smaller pictures (`asis`) or square face boxes (`detect`) are left out, pixels.
        which: Which of several faces that are large enough is taken: the largest, or the nearest to the middle.
        thresholds: Confidences of the detector's three stages, 0 to 1.
        device: Device of the detector: `cpu`, `cuda`.
    """

    faces: Literal["asis", "detect"] = "asis"
    size: int = 224
    margin: float = 1.0
    minimum_side: int = 32
    which: Literal["largest", "central"] = "largest"
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    device: str = "cpu"


@dataclass(frozen=True)
class Face:
    """A face.

    Args:
        pixels: RGB, uint8 of shape (size, size, 3).
        landmarks: x1, y1 ... x5, y5 as shares of the picture's side (left eye, right eye, nose, left and right corner
            of the mouth, as the viewer sees them), rounded to 0.0001; None where nothing was detected.
    """

    pixels: NDArray[np.uint8]
    landmarks: tuple[float, ...] | None = None


def read_faces(pictures: Sequence[Path | NDArray[np.uint8]], options: FaceOptions) -> list[Face | Rejected]:
    """Read a face from each picture.

    With `detect`, the box is made square around its centre and scaled by the margin. Where that square leaves the
    picture, the picture's outermost pixels are repeated: the face stays in the middle and keeps its shape.

    Args:
        pictures: Files (decoded as `read_face` does), or upright RGB pictures, uint8 of shape (H, W, 3).
        options: How they are read.

    Returns:
        The face of each picture, or why it has none, in order.

    Raises:
        UserError: The detector is not installed, or its device is absent.
    """
    read: list[Face | Rejected] = []
    if options.faces == "asis":
        for picture in pictures:
            try:
                read.append(Face(_central_square(_picture(picture, options.minimum_side), options.size)))
            except Rejected as rejected:
                read.append(rejected)
        return read
    decoded: list[NDArray[np.uint8] | Rejected] = []
    for picture in pictures:
        try:
            decoded.append(np.asarray(_picture(picture, options.minimum_side)))
        except Rejected as rejected:
            decoded.append(rejected)
        if sum(p.size for p in decoded if not isinstance(p, Rejected)) > 3 * PIXELS_AT_ONCE:
            read += _detected(decoded, options)
            decoded = []
    return read + _detected(decoded, options)


def _detected(pictures: list[NDArray[np.uint8] | Rejected], options: FaceOptions) -> list[Face | Rejected]:
    from voiceface.data.prepare.media.detector import shared_detector

    images = [picture for picture in pictures if not isinstance(picture, Rejected)]
    found = iter(shared_detector(options.device, options.thresholds).detect(images))
    return [
        picture if isinstance(picture, Rejected) else _chosen_face(picture, next(found), options)
        for picture in pictures
    ]


def _chosen_face(picture: NDArray[np.uint8], found: "list[Detection]", options: FaceOptions) -> Face | Rejected:
    """Cut the face that was asked for."""
    if not found:
        return Rejected("face", "no face")

    def side(face: "Detection") -> float:
        return float(max(face.box[2:] - face.box[:2]))

    def off_centre(face: "Detection") -> float:
        return float(np.linalg.norm((face.box[:2] + face.box[2:]) - picture.shape[1::-1]))

    large = [face for face in found if side(face) >= options.minimum_side]
    if not large:
        return Rejected("face", f"face smaller than {options.minimum_side} px")
    chosen = max(large, key=side) if options.which == "largest" else min(large, key=off_centre)
    length = max(1, round(side(chosen) * options.margin))
    left, top = np.rint((chosen.box[:2] + chosen.box[2:] - length) / 2).astype(int).tolist()
    # Indices past the picture repeat its border.
    columns = np.arange(left, left + length).clip(0, picture.shape[1] - 1)
    rows = np.arange(top, top + length).clip(0, picture.shape[0] - 1)
    square = Image.fromarray(picture[rows[:, None], columns])
    landmarks = (chosen.landmarks - [left, top]) / length
    return Face(
        np.asarray(square.resize((options.size, options.size), Image.Resampling.LANCZOS)),
        tuple(landmarks.ravel().round(4).tolist()),
    )


def read_face(path: Path, size: int = 224, minimum_side: int = 32) -> NDArray[np.uint8]:
    """Read a picture: turn it upright by its EXIF tag, make it RGB, cut the central square, resize it (Lanczos).

    Transparent pixels show white, as in viewers; 16-bit levels are scaled by 255/65535 (within one level: Pillow halves
    16-bit colour itself); of an animation the first frame is taken; colour profiles are ignored. A damaged JPEG that
    still decodes is used: it cannot be known.

    Args:
        path: Picture file: JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or JPEG 2000, by its content.
        size: Side of the result, pixels.
        minimum_side: Smallest width or height that is used, pixels.

    Returns:
        uint8 RGB of shape (size, size, 3).

    Raises:
        Rejected: The file is empty, not an image, truncated, damaged, smaller than `minimum_side`, so large that Pillow
            takes it for a decompression bomb (over 89 megapixels; known from its header, before it is decoded), of
            unknown range (floating-point pixels, 32-bit integers past 65535), flat (every channel's standard deviation
            below one level of 255), or it vanishes or changes while it is read.
    """
    return _central_square(_picture(path, minimum_side), size)


def upright(image: Image.Image) -> Image.Image:
    """A picture that is open already, as `read_face` decodes a file of it: turned by its EXIF tag, RGB.

    Raises:
        Rejected: It cannot be decoded, or is of unknown range.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _rgb(ImageOps.exif_transpose(image))
        except (OSError, SyntaxError, ValueError) as error:  # decoded only now, if it was opened from a file
            raise Rejected("face", "truncated" if "truncated" in str(error).lower() else "damaged") from error


def _picture(source: Path | NDArray[np.uint8], minimum_side: int) -> Image.Image:
    """Upright RGB picture."""
    if isinstance(source, Path):
        with unchanged(source, "face"):
            image = _open(source)
    else:
        image = Image.fromarray(source)
    if min(image.size) < minimum_side:
        raise Rejected("face", f"smaller than {minimum_side} px")
    return _rgb(image)


def _central_square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = image.resize((size, size), Image.Resampling.LANCZOS, (left, top, left + side, top + side))
    pixels = np.asarray(square)
    # A 256th of the pixels holds at least its share of the variance: 16 times the limit there proves the whole.
    if _deviation(pixels[::16, ::16]) < 16 * FLAT_DEVIATION and _deviation(pixels) < FLAT_DEVIATION:
        raise Rejected("face", "flat picture")
    return pixels


def _deviation(pixels: NDArray[np.uint8]) -> float:
    return float(pixels.std(axis=(0, 1)).max())


def _open(path: Path) -> Image.Image:
    """Decode a picture and turn it upright."""
    try:
        if not path.stat().st_size:
            raise Rejected("face", "empty file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Odd EXIF and metadata: of no concern to the pixels.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return image
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
        return image if image.mode == "RGB" else image.convert("RGB")
    except ValueError as error:
        raise Rejected("face", f"unsupported pixel format {image.mode}") from error
