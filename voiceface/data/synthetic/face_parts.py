"""Head, neck and features of the synthetic portraits."""

import numpy as np

from voiceface.data.synthetic.canvas import Array, Canvas, smooth
from voiceface.data.synthetic.looks import Looks

_LINE = np.array([0.45, 0.32, 0.30])
"""Colour of skin in a fold, relative to lit skin."""


def _head_radii(looks: Looks) -> list[float]:
    width = 0.74 + 0.062 * looks.size
    jaw = (0.84 if looks.female else 0.93) + 0.03 * looks.size + 0.042 * looks.build + 0.012 * looks.age
    cheek = width + 0.03 + 0.05 * looks.build
    return [1.0 + 0.012 * looks.build, jaw, cheek, width + 0.02, 0.88 + 0.015 * looks.size, 1.0]


def draw_neck(canvas: Canvas, looks: Looks) -> None:
    """Neck, with the shadow of the chin."""
    width = (0.33 if looks.female else 0.40) + 0.06 * looks.size + 0.02 * looks.build
    spread = width + 0.25 * np.maximum(canvas.v - 1.15, 0) ** 1.5
    distance = np.maximum(np.abs(canvas.u) - spread, 0.4 - canvas.v)
    chin_shadow = 0.26 * np.exp(-(((canvas.v - 0.98) / 0.2) ** 2))
    shade = 0.86 - chin_shadow - 0.25 * np.minimum(np.abs(canvas.u) / width, 1.2) ** 3
    canvas.paint(canvas.cover(distance), looks.skin[:, None, None] * shade)


def draw_head(canvas: Canvas, looks: Looks, light: tuple[float, float]) -> Array:
    """Ears and the shaded head.

    Args:
        canvas: Where to draw.
        looks: Whose head.
        light: Horizontal and vertical direction of the light, about -1 to 1.

    Returns:
        Coverage of the head, float64 (size, size).
    """
    radii = _head_radii(looks)
    for side in (-1.0, 1.0):
        tone = looks.skin * (0.8 + 0.12 * side * light[0])
        canvas.ellipse(side * (radii[3] + 0.02), 0.02, 0.09, 0.18, tone)
        canvas.ellipse(side * (radii[3] + 0.03), 0.03, 0.045, 0.12, tone * 0.75, 0.6, 2)
    distance, radius = canvas.outline(radii)
    height = np.sqrt(np.clip(1 - 0.93 * radius**2, 0.02, 1))
    lambert = 0.42 * height + 0.30 * light[0] * canvas.u / 0.8 + 0.22 * light[1] * canvas.v
    shade = 0.66 + lambert
    cover = canvas.cover(distance)
    canvas.paint(cover, np.clip(looks.skin[:, None, None] * shade, 0, 1))
    cheek = looks.skin * np.array([1.04, 0.72, 0.70])
    fullness = 0.22 + 0.05 * looks.build
    for side in (-1.0, 1.0):
        canvas.glow(side * 0.42, 0.30, 0.15, 0.13, cheek, (0.42 if looks.female else 0.25) * 0.8)
        canvas.glow(side * 0.40, 0.24, 0.13, 0.10, np.minimum(looks.skin * 1.2, 1), max(fullness, 0))
    if looks.build > -0.8:
        fold = 0.16 + 0.14 * (looks.build + 0.8)
        canvas.arc(0, 0.90, 0.30 + 0.02 * looks.build, 0.09, 0.022, looks.skin * _LINE, min(fold, 0.6), softness=3)
    if looks.freckles > 0.75:
        for k in range(14):
            u, v = 0.42 * np.sin(2.4 * k + 9 * looks.freckles), 0.22 + 0.10 * np.sin(3.7 * k + 1)
            canvas.ellipse(float(u), float(v), 0.018, 0.018, looks.skin * np.array([0.7, 0.55, 0.45]), 0.55, 1.5)
    return cover


