"""Features of faces that `voiceface extract` wrote, as they are: heads train on what a frozen network gave."""

import torch
from torch import Tensor, nn

from voiceface.encoders.base import FaceEncoder
from voiceface.utils.errors import UserError


class Features(nn.Module):
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
        if dim < 1:
            name = type(self).__module__.rpartition(".")[2]
            raise UserError(
                f"{name}: its width is missing; `fit --data FEATURES` takes it from a corpus that `voiceface extract` "
                "wrote"
            )
        self.dim, self.encoder, self.weights = dim, encoder, weights

    def checked(self, features: Tensor) -> Tensor:
        """Features of the right shape and type.

        Raises:
            ValueError: They have another one.
        """
        if features.dtype != torch.float32 or features.shape[1:] != (self.dim,):
            raise ValueError(
                f"{type(self).__name__} takes float32 features of shape (B, {self.dim}), "
                f"not {str(features.dtype).removeprefix('torch.')} of shape {tuple(features.shape)}"
            )
        return features


class FaceFeatures(Features, FaceEncoder):
    """Features of faces."""

    size = 0

    def forward(self, faces: Tensor) -> Tensor:
        """Gives features back: float32 (B, dim)."""
        return self.checked(faces)
