"""The leaderboard of results: what `voiceface compare` prints, as an object."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol

from voiceface.compare.against import against_paper, paper_tasks
from voiceface.compare.grouping import compare_results
from voiceface.compare.published import published as published_tables
from voiceface.compare.reading import Found, LeftOut, find_results
from voiceface.compare.render import FORMATS
from voiceface.compare.render.data_files import tidy
from voiceface.compare.render.formats import render
from voiceface.compare.scored import EXACT, SAMPLED
from voiceface.compare.table import Comparison
from voiceface.evaluation.view import Results
from voiceface.utils.errors import UserError
from voiceface.utils.files import write_for_user
from voiceface.utils.frames import data_frame

PROTOCOLS = (EXACT, SAMPLED)


class HasResults(Protocol):
    """A run, or anything else that holds its results."""

    results: Results


Source = str | Path | Results | HasResults


class Leaderboard:
    """Results side by side, with the differences that are significant.

    Args:
        comparison: Its tables.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def table(self, width: int = 100) -> str:
        """The tables that `voiceface compare` prints.

        Args:
            width: Columns.
        """
        return render(self.comparison, "table", width)

    def to_frame(self) -> Any:
        """Every value with its interval and test as a data frame, one row each: of pandas, else of polars.

        Raises:
            UserError: Neither is installed.
        """
        return data_frame(list(tidy(self.comparison)))

    def save(self, path: str | Path) -> None:
        """Write it in the format of the file's ending: .html, .md, .tex, .csv, .json, .svg or .txt.

        Raises:
            UserError: The ending is another one, or the file cannot be written.
        """
        path = Path(path)
        form = next((name for name, ending in FORMATS.items() if path.suffix == f".{ending}"), None)
        if form is None:
            raise UserError(f"{path}: does not say what to write; end it in .{', .'.join(FORMATS.values())}")
        write_for_user(path, render(self.comparison, form).encode())

    def __repr__(self) -> str:
        names = [row.name for group in self.comparison.groups for row in group.rows if row.kind == "model"]
        return f"Leaderboard({', '.join(names) or 'empty'})"

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre style='line-height:1.25'>{escape(self.table())}</pre>"


def compare(
    results: "Sequence[Source] | Source",
    tasks: Sequence[str] | None = None,
    protocols: Sequence[str] = PROTOCOLS,
    level: float = 0.95,
    against: Literal["paper"] | None = None,
    published: bool = False,
) -> Leaderboard:
    """Put results side by side and test which differences are significant.

    Args:
        results: Result files, run folders, folders of them, names of installed checkpoints, `Results` or `Run`s.
        tasks: Columns, such as `["1:2/G", "AUC", "mAP/v2f"]`; None: the usual ones.
        protocols: How trials came to be.
        level: Confidence level of the paired tests, in (0, 1).
        against: paper: beside each method's scores those that its own paper reports.
        published: The literature's tables as well.

    Returns:
        A leaderboard to print, save (`board.save("page.html")`) or turn into a data frame.

    Raises:
        UserError: There is no result among them, or a task or protocol is unknown.

    Example:
        >>> import numpy as np, voiceface
        >>> rng, people = np.random.default_rng(0), [f"person {i}" for i in range(10)]
        >>> voices, noise = rng.normal(size=(2, 10, 8))
        >>> mine = voiceface.score(voices, people, voices + noise, people, name="mine")
        >>> baseline = voiceface.score(voices, people, voices + 3 * noise, people, name="baseline")
        >>> board = voiceface.compare([mine, baseline], tasks=["1:2/v2f"])
        >>> [(row.name, row.cells[0].best) for row in board.comparison.groups[0].rows if row.kind == "model"]
        [('mine', True), ('baseline', False)]
    """
    if isinstance(results, (str, Path, Results)) or hasattr(results, "results"):
        results = [results]
    if not 0.0 < level < 1.0:
        raise UserError(f"level {level}: give a fraction between 0 and 1, such as 0.95")
    with TemporaryDirectory() as folder:
        found, left_out = find_results([_path(one, Path(folder)) for one in results])
        comparison = compare_found(found, left_out, tasks, protocols, level, against)
    if against:
        comparison = against_paper(comparison)
    if published:
        comparison = replace(comparison, groups=(*comparison.groups, *published_tables()))
    return Leaderboard(comparison)


def _path(source: "Source", folder: Path) -> Path:
    """Where a result lies; one that is in memory is written to the folder, for the effects of people are a file."""
    results = getattr(source, "results", source)
    if not isinstance(results, Results):
        return Path(source)  # type: ignore[arg-type]
    path = folder / str(len(list(folder.iterdir()))) / f"{results.name}.json"
    path.parent.mkdir()
    results.save(path)
    return path


def compare_found(
    found: Sequence[Found],
    left_out: LeftOut,
    tasks: Sequence[str] | None = None,
    protocols: Sequence[str] = PROTOCOLS,
    level: float = 0.95,
    against: Literal["paper"] | None = None,
) -> Comparison:
    """Compare results that were read.

    Args:
        found: Results.
        left_out: What was not read: path, and why.
        tasks: Columns, such as `1:2/G`; None: the usual ones.
        protocols: How trials came to be.
        level: Confidence level of the paired tests, in (0, 1).
        against: paper: the usual columns are those that the papers report.

    Raises:
        UserError: There is no score of these protocols, or a task is unknown.
    """
    if against and tasks is None:
        tasks = paper_tasks(str(one.results["model"]["recipe"]) for one in found) or None
    comparison = compare_results(found, tasks, protocols, level)
    names = sorted({r["protocol"] for one in found for r in one.results["scores"] if r["value"] is not None})
    if not names:
        raise UserError(f"{found[0].path}: holds no score; test the model on more people")
    if not comparison.groups:
        raise UserError(f"--protocol {','.join(protocols)}: in no result; there are: {', '.join(names)}")
    shown = {path for group in comparison.groups for runs in group.results.values() for path, _ in runs}
    unscored = [(str(one.path), f"no score of protocol {' or '.join(protocols)}") for one in found]
    unscored = [pair for pair in unscored if pair[0] not in shown]
    return replace(comparison, left_out=(*comparison.left_out, *left_out, *unscored))
