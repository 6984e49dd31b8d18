"""VGG-16 (Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556): Kim et al.'s face network, and VGG-Face.

The network is timm's `vgg16`; its parameter names are kept under `trunk.`. Kim et al. 2018 take the map after conv5_3
and its ReLU, before the last pooling, and average it over space (their code). Their wider variants (table A.2) pool
2x2 instead. Unverified: that this pooling averages rather than takes the maximum, and the order in which the pooled map
is flattened (here channels first).
"""

from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.encoders.base import FaceEncoder
from voiceface.utils.errors import UserError

# Mean and divisor of each RGB channel in 0..255, and whether the channels are then reversed.
_PIXELS = {
    "kim": ((124.0, 117.0, 104.0), (1.0, 1.0, 1.0), True),
    "vggface": ((129.186, 104.762, 93.594), (1.0, 1.0, 1.0), False),
    "imagenet": ((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255), False),
}


class VGG16(FaceEncoder):
    """VGG-16 for 224 px faces: conv5_3 averaged to 512-d with the defaults, 14,714,688 parameters.

    The code of Kim et al. shows it the middle 224 px of an image of 256 px, the box enlarged 1.5 times (inferred); here
    the box goes straight to 224 px: face_margin 1.3125 gives the field of the authors' code.

    Args:
        layer: `conv5_3`, or `fc7` with its ReLU: 4096-d, 134,260,544 parameters, without dropout.
        pooling: Pooling of conv5_3's 14x14 map: `global` average (512-d), or `half`: 2x2 averages, flattened to
            25,088-d, channels first (unverified, see above).
        pixels: The scaling that the weights were trained with. `kim`: minus RGB (124, 117, 104), then reversed to BGR
            (the code of Kim et al.); `vggface`: RGB minus (129.186, 104.762, 93.594), as the PyTorch VGG-Face file;
            both in 0..255. `imagenet`: RGB in 0..1, by ImageNet's mean and standard deviation, as timm's own weights.

    Raises:
        UserError: If `pooling` is `half` and `layer` is not `conv5_3`.
    """

    size = 224
    mean: Tensor
    divisor: Tensor

    def __init__(
        self,
        layer: Literal["conv5_3", "fc7"] = "conv5_3",
        pooling: Literal["global", "half"] = "global",
        pixels: Literal["kim", "vggface", "imagenet"] = "kim",
    ) -> None:
        super().__init__()
        mean, divisor, self.reversed = _PIXELS[pixels]
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("divisor", torch.tensor(divisor).view(3, 1, 1), persistent=False)
        self.layer, self.pooling = layer, pooling
        self.trunk: Any
        if layer == "fc7":
            if pooling != "global":
                raise UserError(f"face_vgg16: pooling {pooling!r} is of layer conv5_3, not of {layer}")
            self.dim = 4096
            self.trunk = timm.create_model("vgg16", pretrained=False, num_classes=0)
        else:
            self.dim = 512 if pooling == "global" else 512 * 7 * 7
            # The fully connected layers are dropped; a small ratio spares the two seconds that filling them takes.
            self.trunk = timm.create_model("vgg16", pretrained=False, num_classes=0, mlp_ratio=0.001)
            self.trunk.features = self.trunk.features[:30]
            self.trunk.pre_logits = nn.Identity()

    def forward(self, faces: Tensor) -> Tensor:
        """Embeds faces: uint8 (B, 3, 224, 224) to float32 (B, dim), each value at least 0."""
        x = (self.as_float(faces) - self.mean) / self.divisor
        x = self.trunk.features(x.flip(1) if self.reversed else x)
        if self.layer == "fc7":
            x = self.trunk.pre_logits(x)
        elif self.pooling == "global":
            x = x.float().mean(dim=(2, 3))
        else:
            x = F.avg_pool2d(x.float(), 2)
        return x.flatten(1).float()
