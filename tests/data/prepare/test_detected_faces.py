"""`--faces detect`: which face is taken, and what is cut around it."""

import io
import json
import tarfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voiceface.data.corpus.bundles import Clip, Person, write_bundles
from voiceface.data.corpus.index import Bundle
from voiceface.data.corpus.shards import Corpus
from voiceface.data.prepare.media import faces
from voiceface.data.prepare.media.detector import Detector
from voiceface.data.prepare.media.faces import Face, FaceOptions, read_faces
from voiceface.data.prepare.media.rejected import Rejected
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import face_clip

pytestmark = pytest.mark.skipif(find_spec("mtcnn") is None, reason="the extra `prepare` is not installed")


def face(number: int, scale: float = 1.0) -> np.ndarray:
    """A rendered face in 140 x 140 px (times the scale); its box is about 55 x 70 px in the middle."""
    side = round(140 * scale)
    return np.asarray(Image.fromarray(face_clip(person(SyntheticOptions(), number), 0)[0]).resize((side, side)))


def wall(height: int, width: int, *people: tuple[int, int, np.ndarray]) -> np.ndarray:
    """Faces at (top, left) on a wall of slowly changing grey."""
    picture = np.repeat(np.linspace(70, 130, width).astype(np.uint8)[None, :, None], height, 0).repeat(3, 2)
    for top, left, one in people:
        picture[top : top + len(one), left : left + len(one)] = one
    return picture


def detected(pictures, **options) -> list[Face | Rejected]:
    return read_faces(pictures, FaceOptions(faces="detect", **options))


def shown(result: Face | Rejected) -> str:
    return result.reason if isinstance(result, Rejected) else "face"


def cut(picture: np.ndarray, box: np.ndarray, margin: float, size: int) -> tuple[np.ndarray, int, int, int]:
    """Pad the whole picture with its border and slice: pixels, left, top and side of the square."""
    x1, y1, x2, y2 = box
    side = round(max(x2 - x1, y2 - y1) * margin)
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    padded = np.pad(picture, ((500, 500), (500, 500), (0, 0)), mode="edge")
    square = padded[top + 500 : top + 500 + side, left + 500 : left + 500 + side]
    return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS)), left, top, side


@pytest.mark.parametrize("margin", [1.0, 1.1, 1.5, 4.0])
def test_the_square_is_cut_around_the_box(margin: float) -> None:
    picture = wall(150, 200, (0, 0, face(0)))
    (found,) = Detector().detect([picture])[0]
    expected, left, top, side = cut(picture, found.box, margin, 90)
    assert (margin > 2) == (left < 0 and top < 0)
    (result,) = detected([picture], margin=margin, size=90)
    np.testing.assert_array_equal(result.pixels, expected)
    places = np.array(result.landmarks).reshape(5, 2) * side + [left, top]
    np.testing.assert_allclose(places, found.landmarks, atol=side * 1e-4)


def test_largest_or_most_central() -> None:
    picture = wall(300, 600, (10, 5, face(0, 2)), (80, 240, face(1)))
    left, right = sorted((d.box for d in Detector().detect([picture])[0]), key=lambda box: box[0])
    for which, box in (("largest", left), ("central", right)):
        (result,) = detected([picture], which=which)
        np.testing.assert_array_equal(result.pixels, cut(picture, box, 1.0, 224)[0])


def test_small_faces_are_left_out() -> None:
    small, large = wall(120, 160, (20, 20, face(0, 0.6))), wall(160, 160, (5, 5, face(0)))
    height = [max(d.box[2:] - d.box[:2]) for d in (Detector().detect([p])[0][0] for p in (small, large))]
    assert height[0] < 50 < height[1]
    assert [shown(r) for r in detected([small, large], minimum_side=50)] == ["face smaller than 50 px", "face"]
    assert shown(detected([small], minimum_side=int(height[0]))[0]) == "face"
    # A smaller face in the middle does not stand in the way of a large one.
    both = wall(300, 600, (10, 5, face(0, 2)), (100, 260, face(1, 0.6)))
    left, right = sorted((d.box for d in Detector().detect([both])[0]), key=lambda box: box[0])
    for minimum, box in ((20, right), (50, left)):
        (result,) = detected([both], which="central", minimum_side=minimum)
        np.testing.assert_array_equal(result.pixels, cut(both, box, 1.0, 224)[0])


def test_files_and_arrays_in_order_with_reasons(tmp_path: Path) -> None:
    picture = wall(160, 160, (5, 5, face(0)))
    Image.fromarray(picture).save(tmp_path / "a.png")
    turned = Image.fromarray(np.rot90(picture, 1).copy())
    exif = Image.Exif()
    exif[274] = 6
    turned.save(tmp_path / "exif.png", exif=exif)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    blank = np.full((64, 64, 3), 9, np.uint8)
    pictures = [
        tmp_path / "empty.jpg",
        picture,
        tmp_path / "text.jpg",
        blank,
        tmp_path / "a.png",
        tmp_path / "exif.png",
    ]
    results = detected([*pictures, np.full((20, 90, 3), 9, np.uint8), tmp_path / "gone.jpg"])
    assert [shown(r) for r in results] == [
        *("empty file", "face", "not an image", "no face", "face", "face"),
        *("smaller than 32 px", "vanished since it was listed"),
    ]
    for number in (4, 5):
        np.testing.assert_array_equal(results[number].pixels, results[1].pixels)
        assert results[number].landmarks == results[1].landmarks
    assert detected([]) == []


def test_pictures_past_the_memory_limit_give_what_each_gives_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [wall(160, 160 + number, (5, 5, face(number))) for number in range(5)]
    pictures.insert(2, np.full((64, 64, 3), 9, np.uint8))
    expected = detected(pictures)
    assert [shown(r) for r in expected] == ["face", "face", "no face", "face", "face", "face"]
    for limit in (1, 40_000, 60_000):
        monkeypatch.setattr(faces, "PIXELS_AT_ONCE", limit)
        for result, whole in zip(detected(pictures), expected, strict=True):
            assert shown(result) == shown(whole)
            if isinstance(result, Face):
                np.testing.assert_array_equal(result.pixels, whole.pixels)
                assert result.landmarks == whole.landmarks


def test_arrays_as_they_are() -> None:
    picture = wall(160, 200, (0, 0, face(0)))
    (result,) = read_faces([picture], FaceOptions(size=160))
    np.testing.assert_array_equal(result.pixels, picture[:, 20:180])
    assert result.landmarks is None


def test_landmarks_are_kept_in_the_bundle_and_cost_nothing_where_there_are_none() -> None:
    landmarks = tuple(np.linspace(0.1, 1.05, 10).round(4).tolist())
    clips = Clip("a/0", b"x", landmarks=landmarks), Clip("a/1", b"yz", "video", 1.5, "a/1.jpg")
    stream = io.BytesIO()
    (row,) = write_bundles(stream, [("0", Person("a", "train", faces=clips))])
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue() + bytes(1024))) as tar:
        described = json.load(tar.extractfile("0.json"))
    assert [list(face) for face in described["faces"]] == [
        ["key", "landmarks", "name", "bytes"],
        ["key", "video", "time", "source", "name", "bytes"],
    ]

    class Memory(Corpus):
        def __init__(self) -> None:
            pass

        def read(self, split: str, bundle: Bundle, offset: int, size: int) -> bytes:
            return stream.getvalue()[offset : offset + size]

    _, read = Memory().members("train", row)
    assert [member.landmarks for member in read] == [landmarks, None]
