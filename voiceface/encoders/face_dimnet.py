"""The face network of DIMNet (Wen et al. 2019, https://arxiv.org/abs/1807.04836).

Unverified: the paper's layer table was recalled, not read. The widths, the number of convolutions per stage and the
final layer are therefore options, and results of this network are not a reproduction of DIMNet's.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from voiceface.encoders.base import FaceEncoder


def conv_block(inputs: int, width: int, stride: int = 2) -> nn.Sequential:
    """A 3x3 convolution without bias, BN and ReLU."""
    conv = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


class DIMNetFace(FaceEncoder):
    """A plain convolutional network for 128 px faces; pixels scaled by (x - 127.5) / 127.5.

    Every stage is a 3x3 convolution of stride 2 and further 3x3 convolutions of the same width, each with BN and ReLU;
    a last 3x3 convolution of stride 2 gives `dim` maps, averaged over space.

    Args:
        widths: Channels of each stage. Recalled, unverified.
        repeats: Further convolutions in each stage. Assumed, unverified.
        dim: Length of an embedding; 64 in the paper (recalled).
    """

    size = 128

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512), repeats: int = 2, dim: int = 64) -> None:
        super().__init__()
        self.dim = dim
        inputs = 3
        stages = []
        for width in widths:
            stages.append(conv_block(inputs, width))
            stages.extend(conv_block(width, width, 1) for _ in range(repeats))
            inputs = width
        self.stages = nn.Sequential(*stages)
        self.last = nn.Conv2d(inputs, dim, 3, stride=2, padding=1)

    def forward(self, faces: Tensor) -> Tensor:
        """Embeds faces: uint8 (B, 3, 128, 128) to float32 (B, dim)."""
        x = self.stages((self.as_float(faces) - 127.5) / 127.5)
        out: Tensor = self.last(x)
        return out.float().mean(dim=(2, 3))
