"""The records of each task, from the passes over the similarities."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.confidence import identities_in, identity_interval, rate_interval, student_interval
from voiceface.scores.inputs import Sorted
from voiceface.scores.many import match_many
from voiceface.scores.matching import Counts, accuracy, count
from voiceface.scores.ranking import Ranking, jackknife_influence, rank
from voiceface.scores.records import record
from voiceface.scores.retrieval import available_k, mean_average_precision, median_rank, recall_at
from voiceface.scores.similarity import Rows
from voiceface.scores.verification import verify

Masks = Mapping[str, NDArray[np.bool_]]
Records = list[dict[str, Any]]


def matching_records(
    rows: Rows, queries: Sorted, items: Sorted, masks: Masks, direction: str, level: float, protocols: Sequence[str]
) -> Records:
    """1:2 accuracy: `clip_weighted` weighs all triplets alike, any other protocol all ordered pairs of identities."""
    counts: Counts = count(rows, queries.identity, items.sizes)
    win_rates, triplets = counts.win_rates, counts.triplets
    ties = counts.ties[:, : len(triplets)]
    records = []
    for protocol in protocols:
        for stratum, everybody in masks.items():
            mask = everybody[:, : len(triplets)] & (triplets > 0)
            weights = mask * triplets if protocol == "clip_weighted" else mask
            records.append(
                record(
                    "matching",
                    direction,
                    "accuracy",
                    accuracy(win_rates, weights),
                    n=2,
                    chance=0.5,
                    identities=identities_in(mask),
                    trials=int(triplets[mask].sum()),
                    ties=int(ties[mask].sum()),
                    protocol=protocol,
                    stratum=stratum,
                    interval=identity_interval(win_rates, weights, level),
                    level=level,
                    method="identity",
                )
            )
    return records


def many_records(
    rows: Rows,
    queries: Sorted,
    items: Sorted,
    masks: Masks,
    direction: str,
    level: float,
    candidates: Sequence[int],
) -> Records:
    """1:N accuracy for each N that the people allow."""
    people = int(queries.identity[-1]) + 1
    numbers = sorted({int(n) for n in candidates if 2 < n <= people})
    if not masks or not numbers:
        return []
    stacked = np.stack([mask[:, :people] for mask in masks.values()])
    found = match_many(rows, queries.identity, items.sizes, stacked, numbers)
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
        )
        for stratum, results in zip(masks, found, strict=True)
        for n, result in zip(numbers, results, strict=True)
        if result.accuracy is not None
    ]


def retrieval_records(
    rows: Rows, queries: Sorted, items: Sorted, masks: Masks, direction: str, level: float, protocol: str
) -> Records:
    """MAP, R@K and median rank; in a stratum the gallery holds the probe's own items and those of its people."""
    if not masks:
        return []
    rankings = rank(
        rows, queries.identity, items.sizes, np.stack(list(masks.values())), available_k(int(items.sizes.sum()))
    )
    return [
        r
        for s, ranking in zip(masks, rankings, strict=True)
        for r in ranking_records(ranking, direction, level, protocol, s)
    ]


def ranking_records(ranking: Ranking | None, direction: str, level: float, protocol: str, stratum: str) -> Records:
    """MAP, R@K and median rank of one ranking."""
    if ranking is None:
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
    ranks = ranking.ranks
    gallery = int(np.max(ranks.items))
    metrics = {"mAP": mean_average_precision(ranks)}
    metrics |= {f"R@{k}": recall_at(ranks, k) for k in available_k(gallery)}
    metrics["median_rank"] = median_rank(ranks)
    records = []
    for column, (metric, (value, chance)) in enumerate(metrics.items()):
        interval = None
        if metric != "median_rank":
            spread = student_interval if metric == "mAP" else rate_interval
            interval = spread(value, jackknife_influence(ranking.without[:, column]), level)
        records.append(
            record(
                "retrieval",
                direction,
                metric,
                value,
                n=gallery,
                chance=chance,
                identities=ranking.identities,
                trials=len(ranks.relevant),
                ties=int(ranks.open.sum()),
                protocol=protocol,
                stratum=stratum,
                interval=interval,
                level=level,
                method="jackknife",
            )
        )
    return records


def verification_records(
    rows: Rows, voices: Sorted, faces: Sorted, masks: Masks, level: float, protocol: str
) -> Records:
    """AUC and EER, which are the same in both directions."""
    if not masks:
        return []
    people = int(voices.identity[-1]) + 1
    found = verify(rows, voices.identity, faces.sizes, np.stack([mask[:, :people] for mask in masks.values()]))
    records = []
    for stratum, result in zip(masks, found, strict=True):
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
                )
            )
    return records
