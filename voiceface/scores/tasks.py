"""The records of each task."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.confidence import identities_in, identity_effects, rate_interval, student_interval
from voiceface.scores.inputs import Sorted
from voiceface.scores.kernels.blocks import Rows
from voiceface.scores.kernels.rank_counts import run_pass
from voiceface.scores.matching import Counts, accuracy, counting
from voiceface.scores.matching_n import ManyScore, winning
from voiceface.scores.ranking import Ranking, jackknife_influence, ranking
from voiceface.scores.records import record
from voiceface.scores.retrieval import available_k, mean_average_precision, median_rank, recall_at
from voiceface.scores.verification import Verification, positive_pairs, verify

Masks = Mapping[str, NDArray[np.bool_]]
Records = list[dict[str, Any]]


def direction_records(
    rows: Rows,
    queries: Sorted,
    items: Sorted,
    masks: Masks,
    direction: str,
    level: float,
    candidates: Sequence[int] = (),
    video: str | None = None,
) -> Records:
    """Score matching and retrieval of one direction, in one pass over the similarities.

    Args:
        rows: Computes the similarities of queries to items.
        queries: The queries.
        items: The gallery.
        masks: bool (I, J) by name of stratum.
        direction: v2f or f2v.
        level: Confidence level.
        candidates: The N of 1:N.
        video: The protocol, if only same-video or cross-video positives are used.

    Returns:
        1:2 (and clip-weighted) accuracy, 1:N, mAP, R@K and median rank in every stratum; for v2f also AUC and EER,
        which are the same in both directions.
    """
    if not masks:
        return []
    people = int(queries.identity[-1]) + 1
    meeting = np.stack(list(masks.values()))
    numbers = sorted({int(n) for n in candidates if 2 < n <= people})
    ks = available_k(int(items.sizes.sum()))
    scores = {
        "pairs": counting(queries.identity, items.sizes),
        "ranking": ranking(queries.identity, items.sizes, meeting, ks),
    }
    if numbers:
        scores["many"] = winning(queries.identity, items.sizes, meeting[:, :, :people], numbers)
    if direction == "v2f":
        scores["positives"] = positive_pairs(queries.identity, items.sizes)
    found = dict(zip(scores, run_pass(list(scores.values()), rows, queries.identity, items.sizes), strict=True))
    records = []
    for protocol in (video,) if video else ("exact", "clip_weighted"):
        records += _pair_records(found["pairs"], masks, direction, level, protocol)
    if numbers:
        records += _many_records(found["many"], list(masks), numbers, direction, level)
    for stratum, result in zip(masks, found["ranking"], strict=True):
        records += ranking_records(result, direction, level, video or "whole_split", stratum)
    if direction == "v2f":
        verified = verify(
            rows, queries.identity, items.sizes, meeting[:, :, :people], positive_scores=found["positives"]
        )
        records += _verification_records(verified, list(masks), level, video or "exact")
    return records


def _pair_records(counts: Counts, masks: Masks, direction: str, level: float, protocol: str) -> Records:
    """1:2 accuracy: `clip_weighted` weights all triplets equally, other protocols all ordered pairs of identities."""
    win_rates, triplets = counts.win_rates, counts.triplets
    ties = counts.ties[:, : len(triplets)]
    records = []
    for stratum, everybody in masks.items():
        mask = everybody[:, : len(triplets)] & (triplets > 0)
        weights = mask * triplets if protocol == "clip_weighted" else mask
        value, effects = accuracy(win_rates, weights), identity_effects(win_rates, weights)
        records.append(
            record(
                "matching",
                direction,
                "accuracy",
                value,
                n=2,
                chance=0.5,
                identities=identities_in(mask),
                trials=int(triplets[mask].sum()),
                ties=int(ties[mask].sum()),
                protocol=protocol,
                stratum=stratum,
                interval=None if value is None else student_interval(value, effects, level),
                level=level,
                method="identity",
                effects=effects,
            )
        )
    return records


def _many_records(
    found: Sequence[Sequence[ManyScore]], strata: Sequence[str], numbers: Sequence[int], direction: str, level: float
) -> Records:
    return [
        record(
            "matching",
            direction,
            "accuracy",
            result.accuracy,
            n=n,
            chance=1.0 / n,
            identities=result.identities,
            trials=result.pairs,
            ties=result.ties,
            protocol="exact",
            stratum=stratum,
            interval=result.interval(level),
            level=level,
            method="jackknife",
            effects=result.influence,
        )
        for stratum, results in zip(strata, found, strict=True)
        for n, result in zip(numbers, results, strict=True)
        if result.accuracy is not None
    ]


def ranking_records(result: Ranking | None, direction: str, level: float, protocol: str, stratum: str) -> Records:
    """Build the mAP, R@K and median rank records of one ranking."""
    if result is None:
        return [
            record(
                "retrieval",
                direction,
                "mAP",
                None,
                n=0,
                chance=None,
                identities=0,
                trials=0,
                ties=0,
                protocol=protocol,
                stratum=stratum,
            )
        ]
    ranks = result.ranks
    gallery = int(np.max(ranks.items))
    metrics = {"mAP": mean_average_precision(ranks)}
    metrics |= {f"R@{k}": recall_at(ranks, k) for k in available_k(gallery)}
    metrics["median_rank"] = median_rank(ranks)
    records = []
    for column, (metric, (value, chance)) in enumerate(metrics.items()):
        interval = effects = None
        if metric != "median_rank":
            spread = student_interval if metric == "mAP" else rate_interval
            effects = jackknife_influence(result.without[:, column])
            interval = spread(value, effects, level)
        records.append(
            record(
                "retrieval",
                direction,
                metric,
                value,
                n=gallery,
                chance=chance,
                identities=result.identities,
                trials=len(ranks.relevant),
                ties=int(ranks.open.sum()),
                protocol=protocol,
                stratum=stratum,
                interval=interval,
                level=level,
                method="jackknife",
                effects=effects,
            )
        )
    return records


def _verification_records(
    found: Sequence[Verification | None], strata: Sequence[str], level: float, protocol: str
) -> Records:
    records = []
    for stratum, result in zip(strata, found, strict=True):
        for metric in ("AUC", "EER"):
            value, influence, bound = None, np.empty(0), 0.0
            if result is not None:
                value, influence, bound = (
                    (result.auc, result.auc_influence, result.auc_bound)
                    if metric == "AUC"
                    else (result.eer, result.eer_influence, result.eer_bound)
                )
            records.append(
                record(
                    "verification",
                    "both",
                    metric,
                    value,
                    n=1,
                    chance=0.5,
                    identities=len(influence),
                    trials=result.pairs if result else 0,
                    ties=result.ties if result else 0,
                    protocol=protocol,
                    stratum=stratum,
                    interval=student_interval(value, influence, level) if value is not None else None,
                    level=level,
                    method="identity",
                    error_bound=bound,
                    effects=influence,
                    roc=result.roc if result and metric == "AUC" else None,
                )
            )
    return records
