"""SoundNet-8 on raw waveforms (Aytar et al. 2016, https://arxiv.org/abs/1610.09001), up to conv6.

The voice network of Kim et al. 2018 (https://arxiv.org/abs/1805.05553), after their reference code: no batch norm and
no ReLU after conv6. SoundNet itself goes on with both, a seventh convolution and two heads.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.encoders.audio import prepare_waveforms, resample
from voiceface.encoders.base import VoiceEncoder
from voiceface.utils.errors import UserError


class SoundNet8(VoiceEncoder):
    """SoundNet-8 to conv6 on the first ten seconds at 22,050 Hz: 512-d, 773,072 parameters.

    Every utterance is repeated end to end to ten seconds, or cut to its first ten, and then resampled to 220,500
    samples. Kim et al. repeat and cut after resampling, which differs in ten samples around each seam and at the end. A
    batch takes the same time whatever the lengths of its utterances.

    Args:
        pooling: "global" averages over the 14 steps of time. "half" averages each pair of steps, 7 x 512 = 3,584-d
            (Kim et al., table A.2, say "2x pooling"; that it averages, and the order of the values, are unverified).
        scale: Samples are multiplied from [-1, 1] into this range; it belongs to the weights. 32768 are the int16
            values that the reference code of Kim et al. takes, 256 is the range of SoundNet's own weights.

    Raises:
        UserError: If `pooling` is neither of the two.
    """

    sample_rate = 22_050
    bytes_per_second = 3_000_000

    def __init__(self, pooling: Literal["global", "half"] = "global", scale: float = 32768.0) -> None:
        super().__init__()
        if pooling not in ("global", "half"):
            raise UserError(f"voice_soundnet8: pooling must be 'global' or 'half', not {pooling!r}")
        self.pooling = pooling
        self.scale = scale
        self.dim = 512 if pooling == "global" else 7 * 512
        self.conv1 = nn.Conv1d(1, 16, 64, stride=2, padding=32)
        self.batchnorm1 = nn.BatchNorm1d(16)
        self.conv2 = nn.Conv1d(16, 32, 32, stride=2, padding=16)
        self.batchnorm2 = nn.BatchNorm1d(32)
        self.conv3 = nn.Conv1d(32, 64, 16, stride=2, padding=8)
        self.batchnorm3 = nn.BatchNorm1d(64)
        self.conv4 = nn.Conv1d(64, 128, 8, stride=2, padding=4)
        self.batchnorm4 = nn.BatchNorm1d(128)
        self.conv5 = nn.Conv1d(128, 256, 4, stride=2, padding=2)
        self.batchnorm5 = nn.BatchNorm1d(256)
        self.conv6 = nn.Conv1d(256, 512, 4, stride=2, padding=2)

    def trunk(self, samples: Tensor) -> Tensor:
        """Maps scaled samples at 22,050 Hz, (B, 220500), to conv6's (B, 512, 14)."""
        x = F.max_pool1d(F.relu(self.batchnorm1(self.conv1(samples.unsqueeze(1)))), 8)
        x = F.max_pool1d(F.relu(self.batchnorm2(self.conv2(x))), 8)
        x = F.relu(self.batchnorm3(self.conv3(x)))
        x = F.relu(self.batchnorm4(self.conv4(x)))
        x = F.max_pool1d(F.relu(self.batchnorm5(self.conv5(x))), 4)
        out: Tensor = self.conv6(x)
        return out

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeds utterances: 16 kHz (B, T) to float32 (B, 512), or (B, 3584) with pooling "half"."""
        repeated, _ = prepare_waveforms(waveforms, lengths, 160_000)
        if torch.compiler.is_exporting():  # that there are so many, a graph cannot see in a slice
            first = repeated[:, torch.arange(160_000, device=repeated.device)]
        else:
            first = repeated[:, :160_000]
        x = self.trunk(self.scale * resample(first, self.sample_rate)).float()
        return x.mean(dim=2) if self.pooling == "global" else F.avg_pool1d(x, 2).flatten(1)
