"""`voiceface check`: the environment, and a corpus."""

import argparse
from argparse import Namespace

from voiceface.cli.parser import Parser, add_command, add_path

EXAMPLES = """examples:
  voiceface check                                            the environment alone
  voiceface check CORPUS --deep                              hashes, counts, splits; every clip decodes
  voiceface check CORPUS --trials LISTS/*.txt --identities vox1_meta.csv
  voiceface check CORPUS --against OTHER_CORPUS              no leak between the two
  voiceface check CORPUS --against runs/trinet/checkpoint    nobody of the test split was trained on"""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    check = add_command(
        commands, "check", "is the environment sound; is this corpus whole, and apart from others", EXAMPLES
    )
    add_path(check, "corpus", "DIR", "corpus; without it only the environment", nargs="?")
    check.add_argument("--deep", action="store_true", help="decode every voice and face as well")
    add_path(check, "--trials", "FILE", "trial lists whose clips the corpus should hold", nargs="+", default=[])
    add_path(check, "--identities", "CSV", "other ids of the people, such as vox1_meta.csv, for --trials")
    add_path(
        check,
        "--against",
        "OTHER",
        "another corpus, or a checkpoint: nothing that one is trained on may be in the other's test split",
    )


def run_check(options: Namespace) -> int:
    """Print what is wrong with the environment and the corpus; 0 where nothing is."""
    if not (options.corpus or options.trials or options.against or options.identities):
        from voiceface.cli.check_environment import check_environment

        check_environment(whole=True)
        return 0
    from voiceface.cli.check_corpus import check

    check(options)
    return 0
