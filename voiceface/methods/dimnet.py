"""DIMNet: two networks, one shared classifier per covariate, no pairs.

"Disjoint mapping network for cross-modal matching of voices and faces" (Wen, Ismail, Liu, Raj, Singh, ICLR 2019;
https://arxiv.org/abs/1807.04836).

`dimnet_i`, `_g`, `_n`, `_ig`, `_in`, `_gn`, `_ign` train on identity, gender, nationality and their unions. A person
whose gender or nationality the corpus does not know is left out of that covariate's loss.

The paper's full text was not at hand. Recalled, and unverified: the face network's layers, the weights of the
covariates (1), the optimiser's numbers, that classifiers have biases (here they have). The voice network and its
features are those of the first author's public code; that DIMNet used exactly these is inferred.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.methods.base import Method, to_width
from voiceface.utils.errors import UserError

UNKNOWN = -100


class DIMNet(Method):
    """DIMNet. The defaults are the paper's, as far as they are known.

    Args:
        face_encoder: Face network: a name that `voiceface list` shows.
        voice_encoder: Voice network.
        face_margin: Face box scale (not stated).
        covariates: What is classified: `identity`, or any column of the identity table, such as `gender` and
            `nationality`.
        covariate_weights: Weight of each covariate's loss (recalled: 1); None: 1 each.
        dim: Width of the embedding; where an encoder has another one, a linear layer follows it.
        rate: First learning rate (recalled).
        milestones: Steps after which the rate falls to a tenth (recalled).
        momentum: Momentum of SGD (recalled).
        weight_decay: Weight decay (recalled).

    Raises:
        UserError: An encoder is unknown; no or unfitting covariates; when training starts: an encoder is frozen and has
            no weights, or nobody's value of a covariate is known, or all have the same.
    """

    training_only = ("classifiers.",)
    labels: Tensor

    def __init__(
        self,
        face_encoder: str = "face_dimnet",
        voice_encoder: str = "voice_dimnet",
        face_margin: float = 1.0,
        covariates: Sequence[str] = ("identity", "gender"),
        covariate_weights: Sequence[float] | None = None,
        dim: int = 64,
        rate: float = 0.1,
        milestones: Sequence[int] = (16_000, 24_000),
        momentum: float = 0.9,
        weight_decay: float = 1e-3,
        **encoders: Any,
    ) -> None:
        covariates, milestones = list(covariates), list(milestones)
        covariate_weights = [1.0] * len(covariates) if covariate_weights is None else list(covariate_weights)
        if not covariates or len(set(covariates)) < len(covariates) or len(covariate_weights) != len(covariates):
            raise UserError(
                f"--model.covariates {covariates}: give one or more, each once, and as many "
                f"--model.covariate_weights ({covariate_weights})"
            )
        super().__init__(face_encoder, voice_encoder, face_margin=face_margin, **encoders)
        self.face_fc = to_width(self.face_encoder.dim, dim)
        self.voice_fc = to_width(self.voice_encoder.dim, dim)
        self.dim, self.covariates, self.covariate_weights = dim, covariates, covariate_weights
        self.classifiers = nn.ModuleList()
        self.rate, self.milestones, self.momentum, self.weight_decay = rate, milestones, momentum, weight_decay

    def build_training_heads(self, people: Sequence[Mapping[str, str]]) -> None:
        """Build a classifier for each covariate; see `Method.build_training_heads`."""
        labels = []
        for name in self.covariates:
            values = [str(i) for i in range(len(people))] if name == "identity" else [p.get(name, "") for p in people]
            classes = sorted(set(values) - {""})
            if len(classes) < 2:
                raise UserError(
                    f"--model.covariates: {name} has {len(classes)} known values among the {len(people)} training "
                    "people; a classifier needs two or more"
                )
            number = {value: i for i, value in enumerate(classes)} | {"": UNKNOWN}
            labels.append([number[value] for value in values])
            self.classifiers.append(nn.Linear(self.dim, len(classes), device=self.device))
        self.register_buffer("labels", torch.tensor(labels, device=self.device), persistent=False)

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
        """Cross entropy of each covariate over voices plus over faces, by one classifier; unknown labels are ignored.

        Raises:
            RuntimeError: The method has not met the training people.
        """
        if not self.classifiers:
            raise RuntimeError("call build_training_heads(people) before the loss")
        losses = []
        with torch.autocast(voices.device.type, enabled=False):
            for classifier, labels in zip(self.classifiers, self.labels, strict=True):
                for x, identity in ((voices, voice_identity), (faces, face_identity)):
                    known = labels[identity] != UNKNOWN
                    each = F.cross_entropy(
                        classifier(x.float()), labels[identity], ignore_index=UNKNOWN, reduction="sum"
                    )
                    losses.append(each / known.sum().clamp_min(1))
        by_covariate = torch.stack(losses).view(len(self.covariates), 2).sum(dim=1)
        total = (by_covariate * by_covariate.new_tensor(self.covariate_weights)).sum()
        logs = {"loss": total.detach()}
        return total, logs | dict(zip(self.covariates, by_covariate.detach(), strict=True))

    def configure_optimizers(self) -> Any:
        """SGD with momentum; the rate falls to a tenth at each milestone."""
        layers = [self.face_fc, self.voice_fc, self.classifiers]
        groups = self.layer_groups("classifiers", layers, [self.rate] * 3)
        optimizer = torch.optim.SGD(groups, momentum=self.momentum, weight_decay=self.weight_decay)
        return self.with_schedule(optimizer, lambda step: 0.1 ** sum(step >= m for m in self.milestones))
