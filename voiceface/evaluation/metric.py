"""CrossModalScores: the scores of voice-face association as a torchmetrics metric, for any training loop."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

from voiceface.scores import score
from voiceface.scores.matching_n import CANDIDATES
from voiceface.utils.errors import UserError

UNKNOWN = -1  # index of a clip without one


class CrossModalScores(Metric):
    """Matching, verification and retrieval of voices and faces, exact, by `voiceface.scores.score`.

    `update` stores embeddings; `compute` gathers them from all processes, once, and scores them. Processes may have
    different numbers of clips, or none. With clip indices the scores are bit-identical on any number of processes, and
    a repeated clip, as from a `DistributedSampler`, counts once. Call `update`, not the metric itself: calling the
    metric would also score the single batch, which may have too few people.

    Args:
        identities: Attributes (gender, nationality, age, ethnicity, first_language) of each identity, by name; empty or
            missing = unknown. None: all unknown.
        names: Name of each identity number, as a list or a mapping. None: the number itself, as text.
        similarity: How embeddings are compared: "cosine", or "euclidean" (the negative distance).
        strata: Names of strata (see `voiceface.scores.strata`); None: U and those whose attributes are known.
        level: Confidence level of the intervals, in (0, 1).
        candidates: The N of 1:N matching.

    Raises:
        UserError: The similarity is unknown.

    Example:
        >>> import torch
        >>> metric = CrossModalScores(names=["ann", "ben", "cem"])
        >>> who = torch.tensor([0, 1, 2])
        >>> metric.update(torch.eye(3), who, torch.eye(3) + 0.1, who)
        >>> float(metric.compute()["accuracy_v2f_U"])
        1.0
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True  # except for EER and the median rank

    voice_embeddings: list[Tensor]
    voice_identity: list[Tensor]
    voice_index: list[Tensor]
    face_embeddings: list[Tensor]
    face_identity: list[Tensor]
    face_index: list[Tensor]

    def __init__(
        self,
        identities: Mapping[str, Mapping[str, str]] | None = None,
        names: Sequence[str] | Mapping[int, str] | None = None,
        similarity: Literal["cosine", "euclidean"] = "cosine",
        strata: Sequence[str] | None = None,
        level: float = 0.95,
        candidates: Sequence[int] = CANDIDATES,
    ) -> None:
        super().__init__()
        if similarity not in ("cosine", "euclidean"):
            raise UserError(f"similarity: {similarity!r} is not known; use cosine or euclidean")
        self.identities = identities
        self.names = names if names is None or isinstance(names, Mapping) else dict(enumerate(names))
        self.similarity, self.strata, self.level, self.candidates = similarity, strata, level, candidates
        self._records: list[dict[str, Any]] = []
        for kind in ("voice", "face"):
            for state in ("embeddings", "identity", "index"):
                self.add_state(f"{kind}_{state}", [], dist_reduce_fx="cat")

    def update(
        self,
        voices: Tensor,
        voice_identity: Tensor,
        faces: Tensor,
        face_identity: Tensor,
        voice_index: Tensor | None = None,
        face_index: Tensor | None = None,
    ) -> None:
        """Add a batch. Either modality, or both, may be empty.

        Args:
            voices: float (Nv, D), of any precision; kept as float32.
            voice_identity: integers (Nv,): number of each voice's identity.
            faces: float (Nf, D), likewise.
            face_identity: integers (Nf,), in the numbers of `voice_identity`.
            voice_index: integers (Nv,), at least 0: each voice's index in the whole evaluation, such as its position in
                the data set. It determines the order, and of voices with the same index only one counts. None: all
                count, in the order of the processes and of arrival.
            face_index: integers (Nf,), likewise; faces are indexed separately.

        Raises:
            UserError: Shapes do not match.
        """
        self._keep("voice", voices, voice_identity, voice_index)
        self._keep("face", faces, face_identity, face_index)

    def _keep(self, kind: str, embeddings: Tensor, identity: Tensor, index: Tensor | None) -> None:
        if index is None:
            index = torch.full((len(identity),), UNKNOWN)
        if identity.ndim != 1 or len(embeddings) != len(identity) or index.shape != identity.shape:
            shapes = ", ".join(str(tuple(part.shape)) for part in (embeddings, identity, index))
            raise UserError(f"{kind}s: embeddings, identity and index of shapes {shapes}; give one row per {kind}")
        if not len(embeddings):
            return
        if embeddings.ndim != 2:
            raise UserError(f"{kind}s: embeddings of shape {tuple(embeddings.shape)}; give (N, D)")
        getattr(self, f"{kind}_embeddings").append(embeddings.detach().to(self.device, torch.float32))
        getattr(self, f"{kind}_identity").append(identity.to(self.device, torch.int64))
        getattr(self, f"{kind}_index").append(index.to(self.device, torch.int64))

    def compute(self) -> dict[str, Tensor]:
        """Score all clips of all processes; every process must call it and gets the same values.

        Returns:
            Scalars by name, ready for logging: `accuracy_v2f_U` (1:2, identity-balanced), `AUC_U`, `EER_U`, `mAP_v2f`
            (in U; `mAP_v2f_G` in another stratum), `R@1_v2f`, `median_rank_v2f`, ... Scores that do not exist are left
            out; `records` has the others, such as 1:N.

        Raises:
            UserError: Fewer than two identities have both modalities, an embedding is not finite, or
                `voiceface.scores.score` rejects the input.
        """
        self._records = score(
            *self._clips("voice"),
            *self._clips("face"),
            identities=self.identities,
            similarity=self.similarity,
            strata=self.strata,
            level=self.level,
            candidates=self.candidates,
        )
        values = {_name(record): record["value"] for record in self._records if _is_logged(record)}
        return {name: torch.tensor(float(value), device=self.device) for name, value in values.items()}

    def records(self) -> list[dict[str, Any]]:
        """Return every score with its interval, chance and counts, as from `voiceface.scores.score`.

        Computes the scores if `compute` has not yet, so all processes must call it.
        """
        self.compute()
        return self._records

    def _clips(self, kind: str) -> tuple[NDArray[np.float32], list[str]]:
        """Return embeddings and names of identities: one per index, in index order, then clips without an index."""
        number = self._joined(f"{kind}_index")
        numbered = np.flatnonzero(number != UNKNOWN)
        first = numbered[np.unique(number[numbered], return_index=True)[1]]
        kept = np.concatenate([first, np.flatnonzero(number == UNKNOWN)])
        return self._joined(f"{kind}_embeddings")[kept], self._named(self._joined(f"{kind}_identity")[kept], kind)

    def _joined(self, state: str) -> NDArray[Any]:
        parts = getattr(self, state)  # a single tensor once the processes are gathered
        joined: Tensor = dim_zero_cat(parts) if len(parts) else _nothing(state)
        return joined.cpu().numpy()

    def _named(self, numbers: NDArray[np.int64], kind: str) -> list[str]:
        if self.names is None:
            return [str(number) for number in numbers.tolist()]
        try:
            return [self.names[number] for number in numbers.tolist()]
        except KeyError as error:
            raise UserError(f"{kind}_identity: number {error} is not among the {len(self.names)} names") from None

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any = None) -> None:
        """Gather the states of all processes.

        In torchmetrics a process without a clip contributes an empty float vector, even if the others have a matrix or
        integers; gathering the shapes then fails or mixes them up. Here it contributes an empty tensor of the right
        type and number of dimensions, which is dropped from the result.
        """

        def gather(part: Tensor, group: Any = None) -> list[Tensor]:
            parts = dist_sync_fn(part, group=group)
            return [p for p in parts if len(p)] or [part]

        for state in self._reductions:
            if not len(getattr(self, state)):
                setattr(self, state, [_nothing(state).to(self.device)])
        super()._sync_dist(gather, process_group)


def _nothing(state: str) -> Tensor:
    return torch.empty(0, 0) if state.endswith("embeddings") else torch.empty(0, dtype=torch.int64)


def _is_logged(record: Mapping[str, Any]) -> bool:
    one_of_many = record["task"] == "matching" and record["n"] != 2
    return record["value"] is not None and record["protocol"] in ("exact", "whole_split") and not one_of_many


def _name(record: Mapping[str, Any]) -> str:
    """Name a logged score by what distinguishes it from the others."""
    direction = "" if record["direction"] == "both" else f"_{record['direction']}"
    stratum = "" if record["task"] == "retrieval" and record["stratum"] == "U" else f"_{record['stratum']}"
    return f"{record['metric']}{direction}{stratum}"
