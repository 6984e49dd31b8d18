"""Scores: pure functions of two embedding tables, numpy and compiled kernels only.

`score` gives every record of a model; the parts it is made of stand beside it: `matching` (1:2), `many` (1:N),
`retrieval`, `deletion` (its jackknife), `verification`, `strata`, `confidence`, `similarity`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voiceface.errors import UserError
from voiceface.scores.confidence import LEAST_IDENTITIES, identities_in, identity_interval, student_interval
from voiceface.scores.deletion import jackknife_influence, without_each
from voiceface.scores.many import CANDIDATES, match_many
from voiceface.scores.matching import Counts, accuracy, count
from voiceface.scores.retrieval import Ranks, available_k, mean_average_precision, median_rank, recall_at
from voiceface.scores.similarity import Rows, matrix_rows, similarity_rows
from voiceface.scores.strata import default_strata, stratum_mask
from voiceface.scores.verification import verify

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
) -> list[dict[str, Any]]:
    """Score the embeddings of voices and faces: matching and retrieval in both directions, and verification.

    Matching (1:2) is exact: every triplet of a query, an item of its identity and an item of another one is counted.
    Protocol `exact` weighs all ordered pairs of identities alike, `clip_weighted` all triplets alike. It takes the
    identities that have both modalities. In retrieval (protocol `whole_split`) each query of such an identity ranks the
    whole gallery, in which faces (or voices) of identities without the other modality stay as distractors. Ties count
    half in matching and are in random order in retrieval.

    1:N matching (protocol `exact`, strata U and G) averages over all draws of N - 1 other identities; tied items share
    the win. A record of N > 2 has no interval. Verification (protocol `exact`) weighs identities and pairs of
    identities alike; under a stratum, which is symmetric, it is the same both ways, so its direction is `both`.

    Args:
        voices: float (Nv, D): embeddings; None where `similarity` is a matrix.
        voice_identity: Nv names: whose voice each is.
        faces: float (Nf, D): embeddings; None where `similarity` is a matrix.
        face_identity: Nf names: whose face each is.
        identities: Attributes (gender, nationality, age, ethnicity, first_language) of each identity; empty or
            missing = unknown.
        similarity: "cosine", "euclidean" (minus the distance), or a matrix (Nv, Nf) of any similarities, larger = more
            alike.
        strata: Names of strata (see `voiceface.scores.strata`); None: U and those whose attributes are known.
        level: Confidence level of the intervals, in (0, 1).
        candidates: The N of 1:N matching; 1:2 is always scored, and an N that exceeds the identities is left out.

    Returns:
        Records with the keys task, direction, stratum, n, metric, value, ci_low, ci_high, ci_level, ci_method, chance,
        identities, trials, ties, protocol. Values are fractions (median rank: a rank from 1); None is what does not
        exist, such as the accuracy of a stratum without a pair. n is the number of candidates, 1 in verification.
        trials and ties count triplets in 1:2 matching; in 1:N the pairs of a query and an item of its identity, and
        those that tie with another identity's item; in retrieval queries, and those in which a relevant and an
        irrelevant item tie; in verification pairs of a voice and a face, and those whose similarity occurs in both
        classes. ci_method is `identity`, or in retrieval `jackknife` (delete one identity).

    Raises:
        UserError: Empty or mismatched input, values that are not finite, a zero vector under cosine, fewer than two
            identities with both modalities, an unknown stratum or similarity, an N below 2, or a table that holds
            none of the people.
    """
    if not 0.0 < level < 1.0:
        raise UserError(f"level: {level} is not between 0 and 1; use a fraction such as 0.95")
    if any(n != int(n) or n < 2 for n in candidates):
        raise UserError(f"candidates: {list(candidates)} are not all whole numbers from 2 up")
    voice_names, face_names = _names(voice_identity, "voice_identity"), _names(face_identity, "face_identity")
    both = sorted(set(voice_names.tolist()) & set(face_names.tolist()))
    if len(both) < 2:
        raise UserError(f"identities: {len(both)} have both a voice and a face; matching needs at least 2")
    masks = _masks(both, identities, strata)
    similarities = _similarities(voices, faces, similarity, len(voice_names), len(face_names))
    records = []
    for direction in ("v2f", "f2v"):
        query_names, item_names = (voice_names, face_names) if direction == "v2f" else (face_names, voice_names)
        query_order, query_code, _ = _by_identity(query_names, both)
        gallery_order, _, gallery_sizes = _by_identity(item_names, both, keep_others=True)
        rows = similarities(direction, query_order, gallery_order)
        counts = count(rows, query_code, gallery_sizes)
        records += _matching_records(counts, masks, direction, level)
        records += _many_records(rows, query_code, gallery_sizes, masks, direction, candidates)
        without = None
        if len(gallery_sizes) >= LEAST_IDENTITIES:
            without = without_each(rows, query_code, gallery_sizes, available_k(counts.ranks.items))
        records += _retrieval_records(counts.ranks, without, direction, len(both), level)
        if direction == "v2f":
            verification = _verification_records(rows, query_code, gallery_sizes, masks, level)
    return records + verification


def _matching_records(
    counts: Counts, masks: Mapping[str, NDArray[np.bool_]], direction: str, level: float
) -> list[dict[str, Any]]:
    win_rates, triplets = counts.win_rates, counts.triplets
    ties = counts.ties[:, : len(triplets)]
    records = []
    for protocol in ("exact", "clip_weighted"):
        for stratum, mask in masks.items():
            weights = mask if protocol == "exact" else mask * triplets
            interval = identity_interval(win_rates, weights, level)
            records.append(
                {
                    "task": "matching",
                    "direction": direction,
                    "stratum": stratum,
                    "n": 2,
                    "metric": "accuracy",
                    "value": accuracy(win_rates, weights),
                    **_interval(interval, level, "identity"),
                    "chance": 0.5,
                    "identities": identities_in(mask),
                    "trials": int(triplets[mask].sum()),
                    "ties": int(ties[mask].sum()),
                    "protocol": protocol,
                }
            )
    return records


def _many_records(
    rows: Rows,
    query_code: NDArray[np.int64],
    gallery_sizes: NDArray[np.int64],
    masks: Mapping[str, NDArray[np.bool_]],
    direction: str,
    candidates: Sequence[int],
) -> list[dict[str, Any]]:
    wanted = {s: mask for s, mask in masks.items() if s in ("U", "G")}
    numbers = sorted({int(n) for n in candidates if 2 < n <= int(query_code[-1]) + 1})
    if not wanted or not numbers:
        return []
    found = match_many(rows, query_code, gallery_sizes, np.stack(list(wanted.values())), numbers)
    return [
        {
            "task": "matching",
            "direction": direction,
            "stratum": stratum,
            "n": n,
            "metric": "accuracy",
            "value": result.accuracy,
            **_interval(None, 0.0, ""),
            "chance": 1.0 / n,
            "identities": result.identities,
            "trials": result.pairs,
            "ties": result.ties,
            "protocol": "exact",
        }
        for stratum, results in zip(wanted, found, strict=True)
        for n, result in zip(numbers, results, strict=True)
        if result.accuracy is not None
    ]


def _retrieval_records(
    ranks: Ranks, without: NDArray[np.float64] | None, direction: str, identities: int, level: float
) -> list[dict[str, Any]]:
    metrics = {"mAP": mean_average_precision(ranks)}
    metrics |= {f"R@{k}": recall_at(ranks, k) for k in available_k(ranks.items)}
    intervals: dict[str, tuple[float, float] | None] = {}
    if without is not None:
        for column, metric in enumerate(metrics):
            effect = jackknife_influence(without[:, column])
            intervals[metric] = student_interval(metrics[metric][0], effect, level)
    metrics["median_rank"] = median_rank(ranks)
    return [
        {
            "task": "retrieval",
            "direction": direction,
            "stratum": "U",
            "n": ranks.items,
            "metric": metric,
            "value": value,
            **_interval(intervals.get(metric), level, "jackknife"),
            "chance": chance,
            "identities": identities,
            "trials": len(ranks.relevant),
            "ties": int(ranks.open.sum()),
            "protocol": "whole_split",
        }
        for metric, (value, chance) in metrics.items()
    ]


def _verification_records(
    rows: Rows,
    query_code: NDArray[np.int64],
    gallery_sizes: NDArray[np.int64],
    masks: Mapping[str, NDArray[np.bool_]],
    level: float,
) -> list[dict[str, Any]]:
    if not masks:
        return []
    records = []
    for stratum, result in zip(
        masks, verify(rows, query_code, gallery_sizes, np.stack(list(masks.values()))), strict=True
    ):
        intervals = {"AUC": result.interval(level) if result else None, "EER": None}
        values = {"AUC": result.auc, "EER": result.eer} if result else {}
        for metric, interval in intervals.items():
            records.append(
                {
                    "task": "verification",
                    "direction": "both",
                    "stratum": stratum,
                    "n": 1,
                    "metric": metric,
                    "value": values.get(metric),
                    **_interval(interval, level, "identity"),
                    "chance": 0.5,
                    "identities": len(result.influence) if result else 0,
                    "trials": result.pairs if result else 0,
                    "ties": result.ties if result else 0,
                    "protocol": "exact",
                }
            )
    return records


def _interval(interval: tuple[float, float] | None, level: float, method: str) -> dict[str, Any]:
    if interval is None:
        return dict.fromkeys(("ci_low", "ci_high", "ci_level", "ci_method"))
    return {"ci_low": interval[0], "ci_high": interval[1], "ci_level": level, "ci_method": method}


def _masks(
    names: Sequence[str], identities: Mapping[str, Mapping[str, str]] | None, strata: Sequence[str] | None
) -> dict[str, NDArray[np.bool_]]:
    table = identities or {}
    if table and not any(name in table for name in names):
        raise UserError(
            f"identities: none of the {len(names)} people is in the table, not even {names[0]!r}; check its names"
        )
    attributes = [table.get(name, {}) for name in names]
    return {s: stratum_mask(s, attributes) for s in (default_strata(attributes) if strata is None else strata)}


def _similarities(
    voices: NDArray[Any] | None, faces: NDArray[Any] | None, similarity: str | NDArray[Any], clips: int, images: int
) -> Callable[[str, NDArray[np.intp], NDArray[np.intp]], Rows]:
    """Check the input; the function returned takes a direction, the queries and the gallery items in their order."""
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


def _by_identity(
    names: NDArray[np.str_], first: Sequence[str], keep_others: bool = False
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the clips sorted by identity, those in `first` first; the identities' numbers; clips per identity."""
    others = sorted(set(names.tolist()) - set(first)) if keep_others else []
    number = {name: index for index, name in enumerate([*first, *others])}
    codes = np.array([number.get(name, len(number)) for name in names.tolist()], np.int64)
    order = np.argsort(codes, kind="stable")
    order = order[codes[order] < len(number)]
    return order, codes[order], np.bincount(codes[order], minlength=len(number))


def _names(identity: Sequence[str], name: str) -> NDArray[np.str_]:
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
        raise UserError(f"{name}: row {row} is a zero vector, which has no cosine; mend it or use euclidean")
    return values


def _finite(values: NDArray[Any], name: str) -> NDArray[Any]:
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise UserError(f"{name}: values of type {values.dtype} are not numbers; use float32 or float64")
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise UserError(f"{name}: holds NaN or infinite values; drop or mend those clips")
    return values
