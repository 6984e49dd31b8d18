"""A small voice network of our own, quick enough to train from scratch on a laptop's CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.encoders.audio import log_mel, prepare_waveforms, zero_beyond
from voiceface.encoders.base import VoiceEncoder


class VoiceSmall(VoiceEncoder):
    """Convolutions over time on log-mel bands, then mean and standard deviation over time: 128-d.

    The 64 ms window resolves the harmonics of a low voice, so that pitch is seen beside the formants. Only the overall
    level is removed from the features: the long-term spectrum says much about a speaker. Utterances shorter than one
    second are repeated to one second.
    """

    bytes_per_second = 700_000
    dim = 128
    bands = 80
    # Kernel, stride and width of each convolution over time.
    layers = ((5, 2, 128), (3, 1, 128), (3, 2, 160), (3, 1, 160), (1, 1, 256))

    def __init__(self) -> None:
        super().__init__()
        self.input_norm = nn.BatchNorm1d(self.bands)
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        inputs = self.bands
        for kernel, stride, width in self.layers:
            self.convolutions.append(nn.Conv1d(inputs, width, kernel, stride, padding=kernel // 2, bias=False))
            self.norms.append(nn.BatchNorm1d(width))
            inputs = width
        self.fc = nn.Linear(2 * inputs, self.dim)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeds utterances: 16 kHz (B, T) to float32 (B, 128)."""
        waveforms, lengths = prepare_waveforms(waveforms, lengths, self.sample_rate)
        x, frames = log_mel(waveforms, lengths, bands=self.bands, window=1024, hop=400)
        level = x.mean(dim=(1, 2)) if frames is None else x.sum(dim=(1, 2)) / (self.bands * frames)
        x = zero_beyond(self.input_norm(x - level[:, None, None]), frames)
        for convolution, norm, (_, stride, _) in zip(self.convolutions, self.norms, self.layers, strict=True):
            x = F.relu(norm(convolution(x)))
            frames = None if frames is None else (frames + stride - 1) // stride
            x = zero_beyond(x, frames)
        out: Tensor = self.fc(_statistics(x.float(), frames))
        return out.float()


def _statistics(x: Tensor, frames: Tensor | None) -> Tensor:
    """Mean and standard deviation over each utterance's own frames: (B, C, T), zero beyond them, to (B, 2C)."""
    count = x.shape[2] if frames is None else frames[:, None]
    mean = x.sum(dim=2) / count
    deviation = zero_beyond(x - mean[:, :, None], frames)
    # The constant keeps the root's gradient finite where a channel does not vary.
    return torch.cat([mean, (deviation.square().sum(dim=2) / count + 1e-5).sqrt()], dim=1)
