"""Kim: which of two faces, by a softmax over two distances, squared.

"On learning associations of faces and voices" (Kim et al., ACCV 2018; https://arxiv.org/abs/1805.05553).

The paper trains one network per direction: `kim` has a voice as anchor, `kim_f2v` a face. Its three alternatives are
options of `loss` and `face_encoder`: binary classification of pairs (`kim_classifier`), a Siamese network with a
contrastive loss (`kim_siamese`), and VGG-Face with VGG-Vox in place of VGG16 and SoundNet (`kim_vggvox`).

Not stated in the paper, and therefore options or marked: the margin of the contrastive loss; which layers of VGG-Face
and VGG-Vox feed the last layers (conv5_3 and fc7 here); whether the losses of a batch are summed or averaged (averaged
here); whether hard triplets act on the alternatives too (they do here). A triplet's negative is a random clip of
another person of the batch. The classifier and the Siamese network take both pairs of a triplet.

The face box enlarged 1.5 times goes straight to 224 px, as the paper's text says. The authors' code makes it 256 px and
takes the middle 224 (inferred: from pictures of 1.5 times the box): face_margin 1.3125 gives the field of the authors'
code, for their weights. Voices longer than 10 s are cut at random in training; the paper takes the first 10 s.
"""

from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.encoders.weights import load_into
from voiceface.methods.base import Method
from voiceface.methods.losses import contrastive_loss, distances, softmax_ratio_loss, take_rows
from voiceface.methods.mining import draw_triplets

Loss = Literal["triplet", "siamese", "classifier"]


