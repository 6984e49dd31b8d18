"""`voiceface test` and `embed`: a checkpoint on a corpus, or on files."""

import argparse
import io
import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voiceface.checkpoints.find import find_checkpoint
from voiceface.cli.common import check_gpus, note
from voiceface.cli.inference import Refusals, add_faces, are_there, check_margin, load
from voiceface.cli.parser import (
    Parser,
    add_checkpoint,
    add_command,
    add_corpus,
    add_gpus,
    add_passes,
    add_path,
)
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable, write_for_user

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from voiceface.data.module import VoxVGGDataModule
    from voiceface.inference.media import Kind
    from voiceface.methods.base import Method


TEST_EXAMPLES = """examples:
  voiceface test trinet-synthetic                                            an installed checkpoint
  voiceface test runs/trinet/checkpoint --data CORPUS --split test --out results.json"""


EMBED_EXAMPLES = """examples:
  voiceface embed runs/trinet/checkpoint --data CORPUS --out emb.npz
  voiceface embed trinet-synthetic VOICES_DIR photo.jpg --out emb.npz        files and folders of them"""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands."""
    test = add_command(commands, "test", "evaluate a checkpoint on a corpus", TEST_EXAMPLES)
    embed = add_command(
        commands, "embed", "embed a corpus, or files: both modalities, with identities and keys", EMBED_EXAMPLES
    )
    for command in (test, embed):
        add_checkpoint(command)
        add_corpus(command)
        command.add_argument("--split", default="test", choices=["train", "val", "test"])
        add_gpus(command)
        add_passes(command)
        command.add_argument("--workers", type=int, help="processes that read the corpus (default: one per core)")
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
    add_path(embed, "files", "FILE", "voices, faces and folders of them, in place of --data", nargs="*")
    add_faces(embed)


def run_test(options: Namespace) -> int:
    """Evaluate a checkpoint, print its table and write the result file."""
    method, data, trainer = _evaluate(options)
    from voiceface.evaluation.tables import print_table

    trainer.test(method, datamodule=data, verbose=False)
    print_table(trainer.callbacks[0].results, options.all)  # type: ignore[attr-defined]
    print(f"scores: {options.out}")
    return 0


def run_embed(options: Namespace) -> int:
    """Embed a split, or files, and write one npz file with all that `score` and `analyze` ask for."""
    if options.files and options.data is not None:
        raise UserError(f"{options.files[0]}: FILES or --data; leave one of them out")
    if options.files:
        return _embed_files(options)
    for option, used in (("asis", options.asis), ("margin", options.margin is not None)):
        if used:
            raise UserError(f"--{option}: for FILES; a corpus says itself what its faces show")
    method, data, trainer = _evaluate(options)
    from voiceface.evaluation.write_embeddings import VoiceMeasures, write_embeddings

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
    check_writable(Path(options.out))
    folder = find_checkpoint(options.checkpoint)
    from voiceface.checkpoints.weights import load_checkpoint, read_config, read_training
    from voiceface.data.corpus.leaks import leaking_identities
    from voiceface.data.module import VoxVGGDataModule
    from voiceface.evaluation.callback import CrossModalMetrics
    from voiceface.training.evaluate import evaluator

    check_gpus(options.gpus)
    method = load_checkpoint(folder)
    method.evaluation_seconds = options.evaluation_seconds
    data = VoxVGGDataModule(options.data, workers=options.workers, evaluation_on_error=options.on_error)
    data.test_split = data.predict_split = options.split
    metrics = CrossModalMetrics(options.out if options.command == "test" else None, read_config(folder)["recipe"])
    if options.command == "test":
        metrics.training = read_training(folder)
        if options.sampled < 1:
            raise UserError(f"--sampled {options.sampled}: give 1 or more trials")
        metrics.trials = options.sampled
    trainer = evaluator(metrics, "cuda" if options.gpus else "cpu")
    # Scores of people whom the model was trained on are not those of strangers; the result file says it too.
    names = leaking_identities(method.training_identities, data.corpus, options.split)
    if names:
        note(
            f"{options.checkpoint} was trained on {len(names)} people of the {options.split} split, such as "
            f"{names[0]}: the scores are marked as leaking (leaking_identities in the result file)"
        )
    return method, data, trainer


def _embed_files(options: Namespace) -> int:
    """Embed files, and those of folders, and write one npz file; a file's identity is the folder that it lies in."""
    out = Path(options.out)
    check_writable(out)
    check_margin(options)
    are_there([Path(name) for name in options.files])
    import numpy as np

    from voiceface.inference.media import check_detector
    from voiceface.utils.progress import progress

    files: dict[Kind, dict[str, tuple[str, Path]]] = {"voice": {}, "face": {}}
    for name in options.files:
        for kind, key, identity, path in _listed(Path(name)):
            if files[kind].setdefault(key, (identity, path))[1] != path:
                raise UserError(f"{path}: another {kind} is called {key} too; give the folder above both")
    if files["face"] and not options.asis:
        check_detector()
    from voiceface.evaluation.network_scores import similarity_matrix

    options.device = "cuda" if options.gpus else "cpu"
    model, refused = load(options), Refusals()
    model.check_has_similarity()
    about = {"model": {"recipe": model.config["recipe"], "checkpoint": model.config["sha256"]}}
    arrays: dict[str, Any] = {"about": np.array(json.dumps(about))}
    if model.method.space in ("cosine", "euclidean"):
        arrays["similarity"] = np.array(model.method.space)
    for kind, found in files.items():
        if found:
            listed = [(key, path) for key, (_, path) in found.items()]
            with progress(f"embedding {kind}s", len(listed)) as done:
                keys, arrays[f"{kind}s"] = model.embed_usable(
                    kind, listed, refused, not options.asis, options.margin, done
                )
            arrays[f"{kind}_key"] = np.array(keys)
            arrays[f"{kind}_identity"] = np.array([found[key][0] for key in keys])
    if model.method.space == "pairwise" and files["voice"] and files["face"]:
        arrays["similarity"] = similarity_matrix(model.method, arrays["voices"], arrays["faces"])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_for_user(out, buffer.getvalue())
    counts = " and ".join(f"{len(arrays[f'{kind}s'])} {kind}s" for kind in files if f"{kind}s" in arrays)
    print(f"{out}: {counts}" + refused.told())
    return 0


def _listed(path: Path) -> "list[tuple[Kind, str, str, Path]]":
    """Kind, key, identity and path of a file, or of each in a folder: identities are its folders."""
    from voiceface.inference.media import OTHER, files_below, kind_of

    if not path.is_dir():
        return [(kind_of(path), path.name, path.resolve().parent.name, path)]
    listed = []
    problem = None
    for kind in OTHER:
        try:
            found = files_below(path, kind)
        except UserError as error:
            problem = problem or error
            continue
        for key, file in found:
            first, _, below = key.partition("/")
            listed.append((kind, key, first if below else path.resolve().name, file))
    if not listed:
        raise UserError(f"{path}: no voices and no faces in it") from problem
    return listed
