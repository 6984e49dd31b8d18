"""`voiceface extract`: features of frozen networks as a corpus."""

import argparse
from argparse import Namespace
from pathlib import Path

from voiceface.checkpoints.find import find_checkpoint
from voiceface.cli.common import check_gpus, print_splits
from voiceface.cli.parser import (
    Parser,
    add_command,
    add_corpus,
    add_gpus,
    add_own,
    add_passes,
    add_path,
    non_empty,
)
from voiceface.encoders import list_encoders
from voiceface.utils.errors import UserError
from voiceface.utils.processes import cores

EXAMPLES = """examples:
  voiceface extract FEATURES --data CORPUS --face-weights face.safetensors --voice-weights voice.safetensors
  voiceface extract FEATURES --checkpoint runs/trinet/checkpoint
  voiceface fit --model trinet --data FEATURES                     heads alone

Run it again after a stop: it resumes. Weights: docs/paper-weights.md"""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    extract = add_command(
        commands, "extract", "features of frozen encoders as a corpus, on which heads train in seconds", EXAMPLES
    )
    add_path(extract, "out", "OUT", "folder of the corpus of features")
    add_corpus(extract)
    add_path(extract, "--checkpoint", "CHECKPOINT", "take the encoders of a checkpoint, without its heads")
    add_own(extract)
    for kind, names in list_encoders().items():
        known = [name for name in names if name != f"{kind}_features"]
        extract.add_argument(
            f"--{kind}-encoder",
            type=non_empty,
            metavar="NAME",
            help=f"{kind} network (default: what the weights' file says): " + ", ".join(known),
        )
        add_path(extract, f"--{kind}-weights", "FILE", f"safetensors file of the {kind} network's weights")
    extract.add_argument("--face-margin", type=float, help="face box scale that the face network is given (default: 1)")
    extract.add_argument(
        "--dtype", default="float32", choices=["float32", "float16"], help="type that is stored (default: float32)"
    )
    extract.add_argument("--batch", type=int, default=64, metavar="N", help="clips per pass at most (default: 64)")
    add_gpus(extract)
    add_passes(extract)
    extract.add_argument("--workers", type=int, help="processes that read the corpus (default: one per core)")


def run_extract(options: Namespace) -> int:
    """Write the features of a corpus as a corpus and print what it holds."""
    from voiceface.checkpoints.frozen import of_checkpoint
    from voiceface.data.builtin import builtin_corpus
    from voiceface.data.corpus.shards import Corpus
    from voiceface.data.features.extract import extract
    from voiceface.encoders.pretrained.frozen import of_weights

    for name, least in (("batch", 1), ("workers", 0)):
        if getattr(options, name) is not None and getattr(options, name) < least:
            raise UserError(f"--{name} {getattr(options, name)}: give {least} or more")
    if options.face_margin is not None and not options.face_margin > 0:
        raise UserError(f"--face-margin {options.face_margin}: give a number above 0")
    check_gpus(options.gpus)
    voice, face = (None if o is None else Path(o) for o in (options.voice_weights, options.face_weights))
    own = ("voice_encoder", "face_encoder", "voice_weights", "face_weights", "face_margin")
    given = [name for name in own if getattr(options, name) is not None]
    if options.checkpoint is None:
        frozen = of_weights(options.voice_encoder, options.face_encoder, voice, face, options.face_margin or 1.0)
    elif given:
        raise UserError(f"--{given[0].replace('_', '-')}: --checkpoint has its own; leave one of them out")
    else:
        frozen = of_checkpoint(find_checkpoint(options.checkpoint))
    corpus = Corpus(options.data or builtin_corpus())
    device = "cuda" if options.gpus else "cpu"
    summary = extract(
        Path(options.out),
        corpus,
        frozen,
        options.dtype,
        options.batch,
        cores() if options.workers is None else options.workers,
        device,
        options.evaluation_seconds,
    )
    print(f"{options.out}: " + ("already extracted by this command" if summary.already_there else "extracted"))
    print_splits(summary.splits)
    for kind, about in frozen.about.items():
        print(f"{kind}: {about['dim']} dimensions, of {about['encoder']}")
    return 0
