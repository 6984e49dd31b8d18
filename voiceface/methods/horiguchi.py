"""Horiguchi: N-pair loss over a common space of face and voice features.

"Face-voice matching using cross-modal embeddings" (Horiguchi, Kanda, Nagamatsu, ACM Multimedia 2018;
https://doi.org/10.1145/3240508.3240601).

The paper's full text was not at hand: pretrained extractors of faces and voices, small projections and the multi-class
N-pair loss are known from the title and another implementation, everything else here is not known. Options therefore:
both extractors; that they are frozen (inferred); the projections' layers and width; whether embeddings are normalised
and which modality has the anchors, where that implementation does the opposite of what is done here (normalised
embeddings, face anchors alone); the optimiser.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.methods.base import Method
from voiceface.methods.losses import n_pair_loss


class Horiguchi(Method):
    """Horiguchi et al.: the N-pair loss (Sohn 2016) on any pair of encoders. Defaults are unverified.

    Args:
        face_encoder: Face network: a name that `voiceface list` shows (unverified).
        voice_encoder: Voice network (unverified).
        freeze_face: Keep the face network as it is (inferred).
        freeze_voice: Keep the voice network as it is (inferred).
        face_margin: Face box scale (not stated).
        dim: Width of the embedding (unverified).
        hidden: Width of the projections' first layer, with ReLU (unverified).
        normalise: Give embeddings length 1 before the loss (not stated; another implementation does).
        temperature: Divides the inner products (1 is the loss as published).
        anchors: Modality of the anchors: faces, voices or both (not stated; another implementation has faces).
        penalty: Weight of the mean squared length of embeddings, where they are not normalised (Sohn 2016).
        rate: Learning rate of Adam (unverified).
        encoder_rate: Learning rate of networks that are not frozen (unverified).

    Raises:
        UserError: An encoder is unknown; when training starts: it is frozen and has no weights.
    """

    def __init__(
        self,
        face_encoder: str = "face_lresnet50_ir",
        voice_encoder: str = "voice_vggvox",
        freeze_face: bool = True,
        freeze_voice: bool = True,
        face_margin: float = 1.0,
        dim: int = 128,
        hidden: int = 256,
        normalise: bool = False,
        temperature: float = 1.0,
        anchors: Literal["faces", "voices", "both"] = "both",
        penalty: float = 0.0,
        rate: float = 1e-3,
        encoder_rate: float = 1e-5,
        **encoders: Any,
    ) -> None:
        super().__init__(
            face_encoder,
            voice_encoder,
            freeze_face=freeze_face,
            freeze_voice=freeze_voice,
            face_margin=face_margin,
            **encoders,
        )
        self.face_projection = projection(self.face_encoder.dim, hidden, dim)
        self.voice_projection = projection(self.voice_encoder.dim, hidden, dim)
        self.normalise, self.temperature, self.anchors, self.penalty = normalise, temperature, anchors, penalty
        self.rates = (rate, encoder_rate, encoder_rate)

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Method.embed_voice`."""
        return self._project(self.voice_projection, self.voice_encoder(waveforms, lengths))

    def embed_face(self, faces: Tensor) -> Tensor:
        """See `Method.embed_face`."""
        return self._project(self.face_projection, self.face_encoder(faces))

    def _project(self, layers: nn.Module, features: Tensor) -> Tensor:
        x: Tensor = layers(features).float()
        return F.normalize(x, dim=1) if self.normalise else x

    def loss(
        self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """N-pair loss: each anchor's own person against all others of the batch."""
        clips = {"voices": (voices / self.temperature, voice_identity), "faces": (faces, face_identity)}
        losses = []
        for name, other in (("voices", "faces"), ("faces", "voices")):
            if self.anchors in (name, "both"):
                (anchors, anchor_identity), (others, other_identity) = clips[name], clips[other]
                losses.append(n_pair_loss(anchors, others, anchor_identity, other_identity))
        loss = torch.stack(losses).mean()
        lengths = voices.float().square().sum(1).mean() + faces.float().square().sum(1).mean()
        total = loss + self.penalty * lengths
        return total, {"loss": total.detach(), "n_pair": loss.detach()}

    def configure_optimizers(self) -> Any:
        """Adam, constant rates."""
        layers = [self.face_projection, self.voice_projection]
        return torch.optim.Adam(self.layer_groups("projections", layers, self.rates))


def projection(inputs: int, hidden: int, dim: int) -> nn.Sequential:
    """FC, ReLU, FC."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, dim))
