"""What every encoder is: a network that takes raw pixels or samples and owns its preprocessing."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class FaceEncoder(nn.Module, ABC):
    """A network that embeds face images.

    Attributes:
        size: Width and height of the images it takes, in pixels.
        margin: The face box it wants, as a multiple of the detected box; 1.0 is the detected box itself.
        dim: Length of an embedding.
        built: Name and options that it was built from.
        precomputed: The input is this network's output, computed before (`--cache-frozen`), and is handed through.
    """

    size: int
    margin: float = 1.0
    dim: int
    built: tuple[str, dict[str, Any]] = ("", {})
    precomputed: bool = False

    def __call__(self, faces: Tensor) -> Tensor:
        """Embeds faces, or hands through what was computed before."""
        return _checked(faces, self.dim) if self.precomputed else super().__call__(faces)

    @abstractmethod
    def forward(self, faces: Tensor) -> Tensor:
        """Embeds faces.

        Args:
            faces: RGB images, uint8 (B, 3, size, size), in either memory format.

        Returns:
            Embeddings, float32 (B, dim).

        Raises:
            ValueError: If the faces have another shape or type.
        """

    def as_float(self, faces: Tensor) -> Tensor:
        """Checks the batch and returns its pixels as float32, still in 0..255."""
        if faces.dtype != torch.uint8 or faces.shape[1:] != (3, self.size, self.size):
            raise ValueError(
                f"{type(self).__name__} takes uint8 faces of shape (B, 3, {self.size}, {self.size}), "
                f"not {str(faces.dtype).removeprefix('torch.')} of shape {tuple(faces.shape)}"
            )
        return faces.float()


class VoiceEncoder(nn.Module, ABC):
    """A network that embeds utterances; in evaluation mode an embedding does not depend on the rest of its batch.

    Attributes:
        sample_rate: Samples per second of the waveforms that the network works on. Waveforms always arrive at 16 kHz;
            an encoder of another rate resamples them itself.
        dim: Length of an embedding.
        crops: The waveforms are the crops of training, not whole utterances; None: in training mode they are.
        built: Name and options that it was built from.
        precomputed: The input is this network's output, computed before (`--cache-frozen`), and is handed through.
        bytes_per_second: Memory that a second of padded waveform takes without gradients, measured on a CPU; 0: the
            input is no waveform.
    """

    sample_rate: int = 16_000
    bytes_per_second: int = 30_000_000
    dim: int
    crops: bool | None = None
    built: tuple[str, dict[str, Any]] = ("", {})
    precomputed: bool = False

    def __call__(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeds utterances, or hands through what was computed before."""
        return _checked(waveforms, self.dim) if self.precomputed else super().__call__(waveforms, lengths)

    @property
    def whole(self) -> bool:
        """Whole utterances come in, as in evaluation."""
        return not (self.training if self.crops is None else self.crops)

    @abstractmethod
    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeds utterances.

        Args:
            waveforms: 16 kHz mono, int16 or floating point in [-1, 1], (B, T), zero-padded at the end.
            lengths: Samples of each utterance, (B,), 1..T; None when all have T. Short ones are repeated as needed.

        Returns:
            Embeddings, float32 (B, dim).

        Raises:
            voiceface.utils.errors.UserError: If an utterance has no samples or a length exceeds T.
        """


def _checked(outputs: Tensor, dim: int) -> Tensor:
    """Outputs computed before, of the right shape and type."""
    if not outputs.is_floating_point() or outputs.shape[1:] != (dim,):
        kind = str(outputs.dtype).removeprefix("torch.")
        raise ValueError(f"outputs of this network are floats of shape (B, {dim}), not {kind} {tuple(outputs.shape)}")
    return outputs
