"""DRL: one shared last layer, bidirectional ranking with intra-modal terms, identity and centre constraints.

"Learning discriminative joint embeddings for efficient face and voice association" (Wang et al., SIGIR
2020; https://doi.org/10.1145/3397271.3401302).

The ranking loss's equation is damaged in the paper's text; negatives are mined by identity. Inside the intra-modal
terms the printed maximum is taken literally (the closest clip of another person); `intra_negative: shared` takes the
clip that was mined across modalities.

Not stated in the paper, and therefore options or marked: sums or means over the batch (means), whether the identity and
centre constraints see the embedding before or after its normalisation (before: `constrain`), the rate of the centres,
that one classifier serves both modalities (inferred), the batch and the number of epochs, and the number of stages of
the falling rate. `centre_rate` is 0.5, the default of public code of the centre loss, but of a mean over the 2N vectors
of a batch: at 64 people a visit moves a centre 1/128 of the way to its two clips' mean; the rule of Wen et al. 2016
with 0.5 moves it a third (unverified). `face_margin` is 1.0; the paper's preprocessing "like PINs" would argue for
1.36. The ablations are options: `lambda_ranking`, `lambda1` and `lambda2` of 0 take a term out, `shared_fc`, `dim`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.methods.base import Method, to_width
from voiceface.methods.losses import centre_loss, ranking_loss


class DRL(Method):
    """DRL joint embedding. The defaults are the paper's.

    Args:
        face_encoder: Face network: a name that `voiceface list` shows.
        voice_encoder: Voice network.
        face_margin: Face box scale (not stated; 1.36, as PINs, is the other reading).
        dim: Width of the embedding (ablation: 128, 256, 512).
        shared_fc: One last layer for both modalities; false: one each (ablation).
        common: Width of both networks' outputs before the shared layer; an encoder of another width gets a linear
            layer to it.
        alpha1: Margin of the ranking of voices for a face.
        alpha2: Margin of the ranking of faces for a voice.
        beta1: Margin between voices of different people.
        beta2: Margin between faces of different people.
        lambda1: Weight of the identity constraint.
        lambda2: Weight of the centre constraint.
        lambda3: Weight of the voice-voice term.
        lambda4: Weight of the face-face term.
        lambda_ranking: Weight of the ranking loss, 1 in the paper (ablation: 0).
        intra_negative: Negative of the intra-modal terms: the `hardest` of the modality, or the one `shared` with the
            cross-modal term (two readings of equation 1).
        constrain: Embedding that the identity and centre constraints see (not stated).
        rate: First learning rate.
        last_rate: Last learning rate.
        stages: Equal parts of the training, in each of which the rate is constant (not stated).
        centre_rate: Learning rate of the centres, on the centre loss alone, a mean over the batch (not stated).
        momentum: Momentum of SGD.
        weight_decay: Weight decay.

    Raises:
        UserError: An encoder is unknown; when training starts: it is frozen and has no weights.
    """

    training_only = ("classifier.", "centres")

    def __init__(
        self,
        face_encoder: str = "face_inception_resnet_v1",
        voice_encoder: str = "voice_dimnet",
        face_margin: float = 1.0,
        dim: int = 256,
        shared_fc: bool = True,
        common: int = 512,
        alpha1: float = 0.6,
        alpha2: float = 0.6,
        beta1: float = 0.2,
        beta2: float = 0.2,
        lambda1: float = 1.0,
        lambda2: float = 0.001,
        lambda3: float = 0.1,
        lambda4: float = 0.1,
        lambda_ranking: float = 1.0,
        intra_negative: Literal["hardest", "shared"] = "hardest",
        constrain: Literal["raw", "normalised"] = "raw",
        rate: float = 1e-3,
        last_rate: float = 1e-8,
        stages: int = 10,
        centre_rate: float = 0.5,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        **encoders: Any,
    ) -> None:
        super().__init__(face_encoder, voice_encoder, face_margin=face_margin, **encoders)
        self.face_in = to_width(self.face_encoder.dim, common)
        self.voice_in = to_width(self.voice_encoder.dim, common)
        self.fc = nn.Linear(common, dim)
        self.voice_fc = None if shared_fc else nn.Linear(common, dim)
        self.margins = {"alpha1": alpha1, "alpha2": alpha2, "beta1": beta1, "beta2": beta2}
        self.intra_weights = {"lambda3": lambda3, "lambda4": lambda4}
        self.lambdas = (lambda_ranking, lambda1, lambda2)
        self.intra_negative, self.constrain, self.dim = intra_negative, constrain, dim
        self.classifier: nn.Linear | None = None
        self.centres: nn.Parameter | None = None
        self.rates, self.centre_rate, self.stages = (rate, last_rate), centre_rate, stages
        self.momentum, self.weight_decay = momentum, weight_decay

    def build_training_heads(self, people: Sequence[Mapping[str, str]]) -> None:
        """Build the identity classifier and the centres; see `Method.build_training_heads`."""
        self.classifier = nn.Linear(self.dim, len(people), device=self.device)
        self.centres = nn.Parameter(torch.randn(len(people), self.dim, device=self.device))

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Method.embed_voice`; not normalised, but compared by cosine."""
        x = self.voice_in(self.voice_encoder(waveforms, lengths))
        out: Tensor = (self.voice_fc or self.fc)(x).float()
        return out

    def embed_face(self, faces: Tensor) -> Tensor:
        """See `Method.embed_face`; not normalised, but compared by cosine."""
        out: Tensor = self.fc(self.face_in(self.face_encoder(faces))).float()
        return out

    def loss(
        self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_r + lambda1 L_id + lambda2 L_cen.

        Raises:
            RuntimeError: The method has not met the training people.
        """
        if self.classifier is None or self.centres is None:
            raise RuntimeError("call build_training_heads(people) before the loss")
        with torch.autocast(voices.device.type, enabled=False):
            unit_voices, unit_faces = F.normalize(voices.float(), dim=1), F.normalize(faces.float(), dim=1)
            ranking, terms = ranking_loss(
                unit_faces,
                unit_voices,
                face_identity,
                voice_identity,
                intra_negative=self.intra_negative,
                **self.margins,
                **self.intra_weights,
            )
            pair = (unit_faces, unit_voices) if self.constrain == "normalised" else (faces.float(), voices.float())
            x, identity = torch.cat(pair), torch.cat([face_identity, voice_identity])
            classified = F.cross_entropy(self.classifier(x), identity)
            centred = centre_loss(x, identity, self.centres.detach())
            # The centres follow their own people at their own rate, whatever the weight of the constraint.
            follow = centre_loss(x.detach(), identity, self.centres)
            of_ranking, of_identity, of_centre = self.lambdas
            total = of_ranking * ranking + of_identity * classified + of_centre * centred
        logs = {"loss": total, "ranking": ranking, "identity": classified, "centre": centred, **terms}
        return total + follow - follow.detach(), {name: value.detach() for name, value in logs.items()}

    def configure_optimizers(self) -> Any:
        """SGD with momentum; the rate falls in equal ratios; the centres have a constant rate without momentum."""
        layers = [m for m in (self.face_in, self.voice_in, self.fc, self.voice_fc, self.classifier) if m]
        groups = self.layer_groups("fc", layers, [self.rates[0]] * 3)
        if self.centres is not None:
            still = {"name": "centres", "lr": self.centre_rate, "momentum": 0.0, "weight_decay": 0.0}
            groups.append({"params": [self.centres], **still})
        optimizer = torch.optim.SGD(groups, momentum=self.momentum, weight_decay=self.weight_decay)
        fall = self.exponential_decay(*self.rates, self.stages)
        return self.with_schedule(optimizer, fall, constant=("centres",))
