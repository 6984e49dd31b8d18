"""CrossModalMetrics, the only metrics callback.

It collects the embeddings of an evaluation in an `EvaluationTable`, logs the scores and writes the result file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from numpy.typing import NDArray

from voiceface.data.corpus.leaks import leaking_identities
from voiceface.data.corpus.shards import Corpus
from voiceface.data.synthetic import log_likelihood_ratio
from voiceface.evaluation import results as result_file
from voiceface.evaluation.calibration import measure_calibration
from voiceface.evaluation.evaluation_table import KINDS, EvaluationTable
from voiceface.evaluation.examples import method_examples
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


class CrossModalMetrics(pl.Callback):
    """Score every evaluation and log the scores; after a test, store them in `results` and write the result file.

    Args:
        out: Result file to write after a test; None: no file.
        recipe: Name of the recipe, for the result file.
        level: Confidence level of the intervals, between 0 and 1.
        trials: Trials per direction, stratum and number of candidates when testing a method that only compares
            candidates with each other, such as SVHF; all others are scored on every pair.
        validation_trials: The same for validation.
    """

    table: EvaluationTable
    """The clips of the current or last evaluation."""

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
        self._start(trainer.val_dataloaders)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start an empty table."""
        self._start(trainer.test_dataloaders)

    def on_predict_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start an empty table."""
        self._start(trainer.predict_dataloaders)

    def _start(self, loader: Any) -> None:
        self.table = EvaluationTable(loader.batches.names)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the batch's embeddings to the table."""
        self.table.add(outputs, batch)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute and log the scores."""
        if not trainer.sanity_checking:
            self._score(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute and log the scores and write the result file."""
        assert isinstance(pl_module, Method)
        scores = self._score(trainer, pl_module, "test")
        gathered = self.table.gather()
        corpus: Corpus = trainer.datamodule.corpus  # type: ignore[attr-defined]
        self.results = {
            "schema": result_file.SCHEMA,
            "model": model_section(pl_module, self.recipe),
            "data": data_section(pl_module, corpus, trainer.datamodule.test_split, gathered),  # type: ignore[attr-defined]
            **({} if self.training is None else {"training": dict(self.training)}),
            "environment": result_file.environment(),
            "scores": scores,
        }
        if curves := result_file.roc_curves(scores):
            self.results["roc"] = curves
        if pl_module.calibration:
            self.results["calibration"] = measure_calibration(pl_module, gathered, pl_module.calibration)
        if pl_module.space != "relative":
            self.results["examples"] = method_examples(pl_module, gathered)
        ideal = ideal_observer(corpus, gathered, self.level)
        if ideal is not None:
            self.results["ideal_observer"] = ideal
        if trainer.is_global_zero and self.out is not None:
            result_file.write_results(Path(self.out), self.results)

    def _score(self, trainer: pl.Trainer, method: Any, stage: Literal["val", "test"]) -> list[dict[str, Any]]:
        identities = trainer.datamodule.corpus.identities  # type: ignore[attr-defined]
        gathered, records = self.table.gather(), []
        if method.space in ("cosine", "euclidean"):
            records = score(
                gathered["voices"],
                gathered["voice_people"].tolist(),
                gathered["faces"],
                gathered["face_people"].tolist(),
                identities=identities,
                similarity=method.space,
                level=self.level,
            )
        else:
            if trainer.is_global_zero:
                trials = self.validation_trials if stage == "val" else self.trials
                records = network_records(method, gathered, identities, trials, self.level)
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
    corpus: Corpus, gathered: Mapping[str, NDArray[Any]], level: float = 0.95
) -> list[dict[str, Any]] | None:
    """Compute the best possible scores on a synthetic corpus.

    Args:
        corpus: The corpus.
        gathered: Result of `EvaluationTable.gather`.
        level: Confidence level.

    Returns:
        Records of `voiceface.scores.score`; None if the corpus lacks the ideal observer's information.
    """
    made = corpus.description["plan"]["made_by"].get("synthetic")
    if made is None or "voice_observed" not in gathered:
        return None
    ratio = log_likelihood_ratio(gathered["voice_observed"], gathered["face_observed"], float(made["strength"]))
    return score(
        None,
        gathered["voice_people"].tolist(),
        None,
        gathered["face_people"].tolist(),
        identities=corpus.identities,
        similarity=ratio,
        level=level,
    )


def model_section(method: Method, recipe: str) -> dict[str, Any]:
    """Build the result file's section on the model."""
    return {
        "recipe": recipe,
        "method": type(method).__name__,
        "arguments": dict(method.hparams),
        "parameters": method.count_parameters(),
        "directions": list(method.directions),
        "checkpoint": method.checkpoint_hash,
        "training_data": method.training_data,
    }


def data_section(method: Method, corpus: Corpus, split: str, gathered: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Build the result file's section on the data: clips, people, and which people the method was trained on."""
    leaking = leaking_identities(method.training_identities, corpus, split)
    voice_keys, face_keys = gathered["voice_keys"], gathered["face_keys"]
    voice_people, face_people = (gathered[f"{kind}_people"].tolist() for kind in KINDS)
    return {
        "corpus": corpus.name,
        "version": corpus.version,
        "synthetic": "synthetic" in corpus.description["plan"]["made_by"],
        "clips_sha256": result_file.data_hash([*voice_keys, *face_keys]),
        "split": split,
        "identities": len({*voice_people, *face_people}),
        "voices": len(voice_keys),
        "faces": len(face_keys),
        "skipped": int(gathered["skipped"].sum()),
        # Number of people of this split on whom the model was trained; null if unknown.
        "leaking_identities": None if leaking is None else len(leaking),
        "people_sha256": result_file.people_hash(voice_keys, voice_people, face_keys, face_people),
    }
