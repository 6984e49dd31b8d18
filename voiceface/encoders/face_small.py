"""A small face network of our own, quick enough to train from scratch on a laptop's CPU."""

from torch import Tensor, nn

from voiceface.encoders.base import FaceEncoder
from voiceface.encoders.face_dimnet import conv_block


class FaceSmall(FaceEncoder):
    """Four convolutions and a linear layer for 64 px faces: 128-d, pixels scaled by (x - 127.5) / 128.

    The last 4x4 map is flattened, not averaged: where a feature lies is what face proportions are made of.
    """

    size = 64
    dim = 128

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*(conv_block(*widths) for widths in ((3, 32), (32, 64), (64, 96), (96, 128))))
        self.fc = nn.Linear(128 * 4 * 4, self.dim)

    def forward(self, faces: Tensor) -> Tensor:
        """Embeds faces: uint8 (B, 3, 64, 64) to float32 (B, 128)."""
        x = self.convolutions((self.as_float(faces) - 127.5) / 128)
        out: Tensor = self.fc(x.flatten(1))
        return out.float()
