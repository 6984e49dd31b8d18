import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from tests_support import examples

from voiceface.data.prepare.media.faces import read_face
from voiceface.data.prepare.media.rejected import Rejected


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture whose four corners differ, so that a turn shows, and that survives JPEG."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 / width, y * 255 / height, (x + y) * 120 / (height + width)], 2).astype(np.uint8)


def write_png(path: Path, samples: np.ndarray, depth: int, colour: int) -> Path:
    """Write a PNG by hand (Pillow cannot write 16-bit colour): samples of shape (H, W, channels), unfiltered rows."""
    data = samples.astype(">u2" if depth == 16 else "u1")
    rows = b"".join(b"\0" + row.tobytes() for row in data)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def reason(path: Path, **options: int) -> str:
    with pytest.raises(Rejected) as caught:
        read_face(path, **options)
    assert caught.value.stage == "face"
    return caught.value.reason


def test_a_square_of_the_right_size_passes_unchanged(tmp_path: Path) -> None:
    Image.fromarray(noise(64, 64)).save(tmp_path / "a.png")
    pixels = read_face(tmp_path / "a.png", size=64)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, noise(64, 64))


@settings(max_examples=examples(20), deadline=None)
@given(height=st.integers(32, 90), width=st.integers(32, 90))
def test_the_central_square_is_cut(tmp_path_factory: pytest.TempPathFactory, height: int, width: int) -> None:
    path = tmp_path_factory.mktemp("f") / "a.png"
    image = noise(height, width)
    Image.fromarray(image).save(path)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    np.testing.assert_array_equal(read_face(path, size=side), image[top : top + side, left : left + side])


def test_resizing_is_lanczos(tmp_path: Path) -> None:
    """Against the definition: a three-lobed windowed sinc, stretched by the scale, in rows and in columns."""
    image = noise(80, 80)
    Image.fromarray(image).save(tmp_path / "a.png")
    scale = 80 / 32
    distance = (np.arange(80)[None] + 0.5 - (np.arange(32)[:, None] + 0.5) * scale) / scale
    weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    weights /= weights.sum(1, keepdims=True)
    rows = np.einsum("ow,hwc->hoc", weights, image).round().clip(0, 255)
    expected = np.einsum("oh,hwc->owc", weights, rows).round().clip(0, 255)
    assert np.abs(read_face(tmp_path / "a.png", size=32) - expected).max() <= 1


@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_rotation(tmp_path: Path, tag: int) -> None:
    upright = smooth(64, 64)
    # What a camera stores so that the viewer's operation (EXIF 2.3, table of tag 274) makes it upright.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[tag]
    exif = Image.Exif()
    exif[274] = tag
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.jpg", quality=98, subsampling=0, exif=exif)
    assert np.abs(read_face(tmp_path / "a.jpg", size=64).astype(int) - upright).max() <= 6


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    levels = np.random.default_rng(1).integers(0, 65536, (256, 256, 1))
    levels.flat[:3] = 0, 65535, 32896
    grey = read_face(write_png(tmp_path / "grey.png", levels, 16, 0), size=256)
    np.testing.assert_array_equal(grey, np.repeat((levels * 255 * 2 + 65535) // (65535 * 2), 3, 2))
    colour_levels = np.random.default_rng(2).integers(0, 65536, (64, 64, 3))
    colour = read_face(write_png(tmp_path / "colour.png", colour_levels, 16, 2), size=64)
    assert np.abs(colour - colour_levels * 255 / 65535).max() <= 1
    Image.fromarray(levels[..., 0].astype(np.uint16)).save(tmp_path / "grey.tif")
    np.testing.assert_array_equal(read_face(tmp_path / "grey.tif", size=256), grey)


def test_pixels_of_unknown_range(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).random((64, 64)).astype(np.float32)).save(tmp_path / "float.tif")
    assert reason(tmp_path / "float.tif") == "floating-point pixels of unknown range"
    wide = np.random.default_rng(0).integers(0, 2**30, (64, 64)).astype(np.int32)
    Image.fromarray(wide).save(tmp_path / "wide.tif")
    assert reason(tmp_path / "wide.tif") == "32-bit pixels of unknown range"


def test_transparency_shows_white(tmp_path: Path) -> None:
    image = noise(64, 64, 4)
    Image.fromarray(image, "RGBA").save(tmp_path / "rgba.png")
    alpha = image[..., 3:] / 255
    expected = image[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(read_face(tmp_path / "rgba.png", size=64) - expected).max() <= 1

    write_png(tmp_path / "la.png", image[..., [0, 3]], 8, 4)
    expected = np.repeat(image[..., :1] * alpha + 255 * (1 - alpha), 3, 2)
    assert np.abs(read_face(tmp_path / "la.png", size=64) - expected).max() <= 1

    palette = Image.fromarray(noise(64, 64)[..., 0]).convert("P")
    palette.putpalette(list(range(256)) * 3)
    palette.save(tmp_path / "p.png", transparency=7)
    indices = np.asarray(palette)
    colours = np.arange(768).reshape(256, 3) % 256
    colours[7] = 255
    np.testing.assert_array_equal(read_face(tmp_path / "p.png", size=64), colours[indices])


def test_grey_cmyk_and_bilevel(tmp_path: Path) -> None:
    grey = noise(64, 64)[..., 0]
    Image.fromarray(grey).save(tmp_path / "l.png")
    np.testing.assert_array_equal(read_face(tmp_path / "l.png", size=64), np.repeat(grey[..., None], 3, 2))
    Image.fromarray(grey > 100).save(tmp_path / "1.png")
    np.testing.assert_array_equal(
        read_face(tmp_path / "1.png", size=64), np.repeat((grey > 100)[..., None] * np.uint8(255), 3, 2)
    )
    upright = smooth(64, 64)
    Image.fromarray(upright).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98, subsampling=0)
    assert np.abs(read_face(tmp_path / "cmyk.jpg", size=64).astype(int) - upright).max() <= 8


def test_webp_and_progressive(tmp_path: Path) -> None:
    Image.fromarray(noise(64, 64)).save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(read_face(tmp_path / "a.webp", size=64), noise(64, 64))
    Image.fromarray(smooth(64, 64)).save(tmp_path / "a.jpg", quality=98, subsampling=0, progressive=True)
    assert np.abs(read_face(tmp_path / "a.jpg", size=64).astype(int) - smooth(64, 64)).max() <= 6


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.fromarray(smooth(64, 64)), Image.fromarray(noise(64, 64))]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(read_face(tmp_path / "a.webp", size=64), smooth(64, 64))


