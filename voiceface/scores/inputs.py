"""Validation of the scores' input: names, strata, similarities, videos."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.kernels.blocks import Rows
from voiceface.scores.similarity import matrix_rows, similarity_rows
from voiceface.scores.strata import default_strata, stratum_mask
from voiceface.utils.errors import UserError


def strata_masks(
    names: Sequence[str],
    identities: Mapping[str, Mapping[str, str]] | None,
    strata: Sequence[str] | None,
    others: Sequence[str] = (),
) -> dict[str, NDArray[np.bool_]]:
    """Compute the mask of each stratum over pairs of people.

    Args:
        names: I people with both modalities.
        identities: Attributes by name.
        strata: Names of strata; None: U and those whose attributes are known.
        others: People who occur only in galleries.

    Returns:
        bool (I, I + others) by name of stratum: the people (columns) compared with each of the first I.

    Raises:
        UserError: An unknown stratum, or a table that contains none of the people.
    """
    table = identities or {}
    if table and not any(name in table for name in names):
        raise UserError(
            f"identities: none of the {len(names)} people is in the table, not even {names[0]!r}; check its names"
        )
    attributes = [table.get(name, {}) for name in [*names, *others]]
    chosen = default_strata(attributes[: len(names)]) if strata is None else strata
    return {s: stratum_mask(s, attributes)[: len(names)] for s in chosen}


def similarities(
    voices: NDArray[Any] | None, faces: NDArray[Any] | None, similarity: str | NDArray[Any], clips: int, images: int
) -> Callable[[str, NDArray[np.intp], NDArray[np.intp]], Rows]:
    """Check embeddings or a similarity matrix.

    Args:
        voices: float (Nv, D).
        faces: float (Nf, D).
        similarity: "cosine", "euclidean" or a matrix (Nv, Nf), which may be a memory map.
        clips: Nv.
        images: Nf.

    Returns:
        A function from a direction, the queries and the gallery items, in their order, to rows of similarities.

    Raises:
        UserError: Missing, mismatched or non-finite values, a zero vector under cosine, or an unknown similarity.
    """
    if not isinstance(similarity, str):
        matrix = _finite(similarity, "similarity")
        if matrix.shape != (clips, images):
            raise UserError(f"similarity: shape {matrix.shape} is not ({clips}, {images}), voices by faces")
        matrices = {"v2f": matrix, "f2v": matrix.T}
        return lambda direction, queries, items: matrix_rows(matrices[direction], queries, items)
    if similarity not in ("cosine", "euclidean"):
        raise UserError(f"similarity: {similarity!r} is not known; use cosine, euclidean or a matrix")
    voices = _embeddings(voices, "voices", clips, similarity)
    faces = _embeddings(faces, "faces", images, similarity)
    if voices.shape[1] != faces.shape[1]:
        raise UserError(
            f"voices have {voices.shape[1]} dimensions and faces {faces.shape[1]}; give both the same space"
        )
    sides = {"v2f": (voices, faces), "f2v": (faces, voices)}
    return lambda direction, queries, items: similarity_rows(
        sides[direction][0][queries], sides[direction][1][items], similarity
    )


class Sorted:
    """The clips of one modality, identity by identity.

    Attributes:
        order: intp (N,): the clips in that order.
        identity: int64 (N,): index of each clip's identity, ascending.
        sizes: int64 (J,): clips of each identity.
        video: int64 (N,) or None: index of each clip's video, -1 = unknown.
    """

    def __init__(self, clip_names: NDArray[np.str_], people: Sequence[str], videos: NDArray[np.int64] | None) -> None:
        """Sort the clips; those of identities not in `people` are left out."""
        number = {name: index for index, name in enumerate(people)}
        codes = np.array([number.get(name, len(number)) for name in clip_names.tolist()], np.int64)
        order = np.argsort(codes, kind="stable")
        self.order = order[codes[order] < len(number)]
        self.identity = codes[self.order]
        self.sizes = np.bincount(self.identity, minlength=len(people))
        self.video = None if videos is None else videos[self.order]


def video_numbers(
    voice_video: Sequence[str] | None, face_video: Sequence[str] | None, clips: int, images: int
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Number the videos; -1 = unknown. Both are None unless both sides have a known video.

    Raises:
        UserError: The number of names is not the number of clips.
    """
    if voice_video is None or face_video is None:
        return None, None
    sides = [np.asarray(side).astype(np.str_) for side in (voice_video, face_video)]
    for side, name, number in zip(sides, ("voice_video", "face_video"), (clips, images), strict=True):
        if side.shape != (number,):
            raise UserError(f"{name}: shape {side.shape} is not ({number},), one name per clip; empty = unknown")
    if not all((side != "").any() for side in sides):
        return None, None
    code = {name: index for index, name in enumerate(np.unique(np.concatenate(sides)).tolist())}
    voices, faces = (np.array([code[v] if v else -1 for v in side.tolist()], np.int64) for side in sides)
    return voices, faces


def of_video(rows: Rows, queries: Sorted, items: Sorted, same: bool) -> Rows:
    """Restrict each query's relevant items to those of its own video, or to those of other known videos."""
    starts = np.concatenate([[0], np.cumsum(items.sizes)])
    assert queries.video is not None
    assert items.video is not None
    query_video, item_video = queries.video, items.video

    def kept(numbers: NDArray[np.intp]) -> NDArray[Any]:
        scores = np.array(rows(numbers))
        for line, number in zip(scores, numbers, strict=True):
            own = slice(starts[queries.identity[number]], starts[queries.identity[number] + 1])
            video = query_video[number]
            wanted = (item_video[own] == video) if same else (item_video[own] != video)
            line[own][~(wanted & (item_video[own] >= 0) & (video >= 0))] = np.nan
        return scores

    return kept


def clip_names(identity: Sequence[str], name: str) -> NDArray[np.str_]:
    """Return the identity names of clips as an array.

    Raises:
        UserError: Not one name per clip, or no names.
    """
    names = np.asarray(identity).astype(np.str_)
    if names.ndim != 1 or not len(names):
        raise UserError(f"{name}: needs one identity name per clip, got shape {names.shape}")
    return names


def _embeddings(values: NDArray[Any] | None, name: str, clips: int, similarity: str) -> NDArray[Any]:
    if values is None:
        raise UserError(f"{name}: embeddings are missing; give them, or a matrix as similarity")
    values = _finite(values, name)
    if values.ndim != 2 or len(values) != clips or not values.shape[1]:
        raise UserError(f"{name}: shape {values.shape} is not ({clips}, dimensions), one row per identity name")
    if similarity == "cosine" and not values.any(axis=1).all():
        row = int(np.argmin(values.any(axis=1)))
        raise UserError(f"{name}: row {row} is a zero vector, which has no cosine; correct it or use euclidean")
    return values


def _finite(values: NDArray[Any], name: str) -> NDArray[Any]:
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise UserError(f"{name}: values of type {values.dtype} are not numbers; use float32 or float64")
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise UserError(f"{name}: holds NaN or infinite values; drop or correct those clips")
    return values
