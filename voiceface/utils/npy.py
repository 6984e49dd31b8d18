"""Arrays as the bytes of .npy files."""

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray


def encode_feature(feature: NDArray[np.floating]) -> bytes:
    """Encode a feature, float32 or float16 of shape (D,), as the bytes of an .npy file."""
    return npy_header(len(feature), feature.dtype.name) + feature.tobytes()


@cache
def npy_header(dim: int, dtype: str) -> bytes:
    """Build the header of an .npy file with one array of this type and of shape (dim,)."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (dim,)}
    )
    return buffer.getvalue()
