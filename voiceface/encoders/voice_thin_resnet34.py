"""Thin-ResNet34 with NetVLAD or GhostVLAD pooling (Xie et al. 2019, https://arxiv.org/abs/1902.10107).

TriNet's voice backbone. Follows the authors' code (WeidiXie/VGG-Speaker-Recognition) in layers, batch norm constants,
initialisation and features, with two differences: while it trains, an utterance is used as it comes (the authors repeat
it, reverse it with probability 0.3 and cut 250 frames at random; here the data module cuts the crop), and the L2
normalisation of the evaluation output is left to the caller.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.encoders.audio import append_reversed, magnitude_spectrogram, prepare_waveforms, zero_beyond
from voiceface.encoders.base import VoiceEncoder

# Blocks, width of the 1x1 and 3x3 convolutions, width out and stride of each stage.
_STAGES = ((2, 48, 96, 1), (3, 96, 128, 2), (3, 128, 256, 2), (3, 256, 512, 2))


def _batch_norm(width: int) -> nn.BatchNorm2d:
    """Batch norm with the constants of Keras, in which the released weights were trained."""
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)


def _halve(x: Tensor) -> Tensor:
    """Max pooling of (B, C, F, T) by 2 x 2."""
    if not torch.compiler.is_exporting():
        return F.max_pool2d(x, 2)
    # For a free number of frames torch's own pooling asks whether it is even.
    x, first = F.max_pool2d(x, (2, 1)), 2 * torch.arange(x.shape[3] // 2, device=x.device)
    return torch.maximum(x[..., first], x[..., first + 1])


class _Bottleneck(nn.Module):
    """1x1 (strided), 3x3 and 1x1 convolutions, each with BN; a projected shortcut in a stage's first block."""

    def __init__(self, inputs: int, width: int, outputs: int, stride: int, project: bool) -> None:
        super().__init__()
        self.stride = stride
        self.reduce = nn.Conv2d(inputs, width, 1, stride, bias=False)
        self.reduce_bn = _batch_norm(width)
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv_bn = _batch_norm(width)
        self.increase = nn.Conv2d(width, outputs, 1, bias=False)
        self.increase_bn = _batch_norm(outputs)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _batch_norm(outputs))
            if project
            else nn.Identity()
        )

    def forward(self, x: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
        frames = None if frames is None else (frames + self.stride - 1) // self.stride
        # Only the 3x3 convolution looks across time, so only its input must be zero beyond the utterance.
        y = zero_beyond(F.relu(self.reduce_bn(self.reduce(x))), frames)
        y = F.relu(self.conv_bn(self.conv(y)))
        return F.relu(self.increase_bn(self.increase(y)) + self.shortcut(x)), frames


class _VLAD(nn.Module):
    """NetVLAD over time; with ghosts, clusters that take their share of the frames and are then dropped (GhostVLAD)."""

    def __init__(self, dim: int, clusters: int, ghosts: int) -> None:
        super().__init__()
        self.clusters = clusters
        self.centres = nn.Parameter(torch.empty(clusters + ghosts, dim))

    def forward(self, x: Tensor, scores: Tensor, frames: Tensor | None) -> Tensor:
        """Pools local features x (B, D, T), with cluster scores (B, K + G, T), to (B, K * D)."""
        share = zero_beyond(scores.softmax(dim=1), frames)[:, : self.clusters]
        residual = share @ x.transpose(1, 2) - share.sum(dim=2, keepdim=True) * self.centres[: self.clusters]
        return F.normalize(residual, dim=2, eps=1e-6).flatten(1)


class ThinResNet34(VoiceEncoder):
    """Thin-ResNet34 with NetVLAD or GhostVLAD: 512-d after fc6 and ReLU, not L2-normalised.

    7,656,200 parameters with the defaults, 3,690,240 of them in the trunk. Compare voices by cosine, which equals the
    dot product of the authors' normalised outputs. The features are `voiceface.encoders.audio.magnitude_spectrogram`;
    in evaluation the utterance is followed by its own reversal, in a method's training it is not, frozen or not.
    Utterances shorter than one second are repeated to one second. The first layer works at full resolution: in
    evaluation a batch takes about 27 MB of memory per second of (padded) speech.

    Args:
        clusters: Clusters K whose residuals are kept. 8 in the released weights, 10 in the authors' training script.
        ghosts: Ghost clusters G; 0 is NetVLAD, which TriNet names. 2 in the released weights (GhostVLAD).
    """

    bytes_per_second = 27_000_000
    dim = 512

    def __init__(self, clusters: int = 8, ghosts: int = 0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 64, 7, padding=3, bias=False)
        self.stem_bn = _batch_norm(64)
        self.blocks = nn.ModuleList()
        inputs = 64
        for blocks, width, outputs, stride in _STAGES:
            for index in range(blocks):
                self.blocks.append(_Bottleneck(inputs, width, outputs, stride if index == 0 else 1, index == 0))
                inputs = outputs
        # Both take the trunk's map and span the 7 steps that are left of the 257 frequencies.
        self.x_fc = nn.Conv2d(inputs, self.dim, (7, 1))
        self.assignment = nn.Conv2d(inputs, clusters + ghosts, (7, 1))
        self.vlad = _VLAD(self.dim, clusters, ghosts)
        self.fc6 = nn.Linear(clusters * self.dim, self.dim)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                nn.init.orthogonal_(parameter)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def trunk(self, spectrogram: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Maps spectrograms (B, 257, T) to (B, 512, 7, T'), T' near T / 16, and the frames to those of the map."""
        x = F.relu(self.stem_bn(self.stem(spectrogram.unsqueeze(1))))
        x = _halve(x)
        frames = None if frames is None else frames // 2
        for block in self.blocks:
            x, frames = cast(_Bottleneck, block)(x, frames)
        return F.max_pool2d(x, (3, 1), (2, 1)), frames

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeds utterances: 16 kHz (B, T) to float32 (B, 512), each value at least 0."""
        waveforms, lengths = prepare_waveforms(waveforms, lengths, self.sample_rate)
        if self.whole:
            waveforms, lengths = append_reversed(waveforms, lengths)
        x, frames = self.trunk(*magnitude_spectrogram(waveforms, lengths))
        pooled = self.vlad(F.relu(self.x_fc(x)).squeeze(2), self.assignment(x).squeeze(2), frames)
        return F.relu(self.fc6(pooled)).float()
