"""LResNet50E-IR, the face network of ArcFace (Deng et al. 2019, https://arxiv.org/abs/1801.07698).

TriNet's face backbone. Parameter names are those of the authors' PyTorch release (`arcface_torch`, iresnet50), also in
the variant of face.evoLVe, as far as it has the layers.
"""

from typing import Literal

from torch import Tensor, nn

from voiceface.encoders.base import FaceEncoder


class Unit(nn.Module):
    """Improved residual unit: BN, conv, BN, PReLU, strided conv, BN, and a shortcut.

    Where the shape changes the shortcut of `arcface` is projected (1x1 convolution, BN). `evolve` has no BN between the
    first convolution and PReLU, and projects only where the width changes; elsewhere it takes every `stride`-th pixel.

    Attributes:
        se: What follows the last BN, before the sum: nothing here, squeeze-and-excitation in `face_seresnet50_ir`.
    """

    def __init__(self, inputs: int, width: int, stride: int, variant: str) -> None:
        super().__init__()
        evolve = variant == "evolve"
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.bn2: nn.Module = nn.Identity() if evolve else nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.se: nn.Module = nn.Identity()
        self.downsample: nn.Module
        if stride == 1:
            self.downsample = nn.Identity()
        elif evolve and inputs == width:
            self.downsample = nn.MaxPool2d(1, stride)
        else:
            projection = nn.Conv2d(inputs, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, inputs, H, W) to (B, width, H / stride, W / stride)."""
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out: Tensor = self.se(self.bn3(self.conv2(y))) + self.downsample(x)
        return out


def _stage(inputs: int, width: int, units: int, variant: str) -> nn.Sequential:
    rest = (Unit(width, width, 1, variant) for _ in range(units - 1))
    return nn.Sequential(Unit(inputs, width, 2, variant), *rest)


class LResNet50IR(FaceEncoder):
    """LResNet50E-IR for 112 px faces: 512-d, 43,590,848 parameters, pixels scaled by (x - 127.5) / 128.

    A 3x3 stem without pooling, four stages of 3, 4, 14 and 3 units (64, 128, 256, 512 channels), each of which halves
    the resolution, and output "E": BN, dropout 0.4, a linear layer over the 7x7 map, BN. Embeddings are not normalised.

    Args:
        variant: `arcface`, or `evolve`: IR_50 of face.evoLVe and TreB1eN's ArcFace, 43,574,976 parameters, pixels
            scaled by (x - 127.5) / 127.5 (see `Unit` for its layers). The final L2 normalisation of that family is
            left to the caller; its copies differ in the rate of the dropout, which stays 0.4 here.
        divisor: Pixels are scaled by (x - 127.5) / divisor. None: that of the variant. The files of `arcface_torch`
            take 127.5, as its inference code does; ArcFace's MXNet networks 128.
        channels: Order of the colours that the weights expect: `bgr` for TreB1eN's files, which were trained on
            pictures in OpenCV's order (its issue 13: "All images under folder /faces_emore/imgs are BGR images").
    """

    size = 112
    dim = 512

    def __init__(
        self,
        variant: Literal["arcface", "evolve"] = "arcface",
        divisor: float | None = None,
        channels: Literal["rgb", "bgr"] = "rgb",
    ) -> None:
        super().__init__()
        self.divisor = divisor or (128 if variant == "arcface" else 127.5)
        self.reversed = channels == "bgr"
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        self.layer1 = _stage(64, 64, 3, variant)
        self.layer2 = _stage(64, 128, 4, variant)
        self.layer3 = _stage(128, 256, 14, variant)
        self.layer4 = _stage(256, 512, 3, variant)
        self.bn2 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(512 * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512)

    def forward(self, faces: Tensor) -> Tensor:
        """Embeds faces: uint8 (B, 3, 112, 112) to float32 (B, 512)."""
        pixels = self.as_float(faces)
        x = ((pixels.flip(1) if self.reversed else pixels) - 127.5) / self.divisor
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.fc(self.dropout(self.bn2(x)).flatten(1))
        out: Tensor = self.features(x.float())
        return out
