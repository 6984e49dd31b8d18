"""`voiceface compare`: its arguments."""

import argparse
from argparse import Namespace

from voiceface.cli.parser import Parser, add_command, add_path, non_empty
from voiceface.compare.render import FORMATS
from voiceface.methods.recipes import list_recipes
from voiceface.training.arguments import ENCODERS

STUDIES = ("trinet-ablation", "trinet-confidence", "kim-strata", "kim-models", "drl-ablation", "joint")

EXAMPLES = """examples:
  voiceface compare                                          checkpoints at hand, and the literature
  voiceface compare runs/*                                   your runs
  voiceface compare runs/* --tasks AUC,1:2/G,mAP/v2f         the columns that you want
  voiceface compare runs/* --out page.html                   a page with curves; also .md .tex .csv .json .svg
  voiceface compare runs/trinet --against paper              ours beside the paper's own numbers
  voiceface compare --models trinet,drl,pins --seeds 3       train and test each the same way; resumes when run again
  voiceface compare --models trinet,kim --data CORPUS --encoders common --gpus 4 --steps 20000
  voiceface compare --models trinet,kim -- --data.people 16  words after -- go to every `voiceface fit`
  voiceface compare --study trinet-ablation                  a paper's experiment, the paper's numbers beside"""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    compare = add_command(
        commands, "compare", "leaderboard: results side by side, with what differs for real", EXAMPLES
    )
    add_path(
        compare,
        "results",
        "RESULTS",
        "result files, run folders or folders of them, names of installed checkpoints (default: all that are "
        "installed, and the published numbers)",
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
        "--level", type=float, default=0.95, help="a difference is real where its test says so at this level"
    )
    compare.add_argument("--published", action="store_true", help="the literature's tables as well")
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
    add_path(train, "--data", "DIR", "corpus; without it the built-in synthetic one")
    train.add_argument("--preset", choices=["paper", "demo"], help="as of `voiceface fit`")
    train.add_argument("--encoders", choices=ENCODERS, help="paper: each method's own; common: one pair for all")
    train.add_argument("--gpus", metavar="N", help="GPUs to train on")
    train.add_argument("--seeds", type=int, default=1, metavar="N", help="train each N times; the table has the mean")
    train.add_argument("--steps", type=int, metavar="N", help="steps of each training (default: the recipe's)")
    add_path(train, "--runs", "DIR", "folder of the runs (default: the next free runs/compare)")


def run_compare(options: Namespace) -> int:
    """See `voiceface.cli.compare_run`."""
    from voiceface.cli.compare_run import run_compare

    return run_compare(options)
