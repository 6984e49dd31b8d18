"""Calibration of 1:2 matching: from two scores to the probability that the first candidate is correct.

The probability is sigmoid(slope * (s1 - s2)), without an intercept, because the order of two candidates carries no
information. The slope is the maximum-likelihood one on validation triplets (logistic regression; Platt, "Probabilistic
outputs for support vector machines", 1999), in which all people are queries equally often.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, softmax

if TYPE_CHECKING:
    from voiceface.methods.base import Direction, Method

BINS = 15  # of the expected calibration error
TRIPLETS = 200_000  # for fitting and for measuring
CHOICES = 20_000  # the same for a method that chooses with a network
CLIPS = 4_096  # maximum per modality
STEEPEST = 1e9  # upper limit of the slope, in units of the mean difference

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


def probabilities(scores: NDArray[Any], slope: float) -> Floats:
    """Probability that each candidate is correct: calibrated for two candidates, whose softmax is the sigmoid.

    Args:
        scores: Scores of candidates, shape (..., N), larger = more likely.
        slope: From `fit_slope`.

    Returns:
        float64 of the same shape, with sum 1 over the last axis.
    """
    found: Floats = softmax(slope * np.asarray(scores, np.float64), axis=-1)
    return found


def fit_slope(differences: NDArray[Any]) -> float | None:
    """Fit the maximum-likelihood slope, at least 0.

    Args:
        differences: Score of the correct candidate minus that of the wrong one, shape (n,).

    Returns:
        The slope, 0 if the scores are no better than chance; None if there is no maximum, because no triplet is scored
        the wrong way round, or if there are no triplets.
    """
    if not len(differences):
        return None
    if differences.mean() <= 0.0:
        return 0.0
    if differences.min() >= 0.0:
        return None
    scale = float(np.abs(differences).mean())
    scaled = np.asarray(differences, np.float64) / scale

    def rise(slope: float) -> float:
        """Derivative of the mean log likelihood; it falls as the slope rises."""
        return float(np.mean(scaled * expit(-slope * scaled)))

    high = 1.0
    while rise(high) > 0.0:
        high *= 2.0
        if high > STEEPEST:
            return None
    slope: float = brentq(rise, 0.0, high, xtol=1e-12, rtol=1e-12)  # type: ignore[no-untyped-call]
    return slope / scale


def calibration_error(right: NDArray[Any], bins: int = BINS) -> float:
    """Expected calibration error of choices between two (Naeini et al., AAAI 2015), over bins of equal mass.

    Args:
        right: Probability given to the correct candidate, shape (n,), n at least 1.
        bins: Number of bins.

    Returns:
        Mean over all choices of the distance between the probability of the chosen candidate and the share of correct
        choices, within bins of that probability; 0 to 1. An even choice is half correct.
    """
    chosen = np.maximum(right, 1.0 - right)
    correct = np.where(right == 0.5, 0.5, right > 0.5)
    parts = np.array_split(np.lexsort((correct, chosen)), min(bins, len(right)))
    return float(sum(abs((chosen[part] - correct[part]).sum()) for part in parts) / len(right))


def balanced_triplets(
    query_identity: NDArray[Any], candidate_identity: NDArray[Any], count: int, seed: int
) -> tuple[Places, Places, Places]:
    """Draw triplets: a person with both modalities, a clip of each, and a clip of another person.

    Args:
        query_identity: Identity of each query, shape (Q,).
        candidate_identity: Identity of each candidate, shape (C,).
        count: Number of triplets to draw, with replacement.
        seed: Seed of the draw.

    Returns:
        Places of queries, of correct and of wrong candidates, each int64 of shape (count,); empty if there are not two
        people to draw from. People are equally likely, however many clips they have.
    """
    rng = np.random.default_rng(seed)
    people, counts = np.unique(candidate_identity, return_counts=True)
    asked, asked_counts = np.unique(query_identity, return_counts=True)
    both = np.flatnonzero(np.isin(people, asked))
    if not len(both) or len(people) < 2:
        none = np.empty(0, np.intp)
        return none, none, none
    person = rng.choice(both, count)
    other = rng.integers(0, len(people) - 1, count)
    other += other >= person
    query = _clip(query_identity, asked_counts, np.searchsorted(asked, people[person]), rng)
    right, wrong = (_clip(candidate_identity, counts, who, rng) for who in (person, other))
    return query, right, wrong


def _clip(identity: NDArray[Any], counts: NDArray[Any], person: Places, rng: np.random.Generator) -> Places:
    """Draw a random clip of each of these people, who are numbered in the order of `np.unique`."""
    first = np.cumsum(counts) - counts
    place: Places = np.argsort(identity, kind="stable")[first[person] + rng.integers(0, counts[person])]
    return place


def _some(identity: NDArray[Any], most: int, seed: int) -> Places:
    """Return the places of at most `most` clips, as evenly distributed over people as possible."""
    order = np.random.default_rng(seed).permutation(len(identity))
    _, counts = np.unique(identity, return_counts=True)
    by_person = order[np.argsort(identity[order], kind="stable")]
    round_ = np.concatenate([np.arange(n) for n in counts]) if len(counts) else np.empty(0, np.intp)
    kept: Places = np.sort(by_person[np.argsort(round_, kind="stable")][:most])
    return kept


def differences(
    method: "Method", gathered: Mapping[str, NDArray[Any]], directions: "Iterable[Direction]", seed: int = 0
) -> "dict[Direction, Floats]":
    """Score of the correct candidate minus that of the wrong one in 1:2 matching, for drawn triplets.

    Args:
        method: The method.
        gathered: `voices` and `faces` float32 (n, D), and `voice_identity` and `face_identity` int64 (n,).
        directions: v2f, f2v or both.
        seed: Seed of the draw.

    Returns:
        For each direction float64 of shape (n,); empty if there are not two people.
    """
    from voiceface.evaluation.network_scores import similarity_matrix

    rows, identity = {}, {}
    for kind in ("voice", "face"):
        kept = _some(gathered[f"{kind}_identity"], CLIPS, seed)
        rows[kind], identity[kind] = gathered[f"{kind}s"][kept], gathered[f"{kind}_identity"][kept]
    relative = method.space == "relative"
    matrix = None if relative else similarity_matrix(method, rows["voice"], rows["face"])
    found: dict[Direction, Floats] = {}
    for direction in directions:
        asking, asked = ("voice", "face") if direction == "v2f" else ("face", "voice")
        count = CHOICES if relative else TRIPLETS
        query, right, wrong = balanced_triplets(identity[asking], identity[asked], count, seed)
        if not len(query):
            found[direction] = np.empty(0)
        elif matrix is None:
            found[direction] = _chosen(method, rows[asking][query], rows[asked], right, wrong, direction, seed)
        else:
            table = matrix if direction == "v2f" else matrix.T
            found[direction] = table[query, right].astype(np.float64) - table[query, wrong]
    return found


def _chosen(
    method: "Method",
    queries: NDArray[Any],
    candidates: NDArray[Any],
    right: Places,
    wrong: Places,
    direction: "Direction",
    seed: int,
) -> Floats:
    """Compute `differences` for a method that chooses with a network."""
    import torch

    from voiceface.evaluation.network_scores import CHOICES_AT_ONCE

    # The position must not reveal the answer.
    turned = np.random.default_rng(seed + 1).random(len(queries)) < 0.5
    galleries = np.where(turned[:, None], np.stack([wrong, right], 1), np.stack([right, wrong], 1))
    found = []
    for start in range(0, len(queries), CHOICES_AT_ONCE // 2):
        part = slice(start, start + CHOICES_AT_ONCE // 2)
        q, c = (torch.from_numpy(rows).to(method.device) for rows in (queries[part], candidates[galleries[part]]))
        with torch.inference_mode():
            found.append(method.choose(q, c, direction).double().cpu().numpy())
    first = np.concatenate(found)
    apart: Floats = np.where(turned, first[:, 1] - first[:, 0], first[:, 0] - first[:, 1])
    return apart


def fit_calibration(method: "Method", gathered: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, Any]] | None:
    """Fit the calibration of each direction on validation embeddings.

    Args:
        method: The method, with the weights that computed the embeddings.
        gathered: See `differences`.

    Returns:
        `{"v2f": {"slope", "intercept": 0.0, "error": None}, ...}`; directions without a slope are left out, and None
        means that no direction has one. A relative method has only the directions that it was trained for, and none
        unless it supports two candidates.
    """
    directions: tuple[Direction, ...] = ("v2f", "f2v")
    if method.space == "relative":
        directions = method.directions if 2 in method.gallery_sizes else ()
    found: dict[str, dict[str, Any]] = {}
    for direction, apart in differences(method, gathered, directions).items():
        slope = fit_slope(apart)
        if slope is not None:
            found[direction] = {"slope": slope, "intercept": 0.0, "error": None}
    return found or None


def measure_calibration(
    method: "Method", gathered: Mapping[str, NDArray[Any]], calibration: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Add the expected error on these embeddings, which are of other people than those of the fit.

    Args:
        method: The method.
        gathered: See `differences`.
        calibration: From `fit_calibration`.
    """
    measured: dict[str, dict[str, Any]] = {}
    directions: Any = calibration.keys()
    for direction, apart in differences(method, gathered, directions).items():
        fitted = calibration[direction]
        error = calibration_error(expit(fitted["slope"] * apart)) if len(apart) else None
        measured[direction] = {**fitted, "error": error}
    return measured
