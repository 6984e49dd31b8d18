"""The words of `voiceface convert`, `pack` and `push`."""

import argparse

from voiceface.cli.parser import Parser, add_command, add_path, given

PACK_EXAMPLES = """examples:
  voiceface pack runs/trinet/checkpoint                        dist/voiceface_trinet_synthetic-...whl
  voiceface pack runs/trinet/checkpoint --name my-trinet --version 1.2
  voiceface pack runs/trinet/checkpoint --source zoo           the folder zoo/NAME that the wheel is built from"""


def add_pack(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add `voiceface pack`."""
    pack = add_command(commands, "pack", "make a wheel of a checkpoint, for `pip install`", PACK_EXAMPLES)
    add_path(pack, "checkpoint", "CHECKPOINT", "checkpoint folder, or the name of an installed one")
    pack.add_argument(
        "--name",
        type=given,
        help="what `voiceface.load` shall take (default: what config.json says, else RECIPE-CORPUS)",
    )
    pack.add_argument("--version", type=given, help="of the wheel (default: that of the voiceface that trained it)")
    where = pack.add_mutually_exclusive_group()
    add_path(where, "--out", "DIR", "folder of the wheel (default: dist)", default="dist")
    add_path(where, "--source", "DIR", "write the project of the wheel, as a folder in this one, and build nothing")


def add_push(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add `voiceface push`."""
    push = add_command(
        commands,
        "push",
        "put a checkpoint on the Hugging Face hub",
        "voiceface push runs/trinet/checkpoint owner/trinet --private",
    )
    add_path(push, "checkpoint", "CHECKPOINT", "checkpoint folder, or the name of an installed one")
    push.add_argument("repository", metavar="OWNER/NAME", type=given, help="made if it is not there")
    push.add_argument("--private", action="store_true", help="make it a private one")


def add_convert(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "convert",
        "write a checkpoint folder from the last.ckpt or best.ckpt of a run",
        "voiceface convert runs/trinet/best.ckpt trinet-checkpoint --model trinet",
    )
    add_path(parser, "ckpt", "FILE", "last.ckpt or best.ckpt; only tensors and plain values are read of it")
    add_path(parser, "out", "OUT", "checkpoint folder to make")
    parser.add_argument(
        "--model",
        metavar="NAME",
        type=given,
        help="recipe, or class path in voiceface.methods; without it config.yaml beside the file says the class",
    )
    parser.add_argument("--half", action="store_true", help="write the weights in half precision")
