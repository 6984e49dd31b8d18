"""InfoNCE: a symmetric contrastive loss with a learned temperature; a baseline of this project, not a published method.

"Representation learning with contrastive predictive coding" (van den Oord, Li, Vinyals, 2018;
https://arxiv.org/abs/1807.03748).

That paper has the loss, and says nothing of voices and faces. Both directions, and the learned temperature with its
start and its bound, are those of "Learning transferable visual models from natural language supervision" (Radford and
others, ICML 2021; https://arxiv.org/abs/2103.00020). All else is chosen here: the networks, which are trained whole,
the width, the rates, the batch. The negatives of a clip are the other people of the batch, of all processes together. A
person's further clips in a batch are positives of their own and nobody's negatives; the recipes draw one voice and one
face of each.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.methods.base import Method
from voiceface.methods.losses import n_pair_loss


class InfoNCE(Method):
    """Symmetric InfoNCE over cosines, with a learned temperature. The settings are this project's own.

    Args:
        face_encoder: Face network: a name that `voiceface list` shows.
        voice_encoder: Voice network.
        dim: Width of the embedding.
        temperature: First temperature, above 0 (Radford 2021).
        largest_scale: Bound of 1 / temperature (Radford 2021).
        rate: Learning rate of the projections and of the temperature.
        encoder_rate: Learning rate of both networks.

    Raises:
        UserError: An encoder is unknown; when training starts: it is frozen and has no weights.
    """

    def __init__(
        self,
        face_encoder: str = "face_lresnet50_ir",
        voice_encoder: str = "voice_thin_resnet34",
        dim: int = 128,
        temperature: float = 0.07,
        largest_scale: float = 100.0,
        rate: float = 1e-3,
        encoder_rate: float = 1e-4,
        **encoders: Any,
    ) -> None:
        super().__init__(face_encoder, voice_encoder, **encoders)
        self.face_fc = nn.Linear(self.face_encoder.dim, dim)
        self.voice_fc = nn.Linear(self.voice_encoder.dim, dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
        self.largest, self.rates = math.log(largest_scale), (rate, encoder_rate, encoder_rate)

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Method.embed_voice`."""
        out: Tensor = self.voice_fc(self.voice_encoder(waveforms, lengths)).float()
        return out

    def embed_face(self, faces: Tensor) -> Tensor:
        """See `Method.embed_face`."""
        out: Tensor = self.face_fc(self.face_encoder(faces)).float()
        return out

    def loss(
        self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy of each clip's own person among all of the batch: the mean of voices' and of faces'."""
        with torch.no_grad():
            self.log_scale.clamp_(max=self.largest)
        scaled = self.log_scale.exp() * F.normalize(voices.float(), dim=1)
        faces = F.normalize(faces.float(), dim=1)
        loss = n_pair_loss(scaled, faces, voice_identity, face_identity)
        loss = (loss + n_pair_loss(faces, scaled, face_identity, voice_identity)) / 2
        return loss, {"loss": loss.detach(), "temperature": (-self.log_scale.detach()).exp()}

    def configure_optimizers(self) -> Any:
        """Adam, constant rates."""
        groups = self.layer_groups("fc", [self.face_fc, self.voice_fc], self.rates)
        groups[0]["params"].append(self.log_scale)
        return torch.optim.Adam(groups)
