"""What the coverage benchmarks share: a population whose 1:2 accuracy is known, and the counting of who covers what.

Person a has a voice vector x ~ N(0, 1) in d dimensions and a face vector y = r x + sqrt(1 - r^2) z; clips add N(0, 1)
and the similarity is the inner product. Given a voice v, <v, f+> is normal with mean r |v|^2 / 2 and variance
|v|^2 (r^2/2 + 1 - r^2 + 1), <v, f-> with mean 0 and variance 2 |v|^2; |v| is sqrt(2) chi_d. So the 1:2 accuracy is
Student's distribution function with d degrees of freedom at sqrt(d) r / sqrt(2 (r^2/2 + 4 - r^2)), in both directions.
Numbers of clips and genders do not depend on x and y, so every stratum and every weighting of people and clips has this
accuracy too. Other scores have no such form: there the truth is the mean over all draws.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

DIMENSIONS = 8
AGREEMENT = 0.7
LEVEL = 0.95
SEED = 20

Result = dict[str, Any]


@dataclass(frozen=True)
class People:
    """One draw of people and their clips, person by person.

    Attributes:
        voices: float64 (Nv, D).
        faces: float64 (Nf, D).
        voice_owner: int64 (Nv,): the number of each voice's person, ascending.
        face_owner: int64 (Nf,): likewise.
    """

    voices: NDArray[np.float64]
    faces: NDArray[np.float64]
    voice_owner: NDArray[np.int64]
    face_owner: NDArray[np.int64]

    @property
    def voice_names(self) -> list[str]:
        return [f"{person:03}" for person in self.voice_owner.tolist()]

    @property
    def face_names(self) -> list[str]:
        return [f"{person:03}" for person in self.face_owner.tolist()]

    def similarity(self, first: int = 0, last: int | None = None) -> NDArray[np.float32]:
        """Inner products (Nv, Nf) over the dimensions first .. last - 1."""
        return (self.voices[:, first:last] @ self.faces[:, first:last].T).astype(np.float32)


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
    return People(voices, faces, voice_owner, face_owner)


def true_accuracy(dimensions: int = DIMENSIONS) -> float:
    """The population's 1:2 accuracy."""
    spread = AGREEMENT**2 / 2 + (1 - AGREEMENT**2) + 1
    return float(stdtr(dimensions, math.sqrt(dimensions) * AGREEMENT / math.sqrt(2 * (spread + 2))))


@dataclass
class Tally:
    """Values of one score over the draws, each with its interval."""

    values: list[float] = field(default_factory=list)
    ends: list[tuple[float, float]] = field(default_factory=list)

    def add(self, value: float, low: float | None, high: float | None) -> None:
        """Add a draw; without an interval its ends are None."""
        self.values.append(value)
        self.ends.append((math.nan, math.nan) if low is None or high is None else (low, high))

    def result(self, what: Result, truth: float | None = None, known_as: str = "closed form") -> Result:
        """Count.

        Args:
            what: Names the score and the interval.
            truth: What the intervals should hold; None: the mean over all draws.
            known_as: How a given truth is known.

        Returns:
            `what` with draws, the intervals there were, the share of those that hold the truth, the standard error of
            that share, and the spread of the values beside the intervals' mean half width.
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
            "mean_value": round(float(values.mean()), 6),
            "spread_of_value": round(float(values.std(ddof=1)), 6),
        }
        if number:
            share = float(((low <= held) & (held <= high))[there].mean())
            result |= {
                "coverage": round(share, 6),
                "standard_error": round(math.sqrt(share * (1 - share) / number), 6),
                "mean_half_width": round(float((high - low)[there].mean()) / 2, 6),
            }
        return result


class Tallies(dict[tuple[Any, ...], Tally]):
    """A `Tally` for each key."""

    def __missing__(self, key: tuple[Any, ...]) -> Tally:
        self[key] = Tally()
        return self[key]

    def often(self) -> "Tallies":
        """Those of scores that at least half of the draws have: R@50 asks for a gallery of 50."""
        draws = max(len(tally.values) for tally in self.values())
        return Tallies({key: tally for key, tally in self.items() if 2 * len(tally.values) >= draws})
