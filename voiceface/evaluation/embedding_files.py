"""Embedding file formats: `.npz`, `.npy` with a CSV beside it, Parquet. Contents are checked later."""

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.data.prepare.sources.tables import read_csv_rows
from voiceface.utils.errors import UserError

# What numpy and zipfile raise if a file is damaged, or misstates its size, type or compression.
DAMAGED: tuple[type[Exception], ...] = (OSError, ValueError, EOFError, RuntimeError, MemoryError, SyntaxError)
DAMAGED += (zlib.error, zipfile.BadZipFile, tokenize.TokenError)
LARGE = 1 << 30  # bytes; a larger similarity matrix must be in a file of its own


def read_raw(path: Path, faces: Path | None) -> dict[str, Any]:
    """Read arrays under the names of `voiceface.evaluation.embeddings.Embeddings`, unchecked.

    Args:
        path: An `.npz`, a folder, or the file of the voices.
        faces: The file of the faces, if `path` is that of the voices.

    Raises:
        UserError: A file is missing, unreadable, or contains Python objects.
    """
    if faces is not None:
        return {**_side(path, "voice"), **_side(faces, "face")}
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".npz" and path.exists():
        return _npz(path)
    wrong = "is no .npz and no folder" if path.exists() else "no such file or folder"
    raise UserError(f"{path}: {wrong}; give an .npz, a folder, or the file of the voices and that of the faces")


def _npz(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy"): archive.getinfo(name).file_size for name in archive.namelist()}
        if there.get("similarity", 0) > LARGE:
            raise UserError(
                f"{path}: `similarity` takes {there['similarity'] / 2**30:.1f} GiB, and an .npz cannot be mapped; give "
                "a folder with similarity.npy, voices.csv and faces.csv"
            )
        arrays = np.load(path, allow_pickle=False)
        return {name: _array(path, arrays, name) for name in there}
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(f"{path}: cannot be read as .npz ({_brief(error)}); write it with np.savez") from None


def _array(path: Path, arrays: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(arrays[name])
    except DAMAGED as error:
        raise UserError(f"{path}: {name} {_unreadable(error)}") from None


def _unreadable(error: Exception) -> str:
    if "bject" in str(error):
        return "holds Python objects, which are never unpickled; save an array of numbers or of text (astype(str))"
    return f"cannot be read ({_brief(error)}); write it again"


def _brief(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or "empty").splitlines()[0].lower()


def _folder(path: Path) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    for kind in ("voice", "face"):
        files = [f for f in (path / f"{kind}s.parquet", path / f"{kind}s.csv") if f.exists()]
        if len(files) != 1:
            which = f"both {kind}s.parquet and {kind}s.csv" if files else f"neither {kind}s.csv nor {kind}s.parquet"
            raise UserError(
                f"{path}: has {which}; needed: voices.npy, voices.csv, faces.npy, faces.csv "
                "(or similarity.npy in place of the two .npy), or voices.parquet and faces.parquet"
            )
        raw |= _side(files[0], kind)
    if (path / "similarity.npy").exists():
        raw["similarity"] = read_matrix(path / "similarity.npy")
    return raw


def _side(path: Path, kind: str) -> dict[str, Any]:
    """Read one modality: a Parquet file, or an `.npy` (or `.csv`) with its counterpart beside it."""
    if path.suffix == ".parquet":
        columns = _parquet(path)
    elif path.suffix in (".npy", ".csv"):
        table = [row for _, row in read_csv_rows(path.with_suffix(".csv"), ("identity", "key"))]
        columns = {name: np.array([row[name] for row in table]) for name in (table[0] if table else ())}
        if path.with_suffix(".npy").exists() or path.suffix == ".npy":
            columns["embedding"] = read_matrix(path.with_suffix(".npy"))
    else:
        raise UserError(f"{path}: is no .npy and no .parquet; give the {kind}s as one of these, or one .npz")
    names = {"embedding": f"{kind}s", **{c: f"{kind}_{c}" for c in ("identity", "key", "video", "pitch", "loudness")}}
    return {names[column]: values for column, values in columns.items() if column in names}


def read_matrix(path: Path) -> NDArray[Any]:
    """Map an `.npy` file into memory; data is loaded only when accessed.

    Raises:
        UserError: The file is missing, damaged, or contains Python objects.
    """
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except DAMAGED as error:
        raise UserError(f"{path}: {_unreadable(error)}") from None


def _parquet(path: Path) -> dict[str, Any]:
    try:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise UserError(f"{path}: Parquet needs pyarrow; pip install 'voiceface[parquet]'") from None
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({_brief(error)}); write it again") from None
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name]
        if name != "embedding":
            columns[name] = np.array(["" if value is None else str(value) for value in column.to_pylist()])
            continue
        inner = getattr(column.type, "value_type", pa.string())
        if not (pa.types.is_floating(inner) or pa.types.is_integer(inner)):
            raise UserError(f"{path}: `embedding` is {column.type}; make it lists of numbers")
        lengths, flat = pc.list_value_length(column).unique(), pc.list_flatten(column)
        if len(lengths) > 1 or column.null_count or flat.null_count:
            raise UserError(f"{path}: the lists in `embedding` must all have one length and hold no null")
        columns[name] = flat.to_numpy().reshape(len(column), -1) if len(column) else np.empty((0, 0))
    return columns
