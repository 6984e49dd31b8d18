"""Approximate search of a large gallery: FAISS proposes candidates, which are then compared exactly.

FAISS clusters the gallery into lists by k-means and, for each query, scans only the nearest lists (an inverted file)
with one byte per dimension. This pays off above a million rows; see docs/inference.md.
"""

import hashlib
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceface.inference.model import Model
from voiceface.inference.search import Found, nearest_points, unit
from voiceface.utils.errors import UserError
from voiceface.utils.files import atomic

NAME = "approximate.faiss"
RECALL = 0.99  # of the exact 10 nearest, on queries derived from the gallery
TOP = 10
QUERIES = 256  # of each kind
SAMPLE = 64  # rows per list used for k-means
CHUNK = 1 << 16
POOL = 4  # proposals per requested row: one byte per dimension does not order near rows correctly
LEAST = 64  # minimum number of proposals


def require_faiss() -> Any:
    """Import FAISS.

    Raises:
        UserError: FAISS is not installed.
    """
    try:
        import faiss
    except ModuleNotFoundError:
        raise UserError("an approximate index needs the extra `faiss`: pip install 'voiceface[faiss]'") from None
    return faiss


def check_space(model: Model) -> None:
    """Reject a method whose similarity is neither a cosine nor a distance.

    Raises:
        UserError: The method has such a similarity.
    """
    if model.method.space not in ("cosine", "euclidean"):
        raise UserError(
            f"{model.folder}: {type(model.method).__name__} scores each pair by a network, which FAISS cannot; leave "
            "--faiss out"
        )


class Approximate:
    """An inverted file over the rows of a gallery.

    Args:
        index: The `faiss.IndexIVFScalarQuantizer`.
        rows: The gallery, float32 or float16 (N, D); may be a memory map.
        space: `cosine` or `euclidean`.
        probes: Lists scanned per query.
        recall: Recall measured when the index was built.
    """

    def __init__(self, index: Any, rows: NDArray[Any], space: str, probes: int, recall: float) -> None:
        self.index, self.rows, self.space, self.recall = index, rows, space, recall
        self.index.nprobe = probes

    def __str__(self) -> str:
        read = f"{self.index.nprobe} of {self.index.nlist} lists are read for a query"
        return f"{read}, {100 * self.recall:.1f} % of the nearest {TOP} found"

    def search(self, queries: NDArray[np.float32], top: int) -> list[Found]:
        """Return the nearest of the rows that FAISS proposes, as in `nearest_points`; if too few, of all rows.

        Args:
            queries: (Q, D).
            top: Number of rows to find.

        Returns:
            Places and similarities for each query; similarities equal those of the exact search.
        """
        count = len(self.rows)
        asked = unit(queries) if self.space == "cosine" else np.ascontiguousarray(queries)
        # One query: the threads share its lists. Many: each thread handles its own queries.
        self.index.parallel_mode = 1 if len(asked) == 1 else 0
        _, proposed = self.index.search(asked, min(count, max(LEAST, POOL * top)))
        found = []
        for query, places in zip(queries, proposed, strict=True):
            places = np.unique(places[(places >= 0) & (places < count)])  # -1: none
            if len(places) < min(top, count):
                found += nearest_points(query[None], self.rows, top, self.space)
            else:
                best, scores = nearest_points(query[None], self.rows[places], top, self.space)[0]
                found.append((places[best], scores))
        return found


