import dataclasses
import hashlib
from itertools import pairwise

import numpy as np
import pytest

from voiceface.data.synthetic import SyntheticOptions, SyntheticPerson, person
from voiceface.data.synthetic.canvas import Canvas
from voiceface.data.synthetic.face import FACE_MARGIN, FACE_SIZE, face_clip

OPTIONS = SyntheticOptions()
CROWD = [person(OPTIONS, index) for index in range(6)]


def _showing(someone: SyntheticPerson, **traits: float) -> SyntheticPerson:
    """The same person whose face shows average traits except these."""
    average = {"age": 0.0, "size": 0.0, "build": 0.0, "vigour": 0.0, "gender": 0, "nationality": 0, "language": 0}
    return dataclasses.replace(someone, face=dataclasses.replace(someone.face, **{**average, **traits}))


@pytest.mark.parametrize("someone", CROWD)
def test_clip_format(someone):
    images = [face_clip(someone, clip) for clip in range(3)]
    for image, observed in images:
        assert image.dtype == np.uint8
        assert image.shape == (FACE_SIZE, FACE_SIZE, 3)
        assert image.flags["C_CONTIGUOUS"]
        assert image.std() > 15
        np.testing.assert_array_equal(observed, someone.face.vector())
    assert not np.array_equal(images[0][0], images[1][0])
    assert FACE_SIZE / FACE_MARGIN == 112


def test_extreme_traits_draw_without_damage():
    for sign in (-9.0, 9.0):
        for gender in (0, 1):
            image, _ = face_clip(_showing(CROWD[0], age=sign, size=sign, build=sign, vigour=sign, gender=gender), 0)
            assert image.std() > 15


def test_clips_are_reproducible_in_any_order():
    first, _ = face_clip(person(OPTIONS, 2), 1)
    face_clip(person(OPTIONS, 2), 0)
    np.testing.assert_array_equal(first, face_clip(person(SyntheticOptions(identities=9, faces=2), 2), 1)[0])


def test_golden_clips():
    digest = hashlib.sha256()
    for clip, index in enumerate((0, 1, 6, 9, 16, 22, 62, 66)):  # every nationality and language
        digest.update(face_clip(person(OPTIONS, index), clip)[0].tobytes())
    assert digest.hexdigest() == "7d282fdb779a1cb252e2239f7e92d6bada9a27b5378d56294f50bf147cfd79db"


@pytest.mark.parametrize("trait", ["age", "size", "build", "vigour"])
def test_each_continuous_trait_moves_the_picture_steadily(trait):
    """The further apart two values, the further apart the pictures."""
    for someone in CROWD[:3]:
        pictures = [face_clip(_showing(someone, **{trait: x}), 0)[0].astype(float) for x in (-2, -0.7, 0.7, 2)]
        steps = [np.abs(a - b).mean() for a, b in pairwise(pictures)]
        assert min(steps) > 0.15
        assert np.abs(pictures[0] - pictures[-1]).mean() > max(steps)


@pytest.mark.parametrize(("trait", "count"), [("gender", 2), ("nationality", 8), ("language", 6)])
def test_each_category_looks_different(trait, count):
    pictures = [face_clip(_showing(CROWD[1], **{trait: k}), 0)[0].astype(float) for k in range(count)]
    distances = [np.abs(a - b).mean() for k, a in enumerate(pictures) for b in pictures[:k]]
    assert min(distances) > 1


def test_skin_tone_is_independent_of_nationality():
    """The cheek keeps its colour when only the nationality changes."""
    for someone in CROWD:
        cheeks = [face_clip(_showing(someone, nationality=k), 0)[0][70:80, 50:60].mean(axis=(0, 1)) for k in range(8)]
        assert np.ptp(cheeks, axis=0).max() < 12


def _supersampled(shape, size=40, factor=8):
    """Share of each pixel of a 40-pixel canvas with 10 pixels per unit that a shape covers."""
    place = (np.arange(size * factor) + 0.5) / factor - 0.5
    u, v = (place - 19.5) / 10, (place[:, None] - 19.5) / 10
    return shape(u, v).reshape(size, factor, size, factor).mean(axis=(1, 3))


def test_ellipse_covers_the_right_share_of_each_pixel():
    canvas = Canvas(40, (19.5, 19.5), 10, 0.0)
    canvas.ellipse(0.3, -0.2, 0.9, 0.9, (1.0, 0.5, 0.0))
    expected = _supersampled(lambda u, v: (u - 0.3) ** 2 + (v + 0.2) ** 2 < 0.81)
    np.testing.assert_allclose(canvas.image[0], expected, atol=0.15)
    np.testing.assert_allclose(canvas.image[1], canvas.image[0] / 2)


def test_outline_passes_through_its_radii():
    canvas = Canvas(201, (100, 100), 50, 0.0)
    radii = [1.0, 0.9, 0.75, 0.7, 0.85, 1.1]
    distance, relative = canvas.outline(radii)
    for k, radius in enumerate(radii):
        row, column = (100 + 50 * radius * np.cos(k * np.pi / 5)), (100 + 50 * radius * np.sin(k * np.pi / 5))
        assert abs(distance[round(row), round(column)]) < 0.02
        assert abs(relative[round(row), round(column)] - 1) < 0.03


def test_window_limits_painting_to_the_shape():
    whole, clipped = (Canvas(60, (30, 30), 12, 0.3) for _ in range(2))
    clipped.arc(0.4, 0.2, 0.8, 0.3, 0.1, (1.0, 1.0, 1.0), tilt=0.5)
    whole.window = lambda u, v, radius: (slice(0, 60), slice(0, 60))
    whole.arc(0.4, 0.2, 0.8, 0.3, 0.1, (1.0, 1.0, 1.0), tilt=0.5)
    assert clipped.image.max() > 0.9
    np.testing.assert_allclose(clipped.image, whole.image)
