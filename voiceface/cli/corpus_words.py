"""The words of `voiceface check` and `extract`."""

import argparse

from voiceface.cli.parser import Parser, add_command, add_path, given
from voiceface.encoders import list_encoders

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


def add_extract(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add `voiceface extract`."""
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


def add_check(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add `voiceface check`."""
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
