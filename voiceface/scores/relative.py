"""Scorers that see all candidates at once, such as SVHF's network, which scores a voice against two faces together.

They give no similarity of a voice and a face, so exact counting is impossible and only matching exists, scored on
seeded random trials. Verification and retrieval have no record, as in the literature.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.clips import Places, Scorer, both_sides
from voiceface.scores.confidence import PEOPLE_PER_CANDIDATE, binomial_interval, student_interval
from voiceface.scores.records import record
from voiceface.scores.sampling import draw_counts, sample_matching
from voiceface.scores.strata import default_strata, stratum_mask
from voiceface.utils.errors import UserError


def relative_records(
    scorer: Scorer,
    voice_identity: Sequence[str],
    face_identity: Sequence[str],
    identities: Mapping[str, Mapping[str, str]] | None,
    direction: str,
    n: int = 2,
    trials: int = 1_000_000,
    strata: Sequence[str] | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> list[dict[str, Any]]:
    """Score 1:N accuracy on sampled trials, for a scorer that compares candidates with each other.

    The trials are those over which the exact accuracy averages (`voiceface.scores.matching_n`): a person with a
    probability proportional to their number of impostors (in U all are equal), then N - 1 impostors without
    replacement, then one clip of each, uniformly. Candidates are in random order, and those tied for the best score
    share the win.

    Args:
        scorer: Takes queries, intp (B,), and candidates, intp (B, N), as indices of the two tables (for `v2f` voices
            and faces), and returns scores (B, N), larger = more likely the same person. A call has up to 2 million
            candidates, with its queries grouped by person.
        voice_identity: Nv names: identity of each voice.
        face_identity: Nf names: identity of each face.
        identities: Attributes of each identity, for the strata.
        direction: v2f or f2v.
        n: Candidates N, at least 2.
        trials: Trials per stratum.
        strata: Names of strata (see `voiceface.scores.strata`); None: U and those whose attributes are known.
        seed: Seed of the draws; each stratum starts from it.
        level: Confidence level, in (0, 1).

    Returns:
        One record per stratum, protocol `sampled`. Its interval is about people: the effects of all participants on the
        mean credit, with Student's quantile, so it includes the sampling error. `error_bound` is the half width of the
        binomial 95 % interval, the sampling error alone. The value is None if no identity has N - 1 impostors.

    Raises:
        UserError: The direction, N or number of trials is out of range, fewer than two people have both modalities, an
            unknown stratum, or the scorer returns a wrong shape or non-finite values.
    """
    if direction not in ("v2f", "f2v"):
        raise UserError(f"direction: {direction!r} is not known; use v2f or f2v")
    if n < 2 or trials < 1:
        raise UserError(f"n and trials: need at least 2 candidates and 1 trial, not {n} and {trials}")
    people, voices, faces = both_sides(voice_identity, face_identity)
    asking, asked = (voices, faces) if direction == "v2f" else (faces, voices)
    attributes = [(identities or {}).get(name, {}) for name in people]
    records = []
    for stratum in default_strata(attributes) if strata is None else strata:
        allowed = stratum_mask(stratum, attributes)
        impostors = allowed.sum(axis=1)
        weights = impostors * (impostors >= n - 1)
        same: dict[str, Any] = {"n": n, "chance": 1.0 / n, "stratum": stratum, "protocol": "sampled"}
        if not weights.any():
            records.append(record("matching", direction, "accuracy", None, identities=0, trials=0, ties=0, **same))
            continue
        rng = np.random.default_rng(seed)
        counts = draw_counts(asking, weights, trials, rng)
        tables = _in_random_order(_of_tables(scorer, asking.order, asked.order), rng)
        sampled = sample_matching(tables, asking, asked, counts, allowed, rng, n)
        low, high = binomial_interval(sampled.accuracy, trials, 0.95)
        enough = n == 2 or len(sampled.influence) >= PEOPLE_PER_CANDIDATE * n
        records.append(
            record(
                "matching",
                direction,
                "accuracy",
                sampled.accuracy,
                identities=len(sampled.influence),
                trials=trials,
                ties=sampled.ties,
                interval=student_interval(sampled.accuracy, sampled.influence, level) if enough else None,
                level=level,
                method="identity",
                error_bound=(high - low) / 2,
                effects=sampled.influence,
                **same,
            )
        )
    return records


def _of_tables(scorer: Scorer, queries: Places, items: Places) -> Scorer:
    return lambda asking, asked: scorer(queries[asking], items[asked])


def _in_random_order(scorer: Scorer, rng: np.random.Generator) -> Scorer:
    def score(queries: Places, candidates: Places) -> NDArray[Any]:
        slots = rng.permuted(np.tile(np.arange(candidates.shape[1]), (len(queries), 1)), axis=1)
        shuffled = np.asarray(scorer(queries, np.take_along_axis(candidates, slots, axis=1)))
        if shuffled.shape != slots.shape:
            return shuffled  # rejected by the caller
        scores = np.empty_like(shuffled)
        np.put_along_axis(scores, slots, shuffled, axis=1)
        return scores

    return score
