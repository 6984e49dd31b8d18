"""The three networks of the face detector, with the weights out of the `mtcnn` package (version 1.0, MIT licence).

Layers: Zhang et al. 2016, https://arxiv.org/abs/1604.02878, figure 2, with the package's channels and pooling.
"""

import hashlib
import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voiceface.utils.errors import UserError

# File, its SHA-256, layers (channels, kernel, pooling window; the dense layers are kernels as large as what is
# left of the picture) and outputs: shifts of the box, landmarks, scores of no face and face.
NETWORKS: tuple[tuple[str, str, tuple[tuple[int, int, int], ...], tuple[int, ...]], ...] = (
    (
        "pnet.lz4",
        "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
        ((10, 3, 2), (16, 3, 0), (32, 3, 0)),
        (4, 2),
    ),
    (
        "rnet.lz4",
        "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
        ((28, 3, 3), (48, 3, 3), (64, 2, 0), (128, 3, 0)),
        (4, 2),
    ),
    (
        "onet.lz4",
        "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
        ((32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0), (256, 3, 0)),
        (4, 10, 2),
    ),
)


class Network(nn.Module):
    """One network of the cascade; a row of `NETWORKS`.

    Args:
        name: File of the package.
        digest: Its SHA-256.
        layers: Channels, kernel and pooling window (0: none; stride 2, the last window may stick out) of each layer.
        outputs: Number of values of each head.

    Raises:
        UserError: The package is not installed, or its file is another.
    """

    def __init__(
        self, name: str, digest: str, layers: tuple[tuple[int, int, int], ...], outputs: tuple[int, ...]
    ) -> None:
        super().__init__()
        trunk: list[nn.Module] = []
        inputs = 3
        for channels, kernel, window in layers:
            trunk += [nn.Conv2d(inputs, channels, kernel), nn.PReLU(channels)]
            if window:
                trunk.append(nn.MaxPool2d(window, 2, ceil_mode=True))
            inputs = channels
        self.trunk = nn.Sequential(*trunk)
        self.heads = nn.ModuleList(nn.Conv2d(inputs, count, 1) for count in outputs)
        arrays = _weights(name, digest)
        with torch.no_grad():
            for parameter, array in zip(self.parameters(), arrays, strict=True):
                if array.ndim == 4:  # height, width, inputs, outputs
                    array = array.transpose(3, 2, 0, 1)
                elif array.ndim == 2:  # width x height x inputs, outputs
                    kernel = parameter.shape[-1]
                    array = array.reshape(kernel, kernel, -1, array.shape[1]).transpose(3, 2, 1, 0)
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(array)).view(parameter.shape))
        self.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Run on normalised images.

        Args:
            images: float32 of shape (N, 3, H, W), levels (x - 127.5) / 128.

        Returns:
            Each head's values, (N, outputs, h, w); h and w are 1 where the images have the network's own size.
        """
        # A quarter faster on a CPU than the usual layout, mostly in the pooling.
        features = self.trunk(images.contiguous(memory_format=torch.channels_last))
        return [head(features) for head in self.heads]


def _weights(name: str, digest: str) -> list[NDArray[np.float32]]:
    """Arrays of a network; the package's file is only unpickled if it is the known one, byte for byte."""
    package = find_spec("mtcnn")
    if package is None or not package.submodule_search_locations:
        raise UserError("--faces detect needs the extra `prepare`: pip install 'voiceface[prepare]'")
    path = Path(package.submodule_search_locations[0], "assets", "weights", name)
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError("--faces detect: the installed mtcnn has other weights than known; pip install mtcnn==1.0.0")
    import joblib  # type: ignore[import-untyped]
    import lz4.frame  # type: ignore[import-untyped]

    # Given the compressed file, joblib leaves its reader open, of which Python 3.13 complains.
    arrays: list[NDArray[np.float32]] = joblib.load(io.BytesIO(lz4.frame.decompress(content)))
    return arrays
