"""`voiceface match`, `retrieve` and `index`; and what `embed` shares with them on files."""

import argparse
import json
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voiceface.checkpoints.find import find_checkpoint
from voiceface.cli.common import console, note
from voiceface.cli.parser import Parser, add_checkpoint, add_command, add_passes, add_path, non_empty
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable
from voiceface.utils.text import printable

if TYPE_CHECKING:
    from voiceface.inference.model import Model
    from voiceface.methods.base import Direction

MATCH = """examples:
  voiceface match trinet-synthetic voice.wav a.jpg b.jpg         which face is the speaker's
  voiceface match trinet-synthetic face.jpg a.wav b.m4a c.mp4    which voice is the face's
  voiceface match CHECKPOINT voice.wav a.png b.png --asis        the pictures are face crops already
  voiceface match CHECKPOINT --csv pairs.csv --out scores.csv    columns voice, face, face2, ...; one match per row
"""

RETRIEVE = """examples:
  voiceface retrieve trinet-synthetic voice.wav FACES_DIR --top 5
  voiceface index trinet-synthetic FACES_DIR faces.index         once, then:
  voiceface retrieve trinet-synthetic voice.wav --index faces.index
  voiceface retrieve trinet-synthetic voice.wav --index faces.index --exact   though it was made by `index --faiss`
"""

INDEX = """examples:
  voiceface index trinet-synthetic FACES_DIR faces.index
  voiceface index trinet-synthetic VOICES_DIR voices.index --kind voice --dtype float16
  voiceface index trinet-synthetic FACES_DIR faces.index --faiss    past a million faces: quicker, not exact
"""

USE = """
A checkpoint that was trained on synthetic people says so: its answers say nothing about real people.
For research on published methods; never to identify or to screen people."""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands."""
    match = add_command(
        commands, "match", "pick the face that fits a voice best, or the voice that fits a face best", MATCH + USE
    )
    retrieve = add_command(
        commands,
        "retrieve",
        "search a gallery for the faces that fit a voice best, or the voices that fit a face best",
        RETRIEVE + USE,
    )
    index = add_command(commands, "index", "embed a gallery once, to retrieve from it often", INDEX + USE)
    for command in (match, retrieve, index):
        add_checkpoint(command)
    add_path(match, "files", "FILE", "one voice, then faces; or one face, then voices", nargs="*")
    add_path(
        match, "--csv", "FILE", "CSV with a match in each row: voice, face, face2, ... or face, voice, voice2, ..."
    )
    add_path(
        match,
        "--out",
        "FILE",
        "CSV to write: the same columns, and similarity, choice, probability, error and trained_on_synthetic",
    )
    add_path(retrieve, "query", "QUERY", "a voice, to find faces; or a face, to find voices")
    add_path(retrieve, "gallery", "GALLERY", "folder that is searched, with those below it", nargs="?")
    add_path(retrieve, "--index", "DIR", "what `voiceface index` wrote, in place of GALLERY")
    retrieve.add_argument("--exact", action="store_true", help="search an index exactly, even if made with --faiss")
    retrieve.add_argument("--top", type=int, default=10, metavar="K", help="how many to show (default: 10)")
    add_path(index, "gallery", "GALLERY", "folder of faces or voices, with those below it")
    add_path(index, "out", "OUT", "folder to make")
    index.add_argument("--kind", default="face", choices=["face", "voice"], help="what is indexed (default: face)")
    index.add_argument(
        "--dtype",
        default="float32",
        choices=["float32", "float16"],
        help="type that is stored; float16 is half as large (default: float32)",
    )
    index.add_argument(
        "--faiss",
        action="store_true",
        help="write an approximate index too, which `retrieve` then uses; for a million and more",
    )
    for command in (match, retrieve):
        command.add_argument("--json", action="store_true", help="print JSON; it says `trained_on_synthetic` too")
    for command in (match, retrieve, index):
        add_faces(command)
        command.add_argument("--device", default="cpu", type=non_empty, help="cpu, cuda, cuda:1 (default: cpu)")
        add_passes(command)


def add_faces(command: Parser) -> None:
    """How pictures are read."""
    command.add_argument(
        "--asis",
        action="store_true",
        help="take pictures as face crops, without looking for a face: a whole portrait, or a picture without a face, "
        "gets a score that means nothing",
    )
    command.add_argument(
        "--margin", type=float, help="with --asis: times the face box that they show (default: what the network wants)"
    )


def run_match(options: Namespace) -> int:
    """Print which candidate is the query's, or write a CSV of many such questions."""
    from voiceface.inference.media import OTHER, check_detector, kind_of

    batch = options.csv is not None
    if batch != (options.out is not None) or batch == bool(options.files):
        raise UserError("give a query and its candidates; or --csv FILE and --out FILE")
    if not batch and len(options.files) < 2:
        raise UserError(f"{options.files[0]}: no candidates; give one voice and several faces, or the reverse")
    check_margin(options)
    paths = [Path(file) for file in options.files]
    are_there(paths)
    asking = kind_of(paths[0]) if paths else "voice"
    for path in paths[1:]:
        if path.is_file() and kind_of(path) == asking:
            raise UserError(
                f"{path}: a {asking}, as the first file is; give one voice and several faces, or the reverse"
            )
    if not options.asis:
        check_detector()
    if batch:
        source, out = Path(options.csv), Path(options.out)
        _check_csv(source, out)
        model = load(options)
        from voiceface.inference.match_csv import match_csv

        count, failed = match_csv(model, source, out, not options.asis, options.margin)
        print(f"{out}: {count} rows" + (f", {failed} with an error" if failed else ""))
        return 0
    model = load(options)
    direction: Direction = "v2f" if asking == "voice" else "f2v"
    matches = model.match(paths[0], paths[1:], direction, not options.asis, options.margin)
    lines = [(str(paths[1 + match.place]), match.similarity, match.probability) for match in matches]
    _show(options, model, OTHER[asking], str(paths[0]), lines)
    return 0


