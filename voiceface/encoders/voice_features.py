"""Features of voices that `voiceface extract` wrote, as they are: heads train on what a frozen network gave."""

from torch import Tensor

from voiceface.encoders.base import VoiceEncoder
from voiceface.encoders.face_features import checked_features, checked_width


class VoiceFeatures(VoiceEncoder):
    """The identity on features; without parameters. A corpus of features says what its options are.

    Args:
        dim: Length of a feature.
        encoder: Network that the features are of.
        weights: sha256 of its weights.

    Raises:
        UserError: `dim` is missing.
    """

    def __init__(self, dim: int = 0, encoder: str = "", weights: str = "") -> None:
        super().__init__()
        self.dim, self.encoder, self.weights = checked_width("voice_features", dim), encoder, weights

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Gives features back: float32 (B, dim); lengths say nothing of them."""
        return checked_features(waveforms, self.dim, type(self).__name__)
