"""The front door: `voiceface COMMAND ...`. Imports torch only in the commands that need it."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import shtab

from voiceface import __version__
from voiceface.compare.words import add_compare
from voiceface.encoders import list_encoders
from voiceface.errors import UserError
from voiceface.importers import list_importers
from voiceface.parser import Parser, add_command, add_path, given
from voiceface.prepare.words import add_prepare
from voiceface.recipes import list_recipes
from voiceface.words import ENCODERS, expand, explain, split_words

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


EMBEDDINGS = """an .npz of voices, voice_identity, voice_key, faces, face_identity, face_key, or a folder of voices.npy,
voices.csv (identity, key), faces.npy and faces.csv, or of voices.parquet and faces.parquet"""

EXTRACT_EXAMPLES = """examples:
  voiceface extract FEATURES --data CORPUS --face-weights face.safetensors --voice-weights voice.safetensors
  voiceface extract FEATURES --checkpoint runs/trinet/checkpoint
  voiceface fit --model trinet --data FEATURES                     heads alone

It can be killed and goes on where it was. Weights: docs/weights.md"""

CHECK_EXAMPLES = """examples:
  voiceface check                                            the environment alone
  voiceface check CORPUS --deep                              hashes, counts, splits; every clip decodes
  voiceface check CORPUS --trials LISTS/*.txt --identities vox1_meta.csv
  voiceface check CORPUS --against OTHER_CORPUS              no leak between the two
  voiceface check CORPUS --against runs/trinet/checkpoint    nobody of the test split was trained on"""

IMPORT_EXAMPLES = """examples:
  voiceface import-weights face_inception_resnet_v1 20180402-114759-vggface2.pt face.safetensors
  voiceface import-weights voice_thin_resnet34 weights.h5 voice.safetensors
  voiceface import-weights face_vgg16 vgg_face_dag.pth face.safetensors --options '{"layer": "fc7"}'

Nothing is downloaded, and no code of the file runs. Which files are known, and where they live: docs/weights.md"""

SCORE_EXAMPLES = """examples:
  voiceface score emb.npz                                          what `voiceface embed` wrote
  voiceface score emb.npz --identities vox1_meta.csv --trials veriflist_test_G_unseenunheard.txt
  voiceface score FOLDER --similarity similarity.npy --strata U,G,GN --out results.json"""


def _importable(name: str) -> str:
    """An encoder whose public files are known; an encoder without any is told apart from a typing error."""
    if name in {encoder for names in list_encoders().values() for encoder in names} - set(list_importers()):
        raise argparse.ArgumentTypeError(
            f"{name}: no public weight file is known; known: {', '.join(list_importers())}"
        )
    if name in set(list_recipes()) - set(list_importers()):
        raise argparse.ArgumentTypeError(f"{name}: a recipe; weights are for one of: {', '.join(list_importers())}")
    return name


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

    test = add_command(
        commands,
        "test",
        "evaluate a checkpoint on a corpus",
        "voiceface test runs/trinet/checkpoint --data CORPUS --split test --out results.json",
    )
    embed = add_command(
        commands,
        "embed",
        "embed a corpus: both modalities, with identities and keys",
        "voiceface embed runs/trinet/checkpoint --data CORPUS --out emb.npz",
    )
    for command in (test, embed):
        add_path(command, "checkpoint", "CHECKPOINT", "checkpoint folder")
        add_path(command, "--data", "DIR", "corpus; without it the built-in synthetic one")
        command.add_argument("--split", default="test", choices=["train", "val", "test"])
        command.add_argument("--gpus", type=int, default=0, choices=[0, 1], help="1: use a GPU")
        command.add_argument("--workers", type=int, default=2, help="processes that read the corpus")
        command.add_argument(
            "--on-error", default="stop", choices=["stop", "skip"], help="what to do about a damaged clip"
        )
    add_path(test, "--out", "FILE", "result file (default: results.json)", default="results.json")
    test.add_argument(
        "--sampled",
        type=int,
        default=1_000_000,
        metavar="N",
        help="trials a score is drawn from, for methods that only compare candidates with each other, such as SVHF",
    )
    test.add_argument("--all", action="store_true", help="print every score, not the headline alone")
    add_path(embed, "--out", "FILE", "npz file to write", required=True)

    extract = add_command(
        commands,
        "extract",
        "features of frozen encoders as a corpus, on which heads train in seconds",
        EXTRACT_EXAMPLES,
    )
    add_path(extract, "out", "OUT", "folder of the corpus of features")
    add_path(extract, "--data", "DIR", "corpus; without it the built-in synthetic one")
    add_path(extract, "--checkpoint", "CHECKPOINT", "take the encoders of a checkpoint, without its heads")
    for kind, names in list_encoders().items():
        known = [name for name in names if name != f"{kind}_features"]
        extract.add_argument(
            f"--{kind}-encoder",
            type=given,
            metavar="NAME",
            help=f"{kind} network (default: what the weights' file says): " + ", ".join(known),
        )
        add_path(extract, f"--{kind}-weights", "FILE", f"safetensors file of the {kind} network's weights")
    extract.add_argument("--face-margin", type=float, help="face box scale that the face network is given (default: 1)")
    extract.add_argument(
        "--dtype", default="float32", choices=["float32", "float16"], help="type that is stored (default: float32)"
    )
    extract.add_argument("--batch", type=int, default=64, metavar="N", help="clips per pass at most (default: 64)")
    extract.add_argument("--gpus", type=int, default=0, choices=[0, 1], help="1: use a GPU")
    extract.add_argument("--workers", type=int, default=2, help="processes that read the corpus (default: 2)")

    score = add_command(commands, "score", "score embeddings, ours or not", SCORE_EXAMPLES)
    analyze = add_command(
        commands,
        "analyze",
        "what embeddings know of people: probes, distance against agreement, t-SNE",
        "voiceface analyze emb.npz --identities identities.csv --out analysis",
    )
    for command in (score, analyze):
        add_path(command, "embeddings", "EMB", EMBEDDINGS)
        add_path(command, "faces", "FACES", "the faces' file, where EMB is that of the voices", nargs="?")
        add_path(
            command, "--identities", "CSV", "what is known of each person: identity or VoxCeleb's ids, gender, ..."
        )
        command.add_argument(
            "--similarity",
            type=given,
            metavar="cosine|euclidean|FILE.npy",
            help="how they compare (default: what EMB says, else cosine); a file holds a matrix, voices by faces",
        )
    add_path(score, "--trials", "FILE", "trial lists to score as well", nargs="+", default=[])
    score.add_argument(
        "--protocol",
        nargs="+",
        default=[],
        choices=["trinet", "kim", "drl", "pins"],
        metavar="NAME",
        help="protocols of papers to run beside the exact scores: trinet, kim, drl, pins",
    )
    score.add_argument(
        "--strata", type=given, metavar="U,G,...", help="who competes (default: all that --identities allows)"
    )
    score.add_argument("--level", type=float, default=0.95, help="confidence level (default: 0.95)")
    score.add_argument("--seed", type=int, default=0, help="seed of what is drawn: protocols, galleries, joint scores")
    score.add_argument("--name", type=given, help="name of the model (default: what EMB says, else its file name)")
    add_path(score, "--out", "FILE", "result file (default: results.json)", default="results.json")
    score.add_argument("--all", action="store_true", help="print every score, not the headline alone")
    add_path(analyze, "--out", "DIR", "folder to write", required=True)
    analyze.add_argument("--seed", type=int, default=0)
    analyze.add_argument("--level", type=float, default=0.99, help="confidence level of the probes (default: 0.99)")
    analyze.add_argument("--points", type=int, default=2000, help="clips in a picture (default: 2000)")

    weights = add_command(
        commands, "import-weights", "turn a public weight file into one that `fit --pretrained` takes", IMPORT_EXAMPLES
    )
    weights.add_argument(
        "target",
        type=_importable,
        choices=list_importers(),
        metavar="ENCODER",
        help="encoder, or whole method, that the weights are for: " + ", ".join(list_importers()),
    )
    add_path(weights, "source", "FILE", "the public file: PyTorch, safetensors, Keras .h5, MatConvNet .mat, .npy, .npz")
    add_path(weights, "out", "OUTPUT", "safetensors file to write")
    weights.add_argument(
        "--options", type=given, metavar="JSON", default="{}", help="encoder options to import for (default: none)"
    )

    add_compare(commands)
    add_prepare(commands)

    check = add_command(
        commands, "check", "is the environment sound; is this corpus whole, and apart from others", CHECK_EXAMPLES
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

    add_command(commands, "list", "recipes and encoders", "voiceface list")
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
        from voiceface import commands

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
    from voiceface.fit import fit

    fit(args)
    return 0


def _corpus_is_there(folder: Path) -> None:
    """Answer a wrong --data before torch is imported."""
    if not (folder / "corpus.json").exists():
        from voiceface.data.shards import Corpus

        Corpus(folder)


if __name__ == "__main__":
    sys.exit(main())
