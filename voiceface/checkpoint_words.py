"""The words of `voiceface pack` and `voiceface push`, and what they run."""

import argparse
from argparse import Namespace
from pathlib import Path

from voiceface.checkpoints import find_checkpoint
from voiceface.parser import Parser, add_command, add_path, given

PACK_EXAMPLES = """examples:
  voiceface pack runs/trinet/checkpoint                        dist/voiceface_trinet_synthetic-...whl
  voiceface pack runs/trinet/checkpoint --name my-trinet --version 1.2
  voiceface pack runs/trinet/checkpoint --source zoo           the folder zoo/NAME that the wheel is built from"""


def add_pack(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add `voiceface pack`."""
    pack = add_command(commands, "pack", "make a wheel of a checkpoint, for `pip install`", PACK_EXAMPLES)
    add_path(pack, "checkpoint", "CHECKPOINT", "checkpoint folder")
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


def run_pack(options: Namespace) -> int:
    """Make a wheel, or the project that it is built from; print its path."""
    from voiceface.pack import pack, write_source

    folder = find_checkpoint(options.checkpoint)
    if options.source is not None:
        print(write_source(folder, Path(options.source), options.name, options.version))
    else:
        print(pack(folder, Path(options.out), options.name, options.version))
    return 0


def run_push(options: Namespace) -> int:
    """Put a checkpoint on the hub; print its address, and what to load it by."""
    from voiceface.hub import push

    print(push(find_checkpoint(options.checkpoint), options.repository, options.private))
    return 0
