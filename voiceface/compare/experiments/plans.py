"""Plans of trainings that are to be compared: checked before anything runs, and kept beside their runs.

`OUT/compare.json` is the plan, `OUT/NAME/seed-S` the run folders of `voiceface fit`, `OUT/NAME/seed-S.log` what each
run printed. Nothing here imports torch, but for reading the corpus.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from voiceface.evaluation.results import read_effects, read_results
from voiceface.methods.recipes import load_recipe
from voiceface.training.arguments import expand
from voiceface.utils.errors import UserError
from voiceface.utils.files import read_json, write_for_user
from voiceface.utils.version import __version__

SCHEMA = 1
# Words of `voiceface fit` that are the comparison's own, and how it is asked for them; None: not at all.
OURS = {
    "model": "--models",
    "data": "--data",
    "data.root": "--data",
    "preset": "--preset",
    "encoders": "--encoders",
    "gpus": "--gpus",
    "out": "--runs",
    "seed_everything": "--seeds",
    "ckpt_path": None,
    "print_config": None,
    "help": None,
    "help_all": None,
}
SAME = ("preset", "encoders", "gpus", "words")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: Of its folder.
        model: Recipe.
        words: Further words of `voiceface fit`, of this run alone.
        seed: `--seed_everything`.
    """

    name: str
    model: str
    words: tuple[str, ...] = ()
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """Trainings that differ in nothing but what they are to compare.

    Attributes:
        out: Folder of the comparison.
        data: Corpus; None: the built-in one.
        preset: As of `voiceface fit`; None: its default.
        encoders: As of `voiceface fit`; None: its default.
        gpus: As of `voiceface fit`; None: none.
        runs: In the order in which they run.
        words: Further words of `voiceface fit`, of every run. They win over those of a run.
    """

    out: Path
    data: str | None
    preset: str | None
    encoders: str | None
    gpus: str | None
    runs: tuple[Run, ...]
    words: tuple[str, ...] = ()

    def folder(self, run: Run) -> Path:
        """The run folder."""
        return self.out / run.name / f"seed-{run.seed}"

    def log(self, run: Run) -> Path:
        """What the run printed, in all its attempts."""
        return self.out / run.name / f"seed-{run.seed}.log"

    def fit_words(self, run: Run) -> list[str]:
        """The words of `voiceface fit` for a run, but for `--ckpt_path`."""
        words = [f"--model={run.model}"]
        for name in ("data", "preset", "encoders", "gpus"):
            if (value := getattr(self, name)) is not None:
                words.append(f"--{name}={value}")
        return [*words, *run.words, *self.words, f"--seed_everything={run.seed}", f"--out={self.folder(run)}"]


def repeated(plan: Plan, seeds: int, steps: int | None) -> Plan:
    """The plan with each of its runs for the seeds 0, 1, ..., so many steps long (None: as its recipe is); checked.

    Raises:
        UserError: As `check`, or a number is below 1.
    """
    for option, number in (("seeds", seeds), ("steps", steps)):
        if number is not None and number < 1:
            raise UserError(f"--{option} {number}: give 1 or more")
    budget = () if steps is None else ("--trainer.max_steps", str(steps))
    runs = tuple(replace(run, seed=seed) for seed in range(seeds) for run in plan.runs)
    made = replace(plan, runs=runs, words=(*budget, *plan.words))
    check(made)
    return made


def check(plan: Plan) -> None:
    """Look at everything that can be wrong with a plan, before hours of work, without torch.

    Raises:
        UserError: A recipe, an option or the corpus is not there; two runs have one name and seed; or a word is the
            comparison's own.
    """
    for run in plan.runs:
        if not re.fullmatch(r"\w[\w.+-]*", run.name):
            raise ValueError(f"{run.name!r} is no name of a folder")
    twice = [str(run) for run, count in Counter((r.name, r.seed) for r in plan.runs).items() if count > 1]
    if twice:
        raise ValueError(f"planned twice: {twice[0]}")
    for word in plan.words:
        name = word.removeprefix("--").partition("=")[0]
        if word.startswith("--") and name in OURS:
            asked = f"give {OURS[name]} to the comparison" if OURS[name] else "leave it out"
            raise UserError(f"-- --{name}: the comparison decides it for each run; {asked}")
    if plan.data is not None and "://" not in plan.data and not (Path(plan.data) / "corpus.json").exists():
        corpus(plan)
    for run in plan.runs:
        expand(plan.fit_words(run))


def corpus(plan: Plan) -> tuple[str, str]:
    """Name and version of the corpus; the built-in one is made where it is not there yet.

    Raises:
        UserError: It is no corpus.
    """
    from voiceface.data.corpus.shards import Corpus

    if plan.data is not None:
        found = Corpus(plan.data)
    else:
        from voiceface.data.builtin import builtin_corpus

        found = Corpus(builtin_corpus())
    return found.name, found.version


