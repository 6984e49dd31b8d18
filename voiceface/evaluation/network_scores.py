"""Scores of methods that compare with a network: a similarity per pair, or a choice among candidates."""

import shutil
import tempfile
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voiceface.methods.base import Direction, Method
from voiceface.scores import score
from voiceface.scores.relative import relative_records
from voiceface.utils.errors import UserError

CLIPS_AT_ONCE = 256  # per modality and call of a network that scores pairs: hidden layers have this squared
CHOICES_AT_ONCE = 2**14  # per call of a network that chooses
BYTES_IN_MEMORY = 2**30  # a larger matrix is stored in a file


def similarity_matrix(method: Method, voices: NDArray[np.float32], faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute `method.similarity` of every voice and face, for methods whose similarity is a network of both.

    Args:
        method: The method.
        voices: Embeddings of shape (Nv, D).
        faces: Embeddings of shape (Nf, D).

    Returns:
        float32 of shape (Nv, Nf); a matrix above a gigabyte is a temporary file that is removed with the process.

    Raises:
        UserError: There is too little disk space for the file.
    """
    shape = (len(voices), len(faces))
    size, free = 4 * shape[0] * shape[1], shutil.disk_usage(tempfile.gettempdir()).free
    if size >= BYTES_IN_MEMORY and size > free:
        raise UserError(
            f"{shape[0]:,} voices x {shape[1]:,} faces: their similarities by a network take {size / 2**30:,.0f} GiB, "
            f"{tempfile.gettempdir()} has {free / 2**30:,.0f} free; set TMPDIR to a larger folder or test a part"
        )
    if size < BYTES_IN_MEMORY:
        matrix: NDArray[np.float32] = np.empty(shape, np.float32)
    else:
        matrix = np.memmap(tempfile.TemporaryFile(), np.float32, "w+", shape=shape)  # noqa: SIM115
    v, f = (torch.from_numpy(table).to(method.device) for table in (voices, faces))
    with torch.inference_mode():
        for i, j in product(range(0, shape[0], CLIPS_AT_ONCE), range(0, shape[1], CLIPS_AT_ONCE)):
            block = method.similarity(v[i : i + CLIPS_AT_ONCE], f[j : j + CLIPS_AT_ONCE])
            matrix[i : i + CLIPS_AT_ONCE, j : j + CLIPS_AT_ONCE] = block.float().cpu().numpy()
    return matrix


def network_records(
    method: Method,
    gathered: Mapping[str, NDArray[Any]],
    identities: Mapping[str, Mapping[str, str]],
    trials: int,
    level: float,
) -> list[dict[str, Any]]:
    """Score a method whose score comes from a network: per pair, or for all candidates together.

    Args:
        method: A method whose `space` is `pairwise` or `relative`.
        gathered: Result of `EvaluationTable.gather`.
        identities: Attributes of each identity.
        trials: Trials per direction, stratum and number of candidates, for a relative method.
        level: Confidence level.

    Returns:
        Records of `voiceface.scores.score` or `voiceface.scores.relative.relative_records`.
    """
    voice_names, face_names = (gathered[f"{kind}_people"].tolist() for kind in ("voice", "face"))
    if method.space == "pairwise":
        matrix = similarity_matrix(method, gathered["voices"], gathered["faces"])
        return score(None, voice_names, None, face_names, identities=identities, similarity=matrix, level=level)
    people = len(set(voice_names) & set(face_names))
    tables = {kind: torch.from_numpy(gathered[kind]).to(method.device) for kind in ("voices", "faces")}
    records: list[dict[str, Any]] = []
    for direction in method.directions:
        asking, asked = ("voices", "faces") if direction == "v2f" else ("faces", "voices")

        def scorer(
            queries: NDArray[np.intp],
            candidates: NDArray[np.intp],
            asking: str = asking,
            asked: str = asked,
            direction: Direction = direction,
        ) -> NDArray[Any]:
            rows = max(1, CHOICES_AT_ONCE // candidates.shape[1])
            chosen = []
            with torch.inference_mode():
                for start in range(0, len(queries), rows):
                    q, c = (torch.from_numpy(i[start : start + rows]).to(method.device) for i in (queries, candidates))
                    chosen.append(method.choose(tables[asking][q], tables[asked][c], direction).float().cpu().numpy())
            return np.concatenate(chosen)

        for n in method.gallery_sizes:
            if n <= people:
                records += relative_records(
                    scorer, voice_names, face_names, identities, direction, n, trials, level=level
                )
    return records
