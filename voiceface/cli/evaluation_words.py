"""The words of `voiceface test` and `embed`."""

import argparse

from voiceface.cli.inference_words import add_embed_files
from voiceface.cli.parser import Parser, add_command, add_path

TEST_EXAMPLES = """examples:
  voiceface test trinet-synthetic                                            an installed checkpoint
  voiceface test runs/trinet/checkpoint --data CORPUS --split test --out results.json"""

EMBED_EXAMPLES = """examples:
  voiceface embed runs/trinet/checkpoint --data CORPUS --out emb.npz
  voiceface embed trinet-synthetic VOICES_DIR photo.jpg --out emb.npz        files and folders of them"""


def add_evaluation(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands."""
    test = add_command(
        commands,
        "test",
        "evaluate a checkpoint on a corpus",
        TEST_EXAMPLES,
    )
    embed = add_command(
        commands,
        "embed",
        "embed a corpus, or files: both modalities, with identities and keys",
        EMBED_EXAMPLES,
    )
    for command in (test, embed):
        add_path(command, "checkpoint", "CHECKPOINT", "installed checkpoint, checkpoint folder or hf://owner/name")
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
    add_embed_files(embed)
