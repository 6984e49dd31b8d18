"""CrossModalMetrics, the one metrics callback.

It gathers the embeddings of an evaluation, calls the scores, logs them and writes the result file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from voiceface import results as result_file
from voiceface.data.shards import Corpus
from voiceface.data.synthetic import log_likelihood_ratio
from voiceface.method import Method
from voiceface.scores import score

LOGGED = {("matching", "accuracy", "exact"), ("retrieval", "mAP", "whole_split"), ("retrieval", "R@10", "whole_split")}


class EmbeddingTable:
    """Embeddings of one evaluation: both modalities, with identities, keys, and what an ideal observer knows."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Any]] = {}

    def add(self, outputs: Mapping[str, torch.Tensor], batch: Mapping[str, Any]) -> None:
        """Add a batch's embeddings.

        Args:
            outputs: `voices` of shape (Nv, D) and `faces` of shape (Nf, D).
            batch: The batch that they come from.
        """
        self._append("skipped", np.array([len(batch["skipped"])]))
        for kind in ("voice", "face"):
            if len(batch[f"{kind}_keys"]):
                self._append(f"{kind}s", outputs[f"{kind}s"].detach().float().cpu().numpy())
            self._append(f"{kind}_identity", batch[f"{kind}_identity"].cpu().numpy())
            self._append(f"{kind}_keys", np.array(batch[f"{kind}_keys"], dtype=object))
            if all(o is not None for o in batch[f"{kind}_observed"]) and batch[f"{kind}_observed"]:
                self._append(f"{kind}_observed", np.array(batch[f"{kind}_observed"]))

    def _append(self, name: str, value: NDArray[Any]) -> None:
        self._parts.setdefault(name, []).append(value)

    def gather(self) -> dict[str, NDArray[Any]]:
        """Join all batches of all processes, in the order of their keys; ranks may hold different numbers."""
        tables = [self._parts]
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            tables = [{} for _ in range(dist.get_world_size())]
            dist.all_gather_object(tables, self._parts)
        names = dict.fromkeys(name for table in tables for name in table)
        joined = {name: np.concatenate([part for table in tables for part in table.get(name, [])]) for name in names}
        for kind in ("voice", "face"):
            order = np.argsort(joined[f"{kind}_keys"].astype(str), kind="stable")
            for name in (f"{kind}s", f"{kind}_identity", f"{kind}_keys", f"{kind}_observed"):
                if name in joined:
                    joined[name] = joined[name][order]
        return joined


class CrossModalMetrics(pl.Callback):
    """Score every evaluation and log the scores; after a test, keep them as `results` and write the result file.

    Args:
        out: Result file to write after a test; None: none.
        recipe: Name of the recipe, for the result file.
        level: Confidence level of the intervals, between 0 and 1.
    """

    def __init__(self, out: str | None = None, recipe: str = "", level: float = 0.95) -> None:
        self.out, self.recipe, self.level = out, recipe, level
        self.table = EmbeddingTable()
        self.results: dict[str, Any] | None = None

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start an empty table."""
        self.table = EmbeddingTable()

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start

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
        split = trainer.datamodule.test_split  # type: ignore[attr-defined]
        scores, gathered = self._score(trainer, pl_module, "test")
        corpus: Corpus = trainer.datamodule.corpus  # type: ignore[attr-defined]
        self.results = describe(pl_module, self.recipe, corpus, split, gathered, scores)
        ideal = ideal_observer(corpus, gathered, _names(trainer, "test"), self.level)
        if ideal is not None:
            self.results["ideal_observer"] = ideal
        if trainer.is_global_zero and self.out is not None:
            result_file.write_results(Path(self.out), self.results)

    def _score(
        self, trainer: pl.Trainer, method: Any, stage: str
    ) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
        gathered = self.table.gather()
        names = _names(trainer, stage)
        records = score(
            gathered["voices"],
            names[gathered["voice_identity"]].tolist(),
            gathered["faces"],
            names[gathered["face_identity"]].tolist(),
            identities=trainer.datamodule.corpus.identities,  # type: ignore[attr-defined]
            similarity=method.space,
            level=self.level,
        )
        logged = {
            f"{record['metric']}_{record['direction']}_{record['stratum']}": float(record["value"])
            for record in records
            if (record["task"], record["metric"], record["protocol"]) in LOGGED
            and record["value"] is not None
            and (record["task"] != "matching" or record["n"] == 2)
        }
        logged["accuracy"] = (logged["accuracy_v2f_U"] + logged["accuracy_f2v_U"]) / 2
        method.log_dict({f"{stage}/{name}": value for name, value in logged.items()}, rank_zero_only=False)
        return records, gathered


def _names(trainer: pl.Trainer, stage: str) -> NDArray[Any]:
    loader = trainer.val_dataloaders if stage == "val" else trainer.test_dataloaders
    return np.array(loader.batches.names)  # type: ignore[union-attr]


def ideal_observer(
    corpus: Corpus, gathered: Mapping[str, NDArray[Any]], names: NDArray[Any], level: float = 0.95
) -> list[dict[str, Any]] | None:
    """The best possible scores on a synthetic corpus.

    Args:
        corpus: The corpus.
        gathered: A gathered `EmbeddingTable`.
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
) -> dict[str, Any]:
    """Put scores and what they are scores of into the result file's schema."""
    assert isinstance(method, Method)
    people = {int(i) for kind in ("voice", "face") for i in gathered[f"{kind}_identity"]}
    return {
        "schema": result_file.SCHEMA,
        "model": {
            "recipe": recipe,
            "method": type(method).__name__,
            "arguments": dict(method.hparams),
            "parameters": sum(p.numel() for p in method.parameters()),
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
        },
        "environment": result_file.environment(),
        "scores": scores,
    }
