"""Hair of the synthetic portraits: outline, hairline and strands."""

import numpy as np

from voiceface.data.synthetic.canvas import Array, Canvas
from voiceface.data.synthetic.looks import Looks


def _radii(looks: Looks) -> list[float]:
    style = looks.style
    side = style.side if looks.female else 0.2 + 0.75 * style.side
    return [0.6, 0.70, 0.92 * side, side, style.corner, style.top]


def _strands(canvas: Canvas, looks: Looks) -> Array:
    """Hair colour of every pixel, (3, size, size): light and dark strands and a soft shine."""
    along = np.arctan2(canvas.u, 0.35 - canvas.v)
    wave = np.sin(31 * along + 30 * looks.style.curl * np.sin(26 * canvas.v)) + 0.9 * np.sin(53 * along + 1.3)
    shine = np.exp(-(((canvas.u + 0.25) / 0.3) ** 2) - ((canvas.v + 0.95) / 0.16) ** 2)
    return looks.hair[:, None, None] * (1 + 0.05 * wave) + 0.13 * shine


def draw_back_hair(canvas: Canvas, looks: Looks) -> None:
    """Hair behind head and neck."""
    style = looks.style
    ripple = style.curl * np.sin(17 * np.arctan2(canvas.u, -canvas.v)) if style.curl else 0.0
    distance, _ = canvas.outline(_radii(looks))
    distance = distance - ripple
    length = 0.75 + 0.6 * looks.hair_length if looks.female else -0.05 + 0.12 * looks.hair_length
    if looks.female:
        width = (0.80 * style.side + 0.08) + 0.05 * np.sin(3 * canvas.v + 6 * looks.hair_length)
        curtain = np.maximum(np.abs(canvas.u) - width, np.maximum(canvas.v - length, -0.3 - canvas.v)) - ripple
        distance = np.minimum(distance, curtain)
    distance = np.maximum(distance, canvas.v - length + 0.35 * canvas.u**2 - 0.04 * np.cos(6 * canvas.u))
    canvas.paint(canvas.cover(distance, 1.5), 0.72 * _strands(canvas, looks))


def draw_front_hair(canvas: Canvas, looks: Looks, turn: float) -> None:
    """Hair over forehead and temples; it recedes with age."""
    style = looks.style
    u = canvas.u - 0.5 * turn
    recession = (0.035 if looks.female else 0.085) * max(looks.age + 1.5, 0.0) * 0.8
    line = style.hairline + style.slant * u + style.wings * np.abs(u)
    if style.peak:
        line += style.peak * np.exp(-((u / 0.13) ** 2))
    if style.curl:
        line += style.curl * np.sin(21 * u)
    line -= recession * (0.6 + 0.4 * np.minimum(np.abs(u) / 0.4, 1.2))
    temple = 0.60 + 0.03 * looks.size + 0.2 * np.maximum(canvas.v, 0)
    line = np.maximum(line, np.where(np.abs(u) > temple, 9 * (np.abs(u) - temple) + line, line))
    distance, _ = canvas.outline(_radii(looks))
    if style.curl:
        distance = distance - style.curl * np.sin(17 * np.arctan2(canvas.u, -canvas.v))
    bottom = 0.9 if looks.female else -0.05
    distance = np.maximum(np.maximum(distance, 0.8 * (canvas.v - line)), canvas.v - bottom)
    shadow = np.clip(1 - (canvas.v - line) / 0.16, 0, 1) * (canvas.v > line) * (np.abs(u) < temple)
    canvas.paint(0.16 * shadow, (0.1, 0.05, 0.03))
    canvas.paint(canvas.cover(distance, 1.8), _strands(canvas, looks))
