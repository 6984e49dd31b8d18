"""`voiceface match`, `retrieve`, `index` and `embed` on files: their work."""

import io
import json
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from voiceface.checkpoints.find import find_checkpoint
from voiceface.data.prepare.sources.tables import read_csv_rows
from voiceface.inference.media import OTHER, Kind, check_detector, files_below, kind_of
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable, write_for_user
from voiceface.utils.progress import progress
from voiceface.utils.text import printable

if TYPE_CHECKING:
    from voiceface.inference.model import Model
    from voiceface.methods.base import Direction


def run_match(options: Namespace) -> int:
    """Print which candidate is the query's, or write a CSV of many such questions."""
    batch = options.csv is not None
    if batch != (options.out is not None) or batch == bool(options.files):
        raise UserError("give a query and its candidates; or --csv FILE and --out FILE")
    if not batch and len(options.files) < 2:
        raise UserError(f"{options.files[0]}: no candidates; give one voice and several faces, or the reverse")
    _check_margin(options)
    paths = [Path(file) for file in options.files]
    _are_there(paths)
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
        model = _model(options)
        from voiceface.inference.match_csv import match_csv

        count, failed = match_csv(model, source, out, not options.asis, options.margin)
        print(f"{out}: {count} rows" + (f", {failed} with an error" if failed else ""))
        return 0
    model = _model(options)
    direction: Direction = "v2f" if asking == "voice" else "f2v"
    matches = model.match(paths[0], paths[1:], direction, not options.asis, options.margin)
    lines = [(str(paths[1 + match.place]), match.similarity, match.probability) for match in matches]
    _show(options, OTHER[asking], str(paths[0]), lines)
    return 0


def run_retrieve(options: Namespace) -> int:
    """Print what of a gallery is most like a query."""
    if (options.gallery is None) == (options.index is None):
        raise UserError("give a folder GALLERY, or --index DIR of what `voiceface index` wrote")
    if options.top < 1:
        raise UserError(f"--top {options.top}: give 1 or more")
    _check_margin(options)
    query = Path(options.query)
    _are_there([query])
    asking = kind_of(query)
    kind = OTHER[asking]
    files = [] if options.gallery is None else files_below(Path(options.gallery), kind)
    if not options.asis and (asking == "face" or files):
        check_detector()
    from voiceface.inference.gallery import Index, embed_gallery
    from voiceface.inference.search import nearest, unit

    model = _model(options)
    model.check_has_similarity()
    index = None if options.index is None else Index(Path(options.index), model, options.exact)
    if index is not None and index.kind != kind:
        raise UserError(f"{query}: a {asking}, and {options.index} holds {index.kind}s; give a {kind}")
    embed = model.embed_voice(query) if asking == "voice" else model.embed_face(query, not options.asis, options.margin)
    if index is not None:
        keys = index.keys
        places, scores = index.search(embed, options.top)
    else:
        with progress("embedding", len(files)) as done:
            keys, rows = embed_gallery(model, kind, files, _refused, not options.asis, options.margin, done)
        rows = unit(rows) if model.method.space == "cosine" else rows
        places, scores = nearest(model, embed, kind, rows, options.top)
    lines = [(keys[p], s, None) for p, s in zip(places[0].tolist(), scores[0].tolist(), strict=True)]
    _show(options, kind, str(query), lines)
    return 0


def run_index(options: Namespace) -> int:
    """Embed a gallery and write it as an index."""
    _check_margin(options)
    gallery = Path(options.gallery)
    if not gallery.is_dir():
        raise UserError(f"{gallery}: no such folder")
    files = files_below(gallery, options.kind)
    if options.kind == "face" and not options.asis:
        check_detector()
    from voiceface.inference.gallery import build_index

    model, refused = _model(options), _Refusals()
    with progress("embedding", len(files)) as done:
        index = build_index(
            Path(options.out),
            model,
            options.kind,
            files,
            refused,
            options.dtype,
            not options.asis,
            options.margin,
            done,
            options.faiss,
        )
    print(f"{options.out}: {len(index.keys)} {options.kind}s, {index.rows.shape[1]} dimensions" + refused.told())
    if index.approximate is not None:
        print(f"FAISS: {index.approximate}")
    return 0


