"""The experiments of the papers: what each trains, and which tables of ours stand beside those of the paper.

A study is a file in `studies/`. `study_plan` says what is to be trained, `voiceface.compare.experiments.runs.run_plan`
trains it, `voiceface.compare.experiments.study_scores.score_study` scores what the training's own result lacks, and
`voiceface.compare.experiments.study_tables.study_comparison` makes the tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from voiceface.compare.experiments.plans import Plan, Run, alike, repeated, result_path
from voiceface.compare.experiments.runs import free_folder
from voiceface.compare.published import column
from voiceface.compare.table import Column, columns_of
from voiceface.encoders.pretrained.header import Pretrained, read_header
from voiceface.methods.recipes import load_recipe, nearest
from voiceface.training.arguments import RunChoice, expand, source_of, split_words
from voiceface.utils.errors import UserError
from voiceface.utils.source import constructor

FOLDER = Path(__file__).parent / "studies"


@dataclass(frozen=True)
class StudyRun:
    """A model of a study.

    Attributes:
        name: Folder of its runs.
        model: Recipe.
        words: Further words of `voiceface fit`.
        pretrained: Networks that start from the user's weights: face, voice.
        apart: Why the study does not train it, by preset; the row stays, without a value of ours.
    """

    name: str
    model: str
    words: tuple[str, ...] = ()
    pretrained: tuple[str, ...] = ("face", "voice")
    apart: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
        name: As shown.
        run: Whose scores; empty: nobody's, see `why`.
        f2v: Whose scores in the direction f2v, where the paper trains a network for each direction; empty: those of
            `run`.
        protocol: Protocols whose records are shown, in place of the table's; the first that has a value.
        published: The paper's table, an id in `published.yaml`; empty: that of the table.
        row: Rows of it that hold the paper's values, in the order in which they are asked.
        why: Why there is no value of ours, where no run can give one.
    """

    name: str
    run: str = ""
    f2v: str = ""
    protocol: tuple[str, ...] = ()
    published: str = ""
    row: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class StudyTable:
    """A table of the paper.

    Attributes:
        title: What it shows.
        columns: The tasks.
        lines: The rows.
        protocols: Whose records are shown, by task (matching, verification, retrieval); the first that has a value.
        published: The paper's table, an id in `published.yaml`.
        ranked: Whether its rows are models that compete.
        notes: Said below it.
        probes: Run whose linear probes (`voiceface analyze`) are its rows, in place of lines; empty: none.
    """

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    protocols: Mapping[str, tuple[str, ...]]
    published: str = ""
    ranked: bool = False
    notes: tuple[str, ...] = ()
    probes: str = ""


@dataclass(frozen=True)
class Study:
    """An experiment.

    Attributes:
        name: As `--study` takes it.
        title: In a line.
        paper: Which paper's.
        shows: What the reader learns from it.
        runs: What is trained.
        tables: What comes out.
        score: Protocol that `voiceface score` runs on each model's embeddings; empty: the result of the training has
            all scores.
        grid: Numbers of clips of a mean beside the paper's, for corpora with few clips of a person.
        analysis: Whether `voiceface analyze` runs too.
        notes: Said once below everything: what differs from the paper.
    """

    name: str
    title: str
    paper: str
    shows: str
    runs: tuple[StudyRun, ...]
    tables: tuple[StudyTable, ...]
    score: str = ""
    grid: tuple[int, ...] = ()
    analysis: bool = False
    notes: tuple[str, ...] = ()


