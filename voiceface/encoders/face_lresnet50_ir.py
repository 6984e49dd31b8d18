"""LResNet50E-IR, the face network of ArcFace (Deng et al. 2019, https://arxiv.org/abs/1801.07698).

TriNet's face backbone. Parameter names are those of the authors' PyTorch release (`arcface_torch`, iresnet50).
"""

from torch import Tensor, nn

from voiceface.encoders.base import FaceEncoder


class _Unit(nn.Module):
    """Improved residual unit: BN, conv, BN, PReLU, strided conv, BN; a projected shortcut where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out: Tensor = self.bn3(self.conv2(y)) + self.downsample(x)
        return out


def _stage(inputs: int, width: int, units: int) -> nn.Sequential:
    rest = (_Unit(width, width, 1) for _ in range(units - 1))
    return nn.Sequential(_Unit(inputs, width, 2), *rest)


class LResNet50IR(FaceEncoder):
    """LResNet50E-IR for 112 px faces: 512-d, 43,590,848 parameters, pixels scaled by (x - 127.5) / 128.

    A 3x3 stem without pooling, four stages of 3, 4, 14 and 3 units (64, 128, 256, 512 channels), each of which halves
    the resolution, and output "E": BN, dropout 0.4, a linear layer over the 7x7 map, BN. Embeddings are not normalised.
    """

    size = 112
    dim = 512

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        self.layer1 = _stage(64, 64, 3)
        self.layer2 = _stage(64, 128, 4)
        self.layer3 = _stage(128, 256, 14)
        self.layer4 = _stage(256, 512, 3)
        self.bn2 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(512 * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512)

    def forward(self, faces: Tensor) -> Tensor:
        """Embeds faces: uint8 (B, 3, 112, 112) to float32 (B, 512)."""
        x = (self.as_float(faces) - 127.5) / 128
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.fc(self.dropout(self.bn2(x)).flatten(1))
        out: Tensor = self.features(x.float())
        return out
