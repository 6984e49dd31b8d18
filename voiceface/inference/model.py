"""A loaded checkpoint that compares voices and faces."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voiceface.inference.embedder import Embedder
from voiceface.inference.media import Kind, as_list, files_below, name_of
from voiceface.inference.search import Searchable, check_top, nearest, unit
from voiceface.methods.base import Direction
from voiceface.utils.errors import UserError

SIDES: dict[Direction, tuple[Kind, Kind]] = {"v2f": ("voice", "face"), "f2v": ("face", "voice")}  # query, candidates


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


class Hit(NamedTuple):
    """One item that a search of a gallery found.

    Attributes:
        name: The file's path below the gallery's folder, or the item's name in messages.
        similarity: Larger = more alike; the scale depends on the method.
        place: Its position in the gallery, from 0.
    """

    name: str
    similarity: float
    place: int


class Model(Embedder):
    """A loaded checkpoint.

    It says once, by `warnings.warn`, what makes an answer worthless: a checkpoint that was trained on synthetic people
    alone, as soon as it matches, retrieves or makes an index; and each voice in which no speech is found.

    Args:
        folder: Checkpoint folder.
        device: A torch device such as `cpu`, `cuda`, `cuda:1`.

    Attributes:
        method: The method, in evaluation mode.
        config: The checkpoint's `config.json`.
        note: Called with each such line; assign another function to send the lines elsewhere.

    Raises:
        UserError: The folder is not a checkpoint, is damaged, or the device does not exist.
    """

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

        Example:
            >>> best = model.match("voice.flac", ["faces/a.jpg", "faces/b.jpg"], detect=False, margin=1.25)[0]
            >>> best.place
            1
        """
        asking, asked = SIDES[direction]
        one = self._embed_one(asking, query, detect, margin)
        return self.rank(one, self._embed(asked, candidates, 64, detect, margin), direction)

    def retrieve(
        self,
        query: Any,
        gallery: Any,
        top: int = 10,
        direction: Direction = "v2f",
        detect: bool = True,
        margin: float | None = None,
        done: Callable[[], None] = lambda: None,
    ) -> list[Hit]:
        """Search a gallery for the faces that fit a voice best, or for the voices that fit a face best.

        Args:
            query: One voice, as in `embed_voice`; a face if the direction is f2v.
            gallery: A folder, which is searched with those below it; a list of faces, as in `embed_face` (of voices if
                the direction is f2v); or a `voiceface.inference.gallery.Index`, which is embedded already.
            top: Number of items to find; all if there are fewer.
            direction: v2f or f2v.
            detect: See `embed_face`.
            margin: See `embed_face`.
            done: Called after each item of the gallery that was embedded.

        Returns:
            What was found, the most alike first; ties in the order of the gallery. Unusable items of the gallery are
            left out, and `note` says which.

        Raises:
            UserError: The query is unusable, there is not exactly one, no item of the gallery is usable, an index is of
                the other kind, or the method only compares candidates with each other.

        Example:
            >>> hits = model.retrieve("voice.flac", "faces", top=1, detect=False, margin=1.25)
            >>> [(hit.name, hit.place) for hit in hits]
            [('b.jpg', 1)]
        """
        asking, asked = SIDES[direction]
        check_top(top)
        self.check_has_similarity()
        if isinstance(gallery, Searchable):
            if gallery.kind != asked:
                name = name_of(query, 0, asking)
                raise UserError(f"{name}: a {asking}, and the index holds {gallery.kind}s; give a {asked}")
            one = self._embed_one(asking, query, detect, margin)
            names, (places, scores) = gallery.keys, gallery.search(one[None], top)
        else:
            if isinstance(gallery, (str, Path)):
                items = files_below(Path(gallery), asked)
            else:
                items = [(name_of(one, i, asked), one) for i, one in enumerate(as_list(gallery, asked))]
            one = self._embed_one(asking, query, detect, margin)
            names, rows = self.embed_usable(asked, items, self.left_out, detect, margin, done)
            rows = unit(rows) if self.method.space == "cosine" else rows
            places, scores = nearest(self, one[None], asked, rows, top)
        self.warn_if_synthetic()
        found = zip(places[0].tolist(), scores[0].tolist(), strict=True)
        return [Hit(names[place], score, place) for place, score in found]

    def rank(self, query: Tensor, candidates: Tensor, direction: Direction) -> list[Match]:
        """Match embeddings as in `match`: query (D,), candidates (N, D)."""
        if not len(candidates):
            raise UserError("no candidates to match; give two or more")
        self.warn_if_synthetic()
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