def draw_age(canvas: Canvas, looks: Looks, turn: float, nod: float) -> None:
    """Wrinkles, folds and bags; fainter the younger."""
    depth = min(max(looks.age + 2.3, 0.0) / 4.2, 1.0) ** 1.3
    if depth <= 0:
        return
    dark = looks.skin * _LINE
    for k in range(3):
        canvas.arc(turn * 0.8, -0.44 - 0.09 * k + nod, 0.34 - 0.03 * k, -0.03, 0.013, dark, 0.95 * depth, softness=1.5)
    for side in (-1.0, 1.0):
        canvas.arc(side * 0.31 + turn, 0.40 + nod, 0.2, -0.05, 0.018, dark, 0.95 * depth, side * 1.1, 1.5)
        canvas.arc(side * 0.33 + turn, 0.07 + nod, 0.15, 0.05, 0.020, dark, 0.9 * depth, softness=2)
        for k in range(3):
            v, tilt = -0.06 + 0.06 * k + nod, side * (0.35 * k - 0.3)
            canvas.arc(side * 0.58 + turn, v, 0.09, 0.0, 0.011, dark, 0.9 * depth, tilt, 1.5)
        canvas.arc(side * 0.33, 0.77 + nod, 0.13, 0.05, 0.018, dark, 0.8 * depth, -side * 0.6, 2)
        canvas.arc(side * 0.05 + turn, -0.24 + nod, 0.07, 0.0, 0.011, dark, 0.7 * depth, 1.5, 1.5)


def draw_eyes(canvas: Canvas, looks: Looks, turn: float, nod: float, generator: np.random.Generator) -> None:
    """Eyes and brows; gaze, lids and brows move a little from clip to clip."""
    style = looks.style
    gaze = 0.03 * (generator.random(2) - 0.5)
    lid = 1 + 0.2 * (generator.random() - 0.5)
    lift = 0.03 * (generator.random() - 0.5)
    half = 0.155 - 0.008 * looks.size
    opening = float(0.078 * np.exp(0.23 * looks.vigour) * style.eye_height * lid)
    shadow = looks.skin * np.array([0.62, 0.5, 0.48])
    brow_colour = 0.75 * looks.hair + 0.25 * looks.skin * 0.5
    for side in (-1.0, 1.0):
        u, v = side * looks.eye_gap + turn, -0.06 + nod
        tilt = -side * style.eye_tilt
        canvas.glow(u, v - 0.05, 0.17, 0.10, shadow, 0.45)
        window, x, y = canvas.local(u, v, half + 0.05, tilt)
        across = 1 - (x / half) ** 2
        middle = y + 0.15 * opening * across
        almond = canvas.cover(np.abs(middle) - opening * across) * (np.abs(x) < half)
        canvas.paint(almond, (0.93, 0.92, 0.90), window)
        radius = np.sqrt((x - gaze[0]) ** 2 + (y - gaze[1]) ** 2)
        canvas.paint(almond * canvas.cover(radius - 0.082), looks.iris, window)
        canvas.paint(almond * canvas.cover(radius - 0.040), (0.03, 0.03, 0.03), window)
        glint = np.sqrt((x - gaze[0] + 0.03) ** 2 + (y - gaze[1] + 0.03) ** 2)
        canvas.paint(almond * canvas.cover(glint - 0.018), (1.0, 1.0, 1.0), window)
        lash = 0.030 if looks.female else 0.018
        canvas.arc(u, v, half + 0.02, -1.15 * opening, lash, (0.10, 0.07, 0.06), 0.95, tilt)
        canvas.arc(u, v, half, 0.85 * opening, 0.008, shadow, 0.8, tilt)
        canvas.arc(u, v - 0.05, half, -1.2 * opening, 0.010, shadow, 0.7, tilt, 1.5)
        height = -0.30 - 0.048 * looks.vigour - 0.3 * opening + lift + nod
        thickness = style.brow_thickness * (0.8 if looks.female else 1.25)
        canvas.arc(u, height, 0.22, style.brow_bend, thickness, brow_colour, 0.95, -side * style.brow_tilt, 1.5)


