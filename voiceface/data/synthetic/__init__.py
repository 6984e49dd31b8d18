"""People of the built-in synthetic corpus, and the best score that anybody can reach on them.

A person has shared traits: age, body size, build and vigour (independent standard Gaussians), gender, nationality and
first language. The voice and the face each show every shared trait through noise of their own that stays the same in
all clips of a person: a continuous trait x is shown as ``a x + sqrt(1 - a^2) e`` with standard Gaussian e, a
categorical one is replaced with some probability by a draw from the population. The joint law of what one voice and
one face show is therefore known in closed form, and with it the ideal observer, `log_likelihood_ratio`.

Nothing here describes real people: nationalities and languages are invented, and no number obtained on this corpus is
a statement about humans.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voiceface.utils.errors import UserError

CONTINUOUS = ("age", "size", "build", "vigour")
CATEGORICAL = ("gender", "nationality", "language")
TRAITS = CONTINUOUS + CATEGORICAL
"""Order of the columns of every observed vector: Gaussian values, then category numbers."""
TRAIT_GROUPS = ("continuous", "gender", "origin")
"""Groups of traits that are independent of each other; origin is nationality together with first language."""

GENDERS = ("m", "f")
NATIONALITIES = ("Aldoria", "Brevany", "Caldreth", "Dorvale", "Estovar", "Firnova", "Galemond", "Halvion")
LANGUAGES = ("Aldorian", "Caldric", "Dorvish", "Estovan", "Firnish", "Galemo")

# Correlation between what the voice and what the face show of each continuous trait at strength 1. Together with the
# categorical channels below they put the ideal observer near 91.2 % on all pairs and 83.0 % within gender.
_CORRELATION = np.array([0.66, 0.66, 0.33, 0.33])

_GENDER_SHARES = np.array([0.55, 0.45])
_NATIONALITY_SHARES = np.array([0.42, 0.18, 0.11, 0.08, 0.07, 0.06, 0.05, 0.03])
_MAIN_LANGUAGE = (0, 0, 1, 2, 3, 4, 5, 1)
_MAIN_LANGUAGE_SHARE = 0.85

# Probability that a modality shows a draw from the population instead of the person's own category.
_VOICE_CONFUSION = {"gender": 0.005, "nationality": 0.55, "language": 0.45}
_FACE_CONFUSION = {"gender": 0.005, "nationality": 0.45, "language": 0.55}

_OLDEST_BAND = 70


@dataclass(frozen=True)
class SyntheticOptions:
    """What to generate.

    Attributes:
        identities: Number of people, at least 1.
        voices: Voice clips per person, at least 1.
        faces: Face clips per person, at least 1.
        seed: Seed of the whole corpus, 0 to 2^32 - 1.
        strength: How well the continuous traits show, 0 or more. At 0 they carry nothing about the other modality, and
            people who agree on gender, nationality and first language can be told apart only by chance; towards
            infinity both modalities show them without noise. The categorical traits show equally well at any strength.

    Raises:
        UserError: A value is out of range.
    """

    identities: int = 600
    voices: int = 4
    faces: int = 6
    seed: int = 0
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name in ("identities", "voices", "faces"):
            if getattr(self, name) < 1:
                raise UserError(f"synthetic corpus: {name} is {getattr(self, name)}; give 1 or more")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"synthetic corpus: seed is {self.seed}; give a number from 0 to 4294967295")
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise UserError(f"synthetic corpus: strength is {self.strength}; give a finite number of 0 or more")


@dataclass(frozen=True)
class Traits:
    """Values of the shared traits: four standard Gaussians and three category numbers.

    Attributes:
        age: Monotone in years, see `age_in_years`.
        size: Body size, large = long vocal tract, broad face.
        build: Fullness, large = dark, damped voice, full cheeks and lips.
        vigour: Liveliness, large = quick speech with a wide pitch range, open eyes, raised brows.
        gender: Position in `GENDERS`.
        nationality: Position in `NATIONALITIES`.
        language: First language, position in `LANGUAGES`.
    """

    age: float
    size: float
    build: float
    vigour: float
    gender: int
    nationality: int
    language: int

    def vector(self) -> NDArray[np.float64]:
        """The values as float64 (7,), in the order of `TRAITS`."""
        return np.array([getattr(self, name) for name in TRAITS], dtype=np.float64)


@dataclass(frozen=True)
class SyntheticPerson:
    """One person.

    Attributes:
        identity: "p00000", "p00001", ...
        attributes: gender, age (band of ten years), nationality and first_language, all true values.
        truth: The true shared traits.
        voice: What the voice shows of them, the same in every clip.
        face: What the face shows of them, the same in every clip.
        seed: Seed of the corpus.
        index: Number of the person.
    """

    identity: str
    attributes: dict[str, str]
    truth: Traits
    voice: Traits
    face: Traits
    seed: int
    index: int

    def voice_generator(self, clip: int | None = None) -> np.random.Generator:
        """Random numbers of one voice clip, or of the voice-only traits when no clip is given."""
        return _generator(self.seed, self.index, 1, 0) if clip is None else _generator(self.seed, self.index, 2, clip)

    def face_generator(self, clip: int | None = None) -> np.random.Generator:
        """Random numbers of one face clip, or of the face-only traits when no clip is given."""
        return _generator(self.seed, self.index, 3, 0) if clip is None else _generator(self.seed, self.index, 4, clip)


def _generator(seed: int, index: int, purpose: int, clip: int) -> np.random.Generator:
    # Always four words: SeedSequence pads shorter lists with zeros, which would make two purposes share numbers.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index, purpose, clip))))


def _language_table() -> NDArray[np.float64]:
    """P(nationality, language), float64 (8, 6)."""
    main = np.zeros((len(NATIONALITIES), len(LANGUAGES)))
    main[np.arange(len(NATIONALITIES)), _MAIN_LANGUAGE] = 1.0
    given = _MAIN_LANGUAGE_SHARE * main + (1 - _MAIN_LANGUAGE_SHARE) / len(LANGUAGES)
    table: NDArray[np.float64] = _NATIONALITY_SHARES[:, None] * given
    return table


_ORIGIN = _language_table()
_LANGUAGE_SHARES = _ORIGIN.sum(axis=0)
_SHARES = {"gender": _GENDER_SHARES, "nationality": _NATIONALITY_SHARES, "language": _LANGUAGE_SHARES}


def _pick(shares: NDArray[np.float64], uniform: float) -> int:
    return min(int(np.searchsorted(np.cumsum(shares), uniform, side="right")), len(shares) - 1)


def cross_modal_correlation(strength: float) -> NDArray[np.float64]:
    """Correlation between what the voice and the face show of each continuous trait.

    Args:
        strength: As in `SyntheticOptions`.

    Returns:
        float64 (4,), in the order of `CONTINUOUS`, 0 at strength 0.
    """
    signal_to_noise: NDArray[np.float64] = strength**2 * _CORRELATION / (1 - _CORRELATION)
    return signal_to_noise / (1 + signal_to_noise)


def age_in_years(latent: float) -> float:
    """Age in years, between 20 and 80 with a median of 42, of a standard Gaussian value."""
    return 20 + 30 * (1 + math.erf((0.75 * latent - 0.35) / math.sqrt(2)))


def person(options: SyntheticOptions, index: int) -> SyntheticPerson:
    """One person, a pure function of the seed, the strength and the index (not of how many people or clips there are).

    The noise is drawn independently of the strength, so the same person exists at every strength.

    Args:
        options: Seed and strength are used.
        index: Number of the person, 0 or more.

    Returns:
        The person.
    """
    generator = _generator(options.seed, index, 0, 0)
    latent, voice_noise, face_noise = generator.standard_normal((3, len(CONTINUOUS)))
    uniform = generator.random((3, len(CATEGORICAL)))
    replacement = generator.random((2, len(CATEGORICAL)))

    nationality = _pick(_NATIONALITY_SHARES, uniform[0, 1])
    language = _pick(_ORIGIN[nationality] / _NATIONALITY_SHARES[nationality], uniform[0, 2])
    age, size, build, vigour = latent.tolist()
    truth = Traits(age, size, build, vigour, _pick(_GENDER_SHARES, uniform[0, 0]), nationality, language)

    loading = np.sqrt(cross_modal_correlation(options.strength))
    shown = []
    for noise, confusion, drawn, other in zip(
        (voice_noise, face_noise), (_VOICE_CONFUSION, _FACE_CONFUSION), uniform[1:], replacement, strict=True
    ):
        age, size, build, vigour = (loading * latent + np.sqrt(1 - loading**2) * noise).tolist()
        gender, nationality, language = (
            _pick(_SHARES[name], other[k]) if drawn[k] < confusion[name] else int(getattr(truth, name))
            for k, name in enumerate(CATEGORICAL)
        )
        shown.append(Traits(age, size, build, vigour, gender, nationality, language))

    decade = min(int(age_in_years(truth.age) // 10) * 10, _OLDEST_BAND)
    attributes = {
        "gender": GENDERS[truth.gender],
        "age": f"{decade}-{decade + 9}",
        "nationality": NATIONALITIES[truth.nationality],
        "first_language": LANGUAGES[truth.language],
    }
    return SyntheticPerson(f"p{index:05d}", attributes, truth, shown[0], shown[1], options.seed, index)


def _channel(name: str, confusion: dict[str, float]) -> NDArray[np.float64]:
    """P(shown category | true category), rows = true."""
    shares = _SHARES[name]
    mixed: NDArray[np.float64] = (1 - confusion[name]) * np.eye(len(shares)) + confusion[name] * shares
    return mixed


def _ratio_table(
    prior: NDArray[np.float64], voice: NDArray[np.float64], face: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log-likelihood ratio of what voice (rows) and face (columns) show of a trait with these channels."""
    joint = (voice * prior[:, None]).T @ face
    ratio: NDArray[np.float64] = np.log(joint / (joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)))
    return ratio


