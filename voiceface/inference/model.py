"""A loaded checkpoint that embeds and compares voices and faces."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voiceface.checkpoints.weights import load_checkpoint, read_config
from voiceface.data.prepare.media.rejected import Rejected
from voiceface.encoders.passes import by_length, embed_in_passes, samples_per_pass
from voiceface.inference.media import (
    FaceReading,
    Kind,
    as_list,
    name_of,
    read_many_faces,
    read_one_voice,
)
from voiceface.methods.base import Direction, Method
from voiceface.utils.errors import UserError

SECOND = 16_000
HELD = 1200 * SECOND  # samples of voices read before they are embedded
FACES_HELD = 64


class Match(NamedTuple):
    """One candidate of a match.

    Attributes:
        place: Its position among the candidates as given, from 0.
        similarity: Larger = more alike; the scale depends on the method.
        probability: Probability that this one of two candidates is correct, 0 to 1; None unless there are two and the
            checkpoint is calibrated.
    """

    place: int
    similarity: float
    probability: float | None


class Model:
    """A loaded checkpoint.

    Args:
        folder: Checkpoint folder.
        device: A torch device such as `cpu`, `cuda`, `cuda:1`.

    Attributes:
        method: The method, in evaluation mode.
        config: The checkpoint's `config.json`.
        evaluation_seconds: Seconds of voices, padding included, in one pass; None: by the memory at hand.

    Raises:
        UserError: The folder is not a checkpoint, is damaged, or the device does not exist.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        try:
            there = torch.zeros(1, device=device)
            there.cpu()  # fails for `meta`
            self.device = there.device
        except (RuntimeError, AssertionError, ImportError):  # an unknown word; no GPU; PyTorch without it
            raise UserError(f"device {device}: there is no such device here; use cpu") from None
        self.folder, self.config = folder, read_config(folder)
        self.evaluation_seconds: float | None = None
        self.method: Method = load_checkpoint(folder).to(self.device)

    def embed_voice(self, voices: Any, batch: int = 32) -> Tensor:
        """Embed voices at full length.

        Args:
            voices: A file of any audio or video format; samples at 16 kHz, int16 or float in [-1, 1], of shape (T,);
                (samples, rate); or a list of these.
            batch: Maximum number of voices per call of the network.

        Returns:
            float32 of shape (n, D), on the model's device.

        Raises:
            UserError: A voice is unusable; the message says which and why.
        """
        return self._embed("voice", voices, batch, True, None)

    def embed_face(self, faces: Any, detect: bool = True, margin: float | None = None, batch: int = 64) -> Tensor:
        """Embed faces.

        Args:
            faces: A picture file; a PIL picture; RGB, uint8 of shape (H, W, 3); or a list of these.
            detect: Find the largest face in each picture. False: each picture is a face crop already.
            margin: Scale of the face box in such crops; None: the network's own scale.
            batch: Maximum number of faces per call of the network.

        Returns:
            float32 of shape (n, D), on the model's device.

        Raises:
            UserError: A face is unusable (the message says which and why), or the detector is not installed.
        """
        return self._embed("face", faces, batch, detect, margin)

    def embed_each(
        self, kind: Kind, items: Sequence[Any], detect: bool = True, margin: float | None = None, batch: int = 64
    ) -> Iterator[Tensor | Rejected]:
        """Embed any number of voices or faces with bounded memory, and continue after unusable ones.

        Args:
            kind: Kind of the items.
            items: As in `embed_voice` or `embed_face`.
            detect: See `embed_face`.
            margin: See `embed_face`.
            batch: Maximum number of clips per call of the network.

        Yields:
            For each item in order its embedding, float32 of shape (D,), on the model's device; or the reason for
            rejection.
        """
        if batch < 1:
            raise UserError(f"batch {batch}: give 1 or more")
        if kind == "face":
            encoder = self.method.face_encoder
            reading = FaceReading(encoder.size, encoder.margin, detect, margin, str(self.device))
            for start in range(0, len(items), FACES_HELD):
                read: list[Any] = list(read_many_faces(items[start : start + FACES_HELD], reading))
                yield from self._passes(kind, read, batch)
            return
        held: list[NDArray[np.int16] | Rejected] = []
        for item in items:
            try:
                held.append(read_one_voice(item))
            except Rejected as rejected:
                held.append(rejected)
            if sum(0 if isinstance(one, Rejected) else len(one) for one in held) > HELD or len(held) >= 256:
                yield from self._passes(kind, held, batch)
                held = []
        yield from self._passes(kind, held, batch)

    def similarity(self, voices: Tensor, faces: Tensor) -> Tensor:
        """Compute the similarities of embeddings; larger = more alike.

        Args:
            voices: (Nv, D).
            faces: (Nf, D).

        Returns:
            float32 of shape (Nv, Nf).

        Raises:
            UserError: The method only compares candidates with each other.
        """
        self.check_has_similarity()
        with torch.no_grad():
            return self.method.similarity(voices.to(self.device), faces.to(self.device)).float()

    def check_has_similarity(self) -> None:
        """Reject a method that only compares candidates with each other.

        Raises:
            UserError: The method is of this kind.
        """
        if self.method.space == "relative":
            raise UserError(
                f"{self.folder}: {type(self.method).__name__} only compares candidates with each other: it can match, "
                "and neither retrieve nor score one pair"
            )

    def match(
        self,
        query: Any,
        candidates: Any,
        direction: Direction = "v2f",
        detect: bool = True,
        margin: float | None = None,
    ) -> list[Match]:
        """Find the face of a voice among several faces, or the voice of a face among several voices.

        Args:
            query: One voice, as in `embed_voice`; a face if the direction is f2v.
            candidates: Faces, as in `embed_face`; voices if the direction is f2v.
            direction: v2f or f2v.
            detect: See `embed_face`.
            margin: See `embed_face`.

        Returns:
            All candidates, the most likely first; ties in the given order.

        Raises:
            UserError: An item is unusable, there is not exactly one query or no candidate, or the method is for the
                other direction or another number of candidates.
        """
        asking: Kind = "voice" if direction == "v2f" else "face"
        asked: Kind = "face" if direction == "v2f" else "voice"
        one = self._embed(asking, query, 64, detect, margin)
        if len(one) != 1:
            raise UserError(f"{len(one)} {asking}s as the query; give one")
        return self.rank(one[0], self._embed(asked, candidates, 64, detect, margin), direction)

    def rank(self, query: Tensor, candidates: Tensor, direction: Direction) -> list[Match]:
        """Match embeddings as in `match`: query (D,), candidates (N, D)."""
        if not len(candidates):
            raise UserError("no candidates to match; give two or more")
        query, candidates = query.to(self.device), candidates.to(self.device)
        with torch.no_grad():
            if self.method.space == "relative":
                scores = self._choose(query, candidates, direction)
            elif direction == "v2f":
                scores = self.method.similarity(query[None], candidates)[0]
            else:
                scores = self.method.similarity(candidates, query[None])[:, 0]
        similarity = scores.double().cpu().numpy()
        probability = self._probability(similarity, direction)
        order = np.argsort(-similarity, kind="stable").tolist()
        return [Match(i, float(similarity[i]), None if probability is None else probability[i]) for i in order]

    def _choose(self, query: Tensor, candidates: Tensor, direction: Direction) -> Tensor:
        if direction not in self.method.directions:
            asking, asked = ("face", "voices") if self.method.directions[0] == "f2v" else ("voice", "faces")
            raise UserError(f"{self.folder}: it chooses among {asked} for a {asking} alone; give these")
        if self.method.gallery_sizes == (2,) and len(candidates) != 2:
            raise UserError(f"{self.folder}: it chooses between 2 candidates, not {len(candidates)}; give 2")
        return self.method.choose(query[None], candidates[None], direction)[0]

    def _probability(self, similarity: NDArray[np.float64], direction: Direction) -> list[float] | None:
        """Return the probability of each of two candidates, by the checkpoint's logistic calibration."""
        fit = (self.config.get("calibration") or {}).get(direction)
        if fit is None or len(similarity) != 2:
            return None
        logit = fit["slope"] * (similarity[0] - similarity[1]) + fit["intercept"]
        first = float(np.exp(-np.logaddexp(0.0, -logit)))
        return [first, 1.0 - first]

    def _embed(self, kind: Kind, items: Any, batch: int, detect: bool, margin: float | None) -> Tensor:
        listed, rows = as_list(items, kind), []
        for number, row in enumerate(self.embed_each(kind, listed, detect, margin, batch)):
            if isinstance(row, Rejected):
                raise UserError(f"{name_of(listed[number], number, kind)}: {row.reason}")
            rows.append(row)
        if not rows:
            raise UserError(f"no {kind}s to embed; give one or more")
        return torch.stack(rows)

    def _passes(self, kind: Kind, read: Sequence[Any], batch: int) -> Iterator[Tensor | Rejected]:
        """Embed the clips that were read, and yield the embeddings in order."""
        good = [clip for clip in read if not isinstance(clip, Rejected)]
        rows: dict[int, Tensor] = {}
        with torch.no_grad():
            if kind == "face":
                for start in range(0, len(good), batch):
                    faces = torch.from_numpy(np.stack(good[start : start + batch])).permute(0, 3, 1, 2)
                    rows.update(enumerate(self.method.embed_face(faces.to(self.device)).float(), start))
            else:
                lengths = [len(clip) for clip in good]
                samples = samples_per_pass(self.method.voice_encoder, self.device, self.evaluation_seconds)
                for places in by_length(lengths, batch, samples or HELD):
                    waves = torch.zeros(len(places), lengths[places[-1]], dtype=torch.int16)
                    for wave, place in zip(waves, places, strict=True):
                        wave[: lengths[place]] = torch.from_numpy(np.ascontiguousarray(good[place]))
                    own = torch.tensor([lengths[place] for place in places], device=self.device)
                    found = embed_in_passes(self.method.embed_voice, waves.to(self.device), own, samples)
                    rows.update(zip(places, found.float(), strict=True))
        embedded = iter(rows[place] for place in range(len(good)))
        for clip in read:
            yield clip if isinstance(clip, Rejected) else next(embedded)