class Kim(Method):
    """Kim et al. The defaults are the paper's.

    Args:
        face_encoder: Face network: a name that `voiceface list` shows.
        voice_encoder: Voice network.
        face_options: Options of the face network, such as `{pixels: vggface}`.
        voice_options: Options of the voice network, such as `{scale: 256}`.
        weights: Weights of the whole method to start from, such as `import-weights kim` writes.
        face_margin: Face box scale, from a stored one at least as large.
        anchor: Modality of the anchor: voice chooses among faces, or face among voices.
        loss: Squared softmax ratio over triplets (the paper's), contrastive over pairs, or a classifier of pairs.
        width: Width of the two last layers and of the embedding (table A.2: 128, 512, 1024, 2048, 4096).
        pooling: Pool feature maps over all of space and time, or by halves; None: halves from width 1024 on (table
            A.2), for the paper's own networks.
        triplets: Triplets drawn for each anchor of a batch; the paper's have clips of their own each.
        margin: Margin of the contrastive loss (not stated in the paper).
        hard_after: Steps after which only the hardest triplets count; None: never.
        keep: Triplets that count then; before, the batch has no more than these.
        fc_rate: Learning rate of the last layers.
        encoder_rate: Learning rate of the two networks.
        fall_every: Steps after which all rates fall to a tenth, again and again.

    Raises:
        UserError: An encoder or option is unknown; when training starts: an encoder is frozen and has no weights.
    """

    def __init__(
        self,
        face_encoder: str = "face_vgg16",
        voice_encoder: str = "voice_soundnet8",
        face_options: dict[str, Any] | None = None,
        voice_options: dict[str, Any] | None = None,
        weights: str | None = None,
        face_margin: float = 1.5,
        anchor: Literal["voice", "face"] = "voice",
        loss: Loss = "triplet",
        width: int = 128,
        pooling: Literal["global", "half"] | None = None,
        triplets: int = 1,
        margin: float = 1.0,
        hard_after: int | None = 120_000,
        keep: int = 8,
        fc_rate: float = 1e-3,
        encoder_rate: float = 1e-5,
        fall_every: int = 80_000,
        **encoders: Any,
    ) -> None:
        pooled = {"pooling": pooling or ("half" if width >= 1024 else "global")}
        super().__init__(
            face_encoder,
            voice_encoder,
            (pooled if face_encoder == "face_vgg16" else {}) | (face_options or {}),
            (pooled if voice_encoder == "voice_soundnet8" else {}) | (voice_options or {}),
            face_margin=face_margin,
            **encoders,
        )
        self.directions = ("v2f",) if anchor == "voice" else ("f2v",)
        self.loads_whole_method = weights is not None
        self.space = "pairwise" if loss == "classifier" else "euclidean"
        self.classifier: nn.Sequential | None = None
        if loss == "classifier":
            # The features themselves are the embeddings; the classifier takes both, concatenated.
            self.face_head, self.voice_head = nn.Sequential(), nn.Sequential()
            inputs = self.face_encoder.dim + self.voice_encoder.dim
            self.classifier = nn.Sequential(*two_layers(inputs, width), nn.ReLU(), nn.Linear(width, 2))
        else:
            self.face_head = two_layers(self.face_encoder.dim, width)
            self.voice_head = two_layers(self.voice_encoder.dim, width)
        self.anchor, self.loss_name, self.triplets, self.margin = anchor, loss, triplets, margin
        self.hard_after, self.keep, self.weights = hard_after, keep, weights
        self.rates, self.fall_every = (fc_rate, encoder_rate, encoder_rate), fall_every

    def setup(self, stage: str) -> None:
        """Read the weights of the whole method, where given, after those of its parts."""
        super().setup(stage)
        if stage == "fit" and self.weights is not None:
            load_into(self, Path(self.weights), "--model.weights")

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `Method.embed_voice`; not normalised."""
        return self._head(self.voice_head, self.voice_encoder(waveforms, lengths))

    def embed_face(self, faces: Tensor) -> Tensor:
        """See `Method.embed_face`; not normalised."""
        return self._head(self.face_head, self.face_encoder(faces))

    def _head(self, head: nn.Module, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            out: Tensor = head(features.float())
            return out

    def similarity(self, voices: Tensor, faces: Tensor) -> Tensor:
        """Minus the Euclidean distance; the classifier's log odds that a pair matches, in the order of P(match)."""
        if self.classifier is None:
            return super().similarity(voices, faces)
        # The first layer is linear in the concatenation: each half of it is computed once per clip, not per pair.
        first = cast(nn.Linear, self.classifier[0])
        of_face, of_voice = torch.split(first.weight, [faces.shape[1], voices.shape[1]], dim=1)
        with torch.autocast(voices.device.type, enabled=False):
            hidden = (voices.float() @ of_voice.T)[:, None] + (faces.float() @ of_face.T + first.bias)
            return self._odds(self.classifier[1:](hidden))

    @staticmethod
    def _odds(logits: Tensor) -> Tensor:
        return logits[..., 1] - logits[..., 0]

    def loss(
        self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Triplets of each anchor: another clip of its person, and one of another person's, drawn at random."""
        clips = [(voices, voice_identity), (faces, face_identity)]
        (anchors, anchor_identity), (others, other_identity) = clips if self.anchor == "voice" else clips[::-1]
        each = torch.arange(len(anchors), device=anchors.device).repeat_interleave(self.triplets)
        a, p, n = draw_triplets(anchor_identity[each], other_identity)
        a = each[a]
        with torch.autocast(voices.device.type, enabled=False):
            losses, right = self._of_triplets(
                *(take_rows(x.float(), i) for x, i in ((anchors, a), (others, p), (others, n)))
            )
            if self._hard():
                losses = losses.topk(min(self.keep, len(losses))).values
            mean = losses.mean() if len(losses) else (voices.sum() + faces.sum()) * 0
        return mean, {"loss": mean.detach(), "right": right.float().mean()}

    def _of_triplets(self, anchors: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of each triplet, and whether its positive is the nearer one."""
        if self.classifier is not None:
            sides = [(o, anchors) if self.anchor == "voice" else (anchors, o) for o in (positives, negatives)]
            logits = [self.classifier(torch.cat(pair, dim=1)) for pair in sides]
            match, other = (-F.log_softmax(x, dim=1) for x in logits)
            return (match[:, 1] + other[:, 0]) / 2, self._odds(logits[0]) > self._odds(logits[1])
        near, far = distances(anchors, positives), distances(anchors, negatives)
        if self.loss_name == "siamese":
            same = torch.ones_like(near)
            pairs = contrastive_loss(near, same, self.margin) + contrastive_loss(far, 1 - same, self.margin)
            return pairs / 2, near < far
        return softmax_ratio_loss(near, far), near < far

    def _hard(self) -> bool:
        return self.hard_after is not None and self.global_step >= self.hard_after

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Before the hard triplets' time, only the first `keep` anchors' people of a batch are embedded.

        Of processes that share a batch each embeds as many of its own.
        """
        if self.hard_after is not None and not self._hard():
            share = -(-self.keep // self.joined_processes())
            first = torch.unique_consecutive(batch[f"{self.anchor}_identity"])[:share]
            batch = {**batch, **_of_people(batch, first)}
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        """Adam; every rate falls to a tenth after each `fall_every` steps."""
        heads = [self.face_head, self.voice_head] if self.classifier is None else [self.classifier]
        groups = self.layer_groups("fc", heads, self.rates)
        return self.with_schedule(torch.optim.Adam(groups), lambda step: 0.1 ** (step // self.fall_every))


def two_layers(inputs: int, width: int) -> nn.Sequential:
    """FC, ReLU, FC, both of the same width."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))


def _of_people(batch: dict[str, Any], people: Tensor) -> dict[str, Tensor]:
    """The clips of some of a batch's people."""
    voice, face = (torch.isin(batch[f"{kind}_identity"], people) for kind in ("voice", "face"))
    of_voice = {name: batch[name][voice] for name in ("voices", "voice_lengths", "voice_identity")}
    return of_voice | {name: batch[name][face] for name in ("faces", "face_identity")}