@pytest.mark.parametrize(("name", "cuts"), [("a.jpg", (2, 400)), ("p.jpg", (2, 400)), ("a.png", (400,))])
def test_truncated(tmp_path: Path, name: str, cuts: tuple[int, ...]) -> None:
    path = tmp_path / name
    Image.fromarray(noise(64, 64)).save(path, **({"progressive": True} if name == "p.jpg" else {}))
    content = path.read_bytes()
    for cut in cuts:
        path.write_bytes(content[:-cut])
        assert reason(path) == "truncated", cut


def test_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise(64, 64)).save(path)
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    assert reason(path) == "damaged"


def test_small_flat_and_other_files(tmp_path: Path) -> None:
    Image.fromarray(noise(31, 200)).save(tmp_path / "small.png")
    assert reason(tmp_path / "small.png") == "smaller than 32 px"
    assert read_face(tmp_path / "small.png", minimum_side=31, size=224).shape == (224, 224, 3)
    Image.new("RGB", (64, 64), (200, 30, 90)).save(tmp_path / "flat.png")
    assert reason(tmp_path / "flat.png") == "flat picture"
    (tmp_path / "empty.jpg").touch()
    assert reason(tmp_path / "empty.jpg") == "empty file"
    (tmp_path / "text.jpg").write_text("no picture")
    assert reason(tmp_path / "text.jpg") == "not an image"
    assert reason(tmp_path / "missing.jpg") == "vanished since it was listed"


def test_flatness_is_judged_on_every_pixel(tmp_path: Path) -> None:
    image = np.full((224, 224, 3), 100, np.uint8)
    image[1::16, 1::16] += 10
    assert image.std() < 1
    Image.fromarray(image).save(tmp_path / "a.png")
    assert reason(tmp_path / "a.png") == "flat picture"
    image[1::16, :, 2] += 10
    assert image[..., 2].std() > 1
    Image.fromarray(image).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_face(tmp_path / "a.png"), image)


def header_only(kind: str, side: int) -> bytes:
    """A picture of side x side pixels that ends after its header."""
    if kind == "ppm":
        return b"P6\n%d %d\n255\n" % (side, side)
    if kind == "bmp":
        return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, side, side, 1, 24, *[0] * 6)
    parts = (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0"))
    chunks = (struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("kind", ["png", "bmp", "ppm"])
def test_decompression_bombs_are_refused_by_their_header(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    for side in (9_460, 10_000, 50_000, 2**31 - 1):
        path.write_bytes(header_only(kind, side))
        assert reason(path) == "too large (over 89 megapixels)", side
    for side in (64, 9_459):
        path.write_bytes(header_only(kind, side))
        assert reason(path) == "truncated", side  # What a bomb would be called if it were decoded.


def test_programs_in_pictures_are_not_run(tmp_path: Path) -> None:
    """Pillow hands EPS to Ghostscript."""
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n")
    with Image.open(tmp_path / "a.eps") as image:
        assert image.format == "EPS"
    assert reason(tmp_path / "a.eps") == "not an image"


def test_a_file_that_vanishes_or_changes_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    transpose = ImageOps.exif_transpose
    for action, expected in ((path.touch, "changed while it was read"), (path.unlink, "vanished while it was read")):
        Image.fromarray(noise(64, 64)).save(path)
        os.utime(path, (0, 0))

        def act_and_transpose(image: Image.Image, in_place: bool, act: Callable[[], None] = action) -> None:
            act()
            transpose(image, in_place=in_place)

        monkeypatch.setattr(ImageOps, "exif_transpose", act_and_transpose)
        assert reason(path) == expected