def build(path: Path, rows: NDArray[Any], space: str) -> dict[str, Any]:
    """Write an inverted file with about as many lists as rows per list.

    The number of lists scanned per query is chosen to find 0.99 of the exact 10 nearest, both for queries halfway
    between two rows and for queries that share only mean and covariance with the rows, as voices do with faces.

    Args:
        path: File to write.
        rows: The gallery, float32 or float16 (N, D), of length 1 if compared by cosine. May be a memory map.
        space: `cosine` or `euclidean`.

    Returns:
        The input of `read`: `sha256` of the file, `lists`, `probes` (lists scanned), and `recall_at_10`, the lower of
        the two kinds of queries.

    Raises:
        UserError: FAISS is not installed, or cannot index these rows (not numbers, too little memory).
        OSError: The file cannot be written.
    """
    faiss = require_faiss()
    count, dim = rows.shape
    lists = max(1, round(count**0.5))
    random = np.random.default_rng(0)
    sample = np.asarray(rows[np.sort(random.choice(count, min(count, SAMPLE * lists), replace=False))], np.float32)
    cosine = space == "cosine"
    quantizer = faiss.IndexFlatIP(dim) if cosine else faiss.IndexFlatL2(dim)
    metric = faiss.METRIC_INNER_PRODUCT if cosine else faiss.METRIC_L2
    index = faiss.IndexIVFScalarQuantizer(quantizer, dim, lists, faiss.ScalarQuantizer.QT_8bit, metric)
    # The sample has the right size; without these settings FAISS draws another and prints warnings.
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, SAMPLE
    try:
        index.train(sample)
        for start in range(0, count, CHUNK):
            index.add(np.asarray(rows[start : start + CHUNK], np.float32))
    except (RuntimeError, MemoryError) as error:
        raise UserError(f"--faiss: FAISS cannot index these rows ({_brief(error)}); leave it out") from None
    halfway = (random.permutation(sample)[:QUERIES] + random.permutation(sample)[:QUERIES]) / 2
    some = sample[:: max(1, len(sample) // 4096)]
    mean = some.mean(axis=0)
    like = mean + random.standard_normal((QUERIES, len(some))) @ (some - mean) / len(some) ** 0.5
    asked = [sort.astype(np.float32) for sort in (halfway, like)]
    last = [np.array([scores[-1] for _, scores in nearest_points(q, rows, TOP, space)]) for q in asked]

    def recall(probes: int) -> float:
        search = Approximate(index, rows, space, probes, 0.0).search
        found = [np.stack([scores for _, scores in search(q, TOP)]) for q in asked]
        return float(min((scores >= least[:, None]).mean() for scores, least in zip(found, last, strict=True)))

    probes = 1 + bisect_left(range(1, lists), RECALL, key=recall)
    raw = faiss.serialize_index(index)
    with atomic(path) as file:
        file.write(raw.data)
    return {
        "sha256": hashlib.sha256(raw).hexdigest(),
        "lists": lists,
        "probes": probes,
        "recall_at_10": round(recall(probes), 4),
    }


def read(path: Path, about: Any, rows: NDArray[Any], space: str) -> Approximate:
    """Read an index written by `build`; FAISS sees the file only after its hash is verified.

    Args:
        path: The file.
        about: Result of `build`.
        rows: The gallery.
        space: `cosine` or `euclidean`.

    Raises:
        UserError: FAISS is not installed; the file is missing, damaged or belongs to another index.
    """
    damaged = UserError(f"{path}: damaged, or of another index; make the index again, or give --exact")
    try:
        lists, probes, recall = int(about["lists"]), int(about["probes"]), float(about["recall_at_10"])
        expected = about["sha256"]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise damaged from None
    try:
        faiss = require_faiss()
    except UserError as error:
        raise UserError(f"{path}: {error}; or give --exact") from None
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(CHUNK):
                digest.update(block)
            if digest.hexdigest() != expected or not 1 <= probes <= lists:
                raise damaged
            file.seek(0)
            index = faiss.read_index(faiss.PyCallbackIOReader(file.read))
    except OSError:
        raise UserError(f"{path}: missing, or cannot be read; make the index again, or give --exact") from None
    except (RuntimeError, MemoryError) as error:
        raise UserError(f"{path}: FAISS cannot read it ({_brief(error)}); give --exact") from None
    metric = faiss.METRIC_INNER_PRODUCT if space == "cosine" else faiss.METRIC_L2
    if not isinstance(index, faiss.IndexIVFScalarQuantizer) or index.metric_type != metric:
        raise damaged
    if (index.ntotal, index.d, index.nlist) != (*rows.shape, lists):
        raise damaged
    return Approximate(index, rows, space, probes, recall)


def _brief(error: Exception) -> str:
    """Return the end of FAISS's message, which begins with a location in its source."""
    return (str(error).strip() or "out of memory").splitlines()[-1].rpartition("failed: ")[2].lower()
