"""A small anti-aliased drawing surface for the synthetic portraits: soft shapes in head coordinates."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Window = tuple[slice, slice]
Colour = Sequence[float] | Array


def smooth(x: Array, start: Array | float, end: Array | float) -> Array:
    """Smooth step from 0 at start to 1 at end."""
    t = np.clip((x - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


# Radii of an outline at 0, 36, ... 180 degrees from straight down become the coefficients of a cosine series.
_TO_COSINES = np.linalg.inv(np.cos(np.arange(6)[:, None] * np.pi / 5 * np.arange(6)))


class Canvas:
    """An RGB image with head coordinates: u to the right, v down, the head is two units high.

    Args:
        size: Pixels per side.
        centre: Pixel coordinates (x, y) of the middle of the head.
        scale: Pixels per unit.
        roll: Tilt of the head in radians.

    Attributes:
        image: float64 (3, size, size), 0 to 1.
        u: Head coordinate of every pixel, float64 (size, size).
        v: The same, downwards.
        pixel: Size of one pixel in units.
    """

    def __init__(self, size: int, centre: tuple[float, float], scale: float, roll: float) -> None:
        x, y = np.arange(size) - centre[0], np.arange(size)[:, None] - centre[1]
        cosine, sine = np.cos(roll), np.sin(roll)
        self.u: Array = (cosine * x + sine * y) / scale
        self.v: Array = (cosine * y - sine * x) / scale
        self.image: Array = np.zeros((3, size, size))
        self.pixel = 1 / scale
        self._place = (centre, scale * cosine, scale * sine)

    def window(self, u: float, v: float, radius: float) -> Window:
        """The pixels within a square around a point, clipped to the image."""
        (x0, y0), cosine, sine = self._place
        x, y = x0 + cosine * u - sine * v, y0 + sine * u + cosine * v
        reach, size = radius / self.pixel + 2, self.image.shape[1]
        low = [min(max(int(c - reach), 0), size) for c in (y, x)]
        high = [min(max(int(c + reach) + 1, 0), size) for c in (y, x)]
        return slice(low[0], high[0]), slice(low[1], high[1])

    def cover(self, distance: Array, softness: float = 1.0) -> Array:
        """Coverage, 0 to 1, of a shape with this signed distance (negative inside), softened over some pixels."""
        return np.clip(0.5 - distance / (self.pixel * softness), 0, 1)

    def outline(self, radii: Sequence[float]) -> tuple[Array, Array]:
        """A smooth symmetric star-shaped outline around the middle of the head.

        Args:
            radii: Six distances from the middle, at 0 (down), 36, 72, 108, 144 and 180 degrees.

        Returns:
            Signed distance along the ray, and radius relative to the outline (1 on it); both float64 (size, size).
        """
        coefficients = (_TO_COSINES * np.asarray(radii)).sum(axis=1).tolist()
        distance = np.sqrt(self.u**2 + self.v**2) + 1e-9
        cosine = self.v / distance
        before, term = np.ones_like(cosine), cosine
        radius = coefficients[0] + coefficients[1] * cosine
        for coefficient in coefficients[2:]:
            before, term = term, 2 * cosine * term - before
            radius += coefficient * term
        return distance - radius, distance / radius

    def paint(self, coverage: Array, colour: Colour, window: Window | None = None) -> None:
        """Blend a colour, (3,) or (3, height, width), over the image."""
        part = self.image if window is None else self.image[:, window[0], window[1]]
        tint = np.asarray(colour, dtype=np.float64)
        part += coverage * ((tint[:, None, None] if tint.ndim == 1 else tint) - part)

    def local(self, u: float, v: float, reach: float, tilt: float = 0.0) -> tuple[Window, Array, Array]:
        """Window around a point and its coordinates relative to that point, turned by tilt (radians)."""
        window = self.window(u, v, reach)
        x, y = self.u[window] - u, self.v[window] - v
        if tilt:
            cosine, sine = np.cos(tilt), np.sin(tilt)
            x, y = cosine * x + sine * y, cosine * y - sine * x
        return window, x, y

    def ellipse(
        self, u: float, v: float, a: float, b: float, colour: Colour, opacity: float = 1.0, softness: float = 1.0
    ) -> None:
        """Filled ellipse with half axes a and b."""
        window, x, y = self.local(u, v, max(a, b) + softness * self.pixel)
        radius = np.sqrt((x / a) ** 2 + (y / b) ** 2)
        self.paint(opacity * self.cover((radius - 1) * min(a, b), softness), colour, window)

    def glow(self, u: float, v: float, a: float, b: float, colour: Colour, opacity: float) -> None:
        """Gaussian spot with standard deviations a and b."""
        window, x, y = self.local(u, v, 2.6 * max(a, b))
        self.paint(opacity * np.exp(-0.5 * ((x / a) ** 2 + (y / b) ** 2)), colour, window)

    def arc(
        self,
        u: float,
        v: float,
        half: float,
        bend: float,
        thickness: float,
        colour: Colour,
        opacity: float = 1.0,
        tilt: float = 0.0,
        softness: float = 1.0,
    ) -> None:
        """Tapered parabolic stroke of half length `half` whose middle lies `bend` below its ends."""
        window, x, y = self.local(u, v, half + abs(bend) + thickness + softness * self.pixel, tilt)
        across = 1 - (x / half) ** 2
        distance = np.abs(y - bend * across) - thickness * np.sqrt(np.maximum(across, 0))
        inside = np.clip(0.5 + (half - np.abs(x)) / self.pixel, 0, 1)
        self.paint(opacity * inside * self.cover(distance, softness), colour, window)
