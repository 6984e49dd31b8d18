"""Scores: pure functions of two embedding tables, numpy and compiled kernels only.

`score` computes every record of a model; the modules beside it hold its parts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from numpy.typing import NDArray

from voiceface.scores.inputs import Sorted, clip_names, of_video, similarities, strata_masks, video_numbers
from voiceface.scores.matching_n import CANDIDATES
from voiceface.scores.tasks import direction_records
from voiceface.utils.errors import UserError

__all__ = ["score"]


def score(
    voices: NDArray[Any] | None,
    voice_identity: Sequence[str],
    faces: NDArray[Any] | None,
    face_identity: Sequence[str],
    identities: Mapping[str, Mapping[str, str]] | None = None,
    similarity: Literal["cosine", "euclidean"] | NDArray[Any] = "cosine",
    strata: Sequence[str] | None = None,
    level: float = 0.95,
    candidates: Sequence[int] = CANDIDATES,
    voice_video: Sequence[str] | None = None,
    face_video: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Score voice and face embeddings: matching, retrieval and verification, in every stratum.

    Matching (1:2) is exact: it counts every triplet of a query, an item of its identity and an item of another
    identity. Protocol `exact` gives all ordered pairs of identities the same weight, `clip_weighted` all triplets. 1:N
    is also exact, over all draws of N - 1 impostor identities with one item each. These tasks and verification use only
    the identities with both modalities. In retrieval (protocol `whole_split`) each query of such an identity ranks the
    whole gallery, where faces (or voices) of identities without the other modality remain as distractors; in a stratum
    the gallery is that of the stratum. Where videos are known, the protocols `same_video` and `cross_video` use only
    the pairs of an identity's clips from one video, or from two; the impostors are the same. Ties count half, are
    shared, or are ordered at random, so an uninformative model scores chance and the order of clips has no effect.

    Args:
        voices: float (Nv, D): embeddings; None where `similarity` is a matrix.
        voice_identity: Nv names: identity of each voice.
        faces: float (Nf, D): embeddings; None where `similarity` is a matrix.
        face_identity: Nf names: identity of each face.
        identities: Attributes (gender, nationality, age, ethnicity, first_language) of each identity; empty or
            missing = unknown.
        similarity: "cosine", "euclidean" (the negative distance), or a matrix (Nv, Nf) of any similarities, larger =
            more alike, which may be a memory map.
        strata: Names of strata (see `voiceface.scores.strata`); None: U and those whose attributes are known.
        level: Confidence level of the intervals, in (0, 1).
        candidates: The N of 1:N matching; 1:2 is always scored, and an N that exceeds the identities is left out.
        voice_video: Nv names: the video of each voice; empty = unknown.
        face_video: Nf names.

    Returns:
        Records of `voiceface.scores.records.record`. trials and ties count triplets in 1:2 matching; in 1:N the pairs
        of a query and an item of its identity, and those that tie with another identity's item; in retrieval queries,
        and those where a relevant and an irrelevant item tie; in verification pairs of a voice and a face, and the
        negative pairs that tie with a positive one. ci_method is `identity`, or in retrieval `jackknife` (delete one
        identity); the median rank has no interval.

    Raises:
        UserError: Empty or mismatched input, non-finite values, a zero vector under cosine, fewer than two identities
            with both modalities, an unknown stratum or similarity, an N below 2, or an attribute table that contains
            none of the people.

    Example:
        >>> import numpy as np
        >>> voices = np.array([[1.0, 0.1], [0.2, 1.0], [-1.0, 0.1]])
        >>> records = score(voices, ["ann", "ben", "cem"], voices + 0.1, ["ann", "ben", "cem"])
        >>> [r["value"] for r in records if r["metric"] == "accuracy" and r["n"] == 2 and r["protocol"] == "exact"]
        [1.0, 1.0]
    """
    if not 0.0 < level < 1.0:
        raise UserError(f"level: {level} is not between 0 and 1; use a fraction such as 0.95")
    if any(n != int(n) or n < 2 for n in candidates):
        raise UserError(f"candidates: {list(candidates)} are not all whole numbers from 2 up")
    voice_names, face_names = clip_names(voice_identity, "voice_identity"), clip_names(face_identity, "face_identity")
    both = sorted(set(voice_names.tolist()) & set(face_names.tolist()))
    if len(both) < 2:
        raise UserError(f"identities: {len(both)} have both a voice and a face; matching needs at least 2")
    strata = list(strata_masks(both, identities, strata))
    rows_of = similarities(voices, faces, similarity, len(voice_names), len(face_names))
    voice_videos, face_videos = video_numbers(voice_video, face_video, len(voice_names), len(face_names))
    records = []
    for direction in ("v2f", "f2v"):
        query_names, item_names = (voice_names, face_names) if direction == "v2f" else (face_names, voice_names)
        query_videos, item_videos = (voice_videos, face_videos) if direction == "v2f" else (face_videos, voice_videos)
        others = sorted(set(item_names.tolist()) - set(both))
        masks = strata_masks(both, identities, strata, others)
        queries = Sorted(query_names, both, query_videos)
        items = Sorted(item_names, [*both, *others], item_videos)
        rows = rows_of(direction, queries.order, items.order)
        records += direction_records(rows, queries, items, masks, direction, level, candidates)
        if queries.video is None:
            continue
        for protocol in ("same_video", "cross_video"):
            kept = of_video(rows, queries, items, same=protocol == "same_video")
            records += direction_records(kept, queries, items, masks, direction, level, video=protocol)
    return records
