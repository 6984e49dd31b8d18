"""Matplotlib figures that a notebook shows."""

import io

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure that needs no pyplot: a notebook shows it as the value of a cell."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
