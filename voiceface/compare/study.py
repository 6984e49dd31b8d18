"""The experiments of the papers: what each trains, and which tables of ours stand beside those of the paper.

A study is a file in `studies/`. `study_plan` says what is to be trained, `voiceface.compare.models.run_plan` trains it,
`voiceface.compare.study_scores.score_study` scores what the training's own result lacks, and
`voiceface.compare.study_tables.study_comparison` makes the tables.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from voiceface.compare.table import Column, columns_of
from voiceface.errors import UserError
from voiceface.feature_words import features_of
from voiceface.importers.header import Pretrained, read_header
from voiceface.recipes import merged, nearest
from voiceface.words import expand, source_of, split_words

if TYPE_CHECKING:
    from voiceface.compare.models import Plan

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
        protocol: Whose records; empty: what the table says.
        row: Row of the paper's table in `published.yaml`; empty: there is none.
        why: Why there is no value of ours, where no run can give one.
    """

    name: str
    run: str = ""
    f2v: str = ""
    protocol: str = ""
    row: str = ""
    why: str = ""


@dataclass(frozen=True)
class StudyTable:
    """A table of the paper.

    Attributes:
        title: What it shows.
        columns: The tasks.
        lines: The rows.
        protocols: Whose records are shown, by task (matching, verification, retrieval); the first that has a value.
        published: Table in `published.yaml`; empty: there is none.
        ranked: Whether its rows are models that compete.
        notes: Said below it.
        probes: Whether its rows are the linear probes of `voiceface analyze`; then it has no lines of its own.
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
    said = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    runs = {key: _run(key, value) for key, value in said.pop("runs").items()}
    tables = tuple(_table(value) for value in said.pop("tables"))
    lists = {key: tuple(said.pop(key, ())) for key in ("grid", "notes")}
    return Study(name, runs=tuple(runs.values()), tables=tables, **lists, **said)


def _run(name: str, said: Mapping[str, Any] | None) -> StudyRun:
    lists = {key: tuple(value) for key, value in (said or {}).items() if isinstance(value, list)}
    return StudyRun(name, **{"model": name, **(said or {}), **lists})


def _table(said: dict[str, Any]) -> StudyTable:
    return StudyTable(
        **{
            **said,
            "columns": tuple(column for word in said["columns"] for column in columns_of(word)),
            "lines": tuple(Line(**line) for line in said.get("lines", ())),
            "protocols": {task: tuple(names) for task, names in said.get("protocols", {}).items()},
            "notes": tuple(said.get("notes", ())),
        }
    )


def settings_of(data: str | None, preset: str | None, encoders: str | None) -> tuple[str, str]:
    """Preset and encoders of a run, as `voiceface fit` takes them where they are not given."""
    features = data is not None and features_of(data) is not None
    return preset or ("demo" if data is None else "paper"), encoders or ("features" if features else "paper")


def trained_as(study: Study, preset: str, encoders: str) -> dict[str, str]:
    """Which run is trained for each: itself, or an earlier one with the same settings. Those apart are missing."""
    found: dict[str, str] = {}
    first: dict[str, str] = {}
    for run in study.runs:
        if preset in run.apart:
            continue
        settings = json.dumps([merged(run.model, preset, encoders), run.words], sort_keys=True)
        if preset != "demo":
            settings += str(run.pretrained)  # weights make a difference that settings do not show
        found[run.name] = first.setdefault(settings, run.name)
    return found


def study_plan(
    name: str,
    out: Path,
    data: str | None = None,
    preset: str | None = None,
    encoders: str | None = None,
    gpus: str | None = None,
    seeds: int = 1,
    words: Sequence[str] = (),
) -> "Plan":
    """What a study trains.

    Args:
        name: Study.
        out: Folder of the runs.
        data: Corpus; None: the built-in one.
        preset: `paper` or `demo`; None: demo without `data`, else paper.
        encoders: `paper`, `common` or `features`; None: as `voiceface fit`.
        gpus: Number of GPUs to train on; None: none.
        seeds: Trainings of each model, at least 1.
        words: Further words of `voiceface fit` for all runs. Files of `--pretrained` go to the runs whose networks they
            are for.

    Returns:
        The plan; models that the preset makes the same are in it once.

    Raises:
        UserError: There is no such study, or a word of some run is none; a file of weights is for no run.
    """
    from voiceface.compare.models import Plan, Run

    study = read_study(name)
    chosen = settings_of(data, preset, encoders)
    if chosen[0] not in ("paper", "demo"):
        raise UserError(f"--preset {preset}: not a preset; there are: paper, demo")
    _, files, _ = split_words(words)
    headers = [read_header(file) for file in files]
    shared = _without_pretrained(words)
    options = [("data", data), ("preset", preset), ("encoders", encoders), ("gpus", gpus)]
    given = [word for option, value in options if value is not None for word in (f"--{option}", value)]
    trained = trained_as(study, *chosen)
    runs, used = [], set()
    for run in study.runs:
        if trained.get(run.name) != run.name:
            continue
        own = [about.path for about in headers if _is_for(about, run, *chosen)]
        used.update(own)
        starts = tuple(word for path in own for word in ("--pretrained", path))
        expand(["--model", run.model, *given, *run.words, *starts, *shared])
        runs += [Run(run.name, run.model, (*run.words, *starts), seed) for seed in range(seeds)]
    unused = [about for about in headers if about.path not in used]
    if unused:
        what = unused[0].encoder or unused[0].method
        raise UserError(f"--pretrained {unused[0].path}: weights of {what}, which no run of {name} uses; leave it out")
    return Plan(out=out, data=data, preset=preset, encoders=encoders, gpus=gpus, runs=tuple(runs), words=shared)


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


def _is_for(about: Pretrained, run: StudyRun, preset: str, encoders: str) -> bool:
    """Whether weights are for the networks of a run, which starts from such."""
    used = merged(run.model, preset, encoders)["model"]
    used |= dict(word.removeprefix("--model.").split("=", 1) for word in run.words)
    if about.method:
        found = source_of("model", run.model)
        fits = found is not None and found[0].stem == about.method
        return fits and all(used.get(f"{kind}_encoder") == name for kind, name in about.encoders.items())
    kind = about.encoder.split("_")[0]
    return kind in run.pretrained and used.get(f"{kind}_encoder", _default(run.model, kind)) == about.encoder


def _default(model: str, kind: str) -> str:
    """The encoder that a method takes where its recipe names none."""
    from voiceface.words import constructor

    found = source_of("model", model)
    return constructor(*found).get(f"{kind}_encoder", "").strip("'\"") if found else ""
