"""Learnable PINs: a contrastive loss whose negatives grow harder.

"Learnable PINs: cross-modal embeddings for person identity" (Nagrani, Albanie, Zisserman, ECCV 2018;
https://arxiv.org/abs/1805.00833).

The paper learns without labels: a voice and a face of one video are a positive, those of other videos negatives. The
recipe takes positives from one video too (`--data.same_video true`: the corpus must be prepared with `--bundle video`);
without that, as in the demo preset, a positive is a voice and a face of one person. Negatives are always other people,
which the paper's cannot promise. One that is nearer than its positive is passed over, unless all are: then the farthest
is taken.

The paper's full text was not at hand. Recalled, or from another implementation, and therefore options: the margin, the
start, step and cap of the curriculum, whether one negative or all up to the mined one enter the loss, whether the
positive's term is squared (it is), the optimiser's numbers. Not stated: how positives weigh against negatives (the two
means are added), in how many parts the rate falls (`stages`), the batch. On which layer the last one stands is not
known: here a linear layer to `dim` stands on fc7 of both networks; `voice_options: {dim: 256, activation: false}` makes
VGGVox's fc7 itself 256 wide.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.methods.base import Method
from voiceface.methods.losses import contrastive_loss, pairwise_distances, take_rows
from voiceface.methods.mining import curriculum_negatives


class PINs(Method):
    """Learnable PINs. The defaults are the paper's, as far as they are known.

    Args:
        face_encoder: Face network: a name that `voiceface list` shows.
        voice_encoder: Voice network.
        face_margin: Face box scale (inferred: as SVHF-Net's).
        dim: Width of the embedding.
        margin: Distance that negatives should have, on the unit sphere (from another implementation).
        tau_start: Difficulty of the first epochs: the share of the other voices, easy first, at which the negative is
            taken (from another implementation).
        tau_step: Growth of the difficulty (from another implementation).
        tau_every: Steps between two growths (inferred: two epochs of 105,600 face tracks, 64 a step).
        tau_cap: Largest difficulty (from another implementation).
        all_negatives: All negatives up to the mined one, not it alone (the sources differ).
        rate: First learning rate (recalled: 1e-2 or 1e-3).
        last_rate: Last learning rate (recalled).
        stages: Equal parts of the training, in each of which the rate is constant (not stated).
        momentum: Momentum of SGD (recalled).
        weight_decay: Weight decay (recalled).

    Raises:
        UserError: An encoder is unknown; when training starts: it is frozen and has no weights.
    """

    def __init__(
        self,
        face_encoder: str = "face_vggm",
        voice_encoder: str = "voice_vggvox",
        face_margin: float = 1.36,
        dim: int = 256,
        margin: float = 0.6,
        tau_start: float = 0.3,
        tau_step: float = 0.1,
        tau_every: int = 3300,
        tau_cap: float = 0.8,
        all_negatives: bool = False,
        rate: float = 1e-2,
        last_rate: float = 1e-8,
        stages: int = 10,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        **encoders: Any,
    ) -> None:
        super().__init__(face_encoder, voice_encoder, face_margin=face_margin, **encoders)
        self.face_fc = nn.Linear(self.face_encoder.dim, dim)
        self.voice_fc = nn.Linear(self.voice_encoder.dim, dim)
        self.margin, self.all_negatives = margin, all_negatives
        self.tau_start, self.tau_step, self.tau_every, self.tau_cap = tau_start, tau_step, tau_every, tau_cap
        self.rates, self.stages, self.momentum, self.weight_decay = (rate, last_rate), stages, momentum, weight_decay

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Method.embed_voice`; of length 1."""
        return F.normalize(self.voice_fc(self.voice_encoder(waveforms, lengths)).float(), dim=1)

    def embed_face(self, faces: Tensor) -> Tensor:
        """See `Method.embed_face`; of length 1."""
        return F.normalize(self.face_fc(self.face_encoder(faces)).float(), dim=1)

    def tau(self, step: int) -> float:
        """Difficulty of the negatives after so many steps."""
        return min(self.tau_start + self.tau_step * (step // self.tau_every), self.tau_cap)

    def loss(
        self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Contrastive loss of all positive pairs and of the negatives that the curriculum takes for each.

        The positives' mean plus the negatives' mean.
        """
        tau = self.tau(self.global_step)
        with torch.autocast(voices.device.type, enabled=False):
            distance = pairwise_distances(faces, voices)
            face, voice = (face_identity[:, None] == voice_identity).nonzero(as_tuple=True)
            near = distance[face, voice]
            anchors, columns = curriculum_negatives(
                distance[face], face_identity[face], voice_identity, near, tau, self.all_negatives
            )
            far = take_rows(distance, face)[anchors, columns]
            loss = near.sum() * 0
            if len(far):
                positive = contrastive_loss(near, torch.ones_like(near), self.margin).mean()
                loss = positive + contrastive_loss(far, torch.zeros_like(far), self.margin).mean()
        active = (far.detach() < self.margin).float().sum() / max(len(far), 1)
        return loss, {"loss": loss.detach(), "tau": torch.tensor(tau), "active": active}

    def configure_optimizers(self) -> Any:
        """SGD with momentum; the rate falls in equal ratios from the first to the last."""
        groups = self.layer_groups("fc", [self.face_fc, self.voice_fc], [self.rates[0]] * 3)
        optimizer = torch.optim.SGD(groups, momentum=self.momentum, weight_decay=self.weight_decay)
        return self.with_schedule(optimizer, self.exponential_decay(*self.rates, self.stages))
