"""`voiceface test` and `embed`: a checkpoint on a corpus, or on files."""

import argparse
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from voiceface.cli.common import check_gpus, note
from voiceface.cli.inference import add_embed_files
from voiceface.cli.parser import Parser, add_command, add_path
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from voiceface.data.module import VoxVGGDataModule
    from voiceface.methods.base import Method


TEST_EXAMPLES = """examples:
  voiceface test trinet-synthetic                                            an installed checkpoint
  voiceface test runs/trinet/checkpoint --data CORPUS --split test --out results.json"""


EMBED_EXAMPLES = """examples:
  voiceface embed runs/trinet/checkpoint --data CORPUS --out emb.npz
  voiceface embed trinet-synthetic VOICES_DIR photo.jpg --out emb.npz        files and folders of them"""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
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


def run_test(options: Namespace) -> int:
    """Evaluate a checkpoint, print its table and write the result file."""
    method, data, trainer = _evaluate(options)
    from voiceface.evaluation.tables import print_table

    _warn_of_leaks(options, method, data)
    trainer.test(method, datamodule=data, verbose=False)
    print_table(trainer.callbacks[0].results, options.all)  # type: ignore[attr-defined]
    print(f"scores: {options.out}")
    return 0


def run_embed(options: Namespace) -> int:
    """Embed a split, or files, and write one npz file with all that `score` and `analyze` ask for."""
    if options.files and options.data is not None:
        raise UserError(f"{options.files[0]}: FILES or --data; leave one of them out")
    if options.files:
        from voiceface.cli.inference_run import run_embed_files

        return run_embed_files(options)
    for option, used in (("asis", options.asis), ("margin", options.margin is not None)):
        if used:
            raise UserError(f"--{option}: for FILES; a corpus says itself what its faces show")
    method, data, trainer = _evaluate(options)
    from voiceface.evaluation.write_embeddings import VoiceMeasures, write_embeddings

    _warn_of_leaks(options, method, data)
    if method.space == "relative":
        raise UserError(
            f"{options.checkpoint}: {type(method).__name__} compares candidates with each other, so its embeddings "
            "cannot be scored by themselves; use `voiceface test`"
        )
    metrics, measures = trainer.callbacks[0], VoiceMeasures()  # type: ignore[attr-defined]
    trainer.callbacks.append(measures)  # type: ignore[attr-defined]
    trainer.predict(method, datamodule=data, return_predictions=False)
    out = Path(options.out)
    voices, faces, dimensions = write_embeddings(out, method, data.corpus, options.split, metrics, measures)
    print(f"{options.out}: {voices} voices and {faces} faces, {dimensions} dimensions, compare by {method.space}")
    return 0


def _evaluate(options: Namespace) -> "tuple[Method, VoxVGGDataModule, pl.Trainer]":
    from voiceface.checkpoints.find import find_checkpoint

    check_writable(Path(options.out))
    folder = find_checkpoint(options.checkpoint)
    import pytorch_lightning as pl

    from voiceface.checkpoints.weights import load_checkpoint, read_config, read_training
    from voiceface.data.module import VoxVGGDataModule
    from voiceface.evaluation.callback import CrossModalMetrics
    from voiceface.training.fit import quiet
    from voiceface.training.progress_bar import RunBar

    quiet()
    check_gpus(options.gpus)
    method = load_checkpoint(folder)
    data = VoxVGGDataModule(options.data, workers=options.workers, evaluation_on_error=options.on_error)
    data.test_split = data.predict_split = options.split
    metrics = CrossModalMetrics(options.out if options.command == "test" else None, read_config(folder)["recipe"])
    if options.command == "test":
        metrics.training = read_training(folder)
        if options.sampled < 1:
            raise UserError(f"--sampled {options.sampled}: give 1 or more trials")
        metrics.trials = options.sampled
    trainer = pl.Trainer(
        accelerator="gpu" if options.gpus else "cpu",
        devices=1,
        logger=False,
        callbacks=[metrics, RunBar()],
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    return method, data, trainer


def _warn_of_leaks(options: Namespace, method: "Method", data: "VoxVGGDataModule") -> None:
    """Say that scores of people whom the model was trained on are not those of strangers; the result file says it."""
    from voiceface.data.corpus.leaks import leaking_identities

    names = leaking_identities(method.training_identities, data.corpus, options.split)
    if names:
        note(
            f"{options.checkpoint} was trained on {len(names)} people of the {options.split} split, such as "
            f"{names[0]}: the scores are marked as leaking (leaking_identities in the result file)"
        )
