"""Sampled matching as in the literature's protocols, where `voiceface.scores.matching` counts every triplet.

A trial is a query, a clip of its person and one clip each of N - 1 other people. Trials are drawn in pieces, so memory
does not grow with their number.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.clips import Places, Scorer, Side
from voiceface.utils.errors import UserError

PIECE = 1 << 21  # candidates drawn at once


@dataclass(frozen=True)
class Sampled:
    """Accuracy over sampled trials.

    Attributes:
        accuracy: Mean credit of a trial: 1 for a win, 1/(1 + t) for a tie with t others, so 1/N on average for an
            uninformative model.
        trials: Number of trials.
        ties: Trials in which the query's own item shares the best score.
        influence: float64 (J,): effect on the accuracy of each of the J people who take part; the sum is 0.
    """

    accuracy: float
    trials: int
    ties: int
    influence: NDArray[np.float64]


def sample_matching(
    scorer: Scorer,
    asking: Side,
    asked: Side,
    query_counts: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    rng: np.random.Generator,
    n: int = 2,
) -> Sampled:
    """Draw trials and score them.

    The item of the query's person is uniform over that person's items. The N - 1 others are drawn uniformly without
    replacement from the people that `allowed` permits, then one item of each, uniformly.

    Args:
        scorer: Computes the scores (B, N) of B queries and their candidates, by their places in `asking` and `asked`,
            the query's own item first. Queries ascend.
        asking: The queries' side.
        asked: The candidates' side.
        query_counts: int64 (Q,): trials of each query; at least one is above 0.
        allowed: bool (I, I): the possible impostors of each person; people with trials need at least N - 1.
        rng: Source of the draws.
        n: Candidates N, at least 2.

    Returns:
        The accuracy, with the numbers behind it.

    Raises:
        UserError: The scorer returns a wrong shape or non-finite values.
    """
    people = len(asked.sizes)
    owner, starts = asking.owner, asked.starts
    permitted = np.argsort(~allowed, axis=1, kind="stable")  # allowed people come first
    numbers = allowed.sum(axis=1)
    ends = np.cumsum(query_counts)
    trials = int(ends[-1])
    credits, ties = 0.0, 0
    taken_part, earned = np.zeros((2, people))
    size = max(1, PIECE // n)
    for first in range(0, trials, size):
        queries = np.searchsorted(ends, np.arange(first, min(first + size, trials)), side="right")
        persons = np.empty((len(queries), n), np.intp)
        persons[:, 0] = owner[queries]
        persons[:, 1:] = _draw_others(permitted, numbers, persons[:, 0], n - 1, rng)
        items = starts[persons] + (rng.random(persons.shape) * asked.sizes[persons]).astype(np.intp)
        scores = np.asarray(scorer(queries, items))
        if scores.shape != items.shape:
            raise UserError(f"scorer: gave scores of shape {scores.shape} for candidates of shape {items.shape}")
        if not np.isfinite(scores).all():
            raise UserError("scorer: gave NaN or infinite scores; fix the model or leave out the clips that cause them")
        own = scores[:, :1]
        level = (scores == own).sum(axis=1)  # includes its own item
        credit = np.where((scores > own).any(axis=1), 0.0, 1.0 / level)
        credits += float(credit.sum())
        ties += int(((credit > 0.0) & (credit < 1.0)).sum())
        for column in persons.T:
            taken_part += np.bincount(column, minlength=people)
            earned += np.bincount(column, credit, people)
    accuracy = credits / trials
    influence = (earned - accuracy * taken_part) / trials
    return Sampled(accuracy, trials, ties, influence[taken_part > 0])


def draw_counts(asking: Side, person_weights: NDArray[Any], trials: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Count how often each query is drawn in `trials` draws of a person by weight, then of any of their clips.

    Args:
        asking: The queries' side.
        person_weights: (I,): at least 0, some above 0.
        trials: Number of draws.
        rng: Source of the draws.

    Returns:
        int64 (Q,), with sum `trials`.
    """
    chances = np.asarray(person_weights / person_weights.sum() / asking.sizes, np.float64)[asking.owner]
    return np.asarray(rng.multinomial(trials, chances / chances.sum()), np.int64)


def _draw_others(
    permitted: Places, numbers: NDArray[np.int64], persons: Places, count: int, rng: np.random.Generator
) -> Places:
    """Draw distinct random impostors (B, count) of each person (B,), by Floyd's algorithm."""
    picked = np.empty((len(persons), count), np.intp)
    for step in range(count):
        last = numbers[persons] - count + step
        pick = (rng.random(len(persons)) * (last + 1)).astype(np.intp)
        twice = (picked[:, :step] == pick[:, None]).any(axis=1)
        picked[:, step] = np.where(twice, last, pick)
    return np.asarray(permitted[persons[:, None], picked])