def list_studies() -> list[str]:
    """Names that `--study` takes."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def read_study(name: str) -> Study:
    """A study, from its file.

    Raises:
        UserError: There is no such study.
    """
    if name not in list_studies():
        raise UserError(
            f"--study {name}: no such study{nearest(name, list_studies())}; there are: {', '.join(list_studies())}"
        )
    said = _tuples(yaml.safe_load((FOLDER / f"{name}.yaml").read_text()))
    runs = [StudyRun(key, **{"model": key, **(own or {})}) for key, own in said.pop("runs").items()]
    tables = [_table(own) for own in said.pop("tables")]
    return Study(name, runs=tuple(runs), tables=tuple(tables), **said)


def _tuples(said: Any) -> Any:
    """The same with tuples in place of lists."""
    if isinstance(said, dict):
        return {key: _tuples(value) for key, value in said.items()}
    return tuple(map(_tuples, said)) if isinstance(said, list) else said


def _table(said: Mapping[str, Any]) -> StudyTable:
    columns = [c for word in said["columns"] for c in _columns(word)]
    lines = map(_line, said.get("lines", ()))
    return StudyTable(**{"protocols": {}, **said, "columns": tuple(columns), "lines": tuple(lines)})


def _columns(word: str) -> list[Column]:
    return [column(word)] if word.startswith("probe") else columns_of(word)


def _line(said: Mapping[str, Any]) -> Line:
    """A row; a single protocol or row of the paper stands for a list of one."""
    lists = {key: (own,) for key in ("protocol", "row") if isinstance(own := said.get(key), str)}
    return Line(**{**said, **lists})


def study_plan(
    name: str,
    seeds: int = 1,
    *,
    out: Path | None = None,
    data: str | None = None,
    preset: str | None = None,
    encoders: str | None = None,
    gpus: str | None = None,
    steps: int | None = None,
    words: Sequence[str] = (),
) -> Plan:
    """Plan what a study trains, as `voiceface.compare.experiments.runs.plan` does for recipes.

    Args:
        name: Study.
        seeds: Trainings of each model; their seeds are 0, 1, ...
        out: Folder; None: the next free `runs/NAME`.
        data: Corpus; None: the built-in one.
        preset: As of `voiceface fit`: `paper` or `demo`; None: demo without `data`, else paper.
        encoders: As of `voiceface fit`.
        gpus: As of `voiceface fit`.
        steps: Steps of each training; None: those of its recipe.
        words: Further words of `voiceface fit`. Files of `--pretrained` go to the runs whose networks they are for.

    Returns:
        The plan; models of the study that stand apart under this preset are not in it.

    Raises:
        UserError: There is no such study, a word of some run is none, a number is below 1, or a file of weights is for
            no run.
    """
    study = read_study(name)
    headers = [read_header(file) for file in split_words(words)[1]]
    given = {"data": data, "preset": preset, "encoders": encoders}
    chosen = expand(["--model", study.runs[0].model, *(f"--{k}={v}" for k, v in given.items() if v is not None)])[1]
    runs: list[Run] = []
    used: set[str] = set()
    for run in study.runs:
        if chosen.preset not in run.apart:
            own = [about.path for about in headers if _is_for(about, run, chosen)]
            used.update(own)
            starts = (f"--pretrained={path}" for path in own)
            runs.append(Run(run.name, run.model, (*run.words, *starts)))
    unused = next((about for about in headers if about.path not in used), None)
    if unused:
        what = unused.encoder or unused.method
        raise UserError(
            f"--pretrained {unused.path}: weights of {what}, from which no run of {name} starts; leave it out"
        )
    shared = _without_pretrained(words)
    once = Plan(out or free_folder(name), data, preset, encoders, gpus, tuple(runs), shared)
    return repeated(once, seeds, steps)


def results_of(plan: Plan, run: str) -> list[Path]:
    """The result files of a study's run, one per seed that has one; of the run that was trained in its place."""
    paths = [result_path(plan, one) for one in plan.runs if one.name == run]
    return [path for path in paths if path.exists()]


def stands_for(plan: Plan, run: str) -> str:
    """The run that was trained in the place of one, because their settings are the same; often itself."""
    return next((alike(plan)[one].name for one in plan.runs if one.name == run), run)


def _without_pretrained(words: Sequence[str]) -> tuple[str, ...]:
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--pretrained":
            rest.pop(0)
        elif not word.startswith("--pretrained="):
            kept.append(word)
    return tuple(kept)


def _is_for(about: Pretrained, run: StudyRun, chosen: RunChoice) -> bool:
    """Whether weights are for the networks of a run, which starts from such."""
    used = load_recipe(run.model, chosen.preset, chosen.encoders)["model"]
    used |= dict(word.removeprefix("--model.").split("=", 1) for word in run.words)
    if about.method:
        found = source_of("model", run.model)
        if found is None or found[0].stem != about.method:
            return False
    wanted = about.encoders if about.method else {about.encoder.split("_")[0]: about.encoder}
    return all(
        kind in run.pretrained and used.get(f"{kind}_encoder", _default(run.model, kind)) == encoder
        for kind, encoder in wanted.items()
    )


def _default(model: str, kind: str) -> str:
    """The encoder that a method takes where its recipe names none."""
    found = source_of("model", model)
    return constructor(*found).get(f"{kind}_encoder", "").strip("'\"") if found else ""
