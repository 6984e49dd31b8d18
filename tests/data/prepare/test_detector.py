"""The detector against naive references and against the boxes of the package whose weights it reads.

`mtcnn_boxes.json` holds what mtcnn 1.0.0 on TensorFlow found in the real pictures, by the SHA-256 of the file:
`MTCNN().detect_faces(rgb, fit_to_image=False, output_type="numpy", box_format="xyxy", threshold_onet=0.7)`, where `rgb`
is the upright RGB picture, decoded as for `--faces detect`, one picture at a time.
"""

import hashlib
import io
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests_support import examples

from voiceface.data.prepare.media.detector import Detector, area_level, sample_patches, suppress
from voiceface.data.prepare.media.detector_networks import NETWORKS, Network
from voiceface.data.prepare.media.faces import _picture
from voiceface.data.prepare.media.rejected import Rejected
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import face_clip
from voiceface.utils.errors import UserError

DATA = Path(os.environ.get("VOICEFACE_TEST_DATA", ""))
needs_data = pytest.mark.skipif("VOICEFACE_TEST_DATA" not in os.environ, reason="VOICEFACE_TEST_DATA is not set")
needs_weights = pytest.mark.skipif(find_spec("mtcnn") is None, reason="the extra `prepare` is not installed")
CASCADE = {"pnet": 6_632, "rnet": 100_178, "onet": 389_040}


def scene(number: int, height: int = 160, width: int = 200, left: int = 30) -> np.ndarray:
    """A rendered face, about 55 x 70 px, on a grey wall."""
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[5:145, left : left + 140] = face_clip(person(SyntheticOptions(), number), 0)[0]
    return picture


