"""VGG-M for faces with batch norm (Chatfield et al. 2014, https://arxiv.org/abs/1405.3531), up to fc7.

The face stream of SVHF-Net, and TriNet's ablation "face VGG-M". Chatfield's own network has local response
normalisation instead of batch norm. Parameter names are those of the public PyTorch conversion, `vgg_m_face_bn_dag`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.encoders.base import FaceEncoder


class VGGM(FaceEncoder):
    """VGG-M for 224 px faces: 4096-d after fc7, BN and ReLU, 98,831,680 parameters; RGB minus the mean, in 0..255."""

    size = 224
    dim = 4096
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([131.45377, 103.98748, 91.46235]).view(3, 1, 1), persistent=False)
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2)
        self.bn49 = nn.BatchNorm2d(96)
        self.conv2 = nn.Conv2d(96, 256, 5, stride=2, padding=1)
        self.bn50 = nn.BatchNorm2d(256)
        self.conv3 = nn.Conv2d(256, 512, 3, padding=1)
        self.bn51 = nn.BatchNorm2d(512)
        self.conv4 = nn.Conv2d(512, 512, 3, padding=1)
        self.bn52 = nn.BatchNorm2d(512)
        self.conv5 = nn.Conv2d(512, 512, 3, padding=1)
        self.bn53 = nn.BatchNorm2d(512)
        self.fc6 = nn.Conv2d(512, 4096, 6)
        self.bn54 = nn.BatchNorm2d(4096)
        self.fc7 = nn.Conv2d(4096, 4096, 1)
        self.bn55 = nn.BatchNorm2d(4096)

    def forward(self, faces: Tensor) -> Tensor:
        """Embeds faces: uint8 (B, 3, 224, 224) to float32 (B, 4096)."""
        x = self.as_float(faces) - self.mean
        x = F.max_pool2d(F.relu(self.bn49(self.conv1(x))), 3, 2)
        # Rounded up: otherwise the map is 12x12 here and 5x5 at fc6, which needs 6x6.
        x = F.max_pool2d(F.relu(self.bn50(self.conv2(x))), 3, 2, ceil_mode=True)
        x = F.relu(self.bn51(self.conv3(x)))
        x = F.relu(self.bn52(self.conv4(x)))
        x = F.max_pool2d(F.relu(self.bn53(self.conv5(x))), 3, 2)
        x = F.relu(self.bn54(self.fc6(x)))
        x = F.relu(self.bn55(self.fc7(x)))
        return x.flatten(1).float()
