"""TriNet: triplets over identity batches, the voice as anchor.

"Voice-face cross-modal matching and retrieval: a benchmark" (ICLR 2021 submission; earlier version
https://arxiv.org/abs/1911.09338).

Not stated in the paper and therefore options: the width of the last layers (`dim`, here 128), whether the voice's last
layer is trained beside the frozen voice network (`train_voice_fc`, here true), and the composition of a batch
(`--data.people 4 --data.voices 4 --data.faces 8` gives the 3,072 triplets per step that the paper's counts imply). The
formula of the scaled embedding is damaged in the paper's text; it is read as s (Wx + b) / |Wx + b|. In the Euclidean
row of its Table 5 the scale column still says 128; it is read as s (Wx + b). The voice network's output enters the last
layer without the L2 normalisation that its authors give it in evaluation (inferred).
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.methods.base import Method
from voiceface.methods.losses import triplet_loss
from voiceface.utils.audio import SAMPLE_RATE


class TriNet(Method):
    """TriNet. The defaults are the paper's; each row of its Table 5 is one of these options.

    Args:
        face_encoder: Face network: a name that `voiceface list` shows, or `timm/NAME`.
        voice_encoder: Voice network.
        face_options: Options of the face network, such as `{}`.
        voice_options: Options of the voice network, such as `{clusters: 8, ghosts: 2}`.
        freeze_voice: Keep the voice network as it is, its batch norms in eval mode; needs `voice_weights`.
        train_voice_fc: Train the voice's last layer (inferred: the paper calls the audio network frozen, and gives the
            last layers a rate).
        face_margin: Face box scale (Table 5: 1.0 or 1.1).
        dim: Width of the embedding (not stated in the paper).
        space: Distances between points of a sphere (`sphere`) or of the plain space (`euclidean`).
        scale: Factor s on the embedding: the sphere's radius (Table 5: 1, 128, 512).
        margin: Margin of the triplet loss.
        test_seconds: Cut this much from the middle of test utterances; None: whole utterances (Table 5: 2.5).
        fc_rate: First learning rate of the two last layers.
        face_rate: Learning rate of the face network.
        voice_rate: Learning rate of the voice network where it is trained (not stated; as the face network's).
        milestones: Steps after which the last layers' rate is divided by ten.

    Raises:
        UserError: An encoder is unknown; when training starts: it is frozen and has no weights.
    """

    def __init__(
        self,
        face_encoder: str = "face_lresnet50_ir",
        voice_encoder: str = "voice_thin_resnet34",
        freeze_voice: bool = True,
        train_voice_fc: bool = True,
        face_margin: float = 1.0,
        dim: int = 128,
        space: Literal["sphere", "euclidean"] = "sphere",
        scale: float = 128.0,
        margin: float = 1.0,
        test_seconds: float | None = None,
        fc_rate: float = 1e-3,
        face_rate: float = 1e-6,
        voice_rate: float = 1e-6,
        milestones: Sequence[int] = (20_000, 40_000, 60_000),
        **encoders: Any,
    ) -> None:
        milestones = list(milestones)
        super().__init__(face_encoder, voice_encoder, freeze_voice=freeze_voice, face_margin=face_margin, **encoders)
        self.face_fc = nn.Linear(self.face_encoder.dim, dim)
        self.voice_fc = nn.Linear(self.voice_encoder.dim, dim).requires_grad_(train_voice_fc)
        self.sphere, self.scale, self.margin, self.test_seconds = space == "sphere", scale, margin, test_seconds
        self.space = "cosine" if self.sphere else "euclidean"
        self.rates, self.milestones = (fc_rate, face_rate, voice_rate), milestones

    def _head(self, fc: nn.Linear, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            x = fc(features.float())
            return self.scale * (F.normalize(x, dim=1) if self.sphere else x)

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Method.embed_voice`; the embedding has length `scale` on the sphere."""
        if self.test_seconds is not None and not self.training:
            waveforms, lengths = middle(waveforms, lengths, round(self.test_seconds * SAMPLE_RATE))
        return self._head(self.voice_fc, self.voice_encoder(waveforms, lengths))

    def embed_face(self, faces: Tensor) -> Tensor:
        """See `Method.embed_face`; the embedding has length `scale` on the sphere."""
        return self._head(self.face_fc, self.face_encoder(faces))

    def loss(
        self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """All triplets (voice, its face, another's face) of the batch; the paper's loss is their sum."""
        total, hinge = triplet_loss(voices, faces, voice_identity, face_identity, self.margin)
        return total, {"loss": hinge.detach().mean(), "active": (hinge.detach() > 0).float().mean()}

    def configure_optimizers(self) -> Any:
        """Adam; the last layers' rate falls at the milestones, the networks' rates are constant."""
        groups = self.layer_groups("fc", [self.face_fc, self.voice_fc], self.rates)

        def fall(step: int) -> float:
            return float(0.1 ** sum(step >= m for m in self.milestones))

        return self.with_schedule(torch.optim.Adam(groups), fall, constant=("face", "voice"))


def middle(waveforms: Tensor, lengths: Tensor | None, samples: int) -> tuple[Tensor, Tensor]:
    """Cut the middle of each utterance.

    Args:
        waveforms: Shape (B, T), zero-padded.
        lengths: Samples of each, shape (B,), or None.
        samples: Length of the cut; shorter utterances stay whole.

    Returns:
        Waveforms of shape (B, min(T, samples)) and their lengths.
    """
    if lengths is None:
        lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
    start = (lengths - samples).clamp_min(0) // 2
    width: int = torch.sym_min(samples, waveforms.shape[1])  # type: ignore[no-untyped-call]  # free when exported
    position = start[:, None] + torch.arange(width, device=waveforms.device)
    kept = lengths.clamp_max(samples)
    cut = waveforms.gather(1, position.clamp_max(waveforms.shape[1] - 1))
    return cut.masked_fill(torch.arange(cut.shape[1], device=cut.device) >= kept[:, None], 0), kept
