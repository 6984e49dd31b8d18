"""`voiceface compare`: a leaderboard of results, after training where that is asked for."""

import argparse
import codecs
import io
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voiceface.cli.parser import Parser, add_command, add_corpus, add_path, non_empty
from voiceface.compare.render import FORMATS
from voiceface.methods.recipes import equivalent_recipe, list_recipes
from voiceface.training.arguments import ENCODERS
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable, write_for_user

if TYPE_CHECKING:
    from voiceface.compare.reading import Found, LeftOut
    from voiceface.compare.table import Comparison

TRAINING = ("data", "preset", "encoders", "gpus", "steps", "runs")
STUDIES = ("trinet-ablation", "trinet-confidence", "kim-strata", "kim-models", "drl-ablation", "joint")

EXAMPLES = """examples:
  voiceface compare                                          checkpoints at hand, in a short table
  voiceface compare --published                              the tables of the literature
  voiceface compare runs/*                                   your runs
  voiceface compare runs/trinet trinet-synthetic             two results, and their difference
  voiceface compare runs/* --tasks AUC,1:2/G,mAP/v2f         the columns that you want
  voiceface compare runs/* --out page.html                   a page with curves; also .md .tex .csv .json .svg
  voiceface compare runs/trinet --against paper              ours beside the paper's own numbers
  voiceface compare --models trinet,drl,pins --seeds 3       train and test each the same way; resumes when run again
  voiceface compare --models trinet,kim --data CORPUS --encoders common --gpus 4 --steps 20000
  voiceface compare --models trinet,kim -- --data.people 16  words after -- go to every `voiceface fit`
  voiceface compare --study trinet-ablation                  a paper's experiment, the paper's numbers beside"""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    compare = add_command(commands, "compare", "compare results, and test which differences are significant", EXAMPLES)
    add_path(
        compare,
        "results",
        "RESULTS",
        "result files, run folders or folders of them, names of installed checkpoints (default: the checkpoints that "
        "are installed, and of the other recipes the results that come with voiceface, in one short table)",
        nargs="*",
    )
    compare.add_argument(
        "--tasks",
        type=non_empty,
        metavar="LIST",
        help="columns, such as AUC,1:2/G,1:10/v2f,mAP: a task (1:N, AUC, EER, mAP, R@K, median_rank), among whom, and "
        "in which direction",
    )
    compare.add_argument(
        "--protocol",
        type=non_empty,
        metavar="LIST",
        help="how trials came to be (default: exact,sampled); also trinet, kim, drl, pins, same_video, cross_video, "
        "clip_weighted or the name of a trial list, where the results have it",
    )
    compare.add_argument(
        "--level", type=float, default=0.95, help="confidence level of the paired tests (default: 0.95)"
    )
    compare.add_argument(
        "--published", action="store_true", help="the tables of the literature: after RESULTS, or alone"
    )
    compare.add_argument(
        "--against", choices=["paper"], help="beside each method's scores those that its own paper reports"
    )
    compare.add_argument(
        "--format",
        choices=list(FORMATS),
        help="default: what --out ends in, else table; html is a page on its own, svg a picture",
    )
    add_path(compare, "--out", "FILE", "file to write (default: the terminal)")
    compare.add_argument("--wandb", type=non_empty, metavar="PROJECT", help="log tables and plots to this project too")
    add_path(compare, "--tensorboard", "DIR", "log them to this folder of TensorBoard's too")
    train = compare.add_argument_group("to train first")
    train.add_argument(
        "--models", type=non_empty, metavar="A,B,...", help=f"recipes to train and test: {', '.join(list_recipes())}"
    )
    train.add_argument("--study", choices=STUDIES, metavar="NAME", help="experiment of a paper: " + ", ".join(STUDIES))
    add_corpus(train)
    train.add_argument("--preset", choices=["paper", "demo"], help="networks and settings, as in `voiceface fit`")
    train.add_argument("--encoders", choices=ENCODERS, help="paper: each method's own; common: one pair for all")
    train.add_argument("--gpus", metavar="N", help="GPUs to train on")
    train.add_argument("--seeds", type=int, default=1, metavar="N", help="train each N times; the table has the mean")
    train.add_argument("--steps", type=int, metavar="N", help="steps of each training (default: the recipe's)")
    add_path(train, "--runs", "DIR", "folder of the runs (default: the next free runs/compare)")


def run_compare(options: Namespace) -> int:
    """Train what is to be trained, read the results, and show the leaderboard; 1 where a run failed."""
    form = _check(options)
    chosen = (options.results, options.models, options.study, options.against, options.tasks, options.protocol)
    short = not any((*chosen, options.published, options.format, options.out))
    if short:
        from voiceface.compare.render.compact import TASKS

        options.tasks = ",".join(TASKS)
    comparison, failed = _study(options) if options.study else _of_results(options)
    if options.against:
        from voiceface.compare.against import against_paper

        comparison = against_paper(comparison)
    if options.published:
        from voiceface.compare.published import published

        comparison = replace(comparison, groups=(*comparison.groups, *published()))
    if short:
        from voiceface.compare.render.compact import compact

        comparison = compact(comparison)
    _show(comparison, form, options.out, short)
    if options.wandb or options.tensorboard:
        from voiceface.compare.render.log import log_comparison

        log_comparison(comparison, options.wandb, options.tensorboard)
    for line in failed:
        print(f"voiceface: {line}", file=sys.stderr)
    return 1 if failed else 0