def _origin_channel(confusion: dict[str, float]) -> NDArray[np.float64]:
    """Channel of nationality and first language together; an origin is nationality * 6 + language."""
    nationality, language = _channel("nationality", confusion), _channel("language", confusion)
    return (nationality[:, None, :, None] * language[None, :, None, :]).reshape(_ORIGIN.size, _ORIGIN.size)


_GENDER_LLR = _ratio_table(_GENDER_SHARES, _channel("gender", _VOICE_CONFUSION), _channel("gender", _FACE_CONFUSION))
_ORIGIN_LLR = _ratio_table(_ORIGIN.ravel(), _origin_channel(_VOICE_CONFUSION), _origin_channel(_FACE_CONFUSION))


def log_likelihood_ratio(
    voices_observed: NDArray[np.float64],
    faces_observed: NDArray[np.float64],
    strength: float,
    groups: Collection[str] = TRAIT_GROUPS,
) -> NDArray[np.float32]:
    """Similarity of the ideal observer: log p(voice, face | same person) - log p(voice, face | different people).

    No other function of the clips ranks a true pair above a false one more often (Neyman-Pearson), because the clips
    carry nothing else about the shared traits. Traits are independent, so the ratio is a sum: of bivariate Gaussian
    terms with correlation rho, ``-log(1 - rho^2) / 2 - (rho^2 (x^2 + y^2) - 2 rho x y) / (2 (1 - rho^2))``, and of
    tables for gender and for nationality together with first language.

    Args:
        voices_observed: Observed vectors of voice clips, float (Nv, 7), columns as in `TRAITS`.
        faces_observed: Observed vectors of face clips, float (Nf, 7).
        strength: Strength that the clips were generated with.
        groups: Traits that the observer uses, of `TRAIT_GROUPS`: `continuous` ones, `gender`, `origin` (nationality and
            first language). Fewer than all give the best score of somebody who knows nothing else.

    Returns:
        float32 (Nv, Nf), in nats; larger = more likely one person.
    """
    voices, faces = np.asarray(voices_observed, np.float64), np.asarray(faces_observed, np.float64)
    count = len(CONTINUOUS)
    rho = cross_modal_correlation(strength)
    quadratic, cross = rho**2 / (2 * (1 - rho**2)), rho / (1 - rho**2)
    ratio = np.zeros((len(voices), len(faces)))
    if "continuous" in groups:
        x, y = voices[:, :count], faces[:, :count]
        ratio += (x * cross) @ y.T - (x**2 * quadratic).sum(axis=1)[:, None] - (y**2 * quadratic).sum(axis=1)
        ratio -= 0.5 * np.log1p(-(rho**2)).sum()
    voice_class, face_class = voices[:, count:].astype(np.intp), faces[:, count:].astype(np.intp)
    if "gender" in groups:
        ratio += _GENDER_LLR[voice_class[:, 0][:, None], face_class[:, 0]]
    if "origin" in groups:
        languages = len(LANGUAGES)
        voice_origin = voice_class[:, 1] * languages + voice_class[:, 2]
        face_origin = face_class[:, 1] * languages + face_class[:, 2]
        ratio += _ORIGIN_LLR[voice_origin[:, None], face_origin]
    return ratio.astype(np.float32)
