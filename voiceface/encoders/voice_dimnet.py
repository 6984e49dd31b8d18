"""Convolutions over time on log-mel bands: the voice network of DIMNet (Wen et al. 2019, https://arxiv.org/abs/1807.04836).

Also the voice network of Wang et al. 2020 (joint embedding with double ranking losses), 512-d there. The layers are
those of the same first author's reconstructing_faces_from_voices; that DIMNet has just these is inferred.
"""

import torch
from torch import Tensor, nn

from voiceface.encoders.audio import normalised_log_mel, prepare_waveforms, zero_beyond
from voiceface.encoders.base import VoiceEncoder


class DIMNetVoice(VoiceEncoder):
    """Five strided convolutions over time, averaged over time: 64-d, 2,670,720 parameters.

    3,168,576 parameters with 256-d, 3,832,384 with 512-d. The features are
    `voiceface.encoders.audio.normalised_log_mel`; DIMNet removes silence first, which is the preparation's work here.
    Utterances shorter than one second are repeated to one second, where the author's test code repeats all shorter than
    ten seconds to ten. Training crops there have 300 to 800 frames of 10 ms.

    Args:
        dim: Width of the last convolution, which has a bias and neither batch norm nor ReLU.
    """

    bytes_per_second = 1_500_000

    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.ModuleList()
        inputs = 64
        for width in (256, 384, 576, 864):
            self.layers.append(nn.Conv1d(inputs, width, 3, stride=2, padding=1, bias=False))
            self.layers.append(nn.BatchNorm1d(width))
            self.layers.append(nn.ReLU(inplace=True))
            inputs = width
        self.layers.append(nn.Conv1d(inputs, dim, 3, stride=2, padding=1))

    def trunk(self, x: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Maps features (B, 64, T) to (B, dim, T'), T' near T / 32, and the frames to its steps."""
        for layer in self.layers:
            if isinstance(layer, nn.Conv1d):
                x = layer(zero_beyond(x, frames))
                frames = None if frames is None else (frames + 1) // 2
            else:
                x = layer(x)
        return x, frames

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeds utterances: 16 kHz (B, T) to float32 (B, dim)."""
        waveforms, lengths = prepare_waveforms(waveforms, lengths, self.sample_rate)
        x, frames = self.trunk(*normalised_log_mel(waveforms, lengths))
        steps: int | Tensor = x.shape[2] if frames is None else frames[:, None]
        return torch.div(zero_beyond(x.float(), frames).sum(dim=2), steps)
