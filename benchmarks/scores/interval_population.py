"""What the coverage benchmarks share: a population whose 1:2 accuracy is known, and the counting of who covers what.

Person a has a voice vector x ~ N(0, 1) in d dimensions and a face vector y = r x + sqrt(1 - r^2) z; clips add N(0, 1)
and the similarity is the inner product. Given a voice v, <v, f+> is normal with mean r |v|^2 / 2 and variance
|v|^2 (r^2/2 + 1 - r^2 + 1), <v, f-> with mean 0 and variance 2 |v|^2; |v| is sqrt(2) chi_d. So the 1:2 accuracy is
Student's distribution function with d degrees of freedom at sqrt(d) r / sqrt(2 (r^2/2 + 4 - r^2)), in both directions.
Numbers of clips and genders do not depend on x and y, so every stratum and every weighting of people and clips has this
accuracy too. Other scores have no such form: there the truth is the mean over all draws.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from voiceface.scores import score
from voiceface.scores.clip_keys import Clip, parse_clip
from voiceface.scores.matching import count
from voiceface.scores.trial_formats import Trials

DIMENSIONS = 8
AGREEMENT = 0.7
LEVEL = 0.95
SEED = 20
OF_CLIPS = "difference from the value of these clips"
# Models that see some of 12 dimensions. Two see 8 each, 4 of which they share; the third one is better.
WIDE = 12
SEES = {"first": (0, 8), "second": (4, 12), "all": (0, 12)}
# Trial lists: clips of a person and modality, and rows of a person; in verification so many of either label.
CLIPS = 10
ROWS = {"60": (60, 60), "1 to 60": (1, 60), "2": (2, 2)}

Result = dict[str, Any]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class People:
    """One draw of people and their clips, person by person.

    Attributes:
        people: How many people.
        voices: float64 (Nv, D).
        faces: float64 (Nf, D).
        voice_owner: int64 (Nv,): the number of each voice's person, ascending.
        face_owner: int64 (Nf,): likewise.
    """

    people: int
    voices: NDArray[np.float64]
    faces: NDArray[np.float64]
    voice_owner: Places
    face_owner: Places

    @property
    def voice_names(self) -> list[str]:
        return [f"{person:03}" for person in self.voice_owner.tolist()]

    @property
    def face_names(self) -> list[str]:
        return [f"{person:03}" for person in self.face_owner.tolist()]

    def similarity(self, first: int = 0, last: int | None = None) -> NDArray[np.float32]:
        """Inner products (Nv, Nf) over the dimensions first .. last - 1."""
        return (self.voices[:, first:last] @ self.faces[:, first:last].T).astype(np.float32)

    def score(self, strata: Any, candidates: Any, attributes: Any = None, *videos: list[str]) -> list[Any]:
        """Records of `score`, of inner products over all dimensions."""
        names = None, self.voice_names, None, self.face_names
        return score(*names, attributes, self.similarity(), strata, LEVEL, candidates, *videos)


def genders(people: int) -> dict[str, dict[str, str]]:
    """Attributes by name: as many men as women."""
    return {f"{person:03}": {"gender": "mf"[person % 2]} for person in range(people)}


def draw(
    people: int, rng: np.random.Generator, clips: tuple[int, int] = (1, 7), dimensions: int = DIMENSIONS
) -> People:
    """Draw people and, of each and of each modality, a random number of clips within `clips`, both ends included."""
    voice = rng.normal(size=(people, dimensions))
    face = AGREEMENT * voice + math.sqrt(1 - AGREEMENT**2) * rng.normal(size=(people, dimensions))
    voice_owner, face_owner = (
        np.repeat(np.arange(people), rng.integers(clips[0], clips[1] + 1, people)) for _ in range(2)
    )
    voices = voice[voice_owner] + rng.normal(size=(len(voice_owner), dimensions))
    faces = face[face_owner] + rng.normal(size=(len(face_owner), dimensions))
    return People(people, voices, faces, voice_owner, face_owner)


def true_accuracy(dimensions: int = DIMENSIONS) -> float:
    """The population's 1:2 accuracy."""
    spread = AGREEMENT**2 / 2 + (1 - AGREEMENT**2) + 1
    return float(stdtr(dimensions, math.sqrt(dimensions) * AGREEMENT / math.sqrt(2 * (spread + 2))))