def run_embed_files(options: Namespace) -> int:
    """Embed files, and those of folders, and write one npz file; a file's identity is the folder that it lies in."""
    out = Path(options.out)
    check_writable(out)
    _check_margin(options)
    files: dict[Kind, dict[str, tuple[str, Path]]] = {"voice": {}, "face": {}}
    _are_there([Path(name) for name in options.files])
    for name in options.files:
        for kind, key, identity, path in _listed(Path(name)):
            if files[kind].setdefault(key, (identity, path))[1] != path:
                raise UserError(f"{path}: another {kind} is called {key} too; give the folder above both")
    if files["face"] and not options.asis:
        check_detector()
    from voiceface.evaluation.network_scores import similarity_matrix
    from voiceface.inference.gallery import embed_gallery

    options.device = "cuda" if options.gpus else "cpu"
    model, refused = _model(options), _Refusals()
    model.check_has_similarity()
    about = {"model": {"recipe": model.config["recipe"], "checkpoint": model.config["sha256"]}}
    arrays: dict[str, Any] = {"about": np.array(json.dumps(about))}
    if model.method.space in ("cosine", "euclidean"):
        arrays["similarity"] = np.array(model.method.space)
    for kind, found in files.items():
        if found:
            listed = [(key, path) for key, (_, path) in found.items()]
            with progress(f"embedding {kind}s", len(listed)) as done:
                keys, arrays[f"{kind}s"] = embed_gallery(
                    model, kind, listed, refused, not options.asis, options.margin, done
                )
            arrays[f"{kind}_key"] = np.array(keys)
            arrays[f"{kind}_identity"] = np.array([found[key][0] for key in keys])
    if model.method.space == "pairwise" and files["voice"] and files["face"]:
        arrays["similarity"] = similarity_matrix(model.method, arrays["voices"], arrays["faces"])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_for_user(out, buffer.getvalue())
    counts = " and ".join(f"{len(arrays[f'{kind}s'])} {kind}s" for kind in files if f"{kind}s" in arrays)
    print(f"{out}: {counts}" + refused.told())
    return 0


def _are_there(paths: Sequence[Path]) -> None:
    """Answer a wrong name before torch is imported."""
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file")


def _check_csv(source: Path, out: Path) -> None:
    """Likewise a table that cannot be matched, and refuse to write over it."""
    check_writable(out)
    if os.path.exists(out) and os.path.exists(source) and out.samefile(source):
        raise UserError(f"--out {out}: is the file of --csv, which it would replace; choose another name")
    next(read_csv_rows(source, ("voice", "face")), None)


def _listed(path: Path) -> list[tuple[Kind, str, str, Path]]:
    """Kind, key, identity and path of a file, or of each in a folder: identities are its folders."""
    if not path.is_dir():
        return [(kind_of(path), path.name, path.resolve().parent.name, path)]
    listed: list[tuple[Kind, str, str, Path]] = []
    problem = None
    for kind in OTHER:
        try:
            found = files_below(path, kind)
        except UserError as error:
            problem = problem or error
            continue
        for key, file in found:
            first, _, below = key.partition("/")
            listed.append((kind, key, first if below else path.resolve().name, file))
    if not listed:
        raise UserError(f"{path}: no voices and no faces in it") from problem
    return listed


class _Refusals:
    """Says which files cannot be used, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, key: str, reason: str) -> None:
        self.count += 1
        _refused(key, reason)

    def told(self) -> str:
        return f"; {self.count} left out" if self.count else ""


def _refused(key: str, reason: str) -> None:
    print(f"voiceface: left out {printable(key)}: {printable(reason)}", file=sys.stderr)


def _check_margin(options: Namespace) -> None:
    if options.margin is not None and not options.asis:
        raise UserError(f"--margin {options.margin:g}: says what face crops show; give --asis too")


def _model(options: Namespace) -> "Model":
    from voiceface.inference.light_start import without_extras_of_torchmetrics

    folder = find_checkpoint(options.checkpoint)  # a mistyped name is answered before Lightning is imported
    with without_extras_of_torchmetrics():
        import pytorch_lightning  # noqa: F401

    from voiceface.inference.model import Model

    return Model(folder, options.device)


def _show(options: Namespace, kind: str, query: str, lines: Sequence[tuple[str, float, float | None]]) -> None:
    """Print candidates, the most alike first."""
    known = any(probability is not None for _, _, probability in lines)
    if options.json:
        found = [
            {kind: name, "similarity": score, **({"probability": probability} if known else {})}
            for name, score, probability in lines
        ]
        print(json.dumps({"query": query, "found": found}, indent=1))
        return
    table = Table(kind, box=None, pad_edge=False)
    table.add_column("similarity", justify="right")
    if known:
        table.add_column("probability", justify="right")
    for name, score, probability in lines:
        table.add_row(escape(printable(name)), f"{score:.4f}", *([f"{probability:.3f}"] if known else []))
    console = Console()
    console = console if console.is_terminal else Console(width=max([80, *(len(name) + 40 for name, _, _ in lines)]))
    console.print(table)
