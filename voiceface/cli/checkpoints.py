"""`voiceface convert`, `pack`, `push` and `export`: checkpoints in other forms and places."""

import argparse
from argparse import Namespace
from pathlib import Path

from voiceface.checkpoints.find import find_checkpoint
from voiceface.cli.parser import Parser, add_checkpoint, add_command, add_path, non_empty
from voiceface.utils.errors import UserError

PACK_EXAMPLES = """examples:
  voiceface pack runs/trinet/checkpoint                        dist/voiceface_trinet_synthetic-...whl
  voiceface pack runs/trinet/checkpoint --name my-trinet --version 1.2
  voiceface pack runs/trinet/checkpoint --source zoo           the folder zoo/NAME that the wheel is built from"""

EXPORT_EXAMPLES = """examples:
  voiceface export runs/trinet/checkpoint exported                    exported/voice.onnx, exported/face.onnx
  voiceface export runs/trinet/checkpoint exported --part face
  voiceface export runs/trinet/checkpoint exported --format torch     exported/voice.pt2, exported/face.pt2

What goes in and comes out: docs/inference.md"""
FOLDER_OR_NAME = "checkpoint folder, or the name of an installed one"


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands."""
    convert = add_command(
        commands,
        "convert",
        "write a checkpoint folder from the last.ckpt or best.ckpt of a run",
        "voiceface convert runs/trinet/best.ckpt trinet-checkpoint --model trinet",
    )
    add_path(convert, "ckpt", "FILE", "last.ckpt or best.ckpt; only tensors and plain values are read of it")
    add_path(convert, "out", "OUT", "checkpoint folder to make")
    convert.add_argument(
        "--model",
        metavar="NAME",
        type=non_empty,
        help="recipe, or package.module.Class; without it config.yaml beside the file says the class",
    )
    convert.add_argument("--half", action="store_true", help="write the weights in half precision")

    pack = add_command(commands, "pack", "make a wheel of a checkpoint, for `pip install`", PACK_EXAMPLES)
    add_checkpoint(pack, FOLDER_OR_NAME)
    pack.add_argument(
        "--name",
        type=non_empty,
        help="what `voiceface.load` shall take (default: what config.json says, else RECIPE-CORPUS)",
    )
    pack.add_argument("--version", type=non_empty, help="of the wheel (default: that of the voiceface that trained it)")
    where = pack.add_mutually_exclusive_group()
    add_path(where, "--out", "DIR", "folder of the wheel (default: dist)", default="dist")
    add_path(where, "--source", "DIR", "write the project of the wheel, as a folder in this one, and build nothing")

    push = add_command(
        commands,
        "push",
        "put a checkpoint on the Hugging Face hub",
        "voiceface push runs/trinet/checkpoint owner/trinet --private",
    )
    add_checkpoint(push, FOLDER_OR_NAME)
    push.add_argument("repository", metavar="OWNER/NAME", type=non_empty, help="made if it is not there")
    push.add_argument("--private", action="store_true", help="make it a private one")

    export = add_command(
        commands, "export", "both encoders with their heads as ONNX or torch.export files", EXPORT_EXAMPLES
    )
    add_checkpoint(export, FOLDER_OR_NAME)
    add_path(export, "out", "OUT", "folder to write the files into")
    export.add_argument(
        "--format",
        default="onnx",
        choices=["onnx", "torch"],
        help="onnx: for onnxruntime and the like (default); torch: an ExportedProgram, for `torch.export.load`",
    )
    export.add_argument("--part", default="both", choices=["voice", "face", "both"], help="default: both")


def run_convert(options: Namespace) -> int:
    """Convert and say where to."""
    if not Path(options.ckpt).is_file():  # answered before torch is imported
        raise UserError(f"{options.ckpt}: no such file; give the last.ckpt or best.ckpt of a run")
    from voiceface.checkpoints.convert import convert

    convert(Path(options.ckpt), Path(options.out), options.model, "float16" if options.half else "float32")
    print(f"checkpoint: {options.out}")
    return 0


def run_export(options: Namespace) -> int:
    """Export a checkpoint's encoders, print the files."""
    folder = find_checkpoint(options.checkpoint)
    from voiceface.checkpoints.export import Part, export

    parts: tuple[Part, ...] = ("voice", "face") if options.part == "both" else (options.part,)
    for path in export(folder, Path(options.out), options.format, parts):
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def run_pack(options: Namespace) -> int:
    """Make a wheel, or the project that it is built from; print its path."""
    from voiceface.checkpoints.wheel import pack, write_source

    folder = find_checkpoint(options.checkpoint)
    if options.source is not None:
        print(write_source(folder, Path(options.source), options.name, options.version))
    else:
        print(pack(folder, Path(options.out), options.name, options.version))
    return 0


def run_push(options: Namespace) -> int:
    """Put a checkpoint on the hub; print its address, and what to load it by."""
    from voiceface.checkpoints.hub import push

    print(push(find_checkpoint(options.checkpoint), options.repository, options.private))
    return 0
