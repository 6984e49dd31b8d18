"""Embeddings from files, read and checked row by row."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.data.prepare.sources.tables import GENDERS, read_csv_rows
from voiceface.evaluation.embedding_files import read_matrix, read_raw
from voiceface.utils.errors import UserError

KINDS = ("voice", "face")
NEEDED = ("voices", "voice_identity", "voice_key", "faces", "face_identity", "face_key")
MEASURES = ("voice_pitch", "voice_loudness")
OPTIONAL = ("voice_video", "face_video", "similarity", *MEASURES)
SPACES = ("cosine", "euclidean")
BLOCK = 1 << 22  # values checked at once
ID_COLUMNS = ("identity", "id", "voxceleb1id", "voxceleb2id", "voxcelebid", "vggface1id", "vggface2id", "vggfaceid")
COLUMNS = {"sex": "gender", "country": "nationality", "race": "ethnicity", "language": "first_language"}


@dataclass(frozen=True)
class Embeddings:
    """Validated voices and faces to score.

    Attributes:
        voices: float (Nv, D), finite; None if only a similarity matrix is known.
        voice_identity: str (Nv,): identity of each voice.
        voice_key: str (Nv,): unique names of the clips.
        voice_video: str (Nv,): source video of each voice, empty = unknown; None: no video is known.
        faces: float (Nf, D) or None.
        face_identity: str (Nf,).
        face_key: str (Nf,).
        face_video: str (Nf,) or None.
        similarity: "cosine", "euclidean", a matrix (Nv, Nf) of similarities, larger = more alike, or None: unspecified.
        measures: Measures of the voices by name (`voice_pitch` in Hz, `voice_loudness` in dB), float (Nv,), NaN if
            missing.
        about: Metadata from `voiceface embed`: sections `model` and `data` of a result file, and the attributes of the
            `identities`; otherwise empty.
    """

    voices: NDArray[Any] | None
    voice_identity: NDArray[np.str_]
    voice_key: NDArray[np.str_]
    voice_video: NDArray[np.str_] | None
    faces: NDArray[Any] | None
    face_identity: NDArray[np.str_]
    face_key: NDArray[np.str_]
    face_video: NDArray[np.str_] | None
    similarity: str | NDArray[Any] | None = None
    measures: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


def read_embeddings(path: Path, faces: Path | None = None, similarity: str | None = None) -> Embeddings:
    """Read and check embeddings.

    Args:
        path: An `.npz` with `voices, voice_identity, voice_key, faces, face_identity, face_key` and optionally
            `voice_video, face_video, similarity` (a matrix or the word), `voice_pitch, voice_loudness`. Or a folder
            with `voices.npy` and `voices.csv` (columns identity, key, optionally video, pitch, loudness), `faces.npy`
            and `faces.csv`, and optionally `similarity.npy`, which is memory-mapped and replaces the embeddings. Or a
            folder with `voices.parquet` and `faces.parquet` (the same columns and `embedding`).
        faces: The faces' `.npy` or `.parquet`, if `path` is that of the voices.
        similarity: "cosine", "euclidean" or an `.npy` with a matrix; None: as the files say.

    Raises:
        UserError: A file or a name is missing, unreadable or contains Python objects; shapes do not match; a key occurs
            twice; a key or an identity is empty; a value is NaN or infinite, or a vector is zero under cosine. The
            message names the row's key.
    """
    raw = read_raw(path, faces)
    if similarity is not None:
        raw["similarity"] = similarity if similarity in SPACES else _matrix_of_option(similarity)
    return checked(raw, str(path) if faces is None else f"{path}, {faces}")


def _matrix_of_option(similarity: str) -> NDArray[Any]:
    if not similarity.endswith(".npy"):
        raise UserError(f"--similarity {similarity}: give cosine, euclidean or an .npy file with a matrix")
    return read_matrix(Path(similarity))


def read_identities(path: Path) -> dict[str, dict[str, str]]:
    """Read attributes of identities: a corpus' `identities.csv`, any form of VoxCeleb's metadata, or your own table.

    Commas, semicolons or tabs, with or without byte order mark; case, spaces, `_` and `-` in column names are ignored.
    Ids are in `identity`, `id`, `VoxCeleb1 ID`, `VGGFace1 ID` and the like (`name` if none of them exists). Each id of
    a row maps to the same attributes, a VGGFace name also without a trailing full stop.

    Returns:
        Id to attributes (gender as m or f, nationality, ...; empty = unknown); the attribute `identity` is the row's
        first id, so that a person's voices and faces may have different ids.

    Raises:
        UserError: The file is unreadable, has no id column, or assigns one id to two people.
    """
    table: dict[str, dict[str, str]] = {}
    for line, row in read_csv_rows(path, ()):
        plain = {"".join(c for c in name if c.isalnum()): name for name in row}
        columns = [plain[c] for c in ID_COLUMNS if c in plain] or [plain[c] for c in ("name",) if c in plain]
        if not columns:
            raise UserError(f"{path}: no column identity or `VoxCeleb1 ID` (there are: {', '.join(row)}); name one so")
        ids = list(dict.fromkeys(row[c] for c in columns if row[c]))
        # Some tools strip the full stop at the end of a folder's name.
        ids += [row[c].rstrip(".") for c in columns if c.startswith("vggface") and row[c].endswith(".")]
        if not ids:
            raise UserError(f"{path}, line {line}: no identity; fill it in or delete the line")
        person = {name.replace(" ", "_"): value for name, value in row.items() if name not in columns}
        person = {COLUMNS.get(name, name): value for name, value in person.items()} | {"identity": ids[0]}
        if "gender" in person:
            person["gender"] = GENDERS.get(person["gender"].lower(), person["gender"])
        for name in ids:
            if table.setdefault(name, person) is not person:
                raise UserError(f"{path}, line {line}: {name} appears twice; keep one row")
    if not table:
        raise UserError(f"{path}: holds no identity; give one row per person")
    return table


def people_aliases(*paths: Path) -> dict[str, str]:
    """Map every id in some tables (see `read_identities`) to the person's first id.

    Raises:
        UserError: As `read_identities`, or one id belongs to two people.
    """
    aliases: dict[str, str] = {}
    for path in paths:
        for name, person in read_identities(path).items():
            known = aliases.setdefault(name, person["identity"])
            if known != person["identity"]:
                raise UserError(
                    f"{path}: {name} is {person['identity']} here and {known} in another table; correct one"
                )
    return aliases


def checked(raw: dict[str, Any], source: str) -> Embeddings:
    """Check embeddings that were read, or that a program has made.

    Args:
        raw: Arrays by the names that `read_embeddings` explains.
        source: Where they come from, for messages.

    Raises:
        UserError: As `read_embeddings`.
    """
    similarity = raw.get("similarity")
    if isinstance(similarity, np.ndarray) and similarity.dtype.kind in "US" and similarity.size == 1:
        similarity = str(_text(similarity.reshape(1), "similarity", source)[0])
    matrix = similarity if isinstance(similarity, np.ndarray) else None
    if isinstance(similarity, str) and similarity not in SPACES:
        raise UserError(f"{source}: similarity is {similarity!r}; it may be cosine, euclidean or a matrix")
    missing = [n for n in NEEDED if n not in raw and not (matrix is not None and n in ("voices", "faces"))]
    if missing:
        raise UserError(
            f"{source}: no {', '.join(missing)} (there are: {', '.join(raw) or 'none'}); needed: {', '.join(NEEDED)}; "
            f"optional: {', '.join(OPTIONAL)}"
        )
    sides: dict[str, Any] = {}
    for kind in KINDS:
        names = [f"{kind}_identity", f"{kind}_key", *([f"{kind}_video"] if f"{kind}_video" in raw else [])]
        sides[f"{kind}_video"] = None
        sides |= {name: _text(raw[name], name, source) for name in names}
        _check_names(sides, kind, source)
        directions = matrix is None and similarity != "euclidean"
        sides[f"{kind}s"] = _vectors(raw.get(f"{kind}s"), kind, sides[f"{kind}_key"], source, directions)
    voices, faces = sides["voices"], sides["faces"]
    if matrix is not None:
        _check_matrix(matrix, sides["voice_key"], sides["face_key"], source)
    elif voices.shape[1] != faces.shape[1]:
        raise UserError(
            f"{source}: voices have {voices.shape[1]} dimensions, faces {faces.shape[1]}; embed both in one space"
        )
    measures = {name: _measure(raw[name], name, len(sides["voice_key"]), source) for name in MEASURES if name in raw}
    about = _about(raw["about"], source) if "about" in raw else {}
    return Embeddings(**sides, similarity=similarity, measures=measures, about=about)


def _text(values: Any, name: str, source: str) -> NDArray[np.str_]:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise UserError(f"{source}: {name} is {array.dtype} {array.shape}; it must be one text (or number) per row")
    try:
        return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array.astype(np.str_)
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: {name} is not UTF-8 text ({error.reason}); save it as text") from None


def _check_names(sides: Mapping[str, Any], kind: str, source: str) -> None:
    keys = sides[f"{kind}_key"]
    if not len(keys):
        raise UserError(f"{source}: holds no {kind}s; give at least one per person")
    for name, values in sides.items():
        if not name.startswith(kind) or values is None:
            continue
        if len(values) != len(keys):
            raise UserError(f"{source}: {name} has {len(values)} rows, {kind}_key {len(keys)}; give both the same rows")
        empty = np.flatnonzero(np.char.strip(values) == "")
        if len(empty) and not name.endswith("video"):
            raise UserError(f"{source}: {name} is empty in {len(empty)} rows, the first is row {empty[0]}; fill it in")
    distinct, counts = np.unique(keys, return_counts=True)
    if len(distinct) < len(keys):
        twice = distinct[counts > 1]
        raise UserError(f"{source}: {len(twice)} {kind} keys appear twice, such as {twice[0]}; keep one row of each")


def _vectors(
    values: NDArray[Any] | None, kind: str, keys: NDArray[np.str_], source: str, directions: bool
) -> NDArray[Any] | None:
    if values is None:
        return None
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.shape[1]:
        raise UserError(f"{source}: {kind}s is {values.dtype} {values.shape}; it must be numbers (rows, dimensions)")
    if len(values) != len(keys):
        raise UserError(f"{source}: {kind}s has {len(values)} rows, {kind}_key {len(keys)}; give both the same rows")
    step = max(1, BLOCK // values.shape[1])
    blocks = [values[start : start + step] for start in range(0, len(values), step)]
    wrong = ~np.concatenate([np.isfinite(block).all(axis=1) for block in blocks])
    zero = ~np.concatenate([block.any(axis=1) for block in blocks])
    for found, what in ((wrong, "NaN or infinite"), (zero & directions, "zero vectors, which have no cosine")):
        if found.any():
            some = ", ".join(keys[found][:3]) + (" ..." if found.sum() > 3 else "")
            raise UserError(
                f"{source}: {int(found.sum())} {kind}s are {what}: {some}; embed them again or leave them out"
            )
    return values


def _check_matrix(matrix: NDArray[Any], voice_key: NDArray[np.str_], face_key: NDArray[np.str_], source: str) -> None:
    """Check the matrix block by block, because it may be larger than memory."""
    shape = (len(voice_key), len(face_key))
    if matrix.shape != shape or matrix.dtype not in (np.float32, np.float64):  # another type would be copied whole
        found = f"similarity is {matrix.dtype} {matrix.shape}"
        raise UserError(f"{source}: {found}; it must be float32 or float64 {shape}, voices by faces")
    step = max(1, BLOCK // shape[1])
    for start in range(0, shape[0], step):
        wrong = np.argwhere(~np.isfinite(matrix[start : start + step]))
        if len(wrong):
            voice, face = voice_key[start + wrong[0][0]], face_key[wrong[0][1]]
            raise UserError(f"{source}: the similarity of {voice} and {face} is NaN or infinite; correct it")


def _about(text: Any, source: str) -> dict[str, Any]:
    about: dict[str, Any] = {}
    sound = True
    try:
        about = json.loads(str(text))
        people = list(about.get("identities", {}).values())
        sound = all(isinstance(part, dict) for part in [*about.values(), *people])
        sound &= all(isinstance(value, str) for person in people for value in person.values())
    except (ValueError, AttributeError, RecursionError):  # not JSON, or not an object where one is expected
        sound = False
    if not sound:
        raise UserError(f"{source}: about is not what `voiceface embed` writes there; leave it out")
    return about


def _measure(values: Any, name: str, count: int, source: str) -> NDArray[np.float64]:
    try:
        array = np.array([v or "nan" for v in values.tolist()] if values.dtype.kind == "U" else values, np.float64)
    except ValueError:
        raise UserError(f"{source}: {name} is not all numbers; leave unknown ones empty") from None
    if array.shape != (count,):
        raise UserError(f"{source}: {name} has shape {array.shape}; it must be ({count},), one per voice")
    return array
