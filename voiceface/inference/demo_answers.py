"""Answers of the demo's page, as HTML."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from voiceface.checkpoints.card import SYNTHETIC
from voiceface.data.corpus.bundles import encode_flac, encode_jpeg
from voiceface.data.prepare.media.rejected import Rejected
from voiceface.inference.gallery import Index
from voiceface.inference.media import OTHER, FaceReading, Kind, read_many_faces, read_one_voice
from voiceface.inference.model import Model
from voiceface.methods.base import Direction
from voiceface.utils.errors import UserError

MOST = 10  # candidates of one match, and results of one search
LONGEST = 60.0  # seconds of a voice
KEPT = 600  # seconds after which an uploaded file is deleted
PLAIN = {
    "no face": "no face was found in it",
    "no such file": f"it was deleted after {KEPT // 60} minutes; upload it again",
    "silent": "it is silent",
    "truncated": "its end is missing",
}

USE = (
    "This page is for research and teaching. Never use it to identify or screen people. It always names a best match, "
    "even if the right one is not among the candidates. "
)
PRIVATE = f"Files that you upload are deleted after {KEPT // 60} minutes and are used for nothing else."
UNREAL = (
    "<b>This model was trained on synthetic people: drawn faces and generated voices.</b> What it says about "
    "photographs and recordings of real people means nothing."
)
CSS = """
.vf-note { border-left: 4px solid var(--primary-500); padding: 2px 12px; color: var(--body-text-color); }
.vf-note.vf-warn { border-color: #d97706; background: var(--background-fill-secondary); padding: 10px 12px; }
.vf-empty { color: var(--body-text-color-subdued); }
@media (max-width: 500px) { .tab-container button { padding: 0 8px; font-size: 13px; } }
.vf-pictures .grid-wrap { padding-top: 36px; }
.vf-ranked { list-style: none; margin: 12px 0; padding: 0; }
.vf-ranked li, .vf-query { display: flex; gap: 14px; align-items: center; flex-wrap: wrap; padding: 10px; margin: 6px 0;
  border: 1px solid var(--border-color-primary); border-radius: 8px; }
.vf-ranked li.vf-best { border: 2px solid var(--primary-500); background: var(--primary-50); }
.dark .vf-ranked li.vf-best { background: var(--background-fill-secondary); }
.vf-ranked img, .vf-query img { width: 84px; height: 84px; border-radius: 6px; object-fit: cover; }
.vf-ranked audio, .vf-query audio { width: 240px; height: 40px; max-width: 100%; }
.vf-ranked p, .vf-query p { margin: 0; overflow-wrap: anywhere; }
.vf-rank { font-size: 1.3em; min-width: 1.4em; text-align: center; color: var(--body-text-color-subdued); }
.vf-left-out { border-left: 4px solid #d97706; padding-left: 12px; margin: 8px 0; }
"""


class Clip(NamedTuple):
    """A voice or face that was read.

    Attributes:
        name: Its file's name without ending.
        content: What the network is given: samples, int16 (T,) at 16 kHz; or a face, uint8 (size, size, 3).
        embedding: float32 (D,).
    """

    name: str
    content: NDArray[Any]
    embedding: Tensor


class Demo:
    """Answers of the page as HTML, without Gradio. Users' mistakes become sentences in it.

    Args:
        model: The model.
        index: Gallery to search; None: there is none.
        files: Folder whose files were indexed, to show what is found; None: only names are shown.
    """

    def __init__(self, model: Model, index: Index | None = None, files: Path | None = None) -> None:
        self.model, self.index, self.files = model, index, files

    def read(self, kind: Kind, paths: Sequence[str], detect: bool) -> tuple[list[Clip], list[str]]:
        """Read and embed files.

        Args:
            kind: Kind of the files.
            paths: The files.
            detect: Find the largest face in each picture; False: each picture is a face crop already.

        Returns:
            The usable clips in order, and a sentence about each other file.
        """
        read: list[NDArray[Any] | Rejected] = []
        if kind == "face":
            encoder = self.model.method.face_encoder
            reading = FaceReading(encoder.size, encoder.margin, detect, device=str(self.model.device))
            read = [*read_many_faces([Path(path) for path in paths], reading)]
        else:
            for path in paths:
                try:
                    read.append(read_one_voice(path, LONGEST))
                except Rejected as rejected:
                    read.append(rejected)
        names = [Path(path).stem for path in paths]
        problems = [
            f"{escape(Path(path).name)} was left out: {escape(PLAIN.get(one.reason, one.reason))}."
            for path, one in zip(paths, read, strict=True)
            if isinstance(one, Rejected)
        ]
        good = [(name, one) for name, one in zip(names, read, strict=True) if not isinstance(one, Rejected)]
        rows = self.model.embed_each(kind, [content for _, content in good], detect=False)
        clips = [Clip(*one, row) for one, row in zip(good, rows, strict=True) if not isinstance(row, Rejected)]
        return clips, problems

    def match(self, query: Sequence[str], candidates: Sequence[str], direction: Direction, detect: bool) -> str:
        """Rank candidates by how well they fit a query.

        Args:
            query: File of one voice; of one face for f2v.
            candidates: Files of faces; of voices for f2v. Those after the tenth are not used.
            direction: v2f or f2v.
            detect: See `read`.

        Returns:
            HTML.
        """
        asking: Kind = "voice" if direction == "v2f" else "face"
        asked = OTHER[asking]
        if len(query) != 1 or not candidates:
            return _told([f"Give one {asking}, and two to ten {asked}s."])
        asked_for, problems = self.read(asking, query, detect)
        clips, left_out = self.read(asked, candidates[:MOST], detect)
        problems += left_out
        if len(candidates) > MOST:
            problems.append(f"Only the first {MOST} of {len(candidates)} {asked}s were compared.")
        if not asked_for or not clips:
            return _told([*problems, f"There is no usable {asked if asked_for else asking}, so nothing was compared."])
        try:
            ranked = self.model.rank(asked_for[0].embedding, torch.stack([clip.embedding for clip in clips]), direction)
        except UserError as error:
            return _told([*problems, escape(str(error).removeprefix(f"{self.model.folder}: "))])
        rows = [_row(clips[m.place].content, clips[m.place].name, m.similarity, m.probability) for m in ranked]
        note = ""
        if not self.model.config.get("calibration"):
            note = "There are no probabilities, because this checkpoint is not calibrated."
        elif len(clips) != 2:
            note = f"Probabilities are shown for two {asked}s only, because the checkpoint is calibrated for two."
        return _answer(asked_for[0], f"{asked}s, the best match first", rows, problems, note)

    def search(self, query: Sequence[str], detect: bool) -> str:
        """Find the ten items of the gallery that are most similar to a query, as HTML.

        Args:
            query: File of one voice, if the gallery holds faces; of one face, if it holds voices.
            detect: See `read`.
        """
        assert self.index is not None
        asking = OTHER[self.index.kind]
        if len(query) != 1:
            return _told([f"Give one {asking}."])
        clips, problems = self.read(asking, query, detect)
        if not clips:
            return _told(problems)
        places, scores = self.index.search(clips[0].embedding[None], MOST)
        rows = [
            _row(self._indexed(self.index.keys[place]), self.index.keys[place], score)
            for place, score in zip(places[0].tolist(), scores[0].tolist(), strict=True)
        ]
        return _answer(clips[0], f"{self.index.kind}s of the gallery, the most similar first", rows, problems)

    def _indexed(self, key: str) -> NDArray[Any] | None:
        """Read a file of the gallery to show it; None: it is not at hand."""
        if self.files is None or self.index is None:
            return None
        path = self.files / key
        if not path.resolve().is_relative_to(self.files.resolve()):  # an index of unknown origin may name any file
            return None
        try:
            if self.index.kind == "voice":
                return read_one_voice(path, LONGEST)
            with Image.open(path) as picture:
                picture.thumbnail((168, 168))
                return np.asarray(picture.convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError, Rejected):
            return None


def _shown(content: NDArray[Any], name: str) -> str:
    """Show a voice as a player, a face as a picture; the page holds the content itself, so no file is kept for it."""
    face = content.ndim == 3
    data = base64.b64encode(encode_jpeg(content) if face else encode_flac(content)).decode()
    label = escape(name, quote=True)
    if face:
        return f'<img src="data:image/jpeg;base64,{data}" alt="{label}">'
    return f'<audio controls preload="metadata" src="data:audio/flac;base64,{data}" aria-label="{label}"></audio>'


def _row(content: NDArray[Any] | None, name: str, similarity: float, probability: float | None = None) -> str:
    told = f"similarity {similarity:.3f}"
    if probability is not None:
        told += f" · probability {100 * probability:.0f} %"
    return f"{'' if content is None else _shown(content, name)}<p><b>{escape(name)}</b><br>{told}</p>"


def _told(sentences: Iterable[str]) -> str:
    return "".join(f'<p class="vf-left-out">{sentence}</p>' for sentence in sentences)


def _answer(query: Clip, heading: str, rows: Sequence[str], problems: Sequence[str], note: str = "") -> str:
    """Lay out an answer: the query, the ranking, and what was left out."""
    ranked = "".join(
        f'<li{" class=vf-best" if number == 1 else ""}><span class="vf-rank">{number}</span>{row}</li>'
        for number, row in enumerate(rows, 1)
    )
    name = f"<p>You asked for: <b>{escape(query.name)}</b></p>"
    asked = f'<div class="vf-query">{_shown(query.content, query.name)}{name}</div>'
    heading = f"<h3>{heading[0].upper()}{heading[1:]}</h3>"
    return f'{asked}{heading}<ol class="vf-ranked">{ranked}</ol>{_told(problems)}<p class="vf-empty">{note}</p>'


def notes(model: Model) -> str:
    """Say on the page what the model must not be used for, as HTML."""
    corpus = escape(str(model.config["data"].get("corpus") or "that it was calibrated on"))
    told = USE
    if model.config.get("calibration"):
        told += f"A probability holds for people like those of the corpus “{corpus}”, and for nobody else. "
    synthetic = model.config["data"].get("corpus") == SYNTHETIC
    warning = f'<p class="vf-note vf-warn">{UNREAL}</p>' if synthetic else ""
    return f'{warning}<p class="vf-note">{told}{PRIVATE}</p>'
