"""Features of voices that `voiceface extract` wrote, as they are: heads train on what a frozen network gave."""

from torch import Tensor

from voiceface.encoders.base import VoiceEncoder
from voiceface.encoders.face_features import Features


class VoiceFeatures(Features, VoiceEncoder):
    """Features of voices; see `Features`."""

    bytes_per_second = 0

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Gives features back: float32 (B, dim); lengths say nothing of them."""
        return self.checked(waveforms)
