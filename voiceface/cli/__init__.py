"""The front door: `voiceface COMMAND ...`. Imports torch only in the commands that need it."""

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import shtab

from voiceface.cli.checkpoint_words import add_convert, add_pack, add_push
from voiceface.cli.compare_words import add_compare
from voiceface.cli.corpus_words import add_check, add_extract
from voiceface.cli.evaluation_words import add_evaluation
from voiceface.cli.export_words import add_export
from voiceface.cli.import_words import add_import_weights
from voiceface.cli.inference_words import add_inference
from voiceface.cli.parser import Parser, add_command, add_path
from voiceface.cli.prepare_words import add_prepare
from voiceface.cli.scoring_words import add_scoring
from voiceface.methods.recipes import list_recipes
from voiceface.training.arguments import ENCODERS, expand, explain, split_words
from voiceface.utils.errors import UserError
from voiceface.utils.version import __version__

FIT_EXAMPLES = """examples:
  voiceface fit --model trinet                          the built-in corpus, minutes on a CPU
  voiceface fit --model trinet --data CORPUS --gpus 4 --pretrained FACE.safetensors --pretrained VOICE.safetensors
                                                        the paper's settings on your own corpus
  voiceface fit --model drl --data CORPUS --encoders common            the encoders that all methods are compared on
  voiceface fit --model trinet --model.margin 0.5 --trainer.max_steps 2000 --out runs/wide
  voiceface fit --model trinet --out runs/wide --ckpt_path last        go on after a stop
  WANDB_MODE=offline voiceface fit --model trinet --wandb PROJECT      log there too; upload later by `wandb sync`

Every option of the method (--model.*), the data (--data.*) and Lightning's Trainer (--trainer.*) can be given:
  voiceface fit --model trinet --help            explains those of the method and the data
  voiceface fit --model trinet --print_config    shows all with their values
  voiceface fit --help_all                       explains all, Lightning's too"""


# The modules of the commands that are not in voiceface.cli.commands.
MODULES = {
    "compare": "compare_command",
    "prepare": "prepare_commands",
    "match": "inference",
    "retrieve": "inference",
    "index": "inference",
    "export": "checkpoint_commands",
    "convert": "checkpoint_commands",
    "pack": "checkpoint_commands",
    "push": "checkpoint_commands",
}


def build_parser() -> Parser:
    """The parser of all commands; `fit` knows only its short words here."""
    parser = Parser(
        prog="voiceface",
        description="Voice-face association: train, evaluate and compare published methods.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"voiceface {__version__}")
    shtab.add_argument_to(
        parser,
        ["--print_completion"],
        help='print a completion script for this shell: eval "$(voiceface --print_completion bash)"',
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    fit = add_command(commands, "fit", "train a method, test it, print its table", FIT_EXAMPLES)
    fit.add_argument("--model", metavar="NAME", choices=list_recipes(), help="recipe: " + ", ".join(list_recipes()))
    add_path(fit, "--data", "DIR", "corpus; without it the built-in synthetic one, made on first use")
    fit.add_argument(
        "--preset",
        choices=["paper", "demo"],
        help="paper: as published (default with --data); demo: small networks, minutes on a CPU (default without)",
    )
    fit.add_argument(
        "--encoders",
        choices=ENCODERS,
        help="paper: those of the recipe (default); common: one pair for every method, so that only methods differ; "
        "features: none (default where --data holds what `voiceface extract` wrote)",
    )
    add_path(
        fit,
        "--pretrained",
        "FILE",
        "start from weights that `voiceface import-weights` wrote; may come several times",
        action="append",
    )
    fit.add_argument(
        "--gpus", metavar="N", help="GPUs to train on; without it the CPU, or what --trainer.accelerator finds"
    )
    add_path(fit, "--out", "DIR", "run folder (default: the next free runs/NAME)")
    fit.add_argument(
        "--wandb",
        metavar="PROJECT",
        help="log to this Weights & Biases project too (metrics.csv always, TensorBoard where it is installed)",
    )
    fit.add_argument("--ckpt_path", metavar="FILE", help="go on from this last.ckpt; `last`: that of --out")
    fit.add_argument("--help_all", action="store_true", help="explain every option")

    add_evaluation(commands)
    add_compare(commands)
    add_inference(commands)
    add_scoring(commands)
    add_prepare(commands)
    add_check(commands)
    add_extract(commands)
    add_import_weights(commands)
    add_convert(commands)
    add_pack(commands)
    add_push(commands)
    add_export(commands)
    add_command(commands, "list", "recipes, installed checkpoints and encoders", "voiceface list")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Words after `voiceface`; default: those of this process.

    Returns:
        Exit status: 0, or 2 after a user's mistake, which is printed in one line to standard error.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        if args[:1] == ["fit"] and not {"-h", "--help"} & set(args[1:]):
            return _fit(args[1:])
        if args[:1] == ["fit"]:
            return _help_fit(args[1:])
        # Words after `--` are for `voiceface fit`; argparse would take them for RESULTS.
        end = args.index("--") if args[:1] == ["compare"] and "--" in args else len(args)
        options = build_parser().parse_args(args[:end])
        options.words = args[end + 1 :]
        commands = importlib.import_module(f"voiceface.cli.{MODULES.get(options.command, 'commands')}")
        return int(getattr(commands, f"run_{options.command.replace('-', '_')}")(options) or 0)
    except UserError as error:
        print(f"voiceface: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"voiceface: interrupted{'; ' if stop.args else ''}{stop}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from voiceface.utils.environment import load_problem

        denied = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
        if problem := load_problem(error):
            print(f"voiceface: {problem}", file=sys.stderr)
        elif isinstance(error, OSError) and error.filename is not None and error.errno in denied:
            name = f"{error.filename}: {os.strerror(error.errno).lower()}"
            print(f"voiceface: {name}; name another place", file=sys.stderr)
        else:
            raise
        return 2


def _help_fit(args: list[str]) -> int:
    """The short words, and with --model every option of that method and of the data."""
    recipe = split_words([word for word in args if word not in ("-h", "--help")])[0].get("model")
    if recipe is not None:
        expand(["--model", recipe])
    try:
        build_parser().parse_args(["fit", "--help"])
    except SystemExit:
        if recipe is not None:
            print(explain("model", recipe), explain("data", recipe), sep="\n")
    return 0


def _fit(args: list[str]) -> int:
    if "--help_all" in args:
        args = [word if word != "--help_all" else "--help" for word in args]
    else:
        expand(args)
    data = split_words(args)[0].get("data")
    if data and "://" not in data:
        _corpus_is_there(Path(data))
    from voiceface.training.fit import fit

    fit(args)
    return 0


def _corpus_is_there(folder: Path) -> None:
    """Answer a wrong --data before torch is imported."""
    if not (folder / "corpus.json").exists():
        from voiceface.data.corpus.shards import Corpus

        Corpus(folder)
