"""`voiceface compare`: its work."""

import codecs
import io
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from voiceface.compare.grouping import compare_results
from voiceface.compare.reading import Found, find_results, installed_results, reference_results
from voiceface.compare.render import FORMATS
from voiceface.compare.scored import EXACT, SAMPLED
from voiceface.compare.table import Comparison, columns_of
from voiceface.evaluation.results import read_results
from voiceface.methods.recipes import equivalent_recipe, list_recipes
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable, write_for_user

TRAINING = ("data", "preset", "encoders", "gpus", "steps", "runs")


def run_compare(options: Namespace) -> int:
    """Train what is to be trained, read the results, and show the leaderboard; 1 where a run failed."""
    form = _check(options)
    failed: tuple[str, ...] = ()
    if options.study:
        comparison, failed = _study(options)
    elif options.models:
        paths, failed = _train(options)
        comparison = _of_files([*map(Path, options.results), *paths], options)
    elif options.results:
        comparison = _of_files([Path(path) for path in options.results], options)
    elif options.published and not options.against:
        comparison = Comparison(())
    else:
        comparison = _of_installed(options)
    if options.against:
        from voiceface.compare.against import against_paper

        comparison = against_paper(comparison)
    chosen = (options.results, options.models, options.study, options.against, options.tasks, options.protocol)
    if options.published or not any(chosen):
        from voiceface.compare.published import published

        comparison = replace(comparison, groups=(*comparison.groups, *published()))
    _show(comparison, form, options.out)
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
    for word in options.tasks.split(",") if options.tasks else ():
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
        try:
            read_results(out)
        except UserError:
            return
        raise UserError(f"--out {out}: is a result, which the leaderboard would replace; choose another name")


def _of_files(paths: Sequence[Path], options: Namespace) -> Comparison:
    found, left_out = find_results(paths)
    return _compare(found, left_out, options)


def _of_installed(options: Namespace) -> Comparison:
    found, left_out = installed_results()
    installed = {one.results["model"]["recipe"] for one in found}
    found += reference_results(without=installed)
    if not found:
        return Comparison((), tuple(left_out))
    comparison = _compare(found, left_out, options)
    return replace(comparison, notes=(*comparison.notes, *_same_training(found)))


def _same_training(found: Sequence[Found]) -> list[str]:
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


def _compare(found: Sequence[Found], left_out: Sequence[tuple[object, str]], options: Namespace) -> Comparison:
    tasks = options.tasks.split(",") if options.tasks else None
    if options.against and tasks is None:
        from voiceface.compare.against import paper_tasks

        tasks = paper_tasks(str(one.results["model"]["recipe"]) for one in found) or None
    protocols = [word.strip() for word in options.protocol.split(",")] if options.protocol else [EXACT, SAMPLED]
    comparison = compare_results(found, tasks, protocols, options.level)
    names = sorted({r["protocol"] for one in found for r in one.results["scores"] if r["value"] is not None})
    if not names:
        raise UserError(f"{found[0].path}: holds no score; test the model on more people")
    if not comparison.groups:
        raise UserError(f"--protocol {','.join(protocols)}: in no result; there are: {', '.join(names)}")
    shown = {path for group in comparison.groups for runs in group.results.values() for path, _ in runs}
    unscored = [(str(one.path), f"no score of protocol {' or '.join(protocols)}") for one in found]
    left_out = [*left_out, *(pair for pair in unscored if pair[0] not in shown)]
    return replace(comparison, left_out=(*comparison.left_out, *((str(path), why) for path, why in left_out)))


def _train(options: Namespace) -> tuple[list[Path], tuple[str, ...]]:
    """Train the recipes of --models; the result files, and a line for each run that failed."""
    from voiceface.compare.experiments.runs import failures, plan, run_plan

    made = plan(options.models.split(","), options.seeds, **_training(options))
    return run_plan(made), failures(made)


def _study(options: Namespace) -> tuple[Comparison, tuple[str, ...]]:
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


def _show(comparison: Comparison, form: str, out: str | None) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        sys.stdout.reconfigure(encoding="utf-8")  # an ASCII locale has no sign of the tables, and `?` is one of them
    if form == "table" and out is None:
        from voiceface.compare.render.terminal import print_leaderboard

        print_leaderboard(comparison)
        return
    from voiceface.compare.render.formats import render

    text = render(comparison, form)
    if out is None:
        sys.stdout.write(text)
    else:
        write_for_user(Path(out), text.encode())
        print(f"leaderboard: {out}")
