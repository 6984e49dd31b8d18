"""What each command of the front door does; torch is imported by those that need it."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from voiceface.checkpoints.find import find_checkpoint
from voiceface.cli.listing import print_list
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from voiceface.data.module import VoxVGGDataModule
    from voiceface.evaluation.embeddings import Embeddings
    from voiceface.methods.base import Method


def run_list(options: Namespace) -> int:
    """Print recipes by method, installed checkpoints and encoders."""
    print_list(Console(width=None if Console().is_terminal else 160))
    return 0


def run_check(options: Namespace) -> int:
    """Print what is wrong with the environment and the corpus; 0 where nothing is."""
    if not (options.corpus or options.trials or options.against or options.identities):
        from voiceface.cli.environment_check import check_environment

        check_environment(whole=True)
        return 0
    from voiceface.cli.checking import check

    check(options)
    return 0


def print_splits(splits: dict[str, dict[str, int]]) -> None:
    """Print how many people, voices and faces each split has."""
    table = Table("split", box=None, pad_edge=False)
    for kind in ("identities", "voices", "faces"):
        table.add_column(kind, justify="right")
    for split, counts in splits.items():
        table.add_row(split, *(f"{counts[kind]:,}" for kind in ("identities", "voices", "faces")))
    Console().print(table)
    few = [split for split, counts in splits.items() if counts["identities"] < 2]
    if few:
        print(f"`voiceface fit` needs two people or more in each split; {' and '.join(few)} has fewer")


def _gpus_are_there(wanted: int) -> None:
    import torch

    if wanted > torch.cuda.device_count():
        raise UserError(
            f"--gpus {wanted}: this machine has {torch.cuda.device_count()} GPUs; leave --gpus out to use the CPU"
        )


def _evaluate(options: Namespace) -> "tuple[Method, VoxVGGDataModule, pl.Trainer]":
    check_writable(Path(options.out))
    folder = find_checkpoint(options.checkpoint)
    import pytorch_lightning as pl

    from voiceface.checkpoints.weights import load_checkpoint, read_config, read_training
    from voiceface.data.module import VoxVGGDataModule
    from voiceface.evaluation.callback import CrossModalMetrics
    from voiceface.training.fit import quiet
    from voiceface.training.progress_bar import RunBar

    quiet()
    _gpus_are_there(options.gpus)
    method = load_checkpoint(folder)
    data = VoxVGGDataModule(options.data, workers=options.workers, evaluation_on_error=options.on_error)
    data.test_split = options.split
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


def run_test(options: Namespace) -> int:
    """Evaluate a checkpoint, print its table and write the result file."""
    method, data, trainer = _evaluate(options)
    from voiceface.evaluation.tables import print_table

    _warn_of_leaks(options, method, data)
    trainer.test(method, datamodule=data, verbose=False)
    print_table(trainer.callbacks[0].results, options.all)  # type: ignore[attr-defined]
    print(f"scores: {options.out}")
    return 0


def _warn_of_leaks(options: Namespace, method: "Method", data: "VoxVGGDataModule") -> None:
    """Say that scores of people whom the model was trained on are not those of strangers; the result file says it."""
    from voiceface.data.corpus.leaks import leaking_identities

    names = leaking_identities(method.training_identities, data.corpus, options.split)
    if names:
        _note(
            f"{options.checkpoint} was trained on {len(names)} people of the {options.split} split, such as "
            f"{names[0]}: the scores are marked as leaking (leaking_identities in the result file)"
        )


def run_embed(options: Namespace) -> int:
    """Embed a split, or files, and write one npz file with all that `score` and `analyze` ask for."""
    if options.files and options.data is not None:
        raise UserError(f"{options.files[0]}: FILES or --data; leave one of them out")
    if options.files:
        from voiceface.cli.inference import run_embed_files

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
    names = trainer.predict_dataloaders.batches.names  # type: ignore[union-attr]
    voices, faces, dimensions = write_embeddings(
        Path(options.out), method, data.corpus, options.split, names, metrics, measures
    )
    print(f"{options.out}: {voices} voices and {faces} faces, {dimensions} dimensions, compare by {method.space}")
    return 0


def run_extract(options: Namespace) -> int:
    """Write the features of a corpus as a corpus and print what it holds."""
    from voiceface.checkpoints.frozen import of_checkpoint
    from voiceface.data.builtin import builtin_corpus
    from voiceface.data.corpus.shards import Corpus
    from voiceface.data.features.extract import extract
    from voiceface.encoders.pretrained.frozen import of_weights

    for name, least in (("batch", 1), ("workers", 0)):
        if getattr(options, name) < least:
            raise UserError(f"--{name} {getattr(options, name)}: give {least} or more")
    if options.face_margin is not None and not options.face_margin > 0:
        raise UserError(f"--face-margin {options.face_margin}: give a number above 0")
    _gpus_are_there(options.gpus)
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
    summary = extract(Path(options.out), corpus, frozen, options.dtype, options.batch, options.workers, device)
    print(f"{options.out}: " + ("already extracted by this command" if summary.already_there else "extracted"))
    print_splits(summary.splits)
    for kind, about in frozen.about.items():
        print(f"{kind}: {about['dim']} dimensions, of {about['encoder']}")
    return 0


def run_score(options: Namespace) -> int:
    """Score embeddings, print their tables and write the result file."""
    from voiceface.evaluation.results import write_results
    from voiceface.evaluation.scoring import score_embeddings
    from voiceface.evaluation.tables import print_table

    check_writable(Path(options.out))
    identities = _identities(options)
    embeddings = _embeddings(options)
    results = score_embeddings(
        embeddings,
        options.name or embeddings.about.get("model", {}).get("recipe") or _file_name(options),
        identities,
        [Path(path) for path in options.trials],
        list(dict.fromkeys(options.protocol)),
        None if options.strata is None else list(dict.fromkeys(options.strata.split(","))),
        options.level,
        options.seed,
        _note,
    )
    write_results(Path(options.out), results)
    print_table(results, options.all)
    print(f"scores: {options.out}" + ("" if options.all else " (--all prints all of them)"))
    return 0


def run_analyze(options: Namespace) -> int:
    """Analyse embeddings, print the tables and write the folder."""
    from voiceface.evaluation.analysis import analyze, print_analysis

    identities = _identities(options)
    embeddings = _embeddings(options)
    known = identities if identities is not None else embeddings.about.get("identities")
    if known is None:
        raise UserError(f"--identities is missing: {options.embeddings} does not say what is known of the people")
    print_analysis(analyze(embeddings, known, Path(options.out), options.seed, options.level, options.points))
    print(f"analysis: {options.out}")
    return 0


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


def _identities(options: Namespace) -> dict[str, dict[str, str]] | None:
    from voiceface.evaluation.embeddings import read_identities

    return None if options.identities is None else read_identities(Path(options.identities))


def _embeddings(options: Namespace) -> "Embeddings":
    from voiceface.evaluation.embeddings import read_embeddings

    faces = None if options.faces is None else Path(options.faces)
    return read_embeddings(Path(options.embeddings), faces, options.similarity)


def _file_name(options: Namespace) -> str:
    path = Path(options.embeddings).resolve()
    if options.faces is not None:
        return path.parent.name
    return path.name if path.is_dir() else path.stem


def _note(line: str) -> None:
    print(f"voiceface: {line}", file=sys.stderr)
