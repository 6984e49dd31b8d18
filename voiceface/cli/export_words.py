"""The words of `voiceface export`."""

import argparse

from voiceface.cli.parser import Parser, add_command, add_path

EXAMPLES = """examples:
  voiceface export runs/trinet/checkpoint exported                    exported/voice.onnx, exported/face.onnx
  voiceface export runs/trinet/checkpoint exported --part face
  voiceface export runs/trinet/checkpoint exported --format torch     exported/voice.pt2, exported/face.pt2

What goes in and comes out: docs/export.md"""


def add_export(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    export = add_command(commands, "export", "both encoders with their heads as ONNX or torch.export files", EXAMPLES)
    add_path(export, "checkpoint", "CHECKPOINT", "checkpoint folder, or the name of an installed one")
    add_path(export, "out", "OUT", "folder to write the files into")
    export.add_argument(
        "--format",
        default="onnx",
        choices=["onnx", "torch"],
        help="onnx: for onnxruntime and the like (default); torch: an ExportedProgram, for `torch.export.load`",
    )
    export.add_argument("--part", default="both", choices=["voice", "face", "both"], help="default: both")