def truth_of(what: Result) -> tuple[float | None, str]:
    """What intervals should hold, where a closed form says it, and how it is known."""
    if what["about"] == "clips":
        return 0.0, OF_CLIPS
    if "models" in what:
        one, other = (true_accuracy(last - first) for first, last in map(SEES.__getitem__, what["models"]))
        return one - other, "closed form"
    # A mean of clips is not a clip, and a cosine not an inner product.
    known = what["metric"] == "accuracy" and what.get("n", 2) == 2 and what.get("kind") != "joint"
    return true_accuracy(what.get("dimensions", DIMENSIONS)) if known else None, "closed form"


def win_rates(drawn: People, first: int = 0, last: int | None = None) -> NDArray[Any]:
    similarity = drawn.similarity(first, last)
    return count(lambda rows: similarity[rows], drawn.voice_owner, np.bincount(drawn.face_owner)).win_rates


def drawn_lists(people: int, rows: tuple[int, int], rng: np.random.Generator) -> Iterator[Trials]:
    """Lists as the published ones: voices of a person ask equally often, impostors and clips are random."""
    asking = np.repeat(np.arange(people), rng.integers(rows[0], rows[1] + 1, people))
    # As many positive rows as negative ones of each person's voices.
    met = np.concatenate([asking, (asking + rng.integers(1, people, len(asking))) % people])
    positive = np.arange(len(met)) < len(asking)
    yield trial_list("verification", "both", np.tile(asking, 2), met[:, None], positive[:, None], people, rng)
    for n in (2, 10):
        order = rng.random((len(asking), people))
        order[np.arange(len(asking)), asking] = 2.0  # nobody is their own impostor
        met = np.column_stack([asking, np.argpartition(order, n - 2, axis=1)[:, : n - 1]])
        labels = np.tile(np.arange(n) == 0, (len(met), 1))
        yield trial_list("matching", "v2f", asking, met, labels, people, rng)


def trial_list(
    kind: Any, direction: Any, asking: Places, met: Places, labels: Any, people: int, rng: np.random.Generator
) -> Trials:
    """A list of random clips of these people."""
    query, candidates = (who * CLIPS + rng.integers(0, CLIPS, who.shape) for who in (asking, met))
    sides = ([clip(f"{p:03}/{side}/{i}") for p in range(people) for i in range(CLIPS)] for side in ("voice", "face"))
    return Trials("list", "list", kind, direction, *sides, query, candidates, labels)


@cache
def clip(name: str) -> Clip:
    return parse_clip(name, {})


@dataclass
class Tally:
    """Values of one score over the draws, each with its interval."""

    values: list[float] = field(default_factory=list)
    ends: list[tuple[float, float]] = field(default_factory=list)
    p_values: list[float] = field(default_factory=list)

    def add(self, value: float, low: float | None, high: float | None, *p_value: float) -> None:
        """Add a draw; without an interval its ends are None."""
        self.values.append(value)
        self.ends.append((math.nan, math.nan) if low is None or high is None else (low, high))
        self.p_values += p_value

    def result(self, what: Result, truth: float | None = None, known_as: str = "closed form") -> Result:
        """Count the intervals of the score that `what` names which hold the truth; None: the mean over all draws.

        Returns:
            `what` with draws, the intervals there were, the share of those that hold the truth, and their mean half
            width.
        """
        values, (low, high) = np.array(self.values), np.array(self.ends).T
        held = float(values.mean()) if truth is None else truth
        there = ~np.isnan(low)
        number = int(there.sum())
        result = {
            **what,
            "draws": len(values),
            "intervals": number,
            "truth": round(held, 6),
            "truth_is": "mean over the draws" if truth is None else known_as,
        }
        if number:
            share = float(((low <= held) & (held <= high))[there].mean())
            result |= {
                "coverage": round(share, 6),
                "mean_half_width": round(float((high - low)[there].mean()) / 2, 6),
            }
        if self.p_values:
            result["share_of_p_below_0.05"] = round(float(np.mean(np.array(self.p_values) < 1 - LEVEL)), 6)
        return result
