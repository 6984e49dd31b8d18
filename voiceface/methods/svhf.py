"""SVHF-Net: a classifier that sees a voice and the candidate faces together.

"Seeing voices and hearing faces: cross-modal biometric matching" (Nagrani, Albanie, Zisserman, CVPR 2018;
https://arxiv.org/abs/1804.00326).

`svhf` chooses a face for a voice, `svhf_f2v` a voice for a face: two galleries and a query, concatenated. In
`svhf_nway` one score per candidate comes from the candidate, the query and the mean of all candidates, so that any
number of candidates can be compared; that wiring is recalled, not read, and unverified. The variant with dynamic images
needs videos and is not here.

The networks' layers are those of a port that loads the released weights. Recalled or from other people's code: the
optimiser's numbers, the learning rates, the augmentation. The paper trains on drawn triplets; here one triplet per
query of a batch is drawn anew.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.methods.base import Direction, Method, to_width
from voiceface.methods.losses import take_rows
from voiceface.methods.mining import draw_galleries
from voiceface.utils.errors import UserError


class SVHF(Method):
    """SVHF-Net. The defaults are the paper's, as far as they are known.

    Args:
        face_encoder: Face network: a name that `voiceface list` shows.
        voice_encoder: Voice network.
        face_margin: Face box scale (inferred: the central 0.85 of released crops of scale 1.6).
        direction: v2f: a voice chooses among faces. f2v: a face among voices.
        fusion: `concatenate` all candidates and the query (the static network, two candidates), or give each candidate
            the `mean` of all as context (the N-way network; unverified).
        gallery: Candidates in training; 2 where they are concatenated.
        galleries: Galleries drawn for each query of a batch; the paper's triplets have clips of their own each.
        width: Width of each stream's embedding, without activation; an encoder of another width gets a linear layer.
        hidden: Widths of the layers after fusion.
        query_first: Concatenate the query before the candidates; the port of the released weights has it last.
        rate: First learning rate (recalled).
        last_rate: Last learning rate (recalled).
        stages: Equal parts of the training, in each of which the rate is constant; the paper's epochs (recalled).
        momentum: Momentum of SGD.
        weight_decay: Weight decay.

    Raises:
        UserError: An encoder is unknown, or the number of candidates does not fit the fusion; when training starts: an
            encoder is frozen and has no weights.
    """

    space = "relative"

    def __init__(
        self,
        face_encoder: str = "face_vggm",
        voice_encoder: str = "voice_vggvox",
        face_margin: float = 1.36,
        direction: Direction = "v2f",
        fusion: Literal["concatenate", "mean"] = "concatenate",
        gallery: int = 2,
        galleries: int = 1,
        width: int = 1024,
        hidden: tuple[int, int] = (1024, 512),
        query_first: bool = False,
        rate: float = 1e-2,
        last_rate: float = 1e-8,
        stages: int = 10,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        **encoders: Any,
    ) -> None:
        hidden = (hidden[0], hidden[1])
        if gallery < 2 or (fusion == "concatenate" and gallery != 2):
            raise UserError(
                f"--model.gallery {gallery}: give 2; other numbers of candidates need --model.fusion mean"
                if fusion == "concatenate"
                else f"--model.gallery {gallery}: give 2 or more candidates"
            )
        super().__init__(face_encoder, voice_encoder, face_margin=face_margin, **encoders)
        self.directions = (direction,)
        self.gallery_sizes = (2,) if fusion == "concatenate" else (2, 3, 5, 10)
        self.face_fc = to_width(self.face_encoder.dim, width)
        self.voice_fc = to_width(self.voice_encoder.dim, width)
        first, second = hidden
        self.fusion = nn.Sequential(
            nn.Linear(3 * width, first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, 2 if fusion == "concatenate" else 1),
        )
        self.context, self.query_first = fusion == "mean", query_first
        self.candidates, self.galleries = gallery, galleries
        self.rates, self.stages, self.momentum, self.weight_decay = (rate, last_rate), stages, momentum, weight_decay

    def setup(self, stage: str) -> None:
        """Before training, see that a batch has people enough; see `Method.setup`.

        Raises:
            UserError: A gallery needs more people than a batch has.
        """
        super().setup(stage)
        people = getattr(self.trainer.datamodule, "people", self.candidates)  # type: ignore[attr-defined]
        if stage == "fit" and self.candidates > people:
            raise UserError(
                f"--model.gallery {self.candidates}: a batch has {people} people; give more by --data.people, or a "
                "smaller gallery"
            )

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Method.embed_voice`: the voice stream before fusion."""
        out: Tensor = self.voice_fc(self.voice_encoder(waveforms, lengths)).float()
        return out

    def embed_face(self, faces: Tensor) -> Tensor:
        """See `Method.embed_face`: a face stream before fusion."""
        out: Tensor = self.face_fc(self.face_encoder(faces)).float()
        return out

    def choose(self, queries: Tensor, candidates: Tensor, direction: Direction) -> Tensor:
        """Logits of the candidates; see `Method.choose`.

        Raises:
            ValueError: The static network is given another number of candidates than two.
        """
        if not self.context and candidates.shape[1] != 2:
            raise ValueError(f"the static network chooses between 2 candidates, not {candidates.shape[1]}")
        with torch.autocast(queries.device.type, enabled=False):
            queries, candidates = queries.float(), candidates.float()
            if self.context:
                mean = candidates.mean(dim=1, keepdim=True).expand_as(candidates)
                parts = [candidates, queries[:, None].expand_as(candidates), mean]
                logits: Tensor = self.fusion(torch.cat(parts, dim=2)).squeeze(2)
                return logits
            parts = [*candidates.unbind(dim=1)]
            parts.insert(0 if self.query_first else len(parts), queries)
            logits = self.fusion(torch.cat(parts, dim=1))
            return logits

    def loss(
        self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy of choosing among clips of different people, of which one is the query's, at a random place."""
        clips = [(voices, voice_identity), (faces, face_identity)]
        (queries, asking), (items, asked) = clips if self.directions == ("v2f",) else clips[::-1]
        people = len(torch.unique(asked))
        nothing = (voices.sum() + faces.sum()) * 0
        if people < 2:
            return nothing, {"loss": nothing.detach()}
        queries, asking = queries.repeat_interleave(self.galleries, 0), asking.repeat_interleave(self.galleries)
        query, gallery, target = draw_galleries(asking, asked, min(self.candidates, people))
        if not len(query):
            return nothing, {"loss": nothing.detach()}
        logits = self.choose(take_rows(queries, query), take_rows(items, gallery), self.directions[0])
        loss = F.cross_entropy(logits, target)
        return loss, {"loss": loss.detach(), "right": (logits.argmax(dim=1) == target).float().mean()}

    def configure_optimizers(self) -> Any:
        """SGD with momentum; the rate falls in equal ratios from the first to the last."""
        groups = self.layer_groups("fusion", [self.face_fc, self.voice_fc, self.fusion], [self.rates[0]] * 3)
        optimizer = torch.optim.SGD(groups, momentum=self.momentum, weight_decay=self.weight_decay)
        return self.with_schedule(optimizer, self.exponential_decay(*self.rates, self.stages))
