"""Matching of many rows in a CSV file; each file is embedded once."""

from pathlib import Path

import torch
from torch import Tensor

from voiceface.data.prepare.media.rejected import Rejected
from voiceface.data.prepare.sources.tables import read_csv_rows
from voiceface.inference.media import Kind
from voiceface.inference.model import Model
from voiceface.methods.base import Direction
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable, csv_bytes, write_for_user
from voiceface.utils.progress import progress


def match_csv(
    model: Model,
    source: Path,
    out: Path,
    detect: bool = True,
    margin: float | None = None,
) -> tuple[int, int]:
    """Match every row of a CSV file. A row that fails is kept with its error.

    Args:
        model: The model.
        source: CSV with the columns `voice`, `face`, and `face2`, `face3`, ... for more candidates; or `face`, `voice`,
            `voice2`, ... for the reverse. Paths are relative to its folder. Other columns are kept.
        out: CSV to write: the same columns, plus `similarity`, `similarity2`, ... of the candidates in order; `choice`,
            the column of the most similar one; `probability` of that, if there are two candidates and the checkpoint is
            calibrated; `error`; `trained_on_synthetic`, `true` or `false`: whether the checkpoint was trained on
            synthetic people, so that its answers say nothing about real ones.
        detect: See `Model.embed_face`.
        margin: See `Model.embed_face`.

    Returns:
        Number of rows, and of rows with an error.

    Raises:
        UserError: The file lacks these columns or has no rows, or `out` cannot be written.
    """
    check_writable(out)
    lines = [row for _, row in read_csv_rows(source, ("voice", "face"))]
    if not lines:
        raise UserError(f"{source}: no rows; give one line per voice, with its faces")
    columns = list(lines[0])
    faces, voices = ([c for c in columns if c.rstrip("0123456789") == kind] for kind in ("face", "voice"))
    if len(faces) > 1 and len(voices) > 1:
        raise UserError(f"{source}: has {voices[1]} and {faces[1]}; give several faces or several voices, not both")
    backwards = len(voices) > 1
    direction: Direction = "f2v" if backwards else "v2f"
    query, candidates = ("face", voices) if backwards else ("voice", faces)
    embedded = _embed(model, source, lines, voices, "voice", True, None)
    embedded |= _embed(model, source, lines, faces, "face", detect, margin)
    suffixes = ["", *(str(n) for n in range(2, len(candidates) + 1))]
    added = [*(f"similarity{s}" for s in suffixes), "choice", "probability", "error", "trained_on_synthetic"]
    if clash := sorted(set(added) & set(columns)):
        raise UserError(f"{source}: has a column {clash[0]} already; rename it")
    written, failed = [], 0
    for row in lines:
        new = dict.fromkeys(added, "") | {"trained_on_synthetic": str(model.trained_on_synthetic).lower()}
        try:
            _match(model, source, row, query, candidates, direction, embedded, new)
        except UserError as error:
            new["error"] = str(error)
            failed += 1
        written.append([*(row[c] for c in columns), *new.values()])
    write_for_user(out, csv_bytes([*columns, *added], written))
    return len(lines), failed


def _match(
    model: Model,
    source: Path,
    row: dict[str, str],
    query: str,
    candidates: list[str],
    direction: Direction,
    embedded: dict[tuple[str, Path], Tensor | Rejected],
    new: dict[str, str],
) -> None:
    """Fill in the new columns of a row."""
    given = [column for column in candidates if row[column]]
    clips = []
    for column in (query, *given):
        clip = embedded.get((column.rstrip("0123456789"), source.parent / row[column]))
        if clip is None or isinstance(clip, Rejected):
            raise UserError(f"{column}: {'empty' if clip is None else clip.reason}")
        clips.append(clip)
    if not given:
        raise UserError(f"{candidates[0]}: empty")
    ranked = model.rank(clips[0], torch.stack(clips[1:]), direction)
    for match in ranked:
        number = candidates.index(given[match.place]) + 1
        new["similarity" if number == 1 else f"similarity{number}"] = f"{match.similarity:.6f}"
    new["choice"] = given[ranked[0].place]
    new["probability"] = "" if ranked[0].probability is None else f"{ranked[0].probability:.6f}"


def _embed(
    model: Model,
    source: Path,
    lines: list[dict[str, str]],
    columns: list[str],
    kind: Kind,
    detect: bool,
    margin: float | None,
) -> dict[tuple[str, Path], Tensor | Rejected]:
    """Embed every file in some columns once."""
    paths = list(dict.fromkeys(source.parent / row[column] for row in lines for column in columns if row[column]))
    embedded: dict[tuple[str, Path], Tensor | Rejected] = {}
    with progress(f"embedding {kind}s", len(paths)) as done:
        for path, row in zip(paths, model.embed_each(kind, paths, detect, margin), strict=True):
            embedded[kind, path] = row
            done()
    return embedded
