"""The usual way to score matching, as the baseline: a list of sampled trials, each scored by itself.

For each trial the embeddings of the probe, the positive and the negative are gathered and both cosine similarities are
computed, a batch of trials at a time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 1024

Trials = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def sample_trials(
    voice_owner: NDArray[np.int64], face_owner: NDArray[np.int64], number: int, rng: np.random.Generator
) -> Trials:
    """Draw voices, and for each a face of the same person and one of another, all triplets alike."""
    starts = np.searchsorted(face_owner, np.arange(face_owner[-1] + 2))
    sizes = np.diff(starts)
    probes = rng.integers(len(voice_owner), size=number)
    own = voice_owner[probes]
    positives = rng.integers(starts[own], starts[own + 1])
    negatives = rng.integers(len(face_owner) - sizes[own])
    negatives += (negatives >= starts[own]) * sizes[own]  # skips the person's own faces
    return probes, positives, negatives


def accuracy_of_trials(voices: NDArray[Any], faces: NDArray[Any], trials: Trials) -> float:
    """Share of trials in which the positive is more alike than the negative; ties count half."""
    credit = 0.0
    for first in range(0, len(trials[0]), BATCH):
        probe, positive, negative = (part[first : first + BATCH] for part in trials)
        voice = voices[probe]
        right, wrong = _cosine(voice, faces[positive]), _cosine(voice, faces[negative])
        credit += float((right > wrong).sum()) + 0.5 * float((right == wrong).sum())
    return credit / len(trials[0])


def _cosine(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    similarities: NDArray[Any] = (left * right).sum(axis=1) / lengths
    return similarities
