"""Features of faces that `voiceface extract` wrote, as they are: heads train on what a frozen network gave."""

import torch
from torch import Tensor

from voiceface.encoders.base import FaceEncoder
from voiceface.utils.errors import UserError


class FaceFeatures(FaceEncoder):
    """The identity on features; without parameters. A corpus of features says what its options are.

    Args:
        dim: Length of a feature.
        encoder: Network that the features are of.
        weights: sha256 of its weights.

    Raises:
        UserError: `dim` is missing.
    """

    size = 0

    def __init__(self, dim: int = 0, encoder: str = "", weights: str = "") -> None:
        super().__init__()
        self.dim, self.encoder, self.weights = checked_width("face_features", dim), encoder, weights

    def forward(self, faces: Tensor) -> Tensor:
        """Gives features back: float32 (B, dim)."""
        return checked_features(faces, self.dim, type(self).__name__)


def checked_width(name: str, dim: int) -> int:
    """The width of an encoder's features.

    Raises:
        UserError: It is missing.
    """
    if dim < 1:
        raise UserError(
            f"{name}: its width is missing; `fit --data FEATURES` takes it from a corpus that `voiceface extract` wrote"
        )
    return dim


def checked_features(features: Tensor, dim: int, name: str) -> Tensor:
    """Features of the right shape and type.

    Raises:
        ValueError: They have another one.
    """
    if features.dtype != torch.float32 or features.shape[1:] != (dim,):
        raise ValueError(
            f"{name} takes float32 features of shape (B, {dim}), "
            f"not {str(features.dtype).removeprefix('torch.')} of shape {tuple(features.shape)}"
        )
    return features
