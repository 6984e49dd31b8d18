"""The output of `voiceface embed`: embeddings of both modalities with everything `score` and `analyze` need."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from voiceface.data.corpus.shards import Corpus, DamagedError
from voiceface.evaluation.callback import CrossModalMetrics, data_section, model_section
from voiceface.evaluation.network_scores import similarity_matrix
from voiceface.evaluation.voice_measures import voice_measures
from voiceface.methods.base import Method
from voiceface.utils.files import write_for_user


class VoiceMeasures(pl.Callback):
    """Measure pitch (Hz) and loudness (dBFS) of every embedded voice; `measures` maps keys to both."""

    def __init__(self) -> None:
        self.measures: dict[str, tuple[float, float]] = {}

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure each voice of the batch without its padding; stored features have no waveform."""
        if batch["voices"].is_floating_point():
            return
        for key, wave, length in zip(
            batch["voice_keys"], batch["voices"].cpu().numpy(), batch["voice_lengths"].tolist(), strict=True
        ):
            self.measures[key] = voice_measures(wave[:length])


def write_embeddings(
    out: Path,
    method: Method,
    corpus: Corpus,
    split: str,
    metrics: CrossModalMetrics,
    measures: VoiceMeasures,
) -> tuple[int, int, int]:
    """Write one npz file; `voiceface.evaluation.embeddings.read_embeddings` describes the arrays.

    Args:
        out: File to write.
        method: The method that computed the embeddings.
        corpus: The corpus.
        split: Split of the corpus.
        metrics: The callback with the embeddings.
        measures: The callback with the measures.

    Returns:
        Number of voices, of faces, and of dimensions.

    Raises:
        UserError: The file cannot be written.
    """
    table = metrics.table.gather()
    about = {
        "model": model_section(method, metrics.recipe),
        "data": data_section(method, corpus, split, table),
        "identities": {name: corpus.identities.get(name, {}) for name in metrics.table.names.tolist()},
    }
    if method.space == "pairwise":
        similarity: NDArray[Any] = similarity_matrix(method, table["voices"], table["faces"])
    else:
        similarity = np.array(method.space)
    arrays: dict[str, NDArray[Any]] = {"similarity": similarity, "about": np.array(json.dumps(about))}
    for kind, videos in zip(("voice", "face"), videos_of(corpus, split), strict=True):
        keys = table[f"{kind}_keys"].tolist()
        arrays[f"{kind}s"] = table[f"{kind}s"]
        arrays[f"{kind}_identity"] = table[f"{kind}_people"]
        arrays[f"{kind}_key"] = np.array(keys)
        if any(videos.values()):
            arrays[f"{kind}_video"] = np.array([videos[key] for key in keys])
    if measures.measures:
        measured = [measures.measures[key] for key in arrays["voice_key"].tolist()]
        arrays["voice_pitch"], arrays["voice_loudness"] = np.array(measured, np.float64).T
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_for_user(out, buffer.getvalue())
    return len(arrays["voices"]), len(arrays["faces"]), arrays["voices"].shape[1]


def videos_of(corpus: Corpus, split: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Map each voice and each face of a split, by key, to its video; empty if the corpus does not know it."""
    voices: dict[str, str] = {}
    faces: dict[str, str] = {}
    for bundle in corpus.index(split):
        try:
            members = corpus.members(split, bundle)
        except DamagedError:
            continue  # already rejected or counted by the evaluation
        for videos, found in zip((voices, faces), members, strict=True):
            videos.update((member.key, member.video) for member in found)
    return voices, faces
