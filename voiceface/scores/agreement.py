"""Correlation of distance with agreement on an attribute, over pairs of people: are those who agree closer together?

A person is the mean of their embeddings. The p-value permutes people, not pairs (the Mantel test), because pairs that
share a person are dependent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from voiceface.scores.probes import Identities, attribute_values, rows_by_person

DECIMALS = 10  # of a distance: finer digits are rounding errors, which would produce spurious correlations

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """Correlation of two people's distance with their agreement on an attribute; negative if those who agree are close.

    Attributes:
        point_biserial: Pearson's correlation of the distance with agreement (0 or 1), in [-1, 1].
        point_biserial_p: Its two-sided p-value by permutation.
        spearman: Spearman's correlation: the same with the rank of the distance.
        spearman_p: Its p-value.
        people: People with a known value.
        pairs: Pairs of people; between the modalities, ordered pairs (a's voice, b's face).
    """

    point_biserial: float
    point_biserial_p: float
    spearman: float
    spearman_p: float
    people: int
    pairs: int


def agreement_correlations(
    voices: NDArray[Any],
    voice_identity: Sequence[str],
    faces: NDArray[Any],
    face_identity: Sequence[str],
    identities: Identities,
    similarity: str = "cosine",
    permutations: int = 999,
    seed: int = 0,
    done: Callable[[], object] = lambda: None,
) -> list[dict[str, Any]]:
    """Correlate distance with agreement for every attribute: among voices, among faces, and voices against faces.

    Args:
        voices: float (Nv, D), finite; without zero vectors for cosine.
        voice_identity: Nv names.
        faces: float (Nf, D), likewise.
        face_identity: Nf names.
        identities: Attributes of each identity; people with an unknown value are skipped.
        similarity: "cosine" (distance 1 - cosine, of means of unit vectors) or "euclidean".
        permutations: Permutations of the people's values; the smallest possible p-value is 1 / (permutations + 1).
        seed: Seed of the permutations.
        done: Called after each attribute of each pair of modalities.

    Returns:
        Dicts with the keys attribute, between (`voices`, `faces` or `voices and faces`), permutations and the fields of
        `Correlation`. An attribute on which no pair or every pair of people agrees is left out.
    """
    people = {
        "voice": identity_means(voices, voice_identity, similarity),
        "face": identity_means(faces, face_identity, similarity),
    }
    kinds = {"voices": ("voice", "voice"), "faces": ("face", "face"), "voices and faces": ("voice", "face")}
    found = []
    for between, (first, second) in kinds.items():
        names = sorted(people[first].keys() & people[second].keys())
        distances = distance_matrix(
            np.array([people[first][name] for name in names]),
            np.array([people[second][name] for name in names]),
            similarity,
        )
        for attribute, values in attribute_values(names, identities).items():
            known = np.flatnonzero(np.array(values) != "")
            correlation = correlate(
                distances[np.ix_(known, known)], [values[i] for i in known], first == second, permutations, seed
            )
            if correlation is not None:
                found.append(
                    {"attribute": attribute, "between": between, **vars(correlation), "permutations": permutations}
                )
            done()
    return found


def identity_means(embeddings: NDArray[Any], identity: Sequence[str], similarity: str) -> dict[str, Array]:
    """Compute each person's mean embedding; under cosine, of unit vectors.

    Args:
        embeddings: float (N, D).
        identity: N names.
        similarity: "cosine" or "euclidean".

    Returns:
        Name to float64 (D,).
    """
    means = {}
    for name, rows in rows_by_person(identity).items():
        own = np.asarray(embeddings[rows], np.float64)
        if similarity == "cosine":
            own = own / np.linalg.norm(own, axis=1, keepdims=True)
        means[name] = own.mean(axis=0)
    return means


def distance_matrix(first: Array, second: Array, similarity: str) -> Array:
    """Compute the distances of all pairs: 1 - cosine, or Euclidean.

    Args:
        first: float64 (I, D).
        second: float64 (J, D).
        similarity: "cosine" or "euclidean".

    Returns:
        float64 (I, J), at least 0.
    """
    if similarity == "cosine":
        tiny = np.finfo(np.float64).tiny
        first = first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), tiny)
        second = second / np.maximum(np.linalg.norm(second, axis=1, keepdims=True), tiny)
        distances: NDArray[Any] = np.maximum(0.0, 1.0 - first @ second.T)
        scale = 1.0
    else:
        scale = max(float(np.abs(first).max()), float(np.abs(second).max())) or 1.0
        centre = second.mean(axis=0)
        first, second = (first - centre) / scale, (second - centre) / scale
        squared = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2.0 * first @ second.T
        distances = np.sqrt(np.maximum(0.0, squared))
    rounded: Array = scale * np.round(distances, DECIMALS)
    return rounded


def correlate(
    distances: Array, values: Sequence[str], symmetric: bool, permutations: int = 999, seed: int = 0
) -> Correlation | None:
    """Correlate the distances of pairs of people with whether the two have the same value.

    Args:
        distances: float64 (I, I); the diagonal is ignored.
        values: I values, all known.
        symmetric: Count each pair once, since the distance is the same both ways.
        permutations: Permutations of the values, at least 1.
        seed: Seed of the permutations.

    Returns:
        The correlations, or None if all pairs agree, no pair agrees, or all distances are equal.
    """
    count = len(values)
    if count < 2:
        return None
    code = np.unique(values, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    codes = np.concatenate([code[None], rng.permuted(np.tile(code, (permutations, 1)), axis=1)])
    off = np.triu(np.ones((count, count), np.bool_), 1) if symmetric else ~np.eye(count, dtype=np.bool_)
    if not 0 < int((code[:, None] == code)[off].sum()) < int(off.sum()) or np.ptp(distances[off]) == 0.0:
        return None
    (biserial, biserial_p), (spearman, spearman_p) = (
        _with_p(_correlations(numbers, off, codes)) for numbers in (distances[off], rankdata(distances[off]))
    )
    return Correlation(biserial, biserial_p, spearman, spearman_p, count, int(off.sum()))


def _with_p(correlations: Array) -> tuple[float, float]:
    """Return the first correlation and the share of correlations at least as far from 0, rounding errors tolerated."""
    extreme = np.abs(correlations) >= np.abs(correlations[0]) - 1e-10
    return float(correlations[0]), float(extreme.mean())


def _correlations(numbers: Array, off: NDArray[np.bool_], codes: NDArray[np.int64]) -> Array:
    """Pearson's correlation of `numbers`, one per pair in `off`, with agreement under each row of `codes` (K, I)."""
    deviation = np.zeros(off.shape)
    deviation[off] = (numbers - numbers.mean()) / numbers.std()
    sums = np.zeros(len(codes))
    values, sizes = np.unique(codes[0], return_counts=True)
    for value in values[sizes > 1]:
        holds = (codes == value).astype(np.float64)
        sums += np.einsum("ki,ki->k", holds @ deviation, holds)
    share = float((codes[0][:, None] == codes[0])[off].mean())
    found: Array = sums / len(numbers) / np.sqrt(share * (1.0 - share))
    return found