def share(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


def forward(arrays: list[np.ndarray], image: np.ndarray, layers: tuple, heads: int) -> list[np.ndarray]:
    """A network as Keras runs it: channels last, `same` pooling in the first layer and before the last kernel."""
    arrays, x = list(arrays), image.astype(float)
    for number, (_, _, window) in enumerate(layers):
        kernel, bias, slope = (arrays.pop(0).astype(float) for _ in range(3))
        if kernel.ndim == 2:  # Permute((2, 1, 3)), Flatten, Dense
            x = (x.transpose(1, 0, 2).ravel() @ kernel)[None, None]
        else:
            k = kernel.shape[0]
            rows, columns = x.shape[0] - k + 1, x.shape[1] - k + 1
            x = np.array(
                [
                    [np.einsum("abc,abco->o", x[r : r + k, c : c + k], kernel) for c in range(columns)]
                    for r in range(rows)
                ]
            )
        x = x + bias
        x = np.where(x < 0, x * slope, x)
        if window:
            same = number == 0 or window == 2
            rows, columns = (-(-n // 2) if same else (n - window) // 2 + 1 for n in x.shape[:2])
            x = np.array(
                [
                    [x[2 * r : 2 * r + window, 2 * c : 2 * c + window].max((0, 1)) for c in range(columns)]
                    for r in range(rows)
                ]
            )
    outputs = []
    for _ in range(heads):
        kernel, bias = arrays.pop(0), arrays.pop(0)
        outputs.append(x @ kernel.reshape(kernel.shape[-2:]).astype(float) + bias)
    assert not arrays
    return outputs


@needs_weights
@pytest.mark.parametrize(("row", "size"), list(zip(NETWORKS, [(19, 26), (24, 24), (48, 48)], strict=True)))
def test_networks_against_a_naive_forward_pass(row, size):
    import joblib
    import lz4.frame

    network = Network(*row)
    name = row[0].removesuffix(".lz4")
    assert sum(p.numel() for p in network.parameters()) == CASCADE[name]
    folder = Path(next(iter(find_spec("mtcnn").submodule_search_locations)))
    compressed = (folder / "assets" / "weights" / row[0]).read_bytes()
    arrays = joblib.load(io.BytesIO(lz4.frame.decompress(compressed)))
    image = np.random.default_rng(3).uniform(-1, 1, (*size, 3)).astype(np.float32)
    with torch.inference_mode():
        ours = network(torch.from_numpy(image).permute(2, 0, 1)[None])
    for output, expected in zip(ours, forward(arrays, image, row[2], len(row[3])), strict=True):
        np.testing.assert_allclose(output[0].permute(1, 2, 0), expected, atol=2e-5)


@settings(max_examples=examples(20), deadline=None)
@given(
    count=st.sampled_from([0, 1, 2, 7, 40, 300]),
    overlap=st.sampled_from([0.3, 0.5, 0.7]),
    of_smaller=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_suppression_against_a_double_loop(count, overlap, of_smaller, seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-20, 80, (count, 2))
    scores = rng.integers(0, 50, (count, 1)) / 50  # With ties: the earlier one is better.
    boxes = np.concatenate([corner, corner + rng.uniform(10, 60, (count, 2)), scores], 1)
    order = sorted(range(count), key=lambda i: (-boxes[i, 4], i))
    expected = []
    for rank, i in enumerate(order):
        (x1, y1, x2, y2), clear = boxes[i, :4], True
        for j in order[:rank]:
            u1, v1, u2, v2 = boxes[j, :4]
            both = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
            one, other = (x2 - x1) * (y2 - y1), (u2 - u1) * (v2 - v1)
            clear &= both / (min(one, other) if of_smaller else one + other - both) <= overlap
        if clear:
            expected.append(i)
    assert suppress(boxes, overlap, of_smaller).tolist() == expected


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(1, 13), st.integers(1, 13), st.data())
def test_a_level_is_the_mean_over_exact_areas(height, width, data):
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    image = np.random.default_rng(height * 14 + width).integers(0, 256, (2, 3, height, width))

    def weights(size: int, count: int) -> np.ndarray:
        """Share of source pixel j in result pixel i."""
        edges = [i * size / count for i in range(count + 1)]
        overlap = [[max(0, min(edges[i + 1], j + 1) - max(edges[i], j)) for j in range(size)] for i in range(count)]
        return np.array(overlap) * count / size

    expected = np.einsum("rh,bchw,sw->bcrs", weights(height, rows), image, weights(width, columns))
    integral = np.pad(image.cumsum(2).cumsum(3), ((0, 0), (0, 0), (1, 0), (1, 0))).astype(float)
    level = area_level(torch.from_numpy(integral), rows, columns)
    np.testing.assert_allclose(level, expected, atol=1e-9)


def test_patches_are_bilinear_with_grey_outside():
    rng = np.random.default_rng(0)
    height, width, side = 20, 30, 5
    image = rng.uniform(-1, 1, (3, height, width)).astype(np.float32)
    corner = rng.uniform(-10, 20, (12, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(3, 15, (12, 2)), np.zeros((12, 1))], 1)
    patches = sample_patches(torch.from_numpy(image)[None], boxes, side)
    outside = 0
    for number, (x1, y1, x2, y2, _) in enumerate(boxes):
        for r in range(side):
            for c in range(side):
                y = (y1 + (y2 - y1) * r / (side - 1)) / height * (height - 1)
                x = (x1 + (x2 - x1) * c / (side - 1)) / width * (width - 1)
                expected = np.zeros(3)
                if 0 <= y <= height - 1 and 0 <= x <= width - 1:
                    top, left = min(int(y), height - 2), min(int(x), width - 2)
                    b, a = y - top, x - left
                    cell = image[:, top : top + 2, left : left + 2]
                    expected = np.array([1 - b, b]) @ cell @ np.array([1 - a, a])
                else:
                    outside += 1
                np.testing.assert_allclose(patches[number, :, r, c], expected, atol=1e-4)
    assert 20 < outside < 280


@needs_weights
def test_a_rendered_face_is_found_where_it_is(detector: Detector):
    (found,) = detector.detect([scene(0)])
    (face,) = found
    assert share(face.box, np.array([30 + 42, 5 + 29, 30 + 100, 5 + 102])) > 0.8
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert 0.7 < face.confidence <= 1


@needs_weights
def test_a_picture_s_faces_do_not_depend_on_the_others(detector: Detector):
    empty = np.full((160, 200, 3), 128, np.uint8)
    pictures = [
        scene(0),
        scene(1),
        empty,
        scene(2, 150, 180),
        scene(3),
        scene(4, 150, 180),
        np.zeros((5, 300, 3), "u1"),
    ]
    alone = [detector.detect([picture])[0] for picture in pictures]
    assert [len(faces) for faces in alone] == [1, 1, 0, 1, 1, 1, 0]
    together = detector.detect(pictures)
    batched = Detector()
    batched.at_once = 16  # As on a GPU.
    for faces, same, near in zip(alone, together, batched.detect(pictures), strict=True):
        for face, one, other in zip(faces, same, near, strict=True):
            assert np.array_equal(face.box, one.box)
            assert np.array_equal(face.landmarks, one.landmarks)
            np.testing.assert_allclose(other.box, face.box, atol=0.01)
            np.testing.assert_allclose(other.landmarks, face.landmarks, atol=0.01)
    assert detector.detect([]) == []


@needs_weights
def test_large_pictures_are_given_in_their_own_pixels(detector: Detector):
    small = scene(0, 160, 640)
    large = np.asarray(Image.fromarray(small).resize((2560, 640), Image.Resampling.BICUBIC))
    (expected,), (face,) = detector.detect([small, large])[0], detector.detect([large])[0]
    assert share(face.box / 4, expected.box) > 0.85
    np.testing.assert_allclose(face.landmarks / 4, expected.landmarks, atol=4)


@needs_weights
def test_minimum_face_and_thresholds(detector: Detector):
    (face,) = detector.detect([scene(0)])[0]
    assert Detector(minimum_face=150).detect([scene(0)]) == [[]]
    assert Detector(thresholds=(0.6, 0.7, face.confidence)).detect([scene(0)]) == [[]]
    assert len(Detector(thresholds=(0.6, 0.7, face.confidence - 1e-6)).detect([scene(0)])[0]) == 1


@needs_weights
def test_threads_are_left_as_they_were(detector: Detector):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        detector.detect([scene(0)])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@needs_weights
@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there(device: str):
    with pytest.raises(UserError, match=f"--device {device}: there is no such device"):
        Detector(device)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    with pytest.raises(UserError, match=r"pip install 'voiceface\[prepare\]'"):
        Detector()


@needs_weights
def test_other_weights_are_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import joblib
    import lz4.frame

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    weights = tmp_path / "mtcnn/assets/weights"
    weights.mkdir(parents=True)
    (tmp_path / "mtcnn/__init__.py").touch()
    trap = io.BytesIO()
    joblib.dump([Trap()], trap)
    (weights / "pnet.lz4").write_bytes(lz4.frame.compress(trap.getvalue()))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mtcnn", raising=False)
    with pytest.raises(UserError, match=r"pip install mtcnn==1\.0\.0"):
        Detector()
    assert not (tmp_path / "sprung").exists()
    joblib.load(io.BytesIO(lz4.frame.decompress((weights / "pnet.lz4").read_bytes())))
    assert (tmp_path / "sprung").exists()


@needs_data
@needs_weights
def test_real_pictures_against_the_package(detector: Detector):
    expected = json.loads(Path(__file__).with_name("mtcnn_boxes.json").read_text())["faces"]
    boxes, marks, seen = [], [], set()
    for path in sorted([*(DATA / "media/img").iterdir(), *(DATA / "people").glob("*/face/*")]):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        try:
            picture = _picture(path, minimum_side=1)
        except Rejected:
            assert digest not in expected
            continue
        seen.add(digest)
        for face, row in zip(detector.detect([np.asarray(picture)])[0], expected[digest], strict=True):
            reference = np.array(row)
            assert share(face.box, reference[:4]) > 0.9
            assert abs(face.confidence - reference[4]) < 0.01
            boxes.append(np.abs(face.box - reference[:4]).max())
            marks.append(np.abs(face.landmarks - reference[5:].reshape(5, 2)).max())
    assert seen == expected.keys()
    # Where confidences in single precision tie, the package's choice is chance; everywhere else it is ours.
    assert np.mean(np.array(boxes) < 0.01) > 0.85
    assert np.mean(np.array(marks) < 0.01) > 0.85
    assert max(marks) < 3
