"""The loader: sized, resumable, with workers that hold no state."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from voiceface.data.stream.batches import Batch, EvaluationBatches, TrainingBatches
from voiceface.utils.errors import UserError
from voiceface.utils.processes import begin_worker

log = logging.getLogger(__name__)

MAX_SKIPPED = 0.01  # and never fewer than ten clips: one per cent of a first batch is no clip at all


class _Endless(Sampler[tuple[int, int]]):
    """(epoch, step) from a given number of served batches on, without end."""

    def __init__(self, steps: int, served: int) -> None:
        self.steps, self.served = steps, served

    def __iter__(self) -> Iterator[tuple[int, int]]:
        served = self.served
        while True:
            yield divmod(served, self.steps)
            served += 1


def _pack(batch: Batch) -> Batch:
    """In a worker: identities and lengths as arrays. Each tensor costs the other process a connection of its own."""
    return {name: value.numpy() if _is_small(value) else value for name, value in batch.items()}


def _is_small(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.int64


def _unpack(batch: Batch) -> Batch:
    return {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in batch.items()}


class Loader:
    """A sized, resumable loader over `TrainingBatches` or `EvaluationBatches`.

    Workers live as long as the loader and hold no state. The training order goes on from pass to pass; an evaluation
    pass is finite.

    Args:
        batches: What to load.
        workers: Worker processes; 0 loads in this process.
        start_method: `fork`, `spawn`, `forkserver` or None for Python's default.
        pin_memory: Copy batches to page-locked memory, for a GPU.
        rank: This process among `world`, for evaluation.
        world: Number of processes, for evaluation.
        order: Numbers of the batches to load, for evaluation; None: every `world`-th.
    """

    def __init__(
        self,
        batches: TrainingBatches | EvaluationBatches,
        workers: int = 0,
        start_method: str | None = None,
        pin_memory: bool = False,
        rank: int = 0,
        world: int = 1,
        order: Iterable[int] | None = None,
    ) -> None:
        self.batches = batches
        self._options: dict[str, Any] = {"batch_size": None, "num_workers": workers, "pin_memory": pin_memory}
        self._options["collate_fn"] = _pack
        if workers:
            self._options |= {"multiprocessing_context": start_method, "prefetch_factor": 4, "persistent_workers": True}
            self._options["worker_init_fn"] = begin_worker(start_method)
        # A rank without a batch of its own gets an empty one: collectives after the evaluation need every rank.
        self._mine = None if isinstance(batches, TrainingBatches) else range(rank, max(len(batches), world), world)
        self._order = self._mine if order is None else order
        self._loader: DataLoader[Batch] | None = None
        self._iterator: Iterator[Batch] | None = None
        self.served = 0
        self.skipped = 0
        self.waited = 0.0  # seconds that training has spent in waiting for its next batch
        self._seen = 0

    def __len__(self) -> int:
        return self.batches.steps if isinstance(self.batches, TrainingBatches) else len(self._mine or ())

    def state_dict(self) -> dict[str, int]:
        """The state to resume from: batches served."""
        return {"served": self.served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after `state["served"]` batches."""
        self.served = state["served"]
        self._iterator = None

    def close(self) -> None:
        """End the workers now: the garbage collector would wait for each of them 5 seconds in vain."""
        for iterator in (self._iterator, getattr(self._loader, "_iterator", None)):
            shut_down = getattr(iterator, "_shutdown_workers", None)
            if shut_down is not None:
                shut_down()
        self._iterator = self._loader = None

    def __iter__(self) -> Iterator[Batch]:
        if self._mine is None:
            if self._iterator is None:
                endless = _Endless(self.batches.steps, self.served)  # type: ignore[union-attr]
                self._iterator = iter(DataLoader(self.batches, sampler=endless, **self._options))
            for _ in range(len(self)):
                began = time.perf_counter()
                batch = next(self._iterator)
                self.waited += time.perf_counter() - began
                self.served += 1
                yield self._checked(batch)
        else:
            if self._loader is None:
                self._loader = DataLoader(self.batches, sampler=self._order, **self._options)
            self.skipped = self._seen = 0
            for batch in self._loader:
                yield self._checked(batch)

    def _checked(self, batch: Batch) -> Batch:
        """Stop at an error that a worker met, and end the workers; name, count and bound what it skipped."""
        try:
            return self._counted(batch)
        except UserError:
            self.close()
            raise

    def _counted(self, batch: Batch) -> Batch:
        if "mistake" in batch:
            raise UserError(f"{self.batches.corpus.root}: {batch['mistake']}")
        if "error" in batch:
            raise UserError(
                f"{self.batches.corpus.root}: {batch['error']}; run `voiceface check` on it, or leave damaged clips "
                "out (fit: --data.on_error skip and --data.evaluation_on_error skip; test, embed: --on-error skip)"
            )
        self._seen += len(batch["voice_keys"]) + len(batch["face_keys"]) + len(batch["skipped"])
        for what, clips in Counter[str](batch["skipped"]).items():
            log.warning("skipped: %s%s", what, f" ({clips} clips)" if clips > 1 else "")
        self.skipped += len(batch["skipped"])
        if self.skipped > max(MAX_SKIPPED * self._seen, 10):
            raise UserError(
                f"{self.batches.corpus.root}: {self.skipped} of {self._seen} clips are damaged, more than "
                f"{MAX_SKIPPED:.0%}; run `voiceface check` on it"
            )
        return _unpack(batch)
