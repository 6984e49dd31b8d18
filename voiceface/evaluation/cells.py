"""Score records as table cells."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

Record = Mapping[str, Any]

DIRECTIONS = {"v2f": "voice → face", "f2v": "face → voice"}
METRICS = ("mAP", "R@1", "R@5", "R@10", "R@50", "R@100", "median_rank")
STRATA = {
    "U": "anybody",
    "G": "same gender",
    "N": "same nationality",
    "A": "same age",
    "E": "same ethnicity",
    "F": "same first language",
    "male": "male probe, G",
    "female": "female probe, G",
}
LETTERS = {"G": "gender", "N": "nationality", "A": "age", "E": "ethnicity", "F": "first language"}


class Scores:
    """The records of a result, indexed by what they score."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = list(records)
        self._by_name = {_name(r): r for r in self.records}

    def find(
        self, task: str, metric: str, direction: str, stratum: str = "U", protocol: str = "exact", n: int = 0
    ) -> Record | None:
        """Return a record, or None; `n` applies only to matching."""
        return self._by_name.get((task, metric, direction, stratum, protocol, n))

    def matching(self, direction: str, stratum: str = "U", n: int = 2) -> Record | None:
        """1:N accuracy: exact, or sampled where the method only compares candidates with each other."""
        found = (
            self.find("matching", "accuracy", direction, stratum, protocol, n) for protocol in ("exact", "sampled")
        )
        return next((record for record in found if record is not None), None)

    def different(self, key: str, **wanted: Any) -> list[Any]:
        """List the distinct values of a key, in order, over the records with the wanted values."""
        return list(dict.fromkeys(r[key] for r in self.records if all(r[k] == v for k, v in wanted.items())))


def _name(record: Record) -> tuple[Any, ...]:
    keys = ("task", "metric", "direction", "stratum", "protocol")
    return (*(record[key] for key in keys), record["n"] if record["task"] == "matching" else 0)


def stratum_name(stratum: str) -> str:
    """A stratum in words, such as `same gender` or `same G, N and A`."""
    return STRATA.get(stratum) or f"same {', '.join(stratum[:-1])} and {stratum[-1]}"


def letters(strata: Sequence[str]) -> str:
    """What the letters of strata mean, such as `G: gender, N: nationality`; empty where no name has any."""
    used = {letter for stratum in strata if stratum.isupper() and len(stratum) > 1 for letter in stratum}
    used |= {"G"} if {"male", "female"} & {*strata} else set()
    return ", ".join(f"{letter}: {word}" for letter, word in LETTERS.items() if letter in used)


def cell(record: Record | None) -> str:
    """Format a value and half its interval, or both ends if it is asymmetric, in per cent; `-` if there is none."""
    if record is None or record["value"] is None:
        return "-"
    if record["metric"] == "median_rank":
        return plain(record["value"])
    value = 100 * record["value"]
    if record["ci_low"] is None:
        return percent(record["value"])
    low, high = 100 * record["ci_low"], 100 * record["ci_high"]
    half = (high - low) / 2
    places = 2 if 0.005 <= half < 0.05 or 0 < value < 1 else 1
    if abs(value - (low + high) / 2) > max(half / 5, 0.05):
        return f"{value:.{places}f} ({low:.{places}f}-{high:.{places}f})"
    return f"{value:.{places}f} ± {half:.{places}f}"


def percent(value: float | None) -> str:
    """Format a fraction in per cent; `-` if there is none."""
    return "-" if value is None else f"{100 * value:.{2 if 0 < value < 0.01 else 1}f}"


def percents(record: Record) -> str:
    """A cell with its unit, such as `79.7 % ± 2.5`."""
    value, _, rest = cell(record).partition(" ")
    return f"{value} % {rest}".rstrip()


def plain(value: float | None) -> str:
    """Format a rank."""
    return "-" if value is None else f"{value:,.1f}".removesuffix(".0")


def chance(record: Record | None) -> str:
    """Format the score of an uninformative model."""
    if record is None:
        return "-"
    return (plain if record["metric"] == "median_rank" else percent)(record["chance"])


def heads(metrics: Iterable[str]) -> list[str]:
    """Return column heads of metrics."""
    return [metric.replace("_", "\n") for metric in metrics]


def new_table(
    title: str, *labels: str, values: Iterable[str], caption: str | None = None, tight: bool = False
) -> Table:
    """Create an empty table: columns of words, then of numbers; `tight` fits seven of these into 100 characters."""
    table = Table(
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        title_style="bold cyan",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
        padding=0 if tight else (0, 1),
        pad_edge=False,
    )
    for label in labels:
        table.add_column(label, overflow="fold")
    for value in values:
        table.add_column(value, justify="right", overflow="fold", vertical="bottom")
    return table
