"""The counts of `matching` and the curve of `verification` on a torch device, for tables too large for a CPU.

Rows of the similarity matrix are computed and counted a block at a time, so memory grows with a block and never with
the matrix. Counts are integers, as on the CPU; only the similarities may differ in the last bit from those of another
device, whose matrix product adds in another order. Products use full float32 (no TF32), whatever the process has set.
Only code that needs this module imports it: no other part of the scores needs torch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voiceface.scores.matching import Counts
from voiceface.scores.retrieval import Ranks, summarise_ranks
from voiceface.scores.roc import Curve
from voiceface.scores.similarity import directions, distinct_rows
from voiceface.utils.errors import UserError

CELLS = 1 << 20  # of the verification histogram; float32 cosines have about 2^24 values
MOST_SCORES = 1 << 28  # similarities in a block: more is no faster, and row numbers of its histogram fit int32
BYTES_PER_SCORE = 24  # peak memory of a block, with a margin
CPU_SCORES = 1 << 22
INT32_END = 1 << 31

DeviceRows = Callable[[slice], Tensor]


@torch.no_grad()
def count_on_device(
    queries: NDArray[Any],
    gallery: NDArray[Any],
    query_identity: NDArray[np.int64],
    gallery_sizes: NDArray[np.int64],
    similarity: str = "cosine",
    device: str | torch.device = "cuda",
    block: int | None = None,
) -> tuple[Counts, Ranks]:
    """Count the wins and ties of all triplets of one direction, and rank all relevant items, in one pass.

    For each query the similarities of its own identity's items are sorted, and the rank of every gallery item among
    them is found by binary search; sums over an identity are differences of a running sum.

    Args:
        queries: float (Q, D), finite; without zero vectors for cosine.
        gallery: float (N, D), likewise, grouped by identity.
        query_identity: int64 (Q,), ascending: each query's identity; all of 0 .. I - 1 occur.
        gallery_sizes: int64 (J,), J >= I: gallery items of each identity, at least 1 for the first I.
        similarity: "cosine" or "euclidean".
        device: A torch device with float64 for "euclidean": `cuda`, `cuda:1`, `cpu`.
        block: Queries at a time, at most 2^28 similarities; None: as many as half of the device's free memory holds.

    Returns:
        The counts of `matching.count`, and the ranks of `ranking.rank` over the whole gallery. Device memory: both
        tables, and about 16 bytes x block x N.

    Raises:
        UserError: Tables and identities do not match, or the similarity is unknown.
    """
    place = torch.device(device)
    _check(queries, gallery, query_identity, gallery_sizes)
    rows, _ = _similarities(queries, gallery, similarity, place)
    identities, items = int(query_identity[-1]) + 1, len(gallery)
    sizes = torch.from_numpy(gallery_sizes).to(place)
    ends = sizes.cumsum(0)
    own_of = torch.from_numpy(query_identity).to(place)
    most = int(gallery_sizes[:identities].max())
    # The running sum of one row of places ends below items x most.
    sum_type = torch.int32 if items * most < INT32_END else torch.int64
    beaten = torch.zeros(2, identities, len(gallery_sizes), dtype=torch.int64, device=place)
    ranks = Ranks.empty(gallery_sizes[query_identity], items)

    for span in _spans(len(queries), items, place, block):
        scores, own = rows(span), own_of[span]
        relevant = sizes[own]
        columns = torch.arange(int(relevant.max()), device=place)
        mine = (ends[own] - relevant)[:, None] + columns
        positives = scores.gather(1, mine.clamp_(max=items - 1))
        positives.masked_fill_(columns >= relevant[:, None], torch.inf)
        positives = positives.sort(dim=1).values
        higher = []
        for side, strictly in enumerate((True, False)):
            # relevant items at or below each item (the others are wins), then those strictly below it
            found = torch.searchsorted(positives, scores, right=strictly, out_int32=True)
            higher.append(_irrelevant_above(found, positives, relevant, right=strictly))
            sums = found.cumsum_(1) if sum_type == torch.int32 else found.cumsum(1, dtype=sum_type)
            sums = sums[:, ends - 1].to(torch.int64)
            per_identity = sums.diff(dim=1, prepend=sums.new_zeros(len(sums), 1))
            beaten[side].index_add_(0, own, relevant[:, None] * sizes - per_identity)
            del found, sums
        best_first = (relevant[:, None] - 1 - columns).clamp_(min=0)
        at_or_above, above = (side.gather(1, best_first) for side in higher)
        summarise_ranks(
            above.cpu().numpy(), (at_or_above - above).cpu().numpy(), ranks, np.arange(span.start, span.stop)
        )
    for side in beaten:
        side[:, :identities].fill_diagonal_(0)
    wins, at_least = beaten.cpu().numpy()
    pairs = np.bincount(query_identity) * gallery_sizes[:identities]
    return Counts(wins, at_least - wins, pairs, gallery_sizes), ranks


def _irrelevant_above(found: Tensor, positives: Tensor, relevant: Tensor, right: bool) -> Tensor:
    """Count the irrelevant items above each sorted relevant one (B, R): an item is above those at or below it."""
    bins = positives.shape[1] + 1
    row = torch.arange(len(found), dtype=torch.int32, device=found.device)[:, None]
    places = torch.bincount((found + row * bins).view(-1), minlength=len(found) * bins).view(-1, bins)
    all_above = found.shape[1] - places.cumsum(1)[:, :-1]
    # Number of relevant items above (or level with) each relevant one.
    relevant_above = relevant[:, None] - torch.searchsorted(positives, positives, right=not right)
    return all_above - relevant_above


@torch.no_grad()
def verify_on_device(
    voices: NDArray[Any],
    faces: NDArray[Any],
    voice_identity: NDArray[np.int64],
    face_counts: NDArray[np.int64],
    similarity: str = "cosine",
    device: str | torch.device = "cuda",
    block: int | None = None,
    cells: int = CELLS,
) -> Curve:
    """The ROC over all pairs of people (stratum U), from a histogram of the similarities of all pairs of clips.

    Weights are those of `verification.verify`. Positives and negatives in the same cell count as ties; the curve's
    bound says how far that may move AUC and EER.

    Args:
        voices: float (Nv, D), finite; without zero vectors for cosine.
        faces: float (Nf, D), likewise, grouped by identity.
        voice_identity: int64 (Nv,), ascending: each voice's identity; all of 0 .. I - 1 occur.
        face_counts: int64 (J,), J >= I: faces of each identity, at least 1 for the first I; the rest are unused.
        similarity: "cosine" or "euclidean".
        device: A torch device.
        block: Voices at a time, at most 2^28 similarities; None: as many as half of the device's free memory holds.
        cells: Cells C of the histogram; more cells reduce the error.

    Returns:
        The curve. A GPU adds fractions in no fixed order: the last digits of a weight may vary.

    Raises:
        UserError: Tables and identities do not match, or the similarity is unknown.
    """
    place = torch.device(device)
    _check(voices, faces, voice_identity, face_counts)
    face_counts = face_counts[: int(voice_identity[-1]) + 1]
    starts = np.concatenate([[0], np.cumsum(face_counts)]).tolist()
    used = starts[-1]
    rows, low = _similarities(voices, faces[:used], similarity, place)
    high = 1.0 if similarity == "cosine" else 0.0
    voice_weights = (1.0 / np.bincount(voice_identity)).tolist()
    face_weights = torch.from_numpy(np.repeat(1.0 / face_counts, face_counts)).to(place)
    # A cell is a gap between two similarities; the curve also has a place for each similarity, which stays empty.
    positives, negatives = torch.zeros(2, 2 * cells - 1, dtype=torch.float64, device=place)
    for span in _spans(len(voices), used, place, block):
        scores = rows(span).sub_(low).mul_(cells / max(high - low, 1e-30)).clamp_(0, cells - 1)
        for row, own in zip(scores, voice_identity[span].tolist(), strict=True):
            cell, first, last = 2 * row.to(torch.int32), starts[own], starts[own + 1]
            before, mine, after = slice(0, first), slice(first, last), slice(last, used)
            for side, part in ((negatives, before), (positives, mine), (negatives, after)):
                # One row at a time: the weights of a whole block would take 8 bytes per similarity.
                side.index_add_(0, cell[part], face_weights[part], alpha=voice_weights[own])
    return Curve(positives.cpu().numpy(), negatives.cpu().numpy())


def _check(
    queries: NDArray[Any], gallery: NDArray[Any], query_identity: NDArray[np.int64], gallery_sizes: NDArray[np.int64]
) -> None:
    if len(queries) != len(query_identity) or len(gallery) != gallery_sizes.sum():
        raise UserError(
            f"{len(queries)} queries have {len(query_identity)} identities, and {len(gallery)} gallery items should be "
            f"{gallery_sizes.sum()}; give one identity per query and the right sizes"
        )


def _similarities(
    queries: NDArray[Any], gallery: NDArray[Any], kind: str, device: torch.device
) -> tuple[DeviceRows, float]:
    """Like `similarity.similarity_rows`: float32 (B, N) for a slice of the queries; also returns a lower bound."""
    distinct, copy_of = distinct_rows(gallery)
    spread = torch.from_numpy(copy_of).to(device) if len(distinct) < len(gallery) else None
    if kind == "cosine":
        sides = directions(queries), directions(distinct)
        low = -1.0
    elif kind == "euclidean":
        centre = distinct.mean(axis=0, dtype=np.float64)
        sides = queries - centre, distinct - centre
        scale = max(float(np.abs(side).max()) for side in sides) or 1.0
        sides = sides[0] / scale, sides[1] / scale
        low = -(sum(float(np.linalg.norm(side, axis=1).max()) for side in sides) ** 2)
    else:
        raise UserError(f"similarity: {kind!r} is not known; use cosine or euclidean")
    left, right = (torch.from_numpy(side).to(device) for side in sides)
    left_norms, right_norms = (torch.from_numpy((side**2).sum(axis=1)).to(device) for side in sides)

    def rows(span: slice) -> Tensor:
        with _full_precision(), torch.autocast(device.type, enabled=False):
            product = left[span] @ right.T
        if kind == "euclidean":
            product = product.mul_(2.0).sub_(right_norms).sub_(left_norms[span, None]).float()
        return product if spread is None else product[:, spread]

    return rows, low


@contextmanager
def _full_precision() -> Iterator[None]:
    """Compute float32 matrix products in float32, neither TF32 nor bfloat16, inside the context."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch 2.8
        saved = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(saved)
        return
    # The newer settings can be read and set whichever the process used; `allow_tf32` raises once both were used.
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def _spans(queries: int, items: int, device: torch.device, block: int | None) -> Iterator[slice]:
    free = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else CPU_SCORES * BYTES_PER_SCORE
    most = MOST_SCORES if block else min(free // BYTES_PER_SCORE, MOST_SCORES)
    block = max(1, min(block or queries, most // items))
    for first in range(0, queries, block):
        yield slice(first, min(first + block, queries))
