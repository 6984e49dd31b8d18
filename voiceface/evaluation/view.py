"""Results: the scores of a model as an object, to print, plot, tabulate and save."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from voiceface.evaluation.cells import DIRECTIONS, Record, Scores, percents
from voiceface.evaluation.results import read_results, write_results
from voiceface.evaluation.tables import ONE_TABLE, results_table, summary
from voiceface.utils.frames import data_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Results(Mapping[str, Any]):
    """The content of a result file; a mapping with its sections `model`, `data`, `scores`, `environment`, ...

    Args:
        content: What `voiceface.evaluation.results.read_results` gives.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = dict(content)

    @classmethod
    def read(cls, path: str | Path) -> "Results":
        """Read a result file.

        Raises:
            UserError: It is missing, damaged or not a result.
        """
        return cls(read_results(Path(path)))

    def save(self, path: str | Path) -> None:
        """Write a result file, and beside it the effects of people where they are known.

        Raises:
            UserError: It cannot be written.
        """
        write_results(Path(path), self._content)

    def __getitem__(self, section: str) -> Any:
        return self._content[section]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    @property
    def name(self) -> str:
        """The recipe, or the method where there is none."""
        return str(self["model"]["recipe"] or self["model"]["method"])

    def find(
        self,
        metric: str = "accuracy",
        direction: str = "v2f",
        stratum: str = "U",
        n: int = 2,
    ) -> Record | None:
        """One score with its interval, chance and counts.

        Args:
            metric: accuracy (of 1:N matching), AUC, EER, mAP, R@K or median_rank.
            direction: v2f or f2v; AUC and EER have none.
            stratum: U: among anybody; G: among people of the same gender; ...
            n: Candidates of matching.

        Returns:
            A record of `voiceface.scores.score`; None where the result does not hold it.
        """
        scores = Scores(self["scores"])
        if metric == "accuracy":
            return scores.matching(direction, stratum, n)
        if metric in ("AUC", "EER"):
            return scores.find("verification", metric, "both", stratum)
        return scores.find("retrieval", metric, direction, stratum, "whole_split")

    def summary(self) -> str:
        """What the result says, in a sentence per direction."""
        return summary(self._content)

    def table(self, everything: bool = False, width: int = ONE_TABLE) -> str:
        """The tables that `voiceface test` prints.

        Args:
            everything: All scores, not the headline alone.
            width: Columns.
        """
        text = io.StringIO()
        Console(file=text, width=width).print(results_table(self._content, everything, width))
        return text.getvalue()

    def to_frame(self) -> Any:
        """All scores as a data frame, one row each: of pandas where it is installed, else of polars.

        Raises:
            UserError: Neither is installed.
        """
        return data_frame(self["scores"])

    def plot_intervals(self) -> "Figure":
        """1:2 accuracy by who competes, with intervals; see `voiceface.evaluation.plots.intervals_figure`."""
        from voiceface.evaluation.plots import intervals_figure

        return intervals_figure(self)

    def plot_roc(self) -> "Figure":
        """ROC curves of verification; see `voiceface.evaluation.plots.roc_figure`."""
        from voiceface.evaluation.plots import roc_figure

        return roc_figure(self)

    def plot_many(self) -> "Figure":
        """1:N matching by the number of candidates; see `voiceface.evaluation.plots.many_figure`."""
        from voiceface.evaluation.plots import many_figure

        return many_figure(self)

    def __repr__(self) -> str:
        found = {words: self.find(direction=way) for way, words in DIRECTIONS.items()}
        said = ", ".join(f"{words} {percents(r)}" for words, r in found.items() if r is not None)
        return f"Results({self.name} on {self['data']['corpus'] or 'embeddings'}: 1:2 {said or 'not scored'})"

    def _repr_html_(self) -> str:
        console = Console(file=io.StringIO(), width=ONE_TABLE, record=True, force_terminal=True)
        console.print(results_table(self._content))
        return console.export_html(inline_styles=True, code_format="<pre style='line-height:1.25'>{code}</pre>")
