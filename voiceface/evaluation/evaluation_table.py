"""EvaluationTable: the clips of one evaluation, gathered once from all processes for everything that uses them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

KINDS = ("voice", "face")


class EvaluationTable:
    """Embeddings, keys and identities of the clips that this process evaluates.

    Args:
        names: Identity names by number.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = np.array(names)
        self._clips: dict[str, list[tuple[str, int, tuple[float, ...] | None]]] = {kind: [] for kind in KINDS}
        self._embeddings: dict[str, list[torch.Tensor]] = {kind: [] for kind in KINDS}
        self._skipped = 0
        self._gathered: dict[str, NDArray[Any]] | None = None

    def add(self, outputs: Mapping[str, torch.Tensor], batch: Mapping[str, Any]) -> None:
        """Add a batch.

        Args:
            outputs: `voices` of shape (Nv, D) and `faces` of shape (Nf, D).
            batch: The batch behind them.
        """
        for kind in KINDS:
            identity = batch[f"{kind}_identity"].tolist()
            self._clips[kind] += zip(batch[f"{kind}_keys"], identity, batch[f"{kind}_observed"], strict=True)
            self._embeddings[kind].append(outputs[f"{kind}s"].detach().float())
        self._skipped += len(batch["skipped"])

    def gather(self) -> dict[str, NDArray[Any]]:
        """Gather the clips of all processes, each once, in the order of their keys; all processes must call this.

        Returns:
            For `voice` and `face`: embeddings as `voices` and `faces`, float32 (n, D); `_keys` and `_people`, the names
            of the identities, both (n,); `_identity`, their numbers, int64 (n,); if every clip has it, `_observed`
            float64 (n, traits). Also `skipped`, the number of clips skipped by each process.
        """
        if self._gathered is None:
            embeddings = {kind: _joined([part.cpu().numpy() for part in self._embeddings[kind]]) for kind in KINDS}
            tables: list[Any] = [(self._clips, embeddings, self._skipped)]
            if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
                own, tables = tables[0], [None] * dist.get_world_size()
                dist.all_gather_object(tables, own)
            self._gathered = {"skipped": np.array([skipped for _, _, skipped in tables])}
            for kind in KINDS:
                clips = [clip for table, _, _ in tables for clip in table[kind]]
                places = {key: place for place, (key, _, _) in enumerate(clips)}
                keys = sorted(places)
                kept = [places[key] for key in keys]
                self._gathered |= {
                    f"{kind}s": _joined([table[kind] for _, table, _ in tables])[kept],
                    f"{kind}_keys": np.array(keys, dtype=object),
                    f"{kind}_identity": np.array([clips[place][1] for place in kept], np.int64),
                }
                self._gathered[f"{kind}_people"] = self.names[self._gathered[f"{kind}_identity"]]
                observed = [clips[place][2] for place in kept]
                if observed and None not in observed:
                    self._gathered[f"{kind}_observed"] = np.array(observed)
        return self._gathered


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Concatenate all rows; a process without a batch does not know the number of columns."""
    return np.concatenate([part for part in parts if len(part)] or [np.empty((0, 0), np.float32)])
