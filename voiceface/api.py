"""The package from Python: what `voiceface fit`, `test`, `score` and `compare` do, as functions that return objects."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from voiceface.utils.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voiceface.checkpoints.find import Installed
    from voiceface.evaluation.view import Results
    from voiceface.inference.model import Model
    from voiceface.methods.base import Method
    from voiceface.training.run import Run


def load(name: str | Path, device: str = "cpu", method: "type[Method] | None" = None) -> "Model":
    """Load a checkpoint for embedding, matching and retrieval. No code of the checkpoint runs.

    Args:
        name: An installed checkpoint (see `list_checkpoints`), a checkpoint folder, or `hf://owner/name[@revision]`.
        device: A torch device such as `cpu`, `cuda`, `cuda:1`.
        method: Class that was trained, where it is your own. None: one of voiceface, one that this program has imported
            already, or an installed entry point of `voiceface.methods`.

    Raises:
        UserError: The checkpoint does not exist or is damaged, the device does not exist, or an installed library does
            not load, such as a torchaudio of another release than torch.
    """
    from voiceface.checkpoints.find import find_checkpoint
    from voiceface.utils.own_classes import trust

    folder = find_checkpoint(name)
    if method is not None:
        trust(method)
    try:
        from voiceface.inference.model import Model

        return Model(folder, device)
    except Exception as error:
        from voiceface.utils.environment import load_problem

        if not isinstance(error, UserError) and (problem := load_problem(error)):
            raise UserError(problem) from None
        raise


def list_checkpoints() -> "list[Installed]":
    """The checkpoints that are installed, by name; those that cannot be used say why in `problem`."""
    from voiceface.checkpoints.find import list_checkpoints

    return list_checkpoints()


def list_recipes() -> list[str]:
    """Names that `voiceface fit --model` takes."""
    from voiceface.methods.recipes import list_recipes

    return list_recipes()


def fit(
    model: "str | type[Method]",
    data: str | Path | None = None,
    preset: Literal["paper", "demo"] | None = None,
    steps: int | None = None,
    out: str | Path | None = None,
    gpus: int | None = None,
    encoders: Literal["paper", "common", "features"] | None = None,
    pretrained: Sequence[str | Path] = (),
    resume: str | Path | None = None,
    **options: Any,
) -> "Run":
    """Train a method, test it and return the run, as `voiceface fit` does.

    Args:
        model: Recipe (see `list_recipes`), or a method of your own: the class, its path as `package.module.Class`, or
            its name where an installed package has it as an entry point of `voiceface.methods`.
        data: Corpus; None: the built-in synthetic one, made on first use.
        preset: paper: as published (default with `data`); demo: small networks, minutes on a CPU (default without).
        steps: Optimiser steps; None: those of the recipe.
        out: Run folder; None: the next free `runs/NAME`.
        gpus: GPUs to train on; None: the CPU.
        encoders: paper: those of the recipe; common: one pair for every method; features: none.
        pretrained: Files that `voiceface import-weights` wrote.
        resume: Training state to resume from, or `last`: that of `out`.
        options: Any other option of `voiceface fit --help_all`, with `__` for its dots: `model__margin=0.5`,
            `data__people=16`, `trainer__precision="bf16-mixed"`, `seed_everything=1`.

    Returns:
        The finished run: `results`, `checkpoint`, `history()`, `plot()`.

    Raises:
        UserError: An option is unknown or out of range, a file is missing, or anything else that the user can fix.
    """
    words = [f"--model={model if isinstance(model, str) else f'{model.__module__}.{model.__name__}'}"]
    named = {"data": data, "preset": preset, "encoders": encoders, "gpus": gpus, "out": out, "ckpt_path": resume}
    named |= {"trainer.max_steps": steps, **{name.replace("__", "."): value for name, value in options.items()}}
    words += [f"--{name}={_word(value)}" for name, value in named.items() if value is not None or name in options]
    words += [f"--pretrained={path}" for path in pretrained]
    from voiceface.training.fit import fit
    from voiceface.training.run import Run

    return Run(fit(words))


def evaluate(
    checkpoint: "str | Path | Method",
    corpus: str | Path | None = None,
    split: Literal["train", "val", "test"] = "test",
    device: str = "cpu",
    workers: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    trials: int = 1_000_000,
) -> "Results":
    """Score a checkpoint, or a method with its weights, on a corpus, as `voiceface test` does.

    Args:
        checkpoint: An installed checkpoint, a checkpoint folder, `hf://owner/name`, or a `voiceface.methods.Method`.
        corpus: Folder or address; None: the built-in synthetic corpus, made on first use.
        split: Split of the corpus.
        device: `cpu`, `cuda` or `cuda:1`.
        workers: Processes that read the corpus; None: one per core.
        on_error: What a damaged clip does.
        trials: Trials per score of a method that only compares candidates with each other, such as SVHF.

    Raises:
        UserError: There is no such checkpoint or corpus, one does not fit the other, or one is damaged.
    """
    recipe, training, method = "", None, checkpoint
    if isinstance(checkpoint, (str, Path)):
        from voiceface.checkpoints.find import find_checkpoint

        folder = find_checkpoint(checkpoint)
        from voiceface.checkpoints.weights import load_checkpoint, read_config, read_training

        method, recipe, training = load_checkpoint(folder), read_config(folder)["recipe"], read_training(folder)
    from voiceface.evaluation.view import Results
    from voiceface.methods.base import Method
    from voiceface.training.evaluate import evaluate

    if not isinstance(method, Method):
        raise UserError(f"{type(method).__name__}: give a checkpoint's name or folder, or a voiceface.methods.Method")
    root = None if corpus is None else str(corpus)
    options: dict[str, Any] = {"device": device, "workers": workers, "on_error": on_error, "trials": trials}
    return Results(evaluate(method, root, split, recipe=recipe, training=training, **options))


def score(
    voices: "NDArray[Any] | None",
    voice_identity: Sequence[str],
    faces: "NDArray[Any] | None",
    face_identity: Sequence[str],
    voice_keys: Sequence[str] | None = None,
    face_keys: Sequence[str] | None = None,
    identities: Mapping[str, Mapping[str, str]] | None = None,
    similarity: "Literal['cosine', 'euclidean'] | NDArray[Any]" = "cosine",
    name: str = "my model",
    level: float = 0.95,
) -> "Results":
    """Score embeddings of any model, as `voiceface score` does.

    Args:
        voices: float (Nv, D), finite; None where `similarity` is a matrix.
        voice_identity: Nv names: whose voice each is.
        faces: float (Nf, D), finite; None where `similarity` is a matrix.
        face_identity: Nf names, in the same spelling.
        voice_keys: Nv names of the clips, all different. Results are compared only where they are of the same clips.
            None: `voice 0`, `voice 1`, ...
        face_keys: Nf names, likewise.
        identities: Attributes (gender, nationality, age, ethnicity, first_language) of each identity; empty or
            missing = unknown. None: nothing is known.
        similarity: "cosine", "euclidean" (minus the distance) or a matrix (Nv, Nf), larger = more alike.
        name: What to call the model.
        level: Confidence level of the intervals, in (0, 1).

    Raises:
        UserError: Shapes disagree, a value is not finite, a vector is zero under cosine, or fewer than two people have
            both a voice and a face.

    Example:
        >>> import numpy as np, voiceface
        >>> rng = np.random.default_rng(0)
        >>> people = [f"person {i}" for i in range(10)]
        >>> centres = rng.normal(size=(10, 16))
        >>> noisy = centres + rng.normal(size=(10, 16))
        >>> results = voiceface.score(centres, people, noisy, people)
        >>> record = results.find("accuracy", "v2f")
        >>> round(record["value"], 3), record["chance"], record["identities"]
        (0.978, 0.5, 10)
    """
    import numpy as np

    from voiceface.evaluation.embeddings import checked
    from voiceface.evaluation.scoring import score_embeddings
    from voiceface.evaluation.view import Results

    raw: dict[str, Any] = {"similarity": similarity}
    for kind, rows, people, keys in (
        ("voice", voices, voice_identity, voice_keys),
        ("face", faces, face_identity, face_keys),
    ):
        if rows is not None:
            raw[f"{kind}s"] = np.asarray(rows)
        raw[f"{kind}_identity"] = np.asarray(people)
        raw[f"{kind}_key"] = np.asarray([f"{kind} {i}" for i in range(len(people))] if keys is None else keys)
    known = None if identities is None else {one: {"identity": one, **row} for one, row in identities.items()}
    return Results(score_embeddings(checked(raw, name), name, known, level=level, note=warnings.warn))


def _word(value: Any) -> str:
    """A value as an option's text on the command line."""
    if isinstance(value, (str, Path)):
        return str(value)
    return json.dumps(value)