def run_retrieve(options: Namespace) -> int:
    """Search a gallery for the best matches of a query and print them."""
    if (options.gallery is None) == (options.index is None):
        raise UserError("give a folder GALLERY, or --index DIR of what `voiceface index` wrote")
    if options.top < 1:
        raise UserError(f"--top {options.top}: give 1 or more")
    check_margin(options)
    from voiceface.inference.media import OTHER, check_detector, files_below, kind_of

    query = Path(options.query)
    are_there([query])
    asking = kind_of(query)
    kind = OTHER[asking]
    files = [] if options.gallery is None else files_below(Path(options.gallery), kind)
    if not options.asis and (asking == "face" or files):
        check_detector()
    from voiceface.inference.gallery import Index
    from voiceface.utils.progress import progress

    model = load(options)
    model.check_has_similarity()
    gallery = options.gallery if options.index is None else Index(Path(options.index), model, options.exact)
    direction: Direction = "v2f" if asking == "voice" else "f2v"
    with progress("embedding", len(files), shown=bool(files)) as done:
        found = model.retrieve(query, gallery, options.top, direction, not options.asis, options.margin, done)
    _show(options, model, kind, str(query), [(hit.name, hit.similarity, None) for hit in found])
    return 0


def run_index(options: Namespace) -> int:
    """Embed a gallery and write it as an index."""
    check_margin(options)
    gallery = Path(options.gallery)
    if not gallery.is_dir():
        raise UserError(f"{gallery}: no such folder")
    from voiceface.inference.media import check_detector, files_below
    from voiceface.utils.progress import progress

    files = files_below(gallery, options.kind)
    find = not options.asis
    if options.kind == "face" and find:
        check_detector()
    from voiceface.inference.gallery import build_index

    model, refused, out = load(options), Refusals(), Path(options.out)
    with progress("embedding", len(files)) as done:
        index = build_index(
            out, model, options.kind, files, refused, options.dtype, find, options.margin, done, options.faiss
        )
    print(f"{out}: {len(index.keys)} {options.kind}s, {index.rows.shape[1]} dimensions" + refused.told())
    if index.approximate is not None:
        print(f"FAISS: {index.approximate}")
    return 0


def are_there(paths: Sequence[Path]) -> None:
    """Answer a wrong name before torch is imported."""
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file")


def _check_csv(source: Path, out: Path) -> None:
    """Likewise a table that cannot be matched, and refuse to write over it."""
    from voiceface.data.prepare.sources.tables import read_csv_rows

    check_writable(out)
    if os.path.exists(out) and os.path.exists(source) and out.samefile(source):
        raise UserError(f"--out {out}: is the file of --csv, which it would replace; choose another name")
    next(read_csv_rows(source, ("voice", "face")), None)


class Refusals:
    """Says which files cannot be used, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, key: str, reason: str) -> None:
        """Say that a file is left out."""
        self.count += 1
        print(f"voiceface: left out {printable(key)}: {printable(reason)}", file=sys.stderr)

    def told(self) -> str:
        """How many were left out; empty: none."""
        return f"; {self.count} left out" if self.count else ""


def check_margin(options: Namespace) -> None:
    """Refuse --margin without --asis."""
    if options.margin is not None and not options.asis:
        raise UserError(f"--margin {options.margin:g}: says what face crops show; give --asis too")


def load(options: Namespace) -> "Model":
    """The model of --checkpoint on --device."""
    from voiceface.inference.light_start import without_extras_of_torchmetrics

    folder = find_checkpoint(options.checkpoint)  # a mistyped name is answered before Lightning is imported
    with without_extras_of_torchmetrics():
        import pytorch_lightning  # noqa: F401

    from voiceface.inference.model import Model

    model = Model(folder, options.device)
    model.method.evaluation_seconds = getattr(options, "evaluation_seconds", None)
    model.note = note
    return model


def _show(
    options: Namespace, model: "Model", kind: str, query: str, lines: Sequence[tuple[str, float, float | None]]
) -> None:
    """Print candidates, the most alike first."""
    from rich.markup import escape
    from rich.table import Table

    known = any(probability is not None for _, _, probability in lines)
    if options.json:
        found = [
            {kind: name, "similarity": score, **({"probability": probability} if known else {})}
            for name, score, probability in lines
        ]
        said = {"query": query, "trained_on_synthetic": model.trained_on_synthetic, "found": found}
        print(json.dumps(said, indent=1))
        return
    table = Table(kind, box=None, pad_edge=False)
    table.add_column("similarity", justify="right")
    if known:
        table.add_column("probability", justify="right")
    for name, score, probability in lines:
        table.add_row(escape(printable(name)), f"{score:.4f}", *([f"{probability:.3f}"] if known else []))
    console(max([80, *(len(name) + 40 for name, _, _ in lines)])).print(table)
