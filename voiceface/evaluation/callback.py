"""CrossModalMetrics, the one metrics callback.

It keeps the embeddings of an evaluation in a `CrossModalScores`, logs its scores and writes the result file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from voiceface.data.corpus.leaks import leaking_identities
from voiceface.data.corpus.shards import Corpus
from voiceface.data.stream.cached_rows import key_numbers
from voiceface.data.synthetic import log_likelihood_ratio
from voiceface.evaluation import results as result_file
from voiceface.evaluation.calibration import measure_calibration
from voiceface.evaluation.examples import method_examples
from voiceface.evaluation.metric import CrossModalScores
from voiceface.evaluation.network_scores import network_records
from voiceface.methods.base import Method
from voiceface.scores import score
from voiceface.utils.errors import UserError

LOGGED = {
    ("matching", "accuracy", "exact"),
    ("matching", "accuracy", "sampled"),
    ("retrieval", "mAP", "whole_split"),
    ("retrieval", "R@10", "whole_split"),
}


class EmbeddingTable:
    """The clips of one evaluation: embeddings in a metric, and beside it what only the end of a test asks for.

    Args:
        metric: Receives the embeddings. A clip's number there is a hash of its key, 63 bits long, so that every process
            knows it without a word to the others.
    """

    def __init__(self, metric: CrossModalScores) -> None:
        self.metric = metric
        self._clips: dict[str, list[tuple[str, int, tuple[float, ...] | None]]] = {"voice": [], "face": []}
        self._skipped = 0

    def add(self, outputs: Mapping[str, torch.Tensor], batch: Mapping[str, Any]) -> None:
        """Add a batch.

        Args:
            outputs: `voices` of shape (Nv, D) and `faces` of shape (Nf, D).
            batch: The batch that they come from.
        """
        self.metric.update(
            outputs["voices"],
            batch["voice_identity"],
            outputs["faces"],
            batch["face_identity"],
            torch.from_numpy(key_numbers(batch["voice_keys"])),
            torch.from_numpy(key_numbers(batch["face_keys"])),
        )
        for kind, clips in self._clips.items():
            identity = batch[f"{kind}_identity"].tolist()
            clips += zip(batch[f"{kind}_keys"], identity, batch[f"{kind}_observed"], strict=True)
        self._skipped += len(batch["skipped"])

    def gather_clips(self) -> dict[str, NDArray[Any]]:
        """All clips of all processes, without their embeddings, in the order of their keys.

        Returns:
            For `voice` and `face`: `_keys`, `_identity` int64 (n,) and, where every clip has it, `_observed` float64
            (n, traits); and the number of clips that each process `skipped`.
        """
        tables: list[Any] = [(self._clips, self._skipped)]
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            tables = [None] * dist.get_world_size()
            dist.all_gather_object(tables, (self._clips, self._skipped))
        joined: dict[str, NDArray[Any]] = {"skipped": np.array([skipped for _, skipped in tables])}
        for kind in ("voice", "face"):
            clips = {key: (number, seen) for table, _ in tables for key, number, seen in table[kind]}
            keys = sorted(clips)
            joined[f"{kind}_keys"] = np.array(keys, dtype=object)
            joined[f"{kind}_identity"] = np.array([clips[key][0] for key in keys], np.int64)
            observed = [clips[key][1] for key in keys]
            if observed and None not in observed:
                joined[f"{kind}_observed"] = np.array(observed)
        return joined

    def gather(self) -> dict[str, NDArray[Any]]:
        """`gather_clips`, and the embeddings in the same order: `voices` and `faces`, float32 (n, D)."""
        joined = self.gather_clips()
        for kind, clips in self.metric.clips().items():
            place = np.searchsorted(clips.number, key_numbers(joined[f"{kind}_keys"]))
            joined[f"{kind}s"] = clips.embeddings[place]
        return joined


class CrossModalMetrics(pl.Callback):
    """Score every evaluation and log the scores; after a test, keep them as `results` and write the result file.

    Args:
        out: Result file to write after a test; None: none.
        recipe: Name of the recipe, for the result file.
        level: Confidence level of the intervals, between 0 and 1.
        trials: Trials per direction, stratum and number of candidates in a test of a method that only compares
            candidates with each other, such as SVHF; all others are scored on every pair.
        validation_trials: The same in validation.
    """

    table: EmbeddingTable
    """The clips of the evaluation that runs, or ran last."""

    def __init__(
        self,
        out: str | None = None,
        recipe: str = "",
        level: float = 0.95,
        trials: int = 1_000_000,
        validation_trials: int = 50_000,
    ) -> None:
        for name, value in (("trials", trials), ("validation_trials", validation_trials)):
            if value < 1:
                raise UserError(f"--metrics.{name} {value}: must be 1 or more")
        self.out, self.recipe, self.level = out, recipe, level
        self.trials, self.validation_trials = trials, validation_trials
        self.results: dict[str, Any] | None = None
        self.training: Mapping[str, Any] | None = None

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start an empty table."""
        self._start(trainer, pl_module, trainer.val_dataloaders)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start an empty table."""
        self._start(trainer, pl_module, trainer.test_dataloaders)

    def on_predict_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start an empty table."""
        self._start(trainer, pl_module, trainer.predict_dataloaders)

    def _start(self, trainer: pl.Trainer, method: Any, loader: Any) -> None:
        metric = CrossModalScores(
            trainer.datamodule.corpus.identities,  # type: ignore[attr-defined]
            loader.batches.names,
            "euclidean" if method.space == "euclidean" else "cosine",
            level=self.level,
        )
        self.table = EmbeddingTable(metric.to(method.device))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the batch's embeddings."""
        self.table.add(outputs, batch)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score and log."""
        if not trainer.sanity_checking:
            self._score(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score, log, write the result file."""
        assert isinstance(pl_module, Method)
        scores = self._score(trainer, pl_module, "test")
        has_rows, calibration = pl_module.space != "relative", pl_module.calibration
        # All processes take part.
        gathered = self.table.gather() if has_rows or calibration else self.table.gather_clips()
        corpus: Corpus = trainer.datamodule.corpus  # type: ignore[attr-defined]
        split = trainer.datamodule.test_split  # type: ignore[attr-defined]
        self.results = describe(pl_module, self.recipe, corpus, split, gathered, scores, self.training)
        if curves := result_file.roc_curves(scores):
            self.results["roc"] = curves
        names = np.array(trainer.test_dataloaders.batches.names)  # type: ignore[union-attr]
        voice_people, face_people = (names[gathered[f"{kind}_identity"]].tolist() for kind in ("voice", "face"))
        self.results["data"]["people_sha256"] = result_file.people_hash(
            gathered["voice_keys"], voice_people, gathered["face_keys"], face_people
        )
        if calibration:
            self.results["calibration"] = measure_calibration(pl_module, gathered, calibration)
        if has_rows:
            self.results["examples"] = method_examples(pl_module, gathered, names)
        ideal = ideal_observer(corpus, gathered, names, self.level)
        if ideal is not None:
            self.results["ideal_observer"] = ideal
        if trainer.is_global_zero and self.out is not None:
            result_file.write_results(Path(self.out), self.results)

    def _score(self, trainer: pl.Trainer, method: Any, stage: Literal["val", "test"]) -> list[dict[str, Any]]:
        if method.space in ("cosine", "euclidean"):
            records = self.table.metric.records()
        else:
            loader: Any = trainer.val_dataloaders if stage == "val" else trainer.test_dataloaders
            corpus: Corpus = trainer.datamodule.corpus  # type: ignore[attr-defined]
            trials = self.validation_trials if stage == "val" else self.trials
            names = np.array(loader.batches.names)
            gathered, records = self.table.gather(), []
            if trainer.is_global_zero:
                records = network_records(method, gathered, names, corpus.identities, trials, self.level)
            records = trainer.strategy.broadcast(records)
        logged = {
            f"{record['metric']}_{record['direction']}_{record['stratum']}": float(record["value"])
            for record in records
            if (record["task"], record["metric"], record["protocol"]) in LOGGED
            and record["value"] is not None
            and (record["n"] == 2 if record["task"] == "matching" else record["stratum"] == "U")
        }
        trained = [logged[f"accuracy_{direction}_U"] for direction in method.directions]
        logged["accuracy"] = sum(trained) / len(trained)
        method.log_dict({f"{stage}/{name}": value for name, value in logged.items()}, rank_zero_only=False)
        return records


