"""A score record: one score with everything that identifies it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Record(dict[str, Any]):
    """A score as a dict.

    Attributes:
        effects: float64 (I,): first-order effect of each participating person on the value, in an order determined by
            the clips alone; the difference of two models' effects gives the interval of the difference of their scores.
            None: unknown, or the interval is not about people.
        roc: float64 (101,): for an AUC, the share of positives accepted at 0, 1, ... 100 % of accepted negatives; None:
            unknown.
    """

    effects: NDArray[np.float64] | None = None
    roc: NDArray[np.float64] | None = None


def record(
    task: str,
    direction: str,
    metric: str,
    value: float | None,
    *,
    n: int,
    chance: float | None,
    identities: int,
    trials: int,
    ties: int,
    protocol: str,
    stratum: str = "U",
    interval: tuple[float, float] | None = None,
    level: float | None = None,
    method: str | None = None,
    error_bound: float = 0.0,
    effects: NDArray[np.float64] | None = None,
    roc: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Build a record.

    Args:
        task: matching, verification, retrieval, joint_matching, joint_retrieval or probe.
        direction: v2f (a voice picks among faces), f2v or both.
        metric: accuracy, AUC, EER, mAP, R@K, median_rank.
        value: A fraction (median rank: a rank from 1); None: the score does not exist, such as that of a stratum
            without a pair.
        n: Candidates of a trial: N of 1:N, the gallery's size in retrieval, 1 in verification.
        chance: The score of an uninformative model.
        identities: Number of people who take part.
        trials: Number of triplets, pairs or queries averaged over.
        ties: Number of trials left undecided by a tie.
        protocol: How the trials are chosen: `exact`, `clip_weighted`, `whole_split`, or the name of a sampling.
        stratum: Name of a stratum (see `voiceface.scores.strata`).
        interval: Lower and upper end; None: no interval.
        level: Confidence level of the interval, in (0, 1).
        method: Scope of the interval. Other people: identity, jackknife; these clips only: binomial, subsets, repeats,
            trials.
        error_bound: The value is within this of the exact one; 0 if it is exact.
        effects: See `Record`.
        roc: See `Record`.

    Returns:
        A `Record` with the keys task, direction, stratum, n, metric, value, ci_low, ci_high, ci_level, ci_method,
        chance, identities, trials, ties, protocol, error_bound.
    """
    known = interval is not None and value is not None
    low, high = interval if interval is not None and known else (None, None)
    made = Record(
        {
            "task": task,
            "direction": direction,
            "stratum": stratum,
            "n": n,
            "metric": metric,
            "value": value,
            "ci_low": low,
            "ci_high": high,
            "ci_level": level if known else None,
            "ci_method": method if known else None,
            "chance": chance,
            "identities": identities,
            "trials": trials,
            "ties": ties,
            "protocol": protocol,
            "error_bound": error_bound,
        }
    )
    if known and effects is not None:
        made.effects = effects
    made.roc = roc
    return made
