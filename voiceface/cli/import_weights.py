"""`voiceface import-weights`: public weight files."""

import argparse
import json
from argparse import Namespace
from pathlib import Path

from voiceface.cli.parser import Parser, add_command, add_path, non_empty
from voiceface.encoders import list_encoders
from voiceface.encoders.pretrained import list_importers
from voiceface.methods.recipes import list_recipes
from voiceface.utils.errors import UserError

EXAMPLES = """examples:
  voiceface import-weights face_inception_resnet_v1 20180402-114759-vggface2.pt face.safetensors
  voiceface import-weights voice_thin_resnet34 weights.h5 voice.safetensors
  voiceface import-weights face_vgg16 vgg_face_dag.pth face.safetensors --options '{"layer": "fc7"}'

Nothing is downloaded, and no code of the file runs. Known files, and where they live: docs/paper-weights.md"""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    weights = add_command(
        commands, "import-weights", "turn a public weight file into one that `fit --pretrained` takes", EXAMPLES
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
        "--options", type=non_empty, metavar="JSON", default="{}", help="encoder options to import for (default: none)"
    )


def run_import_weights(options: Namespace) -> int:
    """Turn a public weight file into a safetensors file and print what it is for."""
    try:
        wanted = json.loads(options.options)
    except (ValueError, RecursionError):
        wanted = None
    if not isinstance(wanted, dict):
        raise UserError(f'--options {options.options}: expected JSON; give such as \'{{"layer": "fc7"}}\'')
    from voiceface.encoders.pretrained.convert import import_weights

    about = import_weights(options.target, Path(options.source), Path(options.out), wanted)
    needs = "" if about["options"] == "{}" else f", options {about['options']}"
    print(f"{options.out}: weights of {options.target}{needs}; use them by `voiceface fit --pretrained {options.out}`")
    return 0


def _importable(name: str) -> str:
    """An encoder whose public files are known; an encoder without any is told apart from a typing error."""
    if name in {encoder for names in list_encoders().values() for encoder in names} - set(list_importers()):
        raise argparse.ArgumentTypeError(
            f"{name}: no public weight file is known; known: {', '.join(list_importers())}"
        )
    if name in set(list_recipes()) - set(list_importers()):
        raise argparse.ArgumentTypeError(f"{name}: a recipe; weights are for one of: {', '.join(list_importers())}")
    return name
