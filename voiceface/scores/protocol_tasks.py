"""Components of the papers' protocols: a sampled value, and the exact value that it estimates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.clips import Clips, Places, Side
from voiceface.scores.confidence import binomial_interval, identities_in, identity_interval, student_interval
from voiceface.scores.matching import Counts, accuracy, count
from voiceface.scores.pair_lists import list_auc, sample_pairs
from voiceface.scores.ranking import rank
from voiceface.scores.records import record
from voiceface.scores.retrieval import mean_average_precision
from voiceface.scores.roc import auc
from voiceface.scores.sampling import Sampled, draw_counts, sample_matching
from voiceface.scores.strata import default_strata, stratum_mask

Records = list[dict[str, Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """The clips on which a protocol is run.

    Attributes:
        protocol: Name of the protocol.
        clips: The clips.
        attributes: Attributes of each person.
        level: Confidence level.
        seed: Seed of the draws.
        trials: Maximum number of trials of a sampled value; None: the paper's number.
    """

    protocol: str
    clips: Clips
    attributes: Sequence[Mapping[str, str]]
    level: float
    seed: int
    trials: int | None

    def masks(self, strata: Sequence[str]) -> dict[str, Mask]:
        """Return the masks of those strata whose attributes are known and that contain a pair."""
        known = default_strata(self.attributes)
        masks = {stratum: stratum_mask(stratum, self.attributes) for stratum in strata if stratum in known}
        return {stratum: mask for stratum, mask in masks.items() if mask.any()}

    def counts(self, direction: str) -> Counts:
        """Count the wins and ties of all triplets of a direction."""
        asking, asked = self.clips.sides(direction)
        return count(self.clips.rows(direction), asking.owner, asked.sizes)

    def at_most(self, trials: int) -> int:
        """Return the paper's number of trials, or the user's limit if that is lower."""
        return trials if self.trials is None else min(trials, self.trials)

    def sampled(
        self, direction: str, query_counts: NDArray[np.int64], mask: Mask, rng: np.random.Generator, n: int
    ) -> Sampled:
        """Score sampled trials of the given queries."""
        asking, asked = self.clips.sides(direction)
        return sample_matching(self.clips.scorer(direction), asking, asked, query_counts, mask, rng, n)

    def matching(
        self,
        direction: str,
        counts: Counts,
        stratum: str,
        mask: Mask,
        person_weights: NDArray[Any],
        trials: int,
        level: float | None = None,
        per_person: int | None = None,
    ) -> Records:
        """Compute 1:2 accuracy: sampled and exact.

        Args:
            direction: v2f or f2v.
            counts: Wins and ties of that direction.
            stratum: Name of the stratum.
            mask: bool (I, I): the possible impostors of each person; all of a person's impostors have the same weight.
            person_weights: (I,): how often each person is the probe, 0 for people without an impostor.
            trials: The paper's number of trials.
            level: Confidence level of the sampled value; None: the split's.
            per_person: Probes per person, the same for each; None: drawn by weight.
        """
        asking, _ = self.clips.sides(direction)
        rng = np.random.default_rng(self.seed)
        if per_person and self.at_most(trials) == trials:
            query_counts = probes_per_person(asking, person_weights > 0, per_person, rng)
        else:
            query_counts = draw_counts(asking, person_weights, self.at_most(trials), rng)
        weights = mask * (person_weights / np.maximum(mask.sum(axis=1), 1))[:, None]
        exact: dict[str, Any] = {
            "value": accuracy(counts.win_rates, weights),
            "identities": identities_in(weights),
            "trials": int(counts.triplets[weights > 0].sum()),
            "ties": int(counts.ties[:, : len(mask)][weights > 0].sum()),
            "interval": identity_interval(counts.win_rates, weights, self.level),
        }
        return self.both(direction, stratum, 2, self.sampled(direction, query_counts, mask, rng, 2), exact, level)

    def both(
        self, direction: str, stratum: str, n: int, sampled: Sampled, exact: dict[str, Any], level: float | None = None
    ) -> Records:
        """Build the records of a sampled accuracy and of the exact one; `level` is for the sampled one's interval."""
        same: dict[str, Any] = {"n": n, "chance": 1.0 / n, "stratum": stratum}
        level = level or self.level
        return [
            record(
                "matching",
                direction,
                "accuracy",
                sampled.accuracy,
                identities=len(sampled.influence),
                trials=sampled.trials,
                ties=sampled.ties,
                protocol=self.protocol,
                interval=binomial_interval(sampled.accuracy, sampled.trials, level),
                level=level,
                method="binomial",
                **same,
            ),
            record(
                "matching",
                direction,
                "accuracy",
                protocol=f"{self.protocol}_exact",
                level=self.level,
                method="identity",
                **exact,
                **same,
            ),
        ]

    def verification(self, strata: Sequence[str]) -> Records:
        """Compute the AUC of pair lists (see `voiceface.scores.pair_lists`): sampled, and exact over all such lists."""
        voices, faces = self.clips.voices, self.clips.faces
        masks = self.masks(strata)
        exact = list_auc(self.clips.rows("v2f"), voices.owner, faces.sizes, np.stack(list(masks.values())))
        scorer = self.clips.scorer("v2f")
        records = []
        for (stratum, mask), found in zip(masks.items(), exact, strict=True):
            scores, labels = sample_pairs(scorer, voices, faces, mask, np.random.default_rng(self.seed), self.trials)
            value = auc(scores.tolist(), labels.tolist())
            tied = np.isin(scores[~labels], scores[labels])
            same: dict[str, Any] = {
                "n": 1,
                "chance": 0.5,
                "stratum": stratum,
                "level": self.level,
                "identities": int(mask.any(axis=1).sum()),
            }
            sampled = record(
                "verification",
                "both",
                "AUC",
                value,
                trials=len(labels),
                ties=int(tied.sum()),
                protocol=self.protocol,
                interval=binomial_interval(value, int((~labels).sum()), self.level),
                method="binomial",
                **same,
            )
            assert found is not None  # every mask holds a pair
            beside = record(
                "verification",
                "both",
                "AUC",
                found.auc,
                trials=found.pairs,
                ties=found.ties,
                protocol=f"{self.protocol}_exact",
                interval=student_interval(found.auc, found.influence, self.level),
                method="identity",
                error_bound=found.bound,
                **same,
            )
            records += [sampled, beside]
        return records

    def retrieval(self, size: int) -> Records:
        """Compute the mAP of one draw of `size` voices and faces, both directions; no records if there are fewer."""
        if min(len(self.clips.voices.order), len(self.clips.faces.order)) < size:
            return []
        rng = np.random.default_rng(self.seed)
        voices, faces = (rng.choice(len(s.order), size, replace=False) for s in (self.clips.voices, self.clips.faces))
        number = self.at_most(size)
        return [self._one_draw("v2f", voices[:number], faces), self._one_draw("f2v", faces[:number], voices)]

    def _one_draw(self, direction: str, queries: Places, items: Places) -> dict[str, Any]:
        asking, asked = self.clips.sides(direction)
        drawn = np.bincount(asked.owner[items], minlength=len(asked.sizes))
        queries = queries[drawn[asking.owner[queries]] > 0]  # a query without an item of its person has no rank
        asks = np.bincount(asking.owner[queries], minlength=len(asking.sizes)) > 0
        people = np.argsort(~asks, kind="stable")  # people with queries come first
        number = np.argsort(people)
        queries = queries[np.argsort(number[asking.owner[queries]], kind="stable")]
        items = items[np.argsort(number[asked.owner[items]], kind="stable")]
        rows = self.clips.rows(direction, queries, items)
        ranking = rank(rows, number[asking.owner[queries]], drawn[people])[0]
        assert ranking is not None
        value, chance = mean_average_precision(ranking.ranks)
        return record(
            "retrieval",
            direction,
            "mAP",
            value,
            n=len(items),
            chance=chance,
            identities=int(asks.sum()),
            trials=len(queries),
            ties=int(ranking.ranks.open.sum()),
            protocol=self.protocol,
        )


def probes_per_person(side: Side, people: Mask, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw queries so that each chosen person of (I,) is the probe `number` times; returns counts, int64 (Q,)."""
    return np.concatenate(
        [
            rng.multinomial(number if wanted else 0, np.full(size, 1.0 / size))
            for wanted, size in zip(people, side.sizes, strict=True)
        ]
    )
