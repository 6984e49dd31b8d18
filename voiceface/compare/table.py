"""What a leaderboard is made of: groups of rows that may be compared, columns of tasks, cells with intervals.

Everything that shows one (terminal, Markdown, LaTeX, CSV, JSON, HTML, loggers) takes a `Comparison` and nothing else.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from voiceface.evaluation.cells import stratum_name
from voiceface.methods.recipes import nearest
from voiceface.utils.errors import UserError

ARROWS = {"v2f": "v→f", "f2v": "f→v", "both": ""}
LOWER_IS_BETTER = ("EER", "median_rank")
STRATA = "GNEFA"  # the order of letters in GN, GNA, GE and GEFA


class Column(NamedTuple):
    """One task. Its name, as `--tasks` takes it, is `1:2/G/v2f`, `AUC/GNA` or `mAP/U/f2v`."""

    metric: str
    """accuracy, AUC, EER, mAP, R@10, ..., median_rank."""
    n: int
    """Candidates of matching; 0 in any other task."""
    stratum: str
    """Who competes: U, G, GN, male, ..."""
    direction: str
    """v2f, f2v; both in verification."""

    @property
    def what(self) -> str:
        """What is measured, in the field's words: `1:2`, `AUC`, `R@10`."""
        return f"1:{self.n}" if self.n else self.metric.replace("_", " ")

    @property
    def name(self) -> str:
        """The column in one word."""
        direction = "" if self.direction == "both" else f"/{self.direction}"
        return f"{self.what.replace(' ', '_')}/{self.stratum}{direction}"

    @property
    def words(self) -> tuple[str, str, str]:
        """What is measured, the direction as an arrow, and the stratum in words; each may be empty but the first."""
        return self.what, ARROWS[self.direction], "" if self.stratum == "U" else stratum_name(self.stratum)

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller value is a better one."""
        return self.metric in LOWER_IS_BETTER

    @property
    def task(self) -> str:
        """The task that the result file's records have: matching, verification or retrieval."""
        if self.n:
            return "matching"
        return "verification" if self.metric in ("AUC", "EER") else "retrieval"


def columns_of(word: str) -> list[Column]:
    """The columns that a word of `--tasks` means.

    Args:
        word: `TASK[/STRATUM][/DIRECTION]`; the task is `1:N`, AUC, EER, mAP, R@K or median_rank. Without a stratum: U;
            without a direction: both.

    Raises:
        UserError: It is no such word.

    Example:
        >>> [column.name for column in columns_of("1:2/G")]
        ['1:2/G/v2f', '1:2/G/f2v']
    """
    what, *rest = word.strip().split("/")
    direction = rest.pop() if rest and rest[-1] in ("v2f", "f2v") else None
    stratum = rest.pop() if rest else "U"
    n = int(what[2:]) if re.fullmatch(r"1:[1-9][0-9]{0,5}", what) else 0
    metric = "accuracy" if n else what
    known = n >= 2 or re.fullmatch(r"AUC|EER|mAP|median_rank|R@[1-9][0-9]{0,5}", metric)
    fits = stratum in ("U", "male", "female") or (stratum and stratum == "".join(s for s in STRATA if s in stratum))
    if rest or not known or not fits:
        examples = ("1:2", "1:2/G/v2f", "1:10", "AUC/GNA", "EER", "mAP", "R@10/U/f2v", "median_rank")
        near = nearest(word, examples)
        raise UserError(f"--tasks {word.strip() or '(empty)'}: no such task{near}; give such as {', '.join(examples)}")
    if metric in ("AUC", "EER"):
        if direction:
            raise UserError(f"--tasks {word}: verification has no direction; give {metric}/{stratum}")
        return [Column(metric, 0, stratum, "both")]
    return [Column(metric, n, stratum, d) for d in ([direction] if direction else ["v2f", "f2v"])]


@dataclass(frozen=True)
class Cell:
    """A value of a leaderboard.

    Attributes:
        value: A fraction in [0, 1]; of the median rank a rank from 1. None: the score does not exist.
        low: Lower end of its interval; None: there is none.
        high: Upper end.
        spread: Standard deviation over the seeds, where there are several.
        best: The best of its column, among rows that may be ranked.
        same: Whether the difference to the best of its column is not significant; None: not tested.
        p_value: Of that test, corrected for the number of tests in the column (Holm).
        difference: Value minus the best one's, with its interval: (value, low, high).
        paper: What the paper reports; None: nothing.
        mark: Said of the value, in a few words, such as "read off a plot".
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    best: bool = False
    same: bool | None = None
    p_value: float | None = None
    difference: tuple[float, float, float] | None = None
    paper: float | None = None
    mark: str = ""


EMPTY = Cell(None)
DRAWN = "Intervals here are about what is drawn from these clips, not about other people."


@dataclass(frozen=True)
class Row:
    """A line of a leaderboard.

    Attributes:
        name: The model, as shown; unique among the rows of its group.
        cells: One per column.
        kind: `model`, or a line to measure models by: `chance`, `ideal` (the best possible scores).
        recipe: Recipe or method, to find the paper's numbers by; empty: unknown.
        parameters: Of the deployed model; None: unknown.
        training_data: What it was trained on, in a few words; empty: unknown.
        steps: Steps of the optimiser; None: unknown.
        seeds: Training runs that the row is the mean of.
        source: Where the numbers are from: result files, or a paper's table.
        notes: What the reader of the row must know; a row with `ranked` False has the reason here.
        ranked: Whether it takes part in finding the best.
    """

    name: str
    cells: tuple[Cell, ...]
    kind: Literal["model", "chance", "ideal"] = "model"
    recipe: str = ""
    parameters: int | None = None
    training_data: str = ""
    steps: int | None = None
    seeds: int = 1
    source: str = ""
    notes: tuple[str, ...] = ()
    ranked: bool = True


@dataclass(frozen=True)
class Group:
    """Rows that were scored on the same clips by the same protocol, and may be ranked.

    Attributes:
        title: What they were scored on, in a line.
        kind: `measured`, results of models here; `published`, numbers of the literature; `study`, an experiment of a
            paper, ours beside its own (`Cell.paper`).
        protocol: `exact` (every pair of the split), `sampled`, or the name of a sampling or a trial list.
        columns: The tasks.
        rows: Models in order, then chance, then the ideal observer.
        data: What is known of the clips: corpus, version, split, identities, voices, faces, clips_sha256, synthetic,
            and `test_level`, the confidence level of the tests;
            of published numbers: split, identities, gallery.
        notes: Said once below the table.
        level: Confidence level of the intervals.
        results: Of each row's runs the content of the result file and its path, by the row's name; for plots.
    """

    title: str
    kind: Literal["measured", "published", "study"]
    protocol: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    level: float = 0.95
    results: Mapping[str, tuple[tuple[str, Mapping[str, Any]], ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A whole leaderboard.

    Attributes:
        groups: Tables; values of different tables are not comparable.
        left_out: Files that were left out: path, and why, in a line.
        notes: Said once below everything, such as why groups are apart.
    """

    groups: tuple[Group, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def mark_best(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """Mark the best of each column in which several rows are ranked."""
    cells = [list(row.cells) for row in rows]
    for place, column in enumerate(columns):
        values = {i: v for i, row in enumerate(rows) if row.ranked and (v := row.cells[place].value) is not None}
        if len(values) > 1:
            best = (min if column.lower_is_better else max)(values.values())
            for i in (i for i, value in values.items() if value == best):
                cells[i][place] = replace(cells[i][place], best=True)
    return [replace(row, cells=tuple(own)) for row, own in zip(rows, cells, strict=True)]
