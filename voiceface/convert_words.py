"""The words of `voiceface convert`."""

import argparse
from argparse import Namespace
from pathlib import Path

from voiceface.parser import Parser, add_command, add_path, given


def add_convert(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "convert",
        "write a checkpoint folder from the last.ckpt or best.ckpt of a run",
        "voiceface convert runs/trinet/best.ckpt trinet-checkpoint --model trinet",
    )
    add_path(parser, "ckpt", "FILE", "last.ckpt or best.ckpt; only tensors and plain values are read of it")
    add_path(parser, "out", "OUT", "checkpoint folder to write")
    parser.add_argument(
        "--model",
        metavar="NAME",
        type=given,
        help="recipe, or class path in voiceface.methods; without it config.yaml beside the file says the class",
    )
    parser.add_argument("--half", action="store_true", help="write the weights in half precision")


def run_convert(options: Namespace) -> int:
    """Convert and say where to."""
    from voiceface.checkpoint_convert import convert

    convert(Path(options.ckpt), Path(options.out), options.model, "float16" if options.half else "float32")
    print(f"checkpoint: {options.out}")
    return 0
