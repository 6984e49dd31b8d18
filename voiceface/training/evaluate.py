"""Evaluation of a method on a split of a corpus, outside a training."""

from collections.abc import Mapping
from typing import Any, Literal

import pytorch_lightning as pl

from voiceface.data.module import VoxVGGDataModule
from voiceface.evaluation.callback import CrossModalMetrics
from voiceface.methods.base import Method
from voiceface.training.fit import quiet
from voiceface.training.progress_bar import RunBar


def evaluator(metrics: CrossModalMetrics, device: str = "cpu") -> pl.Trainer:
    """A trainer that tests or embeds on one device, and logs and keeps nothing.

    Args:
        metrics: Scores the test, or keeps the embeddings.
        device: `cpu`, `cuda` or `cuda:1`.
    """
    quiet()
    kind, _, number = device.partition(":")
    return pl.Trainer(
        accelerator="cpu" if kind == "cpu" else "gpu",
        devices=[int(number)] if number else 1,
        logger=False,
        callbacks=[metrics, RunBar()],
        enable_checkpointing=False,
        enable_model_summary=False,
    )


def evaluate(
    method: Method,
    corpus: str | None = None,
    split: str = "test",
    *,
    recipe: str = "",
    training: Mapping[str, Any] | None = None,
    device: str = "cpu",
    workers: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    trials: int = 1_000_000,
) -> dict[str, Any]:
    """Score a method on a split of a corpus.

    Args:
        method: A method with its weights.
        corpus: Folder or address; None: the built-in synthetic corpus, made on first use.
        split: train, val or test.
        recipe: Name of the recipe, for the result.
        training: What the training took, for the result; None: not known.
        device: `cpu`, `cuda` or `cuda:1`.
        workers: Processes that read the corpus; None: one per core.
        on_error: What a damaged clip does: `stop` or `skip`.
        trials: Trials per score of a method that only compares candidates with each other, such as SVHF.

    Returns:
        The content of a result file.

    Raises:
        UserError: There is no such corpus, it does not fit the method, or it is damaged.
    """
    data = VoxVGGDataModule(corpus, workers=workers, evaluation_on_error=on_error)
    data.test_split = split
    metrics = CrossModalMetrics(recipe=recipe, trials=trials)
    metrics.training = training
    evaluator(metrics, device).test(method.eval(), datamodule=data, verbose=False)
    assert metrics.results is not None
    return metrics.results
