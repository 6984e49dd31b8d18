"""The checks of `voiceface check CORPUS`, and the tables of their findings."""

from argparse import Namespace
from pathlib import Path

from rich.table import Table

from voiceface.checkpoints.find import find_checkpoint
from voiceface.cli.check_environment import check_environment
from voiceface.cli.common import console, print_next
from voiceface.data.corpus.check import Findings, attribute_coverage, check_corpus
from voiceface.data.corpus.leaks import (
    Leak,
    corpus_leaks,
    identical_clips,
    leaking_identities,
    read_training_identities,
)
from voiceface.data.corpus.shards import SPLITS, Corpus
from voiceface.data.corpus.trial_coverage import list_coverage
from voiceface.evaluation.embeddings import people_aliases
from voiceface.utils.errors import UserError


def check(options: Namespace) -> None:
    """Check the environment and what the options name, and print what was found.

    Args:
        options: `corpus`, `deep`, `trials`, `identities`, `against` of the command line.

    Raises:
        UserError: Something is wrong.
    """
    if options.corpus is None and (options.trials or options.against):
        raise UserError("check: --trials and --against need a corpus; give its folder")
    # Said before a look at every clip, which may take hours.
    for option, paths in (("trials", options.trials or ()), ("identities", filter(None, [options.identities]))):
        for path in paths:
            if not Path(path).is_file():
                raise UserError(f"--{option} {path}: no such file; check the name")
    other = None if options.against is None else _other(options.against)
    check_environment(whole=False)
    problems: list[str] = []
    if options.corpus is not None:
        corpus = Corpus(options.corpus)
        found = check_corpus(corpus, options.deep)
        print(
            f"{options.corpus}: "
            + (
                f"{len(found.problems)} problems"
                if found.problems
                else "whole" + (", every clip decodes" if options.deep else "")
            )
        )
        _print_splits(corpus)
        problems += found.problems
        if same := identical_clips(found.clips):
            print(f"note: {len(same)} clips are byte for byte those of another split, such as {same[0]}")
        if options.trials:
            problems += _check_lists(corpus, found, options)
        if other is not None:
            leaks = _check_leaks(corpus, found, other, options.against)
            print(f"against {options.against}: " + (f"{len(leaks)} leaks" if leaks else "nothing is shared"))
            problems += map(str, leaks)
    for problem in problems:
        print(f"  {problem}")
    if problems:
        raise UserError(
            problems[0]
            if len(problems) == 1
            else f"{options.corpus or 'environment'}: {len(problems)} problems, listed above"
        )
    if options.corpus is not None:
        print_next(options.corpus, corpus.description["splits"])


def _print_splits(corpus: Corpus) -> None:
    """Counts, and of how many people each attribute is known."""
    try:
        coverage = attribute_coverage(corpus)
    except (UserError, KeyError):
        coverage = {split: {} for split in SPLITS}  # what is wrong with the table is among the problems
    attributes = list(dict.fromkeys(name for known in coverage.values() for name in known))
    table = Table("split", box=None, pad_edge=False)
    for name in ("identities", "voices", "faces", *(f"{name} known" for name in attributes)):
        table.add_column(name, justify="right")
    for split in SPLITS:
        counts = corpus.description["splits"][split]
        known = [f"{coverage[split][name]:.1%}" if name in coverage[split] else "-" for name in attributes]
        table.add_row(split, *(f"{counts[kind]:,}" for kind in ("identities", "voices", "faces")), *known)
    console().print(table)


def _check_lists(corpus: Corpus, found: Findings, options: Namespace) -> list[str]:
    paths = [Path(options.identities)] if options.identities else []
    people = people_aliases(corpus.path("identities.csv"), *paths)
    coverage = list_coverage(found.clips, [Path(path) for path in options.trials], people)
    table = Table("list", "kind", "direction", box=None, pad_edge=False)
    for name in ("rows", "resolved", "clips missing"):
        table.add_column(name, justify="right")
    table.add_column("in split")
    for c in coverage:
        counts = f"{c.rows:,}", f"{c.resolved:,}", f"{len(c.missing):,}"
        table.add_row(c.name, c.kind, c.direction, *counts, ", ".join(c.splits) or "-")
    console().print(table)
    return [c.problem for c in coverage if c.problem]


def _other(against: str) -> Corpus | frozenset[str]:
    """A corpus, or who a checkpoint was trained on."""
    try:
        checkpoint = find_checkpoint(against)
    except UserError:
        try:
            return Corpus(against)
        except UserError as error:
            raise UserError(str(error).replace("--data", "--against", 1)) from None
    trained_on = read_training_identities(checkpoint)
    if trained_on is None:
        raise UserError(
            f"--against {against}: this checkpoint does not say who it was trained on (no identities.txt); give the "
            "corpus that it was trained on"
        )
    return trained_on


def _check_leaks(corpus: Corpus, found: Findings, other: Corpus | frozenset[str], name: str) -> list[Leak]:
    if isinstance(other, Corpus):
        return corpus_leaks(corpus, found.clips, other, check_corpus(other).clips)
    people = leaking_identities(other, corpus, "test")
    return [Leak("identities", f"{name} (trained on)", f"{corpus.root} (test)", people)] if people else []