def ideal_observer(
    corpus: Corpus, gathered: Mapping[str, NDArray[Any]], names: NDArray[Any], level: float = 0.95
) -> list[dict[str, Any]] | None:
    """The best possible scores on a synthetic corpus.

    Args:
        corpus: The corpus.
        gathered: What `EmbeddingTable.gather_clips` gives.
        names: Identity names by number.
        level: Confidence level.

    Returns:
        Records as of `voiceface.scores.score`; None where the corpus does not say what an ideal observer knows.
    """
    made = corpus.description["plan"]["made_by"].get("synthetic")
    if made is None or "voice_observed" not in gathered:
        return None
    ratio = log_likelihood_ratio(gathered["voice_observed"], gathered["face_observed"], float(made["strength"]))
    return score(
        None,
        names[gathered["voice_identity"]].tolist(),
        None,
        names[gathered["face_identity"]].tolist(),
        identities=corpus.identities,
        similarity=ratio,
        level=level,
    )


def describe(
    method: pl.LightningModule,
    recipe: str,
    corpus: Corpus,
    split: str,
    gathered: Mapping[str, NDArray[Any]],
    scores: list[dict[str, Any]],
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put scores and what they are scores of into the result file's schema; `training`: what that took, if known."""
    assert isinstance(method, Method)
    leaking = leaking_identities(method.training_identities, corpus, split)
    people = {int(i) for kind in ("voice", "face") for i in gathered[f"{kind}_identity"]}
    return {
        "schema": result_file.SCHEMA,
        "model": {
            "recipe": recipe,
            "method": type(method).__name__,
            "arguments": dict(method.hparams),
            "parameters": method.count_parameters(),
            "directions": list(method.directions),
            "checkpoint": method.checkpoint_hash,
            "training_data": method.training_data,
        },
        "data": {
            "corpus": corpus.name,
            "version": corpus.version,
            "synthetic": "synthetic" in corpus.description["plan"]["made_by"],
            "clips_sha256": result_file.data_hash([*gathered["voice_keys"], *gathered["face_keys"]]),
            "split": split,
            "identities": len(people),
            "voices": len(gathered["voice_keys"]),
            "faces": len(gathered["face_keys"]),
            "skipped": int(gathered["skipped"].sum()),
            # People of this split whom the model was trained on; null where it is not known who they were.
            "leaking_identities": None if leaking is None else len(leaking),
        },
        **({} if training is None else {"training": dict(training)}),
        "environment": result_file.environment(),
        "scores": scores,
    }
