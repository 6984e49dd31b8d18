"""Looks of a person of the synthetic corpus: shown and private traits of the face as drawing parameters."""

from dataclasses import dataclass

import numpy as np

from voiceface.data.synthetic import SyntheticPerson
from voiceface.data.synthetic.canvas import Array, smooth

_LIGHT_SKIN, _DARK_SKIN = np.array([0.95, 0.79, 0.69]), np.array([0.42, 0.27, 0.20])
_BLACK_HAIR, _BROWN_HAIR = np.array([0.09, 0.07, 0.07]), np.array([0.36, 0.22, 0.13])
_FAIR_HAIR, _GREY_HAIR = np.array([0.75, 0.58, 0.33]), np.array([0.80, 0.80, 0.81])
_IRISES = np.array([[0.30, 0.18, 0.10], [0.40, 0.30, 0.14], [0.25, 0.42, 0.58], [0.30, 0.44, 0.30]])


@dataclass(frozen=True)
class Style:
    """What a nationality shows: hair (heights of its outline, hairline) and the outline of brows and eyes."""

    top: float
    corner: float
    side: float
    hairline: float
    slant: float
    wings: float
    peak: float
    curl: float
    brow_bend: float
    brow_tilt: float
    brow_thickness: float
    eye_tilt: float
    eye_height: float


_STYLES = (
    Style(1.20, 1.06, 0.90, -0.58, 0.35, 0.0, 0.0, 0.0, -0.05, 0.0, 0.036, 0.0, 1.0),
    Style(1.14, 1.10, 0.95, -0.30, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.030, 0.12, 0.85),
    Style(1.10, 0.98, 0.80, -0.80, 0.0, 0.3, 0.22, 0.0, -0.09, 0.0, 0.026, -0.10, 1.15),
    Style(1.36, 1.30, 1.12, -0.52, 0.0, 0.0, 0.0, 0.05, -0.04, 0.15, 0.055, 0.0, 1.2),
    Style(1.18, 1.08, 0.98, -0.86, 0.0, 0.9, 0.0, 0.0, 0.02, -0.15, 0.036, 0.12, 1.0),
    Style(1.50, 1.05, 0.80, -0.66, 0.0, 0.2, 0.0, 0.0, -0.08, 0.18, 0.045, -0.10, 0.85),
    Style(1.20, 1.14, 1.12, -0.58, -0.35, 0.0, 0.0, 0.0, 0.0, -0.12, 0.050, -0.10, 1.0),
    Style(1.16, 1.22, 0.82, -0.66, 0.0, 0.0, 0.0, 0.0, -0.05, 0.15, 0.024, 0.12, 1.15),
)


@dataclass(frozen=True)
class Looks:
    """Traits as the face shows them, clipped to 2.7 standard deviations, and the private features of one person."""

    age: float
    size: float
    build: float
    vigour: float
    female: bool
    style: Style
    skin: Array
    hair: Array
    iris: Array
    beard: float
    hair_length: float
    eye_gap: float
    nose_length: float
    mouth_height: float
    freckles: float
    glasses: bool


def looks_of(person: SyntheticPerson) -> Looks:
    """Drawing parameters of a person, the same in every clip."""
    shown = person.face
    age, size, build, vigour = np.clip([shown.age, shown.size, shown.build, shown.vigour], -2.7, 2.7).tolist()
    generator = person.face_generator()
    chance = generator.random(10)
    normal = generator.standard_normal(4)
    tone = chance[0]
    hair = _BLACK_HAIR + 2 * chance[1] * (_BROWN_HAIR - _BLACK_HAIR)
    if chance[1] > 0.5:
        hair = _BROWN_HAIR + (2 * chance[1] - 1) * (_FAIR_HAIR - _BROWN_HAIR)
    grey = float(smooth(np.array(age), -0.6, 2.2))
    return Looks(
        age=age,
        size=size,
        build=build,
        vigour=vigour,
        female=shown.gender == 1,
        style=_STYLES[shown.nationality],
        skin=(_LIGHT_SKIN + tone * (_DARK_SKIN - _LIGHT_SKIN)) * (1 + 0.03 * normal[0] * np.array([1.0, 0.0, -1.0])),
        hair=hair + grey * (_GREY_HAIR - hair),
        iris=_IRISES[min(int(chance[2] * 4), 3)],
        beard=float(chance[3]),
        hair_length=float(chance[4]),
        eye_gap=0.33 + 0.012 * float(normal[1]),
        nose_length=0.30 + 0.02 * float(normal[2]),
        mouth_height=0.56 + 0.015 * float(normal[3]),
        freckles=float(chance[5]),
        glasses=bool(chance[6] < 0.25),
    )
