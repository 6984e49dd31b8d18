"""VGGVox on mirrored spectrograms (Nagrani et al. 2017, https://arxiv.org/abs/1706.08612), up to fc7.

The voice stream of SVHF-Net and Learnable PINs. Layers and features follow the authors' code and released weights
(a-nagrani/VGGVox); later networks of the same group take half of the mirrored axis and differ in other ways too.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.encoders.audio import mirrored_spectrogram, prepare_waveforms, zero_beyond
from voiceface.encoders.base import VoiceEncoder


class VGGVox(VoiceEncoder):
    """VGGVox: 1024-d after fc7, BN and ReLU, 16,628,992 parameters; without this last BN and ReLU 16,626,944.

    The features are `voiceface.encoders.audio.mirrored_spectrogram`, 512 bins over T frames of 10 ms. While it trains,
    the whole utterance is used: 48,240 samples give 300 frames, 48,000 give only 298. In evaluation mode the features,
    normalised over the whole utterance, are cut to the largest of 100, 200, ..., 1000 frames that fits, from the
    middle, as the authors do. Utterances shorter than 100 frames (16,240 samples) are repeated to that. The
    output of fc6 is averaged over time before fc7; nothing is L2-normalised.

    Args:
        dim: Width of fc7, 1024 in the released networks. Learnable PINs has a last layer of 256 (recalled, unverified):
            the recipe `pins` keeps fc7 at 1024 and adds a layer to 256. The other reading, fc7 itself reduced, is
            `voice_options: {dim: 256, activation: false}`; a linear layer from 256 to 256 then follows.
        activation: Whether BN and ReLU follow fc7, as in VoxCeleb's verification network. SVHF-Net has neither.
    """

    bytes_per_second = 8_000_000

    def __init__(self, dim: int = 1024, activation: bool = True) -> None:
        super().__init__()
        self.dim = dim
        self.conv1 = nn.Conv2d(1, 96, 7, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(96)
        self.conv2 = nn.Conv2d(96, 256, 5, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(256)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(384)
        self.conv4 = nn.Conv2d(384, 256, 3, padding=1)
        self.bn4 = nn.BatchNorm2d(256)
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.bn5 = nn.BatchNorm2d(256)
        self.fc6 = nn.Conv2d(256, 4096, (9, 1))
        self.bn6 = nn.BatchNorm2d(4096)
        self.fc7 = nn.Linear(4096, dim)
        self.bn7 = nn.BatchNorm1d(dim) if activation else None

    def trunk(self, spectrogram: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Maps spectrograms (B, 512, T), zero beyond `frames`, to fc6's (B, 4096, T'), and the frames to its steps."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(spectrogram.unsqueeze(1)))), 3, 2)
        frames = None if frames is None else ((frames - 3) // 2 - 1) // 2
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(zero_beyond(x, frames)))), 3, 2)
        frames = None if frames is None else ((frames - 1) // 2 - 1) // 2
        x = F.relu(self.bn3(self.conv3(zero_beyond(x, frames))))
        x = F.relu(self.bn4(self.conv4(zero_beyond(x, frames))))
        x = F.max_pool2d(F.relu(self.bn5(self.conv5(zero_beyond(x, frames)))), (5, 3), (3, 2))
        frames = None if frames is None else (frames - 1) // 2
        return F.relu(self.bn6(self.fc6(x))).squeeze(2), frames

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeds utterances: 16 kHz (B, T) to float32 (B, dim)."""
        waveforms, lengths = prepare_waveforms(waveforms, lengths, 400 + 99 * 160)
        x, frames = mirrored_spectrogram(waveforms, lengths)
        if self.whole:
            x, frames = _central_bucket(x, frames)
        x, frames = self.trunk(x, frames)
        steps = x.shape[2] if frames is None else frames[:, None]
        out: Tensor = self.fc7(zero_beyond(x.float(), frames).sum(dim=2) / steps)
        if self.bn7 is not None:
            out = F.relu(self.bn7(out))
        return out.float()


def _central_bucket(x: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cuts each item of (B, F, T) to the largest of 100, 200, ..., 1000 frames that fits, from the middle."""
    if frames is None:
        frames = torch.full((len(x),), x.shape[2], device=x.device)
    width = (frames // 100).clamp(max=10) * 100
    # One frame left of the middle: the authors use the rounded half, counted from 0, as an index counted from 1.
    start = ((frames - width + 1) // 2 - 1).clamp(min=0)
    most = 1000 if torch.compiler.is_exporting() else int(width.max())  # a graph cannot look at values
    positions = start[:, None] + torch.arange(most, device=x.device)
    cut = x.gather(2, positions.clamp(max=x.shape[2] - 1)[:, None].expand(-1, x.shape[1], -1))
    return zero_beyond(cut, width), width
