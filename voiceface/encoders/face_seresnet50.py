"""SE-ResNet50 for faces (Hu et al. 2018, https://arxiv.org/abs/1709.01507), as trained for VGGFace2.

TriNet's ablation "face SE-ResNet50". The network is timm's `legacy_seresnet50`, whose stride sits on the first 1x1
convolution of a block, as in the networks of the VGGFace2 release (inferred from their Caffe origin).
"""

import timm
import torch
from torch import Tensor

from voiceface.encoders.base import FaceEncoder


class SEResNet50(FaceEncoder):
    """SE-ResNet50 for 224 px faces: 2048-d global average, 26,039,024 parameters; RGB minus VGGFace2's mean, in 0..255.

    The released VGGFace2 weights come from Caffe: files that expect BGR need the first convolution's channels reversed.
    """

    size = 224
    dim = 2048
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([131.0912, 103.8827, 91.4953]).view(3, 1, 1), persistent=False)
        self.trunk = timm.create_model("legacy_seresnet50", pretrained=False, num_classes=0)

    def forward(self, faces: Tensor) -> Tensor:
        """Embeds faces: uint8 (B, 3, 224, 224) to float32 (B, 2048)."""
        out: Tensor = self.trunk(self.as_float(faces) - self.mean)
        return out.float()
