"""A loaded checkpoint that embeds voices and faces, and says what makes an embedding worthless."""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voiceface.checkpoints.card import SYNTHETIC
from voiceface.checkpoints.weights import load_checkpoint, read_config
from voiceface.data.prepare.media.rejected import Rejected
from voiceface.encoders.passes import by_length, embed_in_passes, samples_per_pass
from voiceface.inference.media import (
    FaceReading,
    Kind,
    as_list,
    has_speech,
    name_of,
    read_many_faces,
    read_one_voice,
)
from voiceface.methods.base import Method
from voiceface.utils.errors import UserError
from voiceface.utils.text import printable

SECOND = 16_000
HELD = 1200 * SECOND  # samples of voices read before they are embedded
FACES_HELD = 64


def _warn(line: str) -> None:
    """Warn, at the line outside this package that called it."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("voiceface."):
        frame, level = frame.f_back, level + 1
    warnings.warn(line, stacklevel=level)


class Embedder:
    """A checkpoint that embeds; `voiceface.inference.model.Model` compares too, and documents the attributes.

    Args:
        folder: Checkpoint folder.
        device: A torch device such as `cpu`, `cuda`, `cuda:1`.

    Raises:
        UserError: The folder is not a checkpoint, is damaged, or the device does not exist.
    """

    note: Callable[[str], None] = staticmethod(_warn)

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        try:
            there = torch.zeros(1, device=device)
            there.cpu()  # fails for `meta`
            self.device = there.device
        except (RuntimeError, AssertionError, ImportError):  # an unknown word; no GPU; PyTorch without it
            raise UserError(f"device {device}: there is no such device here; use cpu") from None
        self.folder, self.config = folder, read_config(folder)
        self.method: Method = load_checkpoint(folder).to(self.device)
        self._noted: set[str] = set()

    def __repr__(self) -> str:
        said = self.config
        how = f"{self.dim}-dimensional embeddings, compared by {self.method.space}"
        count = f"{self.method.count_parameters():,} parameters"
        corpus = said["data"].get("corpus") or "unknown data"
        name = said["recipe"] or "no recipe"
        return f"<Model {said['name']}: {name} ({said['class']}), {how}, {count}, trained on {corpus}>"

    @cached_property
    def dim(self) -> int:
        """Numbers in an embedding."""
        size = self.method.face_encoder.size
        with torch.no_grad():
            return int(
                self.method.embed_face(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=self.device)).shape[1]
            )

    @property
    def trained_on_synthetic(self) -> bool:
        """Whether the people of its training are synthetic: its answers then say nothing about real people."""
        return bool(self.config["data"].get("corpus") == SYNTHETIC)

    def warn_if_synthetic(self) -> None:
        """Say once that the checkpoint was trained on synthetic people, if it was."""
        if self.trained_on_synthetic:
            name = self.config["name"]
            self._note(f"{name} was trained on synthetic people: its answers say nothing about real people")

    def _note(self, line: str) -> None:
        if line not in self._noted:
            self._noted.add(line)
            self.note(line)

    def left_out(self, name: str, reason: str) -> None:
        """Say that an item cannot be used."""
        self._note(f"left out {printable(name)}: {printable(reason)}")

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
        for number, item in enumerate(items):
            try:
                wave = read_one_voice(item)
                held.append(wave)
                if not has_speech(wave):
                    name = printable(name_of(item, number, kind))
                    self._note(f"{name}: no speech was found in it; its embedding means nothing")
            except Rejected as rejected:
                held.append(rejected)
            if sum(0 if isinstance(one, Rejected) else len(one) for one in held) > HELD or len(held) >= 256:
                yield from self._passes(kind, held, batch)
                held = []
        yield from self._passes(kind, held, batch)

    def embed_usable(
        self,
        kind: Kind,
        items: Sequence[tuple[str, Any]],
        refused: Callable[[str, str], None],
        detect: bool = True,
        margin: float | None = None,
        done: Callable[[], None] = lambda: None,
    ) -> tuple[list[str], NDArray[np.float32]]:
        """Embed items that fit into memory together, and leave out unusable ones.

        Args:
            kind: Kind of the items.
            items: Name of each, and the item, as in `embed_voice` or `embed_face`.
            refused: Called with the name and the reason for each unusable item.
            detect: See `embed_face`.
            margin: See `embed_face`.
            done: Called after each item.

        Returns:
            Names and embeddings, float32 (n, D), of the usable items.

        Raises:
            UserError: No item is usable.
        """
        names: list[str] = []
        kept: list[NDArray[np.float32]] = []
        reason = "there is none"
        for (name, _), row in zip(items, self.embed_each(kind, [one for _, one in items], detect, margin), strict=True):
            if isinstance(row, Rejected):
                reason = row.reason
                refused(name, reason)
            else:
                names.append(name)
                kept.append(row.cpu().numpy())
            done()
        if not kept:
            raise UserError(f"no {kind} of {len(items)} can be used (the last one: {reason})")
        return names, np.stack(kept)

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

    def _embed_one(self, kind: Kind, query: Any, detect: bool, margin: float | None) -> Tensor:
        found = self._embed(kind, query, 64, detect, margin)
        if len(found) != 1:
            raise UserError(f"{len(found)} {kind}s as the query; give one")
        return found[0]

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
                samples = samples_per_pass(self.method.voice_encoder, self.device, self.method.evaluation_seconds)
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
