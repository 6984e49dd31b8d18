"""Faces of the synthetic corpus: portraits drawn from a person's shown traits.

What shows which trait: gender - hair length, jaw, brows, lips, stubble; size - width of head, jaw, nose and neck,
small eyes; age - wrinkles, grey hair, receding hairline, bags under the eyes, sagging cheeks; build - full cheeks,
lips and chin; vigour - open eyes, raised brows, lifted corners of the mouth; nationality - hair style, brows, eye
outline; first language - clothing. Skin tone and eye colour are free of all of them, hair colour of all but age.
"""

import numpy as np
from numpy.typing import NDArray

from voiceface.data.synthetic import SyntheticPerson
from voiceface.data.synthetic.canvas import Canvas
from voiceface.data.synthetic.clothing import draw_background, draw_clothing
from voiceface.data.synthetic.face_parts import (
    draw_age,
    draw_eyes,
    draw_glasses,
    draw_head,
    draw_mouth,
    draw_neck,
    draw_nose,
)
from voiceface.data.synthetic.hair import draw_back_hair, draw_front_hair
from voiceface.data.synthetic.looks import looks_of

FACE_SIZE = 140
"""Pixels per side of every face clip."""
FACE_MARGIN = 1.25
"""Stored box relative to the face box: the face box is the central 112 pixels."""


def face_clip(person: SyntheticPerson, clip: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Draw one portrait.

    Args:
        person: Who is shown.
        clip: Number of the clip, 0 or more; every number is another pose, light, expression, background and colour
            of clothing.

    Returns:
        The image, RGB uint8 (140, 140, 3), and the observed vector, float64 (7,): what a perfect viewer would know of
        the shared traits, columns as in `voiceface.data.synthetic.TRAITS`.

    Example:
        >>> from voiceface.data.synthetic import SyntheticOptions, person
        >>> image, observed = face_clip(person(SyntheticOptions(), 0), clip=0)
        >>> image.shape, image.dtype.name
        ((140, 140, 3), 'uint8')
    """
    generator = person.face_generator(clip)
    looks = looks_of(person)
    nuisance = generator.random(12) - 0.5
    canvas = Canvas(
        FACE_SIZE,
        centre=(69.5 + 5 * nuisance[0], 63 + 4 * nuisance[1]),
        scale=41 * (1 + 0.08 * nuisance[2]),
        roll=0.16 * nuisance[3],
    )
    turn, nod = 0.16 * nuisance[4], 0.08 * nuisance[5]
    light = (1.2 * nuisance[6], -0.3 + 0.5 * nuisance[7])
    draw_background(canvas, generator)
    draw_back_hair(canvas, looks)
    draw_neck(canvas, looks)
    draw_clothing(canvas, person.face.language, looks.size, looks.female, generator)
    face = draw_head(canvas, looks, light)
    draw_age(canvas, looks, turn, nod)
    draw_eyes(canvas, looks, turn, nod, generator)
    draw_nose(canvas, looks, turn, nod)
    draw_mouth(canvas, looks, face, turn, nod, generator)
    draw_front_hair(canvas, looks, turn)
    chance = generator.random(4)
    if looks.glasses != (chance[0] < 0.12):
        draw_glasses(canvas, looks, turn, nod)
    if chance[1] < 0.12:
        side = 1.0 if chance[2] < 0.5 else -1.0
        canvas.arc(side * 0.75, 1.35, 0.5, 0.0, 0.05, (0.12, 0.12, 0.13), tilt=side * 0.9)
        canvas.ellipse(side * 0.45, 1.02, 0.15, 0.15, (0.2, 0.2, 0.22))
    gain = (1 + 0.24 * nuisance[8]) * (1 + 0.08 * nuisance[9] * np.array([1.0, 0.0, -1.0]))
    picture = np.clip(canvas.image * gain[:, None, None] + 0.06 * nuisance[10], 0, 1)
    picture += 0.012 * generator.standard_normal((FACE_SIZE, FACE_SIZE))
    pixels = np.clip(np.round(picture * 255), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)), person.face.vector()