@cache
def alike(plan: Plan) -> dict[Run, Run]:
    """Of each run the first one whose settings are the same, often itself: only that one is trained."""
    first: dict[str, Run] = {}
    found = {}
    for run in plan.runs:
        chosen = expand(plan.fit_words(run))[1]
        settings = load_recipe(run.model, chosen.preset, chosen.encoders)
        key = json.dumps([settings, run.words, run.seed], sort_keys=True, default=str)
        found[run] = first.setdefault(key, run)
    return found


def result_path(plan: Plan, run: Run) -> Path:
    """The result file of a run, or of the one that was trained in its place."""
    return plan.folder(alike(plan)[run]) / "results.json"


def remarks(plan: Plan) -> tuple[str, ...]:
    """What is the same for all runs, and which recipes are the same under it: a line each."""
    chosen = expand(plan.fit_words(plan.runs[0]))[1]
    seeds = sorted({run.seed for run in plan.runs})
    own = [] if any("max_steps" in word for word in plan.words) else ["the steps of each recipe"]
    lines = [
        f"the same for all: {plan.data or 'the built-in corpus'}, preset {chosen.preset}, encoders "
        f"{chosen.encoders}{' (the own of each recipe)' if chosen.encoders == 'paper' else ''}, "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}, "
        f"{', '.join([*own, *([' '.join(plan.words)] if plan.words else [])])}"
    ]
    same = {(run.name, first.name): None for run, first in alike(plan).items() if run != first}
    lines += [
        f"{one}: with preset {chosen.preset} and these encoders its settings are those of {other}; trained once"
        for one, other in same
    ]
    return tuple(lines)


def keep(plan: Plan) -> tuple[str, ...]:
    """Write the plan beside its runs, or check that it goes on with what is there.

    Returns:
        What the user should know.

    Raises:
        UserError: The folder holds another comparison, or something else; the message names what differs.
    """
    name, version = corpus(plan)
    chosen = expand(plan.fit_words(plan.runs[0]))[1]
    mine: dict[str, Any] = {"schema": SCHEMA, "voiceface": __version__, "corpus": {"name": name, "version": version}}
    mine |= {"data": plan.data, "preset": chosen.preset, "encoders": chosen.encoders, "gpus": plan.gpus}
    mine |= {"words": list(plan.words), "runs": [{**asdict(run), "words": list(run.words)} for run in plan.runs]}
    file = plan.out / "compare.json"
    if not file.exists():
        if any(path.name != "compare.json.tmp" for path in plan.out.iterdir()):
            raise UserError(f"--runs {plan.out}: holds something else; choose a new folder")
        before = mine
    else:
        before = _read(file)
        _refuse_other(plan, before, mine)
    if before != mine or not file.exists():
        write_for_user(file, json.dumps({**mine, "voiceface": before["voiceface"]}, indent=1).encode())
    if before["voiceface"] != __version__:
        return (f"{plan.out}: begun with voiceface {before['voiceface']}; this is {__version__}",)
    return ()


def _read(file: Path) -> dict[str, Any]:
    try:
        before = read_json(file)
        whole = before["schema"] == SCHEMA and {"voiceface", "corpus", *SAME, "runs"} <= before.keys()
        whole = whole and all({"name", "model", "words", "seed"} == run.keys() for run in before["runs"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise UserError(f"{file}: damaged, or of another version; choose a new folder by --runs")
    return dict(before)


def _refuse_other(plan: Plan, before: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    def refuse(what: str) -> None:
        raise UserError(f"--runs {plan.out}: {what}; ask for what it had, or choose another folder")

    for name in SAME:
        if before[name] != mine[name]:
            had, now = (" ".join(v) if isinstance(v, list) else v for v in (before[name], mine[name]))
            option = "words for every run" if name == "words" else f"--{name}"
            refuse(f"its comparison had {option} {had or '(none)'}, now {now or '(none)'}")
    if before["corpus"]["version"] != mine["corpus"]["version"]:
        refuse(f"its comparison is of another corpus than {plan.data or 'the built-in one'} is now")
    now = {(run["name"], run["seed"]): run for run in mine["runs"]}
    for run in before["runs"]:
        other = now.get((run["name"], run["seed"]))
        if other is None:
            refuse(f"its comparison holds {run['name']}, seed {run['seed']}, which is not asked for now")
        elif other != run:
            had, is_now = (" ".join([r["model"], *r["words"]]) for r in (run, other))
            refuse(f"its {run['name']} was {had}, now {is_now}")


def finished(plan: Plan, run: Run) -> bool:
    """Whether a run has left its whole result.

    Raises:
        UserError: The result is not that of this run.
    """
    path = plan.folder(run) / "results.json"
    try:
        results = read_results(path)
        read_effects(path, results)
    except UserError:
        return False
    if (results["model"].get("recipe"), results["environment"].get("seed")) != (run.model, run.seed):
        raise UserError(f"{path}: not the result of {run.model}, seed {run.seed}; move it out of the comparison")
    return True
