"""SE-ResNet50-IR: the IR_50 of face.evoLVe and TreB1eN's ArcFace with squeeze-and-excitation (Hu et al. 2018).

The published count, 43,797,696 parameters, fixes the arrangement: IR_50 without a BN between a unit's first convolution
and PReLU and without a projected shortcut in the first stage (43,574,976), and in each of its 24 units two 1x1
convolutions C -> C / 16 -> C without biases (222,720 together). ArcFace's own unit would give 43,813,568.
"""

from typing import Literal

from torch import Tensor, nn

from voiceface.encoders.face_lresnet50_ir import LResNet50IR, Unit


class _SqueezeExcitation(nn.Module):
    """Scales each channel by a sigmoid gate computed from all channels' means."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // 16, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(width // 16, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.fc2(self.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True))))
        return x * gate.sigmoid()


class SEResNet50IR(LResNet50IR):
    """SE-ResNet50-IR for 112 px faces: 512-d, 43,797,696 parameters, pixels scaled by (x - 127.5) / 127.5.

    Squeeze-and-excitation follows the last BN of a unit, before the sum with the shortcut. The final L2 normalisation
    of the public networks is left to the caller.

    Args:
        channels: Order of the colours that the weights expect: `rgb` for face.evoLVe, `bgr` for TreB1eN's
            `model_ir_se50.pth`.
    """

    def __init__(self, channels: Literal["rgb", "bgr"] = "rgb") -> None:
        super().__init__("evolve", channels=channels)
        for module in self.modules():
            if isinstance(module, Unit):
                module.se = _SqueezeExcitation(module.conv2.out_channels)
