"""A leaderboard row before comparison: a result's scores by column, the runs of one model together."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.compare.reading import Found
from voiceface.compare.table import EMPTY, Cell, Column
from voiceface.scores.confidence import rate_interval, student_interval
from voiceface.utils.text import clean

EXACT, SAMPLED = "exact", "sampled"
WITHIN = {EXACT: ("exact", "whole_split")}  # what the protocol `exact` of a table is called in the records
TASKS = ("matching", "verification", "retrieval")
SPREAD = "accuracy_spread"  # of a single subset of the people: it stands beside the mean of the subsets


class Scored:
    """One result, its scores by column."""

    def __init__(self, found: Found, protocol: str) -> None:
        self.found, self.results = found, found.results
        self._numbers: dict[Column, int] = {}
        for number, record in enumerate(self.results["scores"]):
            wanted = record["task"] in TASKS and record["metric"] != SPREAD
            if wanted and record["protocol"] in WITHIN.get(protocol, (protocol,)):
                self._numbers.setdefault(column_of(record), number)

    @property
    def columns(self) -> list[Column]:
        """What it was scored in."""
        return [column for column in self._numbers if self.record(column)["value"] is not None]

    def record(self, column: Column) -> Mapping[str, Any]:
        """The score of a column that it has."""
        record: Mapping[str, Any] = self.results["scores"][self._numbers[column]]
        return record

    def has(self, column: Column) -> bool:
        """Whether there is a value."""
        return column in self._numbers and self.record(column)["value"] is not None

    @cached_property
    def _effects(self) -> Mapping[int, NDArray[np.float64]]:
        return self.found.effects() or {}

    def effects(self, column: Column) -> NDArray[np.float64] | None:
        """The effect of each person on the score of a column."""
        return self._effects.get(self._numbers[column])

    @property
    def name(self) -> str:
        """What it is called."""
        return clean(str(self.results["model"]["recipe"] or self.results["model"]["method"])) or "(no name)"

    @property
    def seed(self) -> int | None:
        """Seed of the training."""
        training = self.results.get("training") or {}
        seed: int | None = training.get("seed", self.results["environment"].get("seed") if training else None)
        return seed

    @property
    def settings(self) -> str:
        """All that two runs which differ in their seed alone share."""
        model, training = self.results["model"], self.results.get("training") or {}
        same = [model[key] for key in ("recipe", "method", "arguments", "training_data")]
        return json.dumps([*same, training.get("steps"), training.get("settings")], sort_keys=True)


def column_of(record: Mapping[str, Any]) -> Column:
    """The column that a record belongs to; a joint score is one of matching or retrieval."""
    n = record["n"] if record["task"].removeprefix("joint_") == "matching" else 0
    return Column(record["metric"], n, record["stratum"], record["direction"])


def about_model(runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    """What a `Row` says of a model, by the names of its fields, from the paths and contents of its runs' results."""
    first = runs[0][1]
    model, trained = first["model"], first["model"]["training_data"] or {}
    return {
        "recipe": str(model["recipe"] or ""),
        "parameters": model["parameters"],
        "training_data": ", ".join(str(trained[key]) for key in ("corpus", "split") if trained.get(key)),
        "steps": (first.get("training") or {}).get("steps"),
        "seeds": len(runs),
        "source": ", ".join(str(path) for path, _ in runs),
    }


@dataclass(frozen=True)
class Line:
    """The runs of one model: a row before anything is compared."""

    name: str
    runs: tuple[Scored, ...]

    def cell(self, column: Column) -> Cell:
        """Mean over the runs, with the mean's interval over people and its spread over the runs."""
        if not all(run.has(column) for run in self.runs):
            return EMPTY
        records = [run.record(column) for run in self.runs]
        values = [record["value"] for record in records]
        if len(records) == 1:
            return Cell(values[0], records[0]["ci_low"], records[0]["ci_high"])
        mean, spread = statistics.fmean(values), statistics.stdev(values)
        low = high = None
        effects, level = self.effects(column), records[0]["ci_level"]
        if effects is not None and level is not None:
            spread_of_people = rate_interval if column.metric.startswith("R@") else student_interval
            low, high = spread_of_people(mean, effects, level) or (None, None)
        return Cell(mean, low, high, spread)

    def effects(self, column: Column) -> NDArray[np.float64] | None:
        """The effect of each person on the mean."""
        found = [run.effects(column) for run in self.runs]
        known = [effects for effects in found if effects is not None]
        if len(known) < len(found) or len({len(effects) for effects in known}) != 1 or len(self.people) > 1:
            return None
        mean: NDArray[np.float64] = np.mean(known, axis=0)
        return mean

    @cached_property
    def people(self) -> frozenset[str]:
        """Who the people are whose effects are known, and their order (`voiceface.evaluation.results.people_hash`)."""
        known = (run.results["data"].get("people_sha256") for run in self.runs)
        return frozenset(str(one) for one in known if one)  # the first files of schema 2 do not say it

    def same_sample(self, other: "Line", column: Column) -> bool:
        """Whether the scores of both are of the same people and trials, of which some draw more."""
        first, second = (line.runs[0].record(column) for line in (self, other))
        what = ("identities",) if first["protocol"] == SAMPLED else ("identities", "trials")
        return len(self.people | other.people) < 2 and all(first[name] == second[name] for name in what)