def draw_nose(canvas: Canvas, looks: Looks, turn: float, nod: float) -> None:
    """Nose: a lit ridge, a shaded side, wings and nostrils."""
    width = 0.115 + 0.026 * looks.size + (0.0 if looks.female else 0.015)
    base = -0.02 + looks.nose_length + nod
    u = 1.7 * turn
    dark = looks.skin * np.array([0.66, 0.52, 0.48])
    canvas.glow(u + 0.5 * width, base - 0.16, 0.05, 0.15, dark, 0.35)
    canvas.glow(u - 0.5 * width, base - 0.16, 0.04, 0.15, dark, 0.2)
    canvas.glow(u, base - 0.14, 0.035, 0.13, np.minimum(looks.skin * 1.22, 1), 0.55)
    canvas.glow(u, base - 0.02, 0.4 * width, 0.05, np.minimum(looks.skin * 1.2, 1), 0.5)
    canvas.arc(u, base + 0.03, 1.15 * width, 0.05, 0.016, dark * 0.8, 0.8, softness=2)
    for side in (-1.0, 1.0):
        canvas.ellipse(u + side * 0.5 * width, base + 0.045, 0.34 * width, 0.022, dark * 0.45, 0.85, 1.5)
        canvas.arc(u + side * 1.05 * width, base + 0.01, 0.06, 0.03, 0.014, dark * 0.85, 0.7, -side * 1.4, 1.5)


def draw_mouth(
    canvas: Canvas, looks: Looks, face: Array, turn: float, nod: float, generator: np.random.Generator
) -> None:
    """Beard shadow and lips; the smile varies around the person's own."""
    u, v = 1.2 * turn, looks.mouth_height + nod
    smile = 0.028 + 0.04 * looks.vigour + 0.03 * (generator.random() - 0.5)
    openness = max(0.0, 0.10 * (generator.random() - 0.55))
    if not looks.female:
        region = smooth(canvas.v - 0.35 * canvas.u**2, 0.36, 0.62) * (1 - 0.6 * np.exp(-(((canvas.v - v) / 0.1) ** 2)))
        canvas.paint((0.12 + 0.42 * looks.beard) * region * face, looks.hair * 0.8 + looks.skin * 0.15)
    half = 0.25 + 0.014 * looks.vigour
    full = 0.058 * float(np.exp(0.34 * looks.build))
    tint = np.array([0.86, 0.42, 0.42]) if looks.female else np.array([0.86, 0.62, 0.58])
    lips = looks.skin * tint
    window, x, y = canvas.local(u, v, half + 0.12)
    across = np.maximum(1 - (x / half) ** 2, 0)
    line = smile * (across - 0.5)
    upper = line - openness * across - full * across * (0.85 - 0.25 * np.exp(-((x / 0.05) ** 2)))
    lower = line + openness * across + 1.25 * full * across
    inside = (np.abs(x) < half) * 1.0
    canvas.paint(inside * canvas.cover(np.maximum(upper - y, y - lower), 1.5), lips, window)
    gap = np.maximum(line - openness * across - y, y - line - openness * across)
    canvas.paint(inside * canvas.cover(gap - 0.012 * np.sqrt(across)), lips * 0.35, window)
    if openness > 0.015:
        teeth = np.maximum(line - openness * across - y, y - line)
        canvas.paint(inside * canvas.cover(teeth + 0.01), (0.92, 0.90, 0.86), window)
    canvas.glow(u, v + 0.85 * full, 0.35 * half, 0.25 * full, np.minimum(lips * 1.35, 1), 0.5)
    canvas.arc(u, v + 0.05 + 2.0 * full, 0.13, 0.02, 0.018, looks.skin * np.array([0.7, 0.58, 0.55]), 0.6, softness=3)


def draw_glasses(canvas: Canvas, looks: Looks, turn: float, nod: float) -> None:
    """Round glasses with a bridge and temples."""
    frame = (0.08, 0.08, 0.10)
    for side in (-1.0, 1.0):
        u, v = side * looks.eye_gap + turn, -0.03 + nod
        window, x, y = canvas.local(u, v, 0.27)
        radius = (np.abs(x / 0.235) ** 3 + np.abs(y / 0.19) ** 3) ** (1 / 3)
        canvas.paint(0.10 * canvas.cover((radius - 1) * 0.2), (0.85, 0.92, 1.0), window)
        canvas.paint(canvas.cover(np.abs(radius - 1) * 0.2 - 0.014), frame, window)
        canvas.arc(side * 0.68 + turn, -0.08 + nod, 0.13, 0.0, 0.018, frame, 0.9)
    canvas.arc(turn, -0.06 + nod, 0.11, -0.03, 0.014, frame)
