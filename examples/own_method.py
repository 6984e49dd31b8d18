"""Train a method of your own on the built-in synthetic corpus: `python examples/own_method.py`, four minutes.

The method is InfoNCE with a fixed temperature; the recipe `infonce` learns it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import voiceface
from voiceface.methods import Method


class MyMethod(Method):
    """A linear layer behind each network, and InfoNCE over the batch.

    Args:
        dim: Width of the embedding.
        temperature: Softmax temperature, above 0.
        rate: Learning rate.
        encoders: Arguments of `voiceface.methods.Method`.
    """

    def __init__(self, dim: int = 64, temperature: float = 0.07, rate: float = 1e-3, **encoders: object) -> None:
        super().__init__(**encoders)
        self.voice_fc = nn.Linear(self.voice_encoder.dim, dim)
        self.face_fc = nn.Linear(self.face_encoder.dim, dim)
        self.temperature, self.rate = temperature, rate

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embed voices."""
        return self.voice_fc(self.voice_encoder(waveforms, lengths)).float()

    def embed_face(self, faces: Tensor) -> Tensor:
        """Embed faces."""
        return self.face_fc(self.face_encoder(faces)).float()

    def loss(
        self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of each voice over the faces of the batch; several may be its own."""
        logits = self.similarity(voices, faces) / self.temperature
        same = (voice_identity[:, None] == face_identity).float()
        loss = F.cross_entropy(logits, same / same.sum(dim=1, keepdim=True))
        return loss, {"loss": loss.detach()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam on all parameters."""
        return torch.optim.Adam(self.parameters(), self.rate)


def main(steps: int = 800, **options: object) -> None:
    """Train, test, and load the checkpoint again.

    Args:
        steps: Optimiser steps.
        options: Any other option of `voiceface.fit`.
    """
    run = voiceface.fit(MyMethod, steps=steps, **options)
    print(run.results.summary())
    model = voiceface.load(run.checkpoint, method=MyMethod)
    print(model)


if __name__ == "__main__":
    main()
