"""Inception-ResNet-v1 for faces (Szegedy et al. 2017, https://arxiv.org/abs/1602.07261), as in FaceNet's public code.

The face network of the joint embedding of Wang et al. 2020 (DRL). Module names are those of facenet-pytorch, whose
VGGFace2 and CASIA-WebFace files hold the same 714 entries and those of a classifier, `logits`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.encoders.base import FaceEncoder
from voiceface.utils.errors import UserError

Size = int | tuple[int, int]


class _Conv(nn.Module):
    """Convolution without bias, BN (eps 1e-3) and ReLU."""

    def __init__(self, inputs: int, width: int, kernel: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Residual(nn.Module):
    """Adds `scale` times a 1x1 convolution (with bias) of the concatenated branches; then ReLU."""

    def __init__(self, branches: Sequence[nn.Module], inside: int, width: int, scale: float, relu: bool = True) -> None:
        super().__init__()
        self.scale, self.relu = scale, relu
        self.branches = [f"branch{i}" for i in range(len(branches))]
        for name, branch in zip(self.branches, branches, strict=True):
            self.add_module(name, branch)
        self.conv2d = nn.Conv2d(inside, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2d(torch.cat([self.get_submodule(name)(x) for name in self.branches], dim=1))
        out = x + self.scale * y
        return F.relu(out) if self.relu else out


class _Reduction(nn.Module):
    """Concatenates branches that halve the resolution; the last is a 3x3 maximum."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = [f"branch{i}" for i in range(len(branches) + 1)]
        for name, branch in zip(self.branches, [*branches, nn.MaxPool2d(3, 2)], strict=True):
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.get_submodule(name)(x) for name in self.branches], dim=1)


def _block35() -> _Residual:
    one = nn.Sequential(_Conv(256, 32, 1), _Conv(32, 32, 3, padding=1))
    two = nn.Sequential(_Conv(256, 32, 1), _Conv(32, 32, 3, padding=1), _Conv(32, 32, 3, padding=1))
    return _Residual([_Conv(256, 32, 1), one, two], 96, 256, 0.17)


def _block17() -> _Residual:
    one = nn.Sequential(
        _Conv(896, 128, 1), _Conv(128, 128, (1, 7), padding=(0, 3)), _Conv(128, 128, (7, 1), padding=(3, 0))
    )
    return _Residual([_Conv(896, 128, 1), one], 256, 896, 0.10)


def _block8(scale: float, relu: bool = True) -> _Residual:
    one = nn.Sequential(
        _Conv(1792, 192, 1), _Conv(192, 192, (1, 3), padding=(0, 1)), _Conv(192, 192, (3, 1), padding=(1, 0))
    )
    return _Residual([_Conv(1792, 192, 1), one], 384, 1792, scale, relu)


class InceptionResNetV1(FaceEncoder):
    """Inception-ResNet-v1: 512-d, 23,482,624 parameters, pixels scaled by (x - 127.5) / 128.

    The global average lets it take any size from 75 px on.

    Args:
        size: Width and height of the images: 160 px as the public weights were trained, 224 px in DRL.
        normalise: Normalise the embedding to length 1, as FaceNet does. Off: the output of the last BN, for networks
            that go on from it (inferred for DRL, whose shared layer follows; unverified).

    Raises:
        UserError: If the size is below 75 px.
    """

    dim = 512

    def __init__(self, size: int = 160, normalise: bool = False) -> None:
        super().__init__()
        if size < 75:
            raise UserError(f"face_inception_resnet_v1: size must be at least 75 px, not {size}")
        self.size, self.normalise = size, normalise
        self.conv2d_1a = _Conv(3, 32, 3, stride=2)
        self.conv2d_2a = _Conv(32, 32, 3)
        self.conv2d_2b = _Conv(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = _Conv(64, 80, 1)
        self.conv2d_4a = _Conv(80, 192, 3)
        self.conv2d_4b = _Conv(192, 256, 3, stride=2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        one = nn.Sequential(_Conv(256, 192, 1), _Conv(192, 192, 3, padding=1), _Conv(192, 256, 3, stride=2))
        self.mixed_6a = _Reduction([_Conv(256, 384, 3, stride=2), one])
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        zero = nn.Sequential(_Conv(896, 256, 1), _Conv(256, 384, 3, stride=2))
        one = nn.Sequential(_Conv(896, 256, 1), _Conv(256, 256, 3, stride=2))
        two = nn.Sequential(_Conv(896, 256, 1), _Conv(256, 256, 3, padding=1), _Conv(256, 256, 3, stride=2))
        self.mixed_7a = _Reduction([zero, one, two])
        self.repeat_3 = nn.Sequential(*(_block8(0.20) for _ in range(5)))
        self.block8 = _block8(1.0, relu=False)
        self.dropout = nn.Dropout(0.6)
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=1e-3)

    def forward(self, faces: Tensor) -> Tensor:
        """Embeds faces: uint8 (B, 3, size, size) to float32 (B, 512)."""
        x = self.conv2d_1a((self.as_float(faces) - 127.5) / 128)
        x = self.maxpool_3a(self.conv2d_2b(self.conv2d_2a(x)))
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(x)))
        x = self.repeat_2(self.mixed_6a(self.repeat_1(x)))
        x = self.block8(self.repeat_3(self.mixed_7a(x)))
        x = self.last_linear(self.dropout(x.mean(dim=(2, 3))))
        out: Tensor = self.last_bn(x.float())
        return F.normalize(out, dim=1) if self.normalise else out