def _check(options: Namespace) -> str:
    """Refuse what cannot be meant before any work; the format."""
    own = [name for name in ("results", "models", "tasks", "protocol", "against") if getattr(options, name)]
    if options.study and own:
        what = "RESULTS" if own[0] == "results" else f"--{own[0]}"
        raise UserError(f"--study {options.study}: has models and columns of its own; leave {what} out")
    if options.tasks:
        from voiceface.compare.table import columns_of

        for word in options.tasks.split(","):
            columns_of(word)
    if not (options.models or options.study):
        given = [name for name in TRAINING if getattr(options, name) is not None]
        given += ["seeds"] if options.seeds != 1 else []
        if given or options.words:
            what = f"--{given[0]}" if given else "-- " + " ".join(options.words)
            raise UserError(f"{what}: says how to train; name what to train by --models or --study")
    if not 0.0 < options.level < 1.0:
        raise UserError(f"--level {options.level}: give a fraction between 0 and 1, such as 0.95")
    if options.wandb or options.tensorboard:
        from voiceface.compare.render.log import check_loggers

        check_loggers(options.wandb, options.tensorboard)
    if options.out is None:
        return options.format or "table"
    out = Path(options.out)
    check_writable(out)
    _refuse_result(out)
    ending = out.suffix.lstrip(".").lower()
    found = next((form for form, suffix in FORMATS.items() if suffix == ending), None)
    if options.format is None and found is None:
        raise UserError(
            f"--out {out}: does not say what to write; end it in .{', .'.join(FORMATS.values())}, or --format"
        )
    return str(options.format or found)


def _refuse_result(out: Path) -> None:
    """Refuse to write a leaderboard over a result."""
    if out.is_file():
        from voiceface.evaluation.results import read_results

        try:
            read_results(out)
        except UserError:
            return
        raise UserError(f"--out {out}: is a result, which the leaderboard would replace; choose another name")


def _of_results(options: Namespace) -> "tuple[Comparison, tuple[str, ...]]":
    """Compare what is named and the recipes of --models, else what is at hand; and a line for each run that failed."""
    from voiceface.compare.reading import find_results, installed_results, reference_results
    from voiceface.compare.table import Comparison

    paths = [Path(path) for path in options.results]
    failed: tuple[str, ...] = ()
    if options.models:
        from voiceface.compare.experiments.runs import failures, plan, run_plan

        made = plan(options.models.split(","), options.seeds, **_training(options))
        paths += run_plan(made)
        failed = failures(made)
    if paths:
        return _compare(*find_results(paths), options), failed
    if options.published and not options.against:
        return Comparison(()), ()
    found, left_out = installed_results()
    found += reference_results(without={one.results["model"]["recipe"] for one in found})
    if not found:
        return Comparison((), tuple(left_out)), ()
    comparison = _compare(found, left_out, options)
    return replace(comparison, notes=(*comparison.notes, *_same_training(found))), ()


def _same_training(found: "Sequence[Found]") -> list[str]:
    """Which recipes the small networks make equal to those that are shown."""
    shown = {one.results["model"]["recipe"] for one in found}
    same: dict[str, list[str]] = {}
    for name in list_recipes():
        if (other := equivalent_recipe(name, "demo", "paper")) in shown:
            same.setdefault(str(other), []).append(name)
    return [
        f"With the small networks {', '.join(others)} {'is' if len(others) == 1 else 'are'} the same training as {one}."
        for one, others in same.items()
    ]


def _compare(found: "Sequence[Found]", left_out: "LeftOut", options: Namespace) -> "Comparison":
    from voiceface.compare.leaderboard import PROTOCOLS, compare_found

    tasks = options.tasks.split(",") if options.tasks else None
    protocols = [word.strip() for word in options.protocol.split(",")] if options.protocol else PROTOCOLS
    return compare_found(found, left_out, tasks, protocols, options.level, options.against)


def _study(options: Namespace) -> "tuple[Comparison, tuple[str, ...]]":
    """Train the models of --study; its tables, and a line for each run that failed."""
    from voiceface.compare.experiments.runs import failures, run_plan
    from voiceface.compare.experiments.study import study_plan
    from voiceface.compare.experiments.study_scores import score_study
    from voiceface.compare.experiments.study_tables import study_comparison

    made = study_plan(options.study, options.seeds, **_training(options))
    run_plan(made)
    unscored = score_study(options.study, made)
    return study_comparison(options.study, made), (*failures(made), *unscored)


def _training(options: Namespace) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in ("data", "preset", "encoders", "gpus", "steps")}
    return {**given, "out": Path(options.runs) if options.runs else None, "words": options.words}


def _show(comparison: "Comparison", form: str, out: str | None, short: bool) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        sys.stdout.reconfigure(encoding="utf-8")  # an ASCII locale has no sign of the tables, and `?` is one of them
    if form == "table" and out is None:
        from voiceface.compare.render.terminal import print_leaderboard

        print_leaderboard(comparison, short)
        return
    from voiceface.compare.render.formats import render

    text = render(comparison, form)
    if out is None:
        sys.stdout.write(text)
    else:
        write_for_user(Path(out), text.encode())
        print(f"leaderboard: {out}")
