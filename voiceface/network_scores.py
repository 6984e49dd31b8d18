"""Scores of methods that compare by a network: one similarity per pair, or a choice among candidates."""

import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voiceface.method import Direction, Method
from voiceface.scores import score
from voiceface.scores.relative import relative_records

PAIRS_AT_ONCE = 2**20  # in one call of a network that scores pairs
CHOICES_AT_ONCE = 2**14  # in one call of a network that chooses
BYTES_IN_MEMORY = 2**30  # a larger matrix is a file


def similarity_matrix(method: Method, voices: NDArray[np.float32], faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """`method.similarity` of every voice and face, for methods whose similarity is a network of both.

    Args:
        method: The method.
        voices: Embeddings of shape (Nv, D).
        faces: Embeddings of shape (Nf, D).

    Returns:
        float32 of shape (Nv, Nf); larger ones than a gigabyte are a file that is gone with the process.
    """
    shape = (len(voices), len(faces))
    if 4 * shape[0] * shape[1] < BYTES_IN_MEMORY:
        matrix: NDArray[np.float32] = np.empty(shape, np.float32)
    else:
        matrix = np.memmap(tempfile.TemporaryFile(), np.float32, "w+", shape=shape)  # noqa: SIM115
    rows = max(1, PAIRS_AT_ONCE // max(shape[1], 1))
    with torch.inference_mode():
        those = torch.from_numpy(faces).to(method.device)
        for start in range(0, shape[0], rows):
            these = torch.from_numpy(voices[start : start + rows]).to(method.device)
            matrix[start : start + rows] = method.similarity(these, those).float().cpu().numpy()
    return matrix


def network_records(
    method: Method,
    gathered: Mapping[str, NDArray[Any]],
    names: NDArray[Any],
    identities: Mapping[str, Mapping[str, str]],
    trials: int,
    level: float,
) -> list[dict[str, Any]]:
    """Score a method whose score is a network: of each pair, or of all candidates together.

    Args:
        method: Its `space` is `pairwise` or `relative`.
        gathered: What `EmbeddingTable.gather` gives.
        names: Identity names by number.
        identities: Attributes of each identity.
        trials: Trials per direction, stratum and number of candidates of a relative method.
        level: Confidence level.

    Returns:
        Records as of `voiceface.scores.score` or `voiceface.scores.relative.relative_records`.
    """
    voice_names, face_names = (names[gathered[f"{kind}_identity"]].tolist() for kind in ("voice", "face"))
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
