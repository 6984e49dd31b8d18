"""`voiceface fit`: its help, and the arguments that are not LightningCLI's."""

import argparse
from pathlib import Path

from voiceface.cli.parser import Parser, add_command, add_path
from voiceface.methods.recipes import list_recipes
from voiceface.training.arguments import ENCODERS, expand, explain, split_words

EXAMPLES = """examples:
  voiceface fit --model trinet                          the built-in corpus, minutes on a CPU
  voiceface fit --model trinet --data CORPUS --gpus 4 --pretrained FACE.safetensors --pretrained VOICE.safetensors
                                                        the paper's settings on your own corpus
  voiceface fit --model drl --data CORPUS --encoders common            the encoders that all methods are compared on
  voiceface fit --model trinet --model.margin 0.5 --trainer.max_steps 2000 --out runs/wide
  voiceface fit --model trinet --out runs/wide --ckpt_path last        resume after a stop
  voiceface fit --model my_package.MyMethod             a method of your own, in this folder or installed
  WANDB_MODE=offline voiceface fit --model trinet --wandb PROJECT      log there too; upload later by `wandb sync`

Every option of the method (--model.*), the data (--data.*) and Lightning's Trainer (--trainer.*) can be given:
  voiceface fit --model trinet --help            explains those of the method and the data
  voiceface fit --model trinet --print_config    shows all with their values
  voiceface fit --help_all                       explains all, Lightning's too"""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command; the parser knows only its short words."""
    fit = add_command(commands, "fit", "train a method, test it, print its table", EXAMPLES)
    fit.add_argument(
        "--model",
        metavar="NAME",
        choices=list_recipes(),
        help="method of your own, as package.module.Class, or recipe: " + ", ".join(list_recipes()),
    )
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
    fit.add_argument("--ckpt_path", metavar="FILE", help="resume from this last.ckpt; `last`: that of --out")
    fit.add_argument("--help_all", action="store_true", help="explain every option")


def print_help(args: list[str], parser: Parser) -> int:
    """The short words, and with --model every option of that method and of the data."""
    short = split_words([word for word in args if word not in ("-h", "--help")])[0]
    recipe = short.get("model")
    preset = short.get("preset") or ("paper" if "data" in short else "demo")
    encoders = short.get("encoders", "paper")
    if recipe is not None:
        expand(["--model", recipe, "--preset", preset, "--encoders", encoders])
    try:
        parser.parse_args(["fit", "--help"])
    except SystemExit:
        if recipe is not None:
            print(*(explain(group, recipe, preset, encoders) for group in ("model", "data")), sep="\n")
    return 0


def run(args: list[str]) -> int:
    """Train, by the words after `voiceface fit`: LightningCLI reads them, not our parser."""
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
