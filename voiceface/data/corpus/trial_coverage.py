"""Coverage of trial lists by a corpus: which of their clips it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voiceface.data.corpus.check import StoredClip
from voiceface.data.corpus.shards import SPLITS
from voiceface.scores.clip_keys import locate
from voiceface.scores.trial_lists import Trials, read_trial_files
from voiceface.scores.trials import MOST_MISSING


@dataclass(frozen=True)
class ListCoverage:
    """How much of a trial list a corpus holds.

    Attributes:
        name: The list's name.
        kind: verification, matching or retrieval.
        direction: v2f, f2v or both.
        rows: Its rows: pairs, matching trials, or queries.
        resolved: Those whose clips are all there. A query needs itself and an item of its person.
        clips: Distinct clips that it names.
        missing: Those of them that the corpus lacks.
        splits: The splits that hold the others.
    """

    name: str
    kind: str
    direction: str
    rows: int
    resolved: int
    clips: int
    missing: list[str]
    splits: list[str]

    @property
    def problem(self) -> str:
        """One line where more than 1 % of the rows or of the clips are not there; else empty."""
        if self.rows - self.resolved <= MOST_MISSING * self.rows and len(self.missing) <= MOST_MISSING * self.clips:
            return ""
        return (
            f"list {self.name}: {self.rows - self.resolved} of {self.rows} rows cannot be resolved, "
            f"{len(self.missing)} of {self.clips} clips are not in the corpus, such as {self.missing[0]!r}"
        )


def list_coverage(clips: Sequence[StoredClip], lists: Sequence[Path], people: Mapping[str, str]) -> list[ListCoverage]:
    """Look for the clips of trial lists in a corpus, as `voiceface score --trials` looks for them among embeddings.

    Args:
        clips: The corpus' clips, of all splits.
        lists: The files.
        people: Any alias of a person to the canonical name (`voiceface.evaluation.embeddings.people_aliases`).

    Returns:
        One entry per list.

    Raises:
        UserError: A list cannot be read, or two keys of the corpus name one clip.
    """
    trial_lists = read_trial_files(lists, people)
    splits: dict[str, list[np.ndarray]] = {}
    for kind in ("voice", "face"):
        stored = [clip for clip in clips if clip.kind == kind]
        wanted = [clip for trials in trial_lists for clip in getattr(trials, f"{kind}s")]
        place = locate(wanted, [clip.key for clip in stored], people, f"{kind} keys")
        # The number of the split of each clip that is wanted; -1 where it is not there.
        number = np.array([SPLITS.index(clip.split) for clip in stored] + [-1])[place]
        ends = np.cumsum([len(getattr(trials, f"{kind}s")) for trials in trial_lists])
        splits[kind] = np.split(number, ends[:-1])
    return [_coverage(trials, *at) for trials, *at in zip(trial_lists, splits["voice"], splits["face"], strict=True)]


def _coverage(trials: Trials, voices: np.ndarray, faces: np.ndarray) -> ListCoverage:
    asks, met = (faces, voices) if trials.direction == "f2v" else (voices, faces)
    if trials.kind == "retrieval":
        known = {clip.person for clip, split in zip(trials.gallery, met, strict=True) if split >= 0}
        answered = np.array([clip.person in known for clip in trials.queries])
        there = (asks[trials.query] >= 0) & answered[trials.query]
    else:
        there = (asks[trials.query] >= 0) & (met[trials.candidates] >= 0).all(axis=1)
    named = [*trials.queries, *trials.gallery]
    where = np.concatenate([asks, met])
    missing = [clip.name for clip, split in zip(named, where, strict=True) if split < 0]
    used = [split for number, split in enumerate(SPLITS) if (where == number).any()]
    rows, resolved = len(there), int(there.sum())
    return ListCoverage(trials.name, trials.kind, trials.direction, rows, resolved, len(named), missing, used)
