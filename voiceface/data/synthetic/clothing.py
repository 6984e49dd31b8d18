"""Clothing and background of the synthetic portraits."""

import numpy as np

from voiceface.data.synthetic.canvas import Array, Canvas


def _hue(turns: float, lightness: float, colourfulness: float) -> Array:
    """A colour from the wheel, float64 (3,)."""
    wheel = np.cos(2 * np.pi * (turns - np.array([0.0, 1 / 3, 2 / 3])))
    return np.clip(lightness + colourfulness * wheel, 0, 1)


def draw_background(canvas: Canvas, generator: np.random.Generator) -> None:
    """A blurred room: a sloping gradient and a few soft spots."""
    chance = generator.random(4)
    colours = [_hue(chance[0], 0.35 + 0.35 * chance[1], 0.05), _hue(chance[0] + 0.2, 0.35 + 0.35 * chance[2], 0.06)]
    ramp = np.clip(0.5 + 0.35 * (canvas.v + (2 * chance[3] - 1) * canvas.u), 0, 1)
    canvas.image[:] = colours[0][:, None, None] + ramp * (colours[1] - colours[0])[:, None, None]
    for u, v, width, lightness in (generator.random((3, 4)) * (3.6, 3.0, 0.4, 0.7) - (1.8, 1.6, 0.0, 0.0)).tolist():
        canvas.glow(u, v, 0.2 + width, 0.25 + width, _hue(chance[0] + u, 0.2 + lightness, 0.06), 0.5)


def draw_clothing(canvas: Canvas, language: int, size: float, female: bool, generator: np.random.Generator) -> None:
    """Shoulders and a collar whose cut shows the first language; its colour is free.

    Args:
        canvas: Where to draw.
        language: Number of the first language, 0 to 5.
        size: Shown body size, widens the shoulders.
        female: Narrower shoulders.
        generator: Random numbers of the clip.
    """
    chance = generator.random(3)
    colour = _hue(chance[0], 0.30 + 0.2 * chance[1], 0.14)
    u, v = np.abs(canvas.u), canvas.v
    broad = (1.25 if female else 1.45) + 0.12 * size
    shoulders = np.maximum(1.16 + 0.22 * np.maximum(u - 0.3, 0) - v, 3 * (u - broad) - (v - 1.5))
    weave = colour[:, None, None] * (1 - 0.25 * np.minimum(u / broad, 1.3) ** 2)
    white = np.array([0.93, 0.93, 0.91])
    dark = colour * 0.35

    if language == 0:  # round neckline with a hem
        neckline = np.sqrt((u / 0.5) ** 2 + ((v - 1.10) / 0.32) ** 2) - 1
        canvas.paint(canvas.cover(np.maximum(shoulders, -0.35 * neckline)), weave)
        canvas.paint(canvas.cover(np.maximum(np.abs(0.35 * neckline - 0.03) - 0.035, shoulders)), dark)
    elif language == 1:  # deep V with a broad white edge
        cut = 1.72 - 1.15 * u - v
        canvas.paint(canvas.cover(np.maximum(shoulders, 0.6 * cut)), weave)
        canvas.paint(canvas.cover(np.maximum(np.abs(0.65 * cut + 0.05) - 0.05, shoulders)), white)
    elif language == 2:  # white shirt with pointed collar and dark tie
        canvas.paint(canvas.cover(np.maximum(shoulders, 1.12 + 0.3 * u - v)), white)
        collar = np.maximum(np.abs(v - 1.22 - 0.25 * (0.45 - u)) - 0.13, np.abs(u - 0.27) - 0.2)
        canvas.paint(canvas.cover(np.abs(collar) - 0.012), (0.55, 0.55, 0.58))
        tie = np.maximum(u - 0.09 - 0.10 * np.maximum(v - 1.32, 0), 1.18 - v)
        canvas.paint(canvas.cover(tie), dark)
    elif language == 3:  # turtleneck
        roll = np.maximum(u - 0.50 - 0.04 * size, 1.0 - 0.4 * u**2 - v)
        ribs = 1 + 0.12 * np.sin(55 * canvas.u)
        canvas.paint(canvas.cover(shoulders), weave)
        canvas.paint(canvas.cover(roll), np.clip(weave * 0.85 * ribs, 0, 1))
        canvas.paint(0.5 * canvas.cover(np.abs(v - 1.30) - 0.02) * (u < 0.5), dark)
    elif language == 4:  # dark jacket over a light shirt, wide lapels
        canvas.paint(canvas.cover(shoulders), (0.10, 0.11, 0.15))
        opening = np.maximum(u - 0.42 + 0.55 * (v - 1.15), 1.14 + 0.2 * u - v)
        canvas.paint(canvas.cover(opening), np.clip(colour + 0.35, 0, 1))
        lapel = np.abs(u - 0.55 + 0.55 * (v - 1.15)) - 0.012
        canvas.paint(canvas.cover(np.maximum(lapel, shoulders)), (0.45, 0.45, 0.5))
    else:  # striped pullover
        stripes = np.where(np.sin(30 * (v + 0.08 * u**2)) > 0, 1.0, 0.0)
        canvas.paint(canvas.cover(np.maximum(shoulders, 1.16 - v)), weave + stripes * (white[:, None, None] - weave))
