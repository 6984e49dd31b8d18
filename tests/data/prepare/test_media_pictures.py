"""The fate of every real picture, most of them one portrait in many formats, as it is and with detection."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from voiceface.data.prepare.media.faces import Face, FaceOptions, read_face, read_faces
from voiceface.data.prepare.media.rejected import Rejected

PICTURES = Path(os.environ.get("VOICEFACE_TEST_DATA", "")) / "media/img"
pytestmark = pytest.mark.skipif("VOICEFACE_TEST_DATA" not in os.environ, reason="VOICEFACE_TEST_DATA is not set")
needs_weights = pytest.mark.skipif(find_spec("mtcnn") is None, reason="the extra `prepare` is not installed")

USED = "used"
# End of the name: fate as it is, fate with detection. `portrait` stands for the name of the person shown.
FATES = {
    "portrait.webp": (USED, USED),
    "portrait_bitflip.jpg": ("damaged", "damaged"),
    "portrait_cmyk.jpg": (USED, USED),
    "portrait_exif6.jpg": (USED, USED),
    "portrait_gray.jpg": (USED, USED),
    "portrait_gray16.png": (USED, USED),
    "portrait_la.png": (USED, USED),
    "portrait_palette.png": (USED, USED),
    "portrait_prog.jpg": (USED, USED),
    "portrait_q5.jpg": (USED, USED),
    "portrait_rgb.jpg": (USED, USED),
    "portrait_rgb16.png": (USED, USED),
    "portrait_rgba.png": (USED, USED),
    # Turned without a tag: the detector finds nothing, or a doubtful face that is none (confidence 0.88 and 0.76).
    "portrait_rot90.jpg": (USED, "no face"),
    "portrait_rot180.jpg": (USED, USED),
    "portrait_rot270.jpg": (USED, USED),
    "portrait_truncated.jpg": ("truncated", "truncated"),
    "two_faces.jpg": (USED, USED),
    "no_face_flat.jpg": ("flat picture", "no face"),
    "no_face_noise.png": (USED, "no face"),
    "one_pixel.png": ("smaller than 32 px", "smaller than 32 px"),
    "text_as.jpg": ("not an image", "not an image"),
    "zero_bytes.jpg": ("empty file", "empty file"),
}
ROTATED = {"portrait_rot90.jpg": 1, "portrait_rot180.jpg": 2, "portrait_rot270.jpg": 3}


def places() -> dict[str, Path]:
    """Each name of the table and its file; every file is in the table."""
    found = {}
    for name in FATES:
        (found[name],) = PICTURES.glob(name.replace("portrait", "*", 1))
    assert sorted(found.values()) == sorted(PICTURES.iterdir())
    return found


def fates(**options: object) -> dict[str, Face | Rejected]:
    found = places()
    return dict(zip(found, read_faces(list(found.values()), FaceOptions(**options)), strict=True))


def named(result: Face | Rejected) -> str:
    return result.reason if isinstance(result, Rejected) else USED


def likeness(name: str, reference: np.ndarray) -> tuple[np.ndarray, float]:
    """What a version of the portrait should look like, and how far it may be off on average, levels."""
    grey = np.repeat((reference @ [0.299, 0.587, 0.114])[..., None], 3, 2)
    return (
        grey if "gray" in name or "_la" in name else reference,
        12 if name in ("portrait_q5.jpg", "portrait_palette.png") else 3,
    )


def test_as_they_are() -> None:
    results = fates()
    assert {name: named(result) for name, result in results.items()} == {
        name: fate for name, (fate, _) in FATES.items()
    }
    reference = read_face(places()["portrait_rgb.jpg"]).astype(float)
    for name, result in results.items():
        if isinstance(result, Rejected):
            continue
        pixels = result.pixels
        assert (pixels.shape, pixels.dtype) == ((224, 224, 3), np.uint8)
        if name in ROTATED:  # Turned pixels without a tag stay turned.
            turns = ROTATED[name]
            difference = min(np.abs(np.rot90(pixels, t) - reference).mean() for t in (turns, -turns))
            assert difference < 1.5, name
        elif name.startswith("portrait") and name != "portrait_rgba.png":
            expected, limit = likeness(name, reference)
            assert np.abs(pixels - expected).mean() < limit, name


@needs_weights
@pytest.mark.parametrize("which", ["largest", "central"])
def test_detected(which: str) -> None:
    results = fates(faces="detect", which=which)
    assert {name: named(result) for name, result in results.items()} == {
        name: fate for name, (_, fate) in FATES.items()
    }
    reference = results["portrait_rgb.jpg"]
    for name, result in results.items():
        if isinstance(result, Rejected) or name in ROTATED:
            continue
        assert (result.pixels.shape, result.pixels.dtype) == ((224, 224, 3), np.uint8)
        # The same face in the same place, in every format.
        np.testing.assert_allclose(result.landmarks, reference.landmarks, atol=0.04, err_msg=name)
