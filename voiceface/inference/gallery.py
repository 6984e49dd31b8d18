"""Galleries: many faces or voices, embedded once and stored in a folder, an index."""

import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from voiceface.data.prepare.media.rejected import Rejected
from voiceface.evaluation.embedding_files import read_matrix
from voiceface.inference import faiss_index as approximate
from voiceface.inference.media import Kind, files_below
from voiceface.inference.model import Model
from voiceface.inference.search import Found, check_top, nearest, stacked, unit
from voiceface.utils.errors import UserError, reason
from voiceface.utils.files import atomic, check_writable, csv_bytes, read_json, write_atomic

SCHEMA = 1
DTYPES = ("float32", "float16")
Refused = Callable[[str, str], None]


def build_index(
    out: Path,
    model: Model,
    kind: Kind,
    files: Sequence[tuple[str, Path]],
    refused: Refused,
    dtype: str = "float32",
    detect: bool = True,
    margin: float | None = None,
    done: Callable[[], None] = lambda: None,
    faiss: bool = False,
) -> "Index":
    """Embed a gallery and write it as a folder, atomically.

    Args:
        out: Folder to create: `embeddings.npy` (of length 1 if compared by cosine), `keys.csv`, `refused.csv` and
            `index.json`.
        model: The model.
        kind: Kind of the files.
        files: Name and path of each file.
        refused: Called with the name and the reason for each unusable file.
        dtype: `float32`; or `float16`, half the size, similarities accurate to about 0.001.
        detect: See `Model.embed_face`.
        margin: See `Model.embed_face`.
        done: Called after each file.
        faiss: Also write `approximate.faiss`, which makes the search faster above a million rows, but not exact.

    Raises:
        UserError: `out` exists already or cannot be written, no file is usable, or the method only compares candidates
            with each other; or, with `faiss`, FAISS is not installed, or the method compares pairs with a network.
    """
    model.check_has_similarity()
    model.warn_if_synthetic()
    if faiss:
        approximate.check_space(model)
        approximate.require_faiss()
    if out.exists():
        raise UserError(f"{out}: already exists; name another folder, or delete it")
    check_writable(out)
    temporary = out.with_name(f".{out.name}.tmp{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        _write(temporary, model, kind, files, refused, dtype, detect, margin, done, faiss)
        os.rename(temporary, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({reason(error)}); choose another place or make room") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Index(out, model)


def _write(
    folder: Path,
    model: Model,
    kind: Kind,
    files: Sequence[tuple[str, Path]],
    refused: Refused,
    dtype: str,
    detect: bool,
    margin: float | None,
    done: Callable[[], None],
    faiss: bool,
) -> None:
    keys: list[tuple[str]] = []
    without: list[tuple[str, str]] = []
    dim = 0
    each = model.embed_each(kind, [path for _, path in files], detect, margin)
    with atomic(folder / "embeddings.npy") as file:
        for (key, _), row in zip(files, each, strict=True):
            if isinstance(row, Rejected):
                without.append((key, row.reason))
                refused(key, row.reason)
            else:
                values = row.cpu().numpy()[None]
                if model.method.space == "cosine":
                    values = unit(values)
                if not keys:
                    dim = values.shape[1]
                    _header(file, 0, dim, dtype)
                file.write(values.astype(dtype).tobytes())
                keys.append((key,))
            done()
        if not keys:
            raise UserError(f"no {kind} of {len(files)} can be used (the last one: {without[-1][1]})")
        file.seek(0)
        _header(file, len(keys), dim, dtype)
    write_atomic(folder / "keys.csv", csv_bytes(("key",), keys))
    write_atomic(folder / "refused.csv", csv_bytes(("key", "reason"), without))
    about = {
        "schema": SCHEMA,
        "checkpoint": model.config["sha256"],
        "kind": kind,
        "space": model.method.space,
        "dim": dim,
        "count": len(keys),
        "dtype": dtype,
        "trained_on_synthetic": model.trained_on_synthetic,
    }
    if faiss:
        rows = read_matrix(folder / "embeddings.npy")
        about["faiss"] = approximate.build(folder / approximate.NAME, rows, model.method.space)
    write_atomic(folder / "index.json", json.dumps(about, indent=1).encode())


def _header(file: Any, count: int, dim: int, dtype: str) -> None:
    """Write an .npy header; NumPy reserves space for a growing first dimension, so it can be overwritten later."""
    shape = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (count, dim)}
    np.lib.format.write_array_header_1_0(file, shape)


def _keys(path: Path) -> list[str]:
    """Read the single column of `keys.csv` exactly: a file name may begin with a space."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return [row[0] for row in csv.reader(file)][1:]
    except (OSError, csv.Error, IndexError):
        raise UserError(f"{path}: damaged or missing; make the index again") from None


class Index:
    """A gallery on disk, searched through a memory map.

    Args:
        folder: Folder written by `build_index`.
        model: The model that embeds the queries.
        exact: Search exactly, even if there is an approximate index.

    Attributes:
        kind: Kind of the gallery's items, `voice` or `face`.
        keys: Names of the items.
        approximate: The approximate index, if it exists and is used.

    Raises:
        UserError: The folder is not an index, is damaged, or was made with another checkpoint; or FAISS is needed and
            not installed.
    """

    def __init__(self, folder: Path, model: Model, exact: bool = False) -> None:
        path = folder / "index.json"
        try:
            about = read_json(path)
            kind, space, shape = about["kind"], about["space"], (int(about["count"]), int(about["dim"]))
            checkpoint, schema, dtype = about["checkpoint"], about["schema"], about["dtype"]
        except OSError:
            raise UserError(f"{folder}: no index (no index.json); make one by `voiceface index`") from None
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise UserError(f"{path}: damaged ({error}); make the index again") from None
        if schema != SCHEMA:
            raise UserError(f"{path}: schema {schema}, this version reads {SCHEMA}; make the index again")
        if checkpoint != model.config["sha256"]:
            raise UserError(
                f"{folder}: made with another checkpoint than {model.folder}; give that one, or make the index again"
            )
        self.kind: Kind = "voice" if kind == "voice" else "face"
        self.keys = _keys(folder / "keys.csv")
        self.rows = read_matrix(folder / "embeddings.npy")
        whole = self.rows.shape == shape and len(self.keys) == shape[0] and kind in ("voice", "face")
        if not whole or dtype not in DTYPES or self.rows.dtype != dtype or space != model.method.space:
            raise UserError(f"{folder}: damaged (its files do not fit index.json); make the index again")
        self.folder, self.model = folder, model
        self.approximate = None
        if "faiss" in about and not exact:
            self.approximate = approximate.read(folder / approximate.NAME, about["faiss"], self.rows, space)

    @classmethod
    def build(
        cls,
        gallery: str | Path,
        out: str | Path,
        model: Model,
        kind: Kind = "face",
        detect: bool = True,
        margin: float | None = None,
    ) -> "Index":
        """Embed the files of a folder and write them as an index, as `voiceface index` does.

        Args:
            gallery: Folder of the files; those below it are read too.
            out: Folder to create.
            model: The model.
            kind: Kind of the files.
            detect: See `Model.embed_face`.
            margin: See `Model.embed_face`.

        Raises:
            UserError: As `build_index`; or there is no such folder, or no such file in it.

        Example:
            >>> index = Index.build("faces", "faces.index", model, detect=False, margin=1.25)
            >>> model.retrieve("voice.flac", index, top=1)[0].name
            'b.jpg'
        """
        return build_index(
            Path(out), model, kind, files_below(Path(gallery), kind), model.left_out, detect=detect, margin=margin
        )

    def search(self, queries: Tensor, top: int = 10) -> Found:
        """Find the nearest items, see `nearest`; with the approximate index if it is in use."""
        if self.approximate is None:
            found = nearest(self.model, queries, self.kind, self.rows, top)
            if found[0].shape[1] < min(top, len(self.keys)):
                raise UserError(f"{self.folder}: damaged (rows that are not finite); make the index again")
            return found
        check_top(top)
        return stacked(self.approximate.search(queries.float().cpu().numpy(), top))
