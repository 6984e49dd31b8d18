"""Voices of the synthetic corpus: source-filter speech from a person's shown traits.

A train of glottal pulses and breath noise passes through five formants that move from syllable to syllable, and
fricative noise through a resonance of its own (the classical source-filter model: Fant, Acoustic Theory of Speech
Production, 1960). The filters are applied per short frame in the frequency domain, so one clip takes a few
milliseconds.

What shows which trait: gender - pitch and tract length; size - tract length, pitch; age - breath noise, jitter,
shimmer, tremor; build - spectral tilt, formant damping; vigour - speaking rate, pitch range; first language - vowel
inventory; nationality - colour and length of fricatives, intonation, rhythm, third formant.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voiceface.data.synthetic import SyntheticPerson
from voiceface.data.synthetic.canvas import Array, smooth
from voiceface.utils.audio import SAMPLE_RATE

_HOP = 128
_FFT = 512
_FRAME_RATE = SAMPLE_RATE / _HOP
_WINDOW = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2 * _HOP) / (2 * _HOP))
_FREQUENCY = np.arange(_FFT // 2 + 1) * SAMPLE_RATE / _FFT
_DELAY = np.exp(-2j * np.pi * _FREQUENCY / SAMPLE_RATE)

_PITCH = (115.0, 205.0)
_TRACT = (1.0, 1.17)
_UPPER_FORMANTS = (2500.0, 3500.0, 4500.0)
_BANDWIDTHS = (70.0, 90.0, 130.0, 200.0, 280.0)

# First and second formant in Hz of the vowels of each first language, for a tract of neutral length.
_VOWELS = (
    ((300, 2200), (450, 1900), (700, 1300), (450, 900), (320, 800)),
    ((290, 2300), (300, 2000), (400, 2150), (560, 1950), (420, 1750)),
    ((310, 750), (430, 800), (560, 880), (640, 1000), (360, 950)),
    ((760, 1350), (720, 1650), (680, 1150), (800, 1500), (620, 1500)),
    ((440, 1450), (350, 1600), (330, 1300), (520, 1400), (480, 1250)),
    ((280, 2350), (800, 1400), (290, 700), (280, 2350), (290, 700)),
)
# Per nationality: fricative resonance in Hz, share of the syllable that it takes, drift of the pitch over a phrase in
# semitones, syllables per accent, lengthening of every second syllable, third formant relative to neutral.
_ACCENTS = (
    (3000, 0.22, -4.0, 2, 0.0, 1.00),
    (6500, 0.40, -4.0, 3, 0.3, 1.12),
    (4400, 0.22, 4.0, 2, 0.3, 0.86),
    (2300, 0.40, 4.0, 3, 0.0, 1.00),
    (5400, 0.22, 4.0, 2, 0.0, 1.12),
    (3600, 0.40, -4.0, 3, 0.3, 0.86),
    (6500, 0.22, 4.0, 3, 0.0, 0.86),
    (2300, 0.30, -4.0, 2, 0.3, 1.12),
)


@dataclass(frozen=True)
class _Manner:
    """How one person speaks: the shown traits and the private ones, turned into physical quantities."""

    pitch: float
    tract: float
    pitch_range: float
    rate: float
    jitter: float
    shimmer: float
    breath: float
    tremor: float
    tilt: float
    damping: float
    loudness: float
    vowels: Array
    accent: tuple[float, ...]


def _manner(person: SyntheticPerson) -> _Manner:
    shown = person.voice
    age, size, build, vigour = np.clip([shown.age, shown.size, shown.build, shown.vigour], -2.7, 2.7).tolist()
    private = person.voice_generator().standard_normal(4)
    return _Manner(
        pitch=_PITCH[shown.gender] * 2 ** ((-0.7 * size + 0.6 * private[0]) / 12),
        tract=_TRACT[shown.gender] * np.exp(-0.065 * size + 0.008 * private[1]),
        pitch_range=2.4 * np.exp(0.35 * vigour),
        rate=4.0 * np.exp(0.18 * vigour + 0.02 * private[2]),
        jitter=0.008 * np.exp(0.65 * age),
        shimmer=0.06 * np.exp(0.5 * age),
        breath=0.09 * np.exp(0.85 * age),
        tremor=0.4 * np.exp(0.5 * age),
        tilt=0.90 + 0.10 * build,
        damping=np.exp(0.25 * build),
        loudness=float(private[3]),
        vowels=np.array(_VOWELS[shown.language], dtype=np.float64),
        accent=_ACCENTS[shown.nationality],
    )


@dataclass(frozen=True)
class _Score:
    """An utterance over time: one value per frame."""

    pitch: Array
    voicing: Array
    breath: Array
    frication: Array
    formants: Array


def _utterance(manner: _Manner, frames: int, generator: np.random.Generator) -> _Score:
    """Random syllables with pauses between phrases."""
    _, fricative_share, drift, period, alternation, third = manner.accent
    count = int(frames / _FRAME_RATE * manner.rate * 1.5) + 4
    number = np.arange(count)
    chance = generator.random((6, count))
    length = (0.88 + 0.24 * chance[0]) * (1 + alternation * (-1.0) ** number) / manner.rate
    phrase_length = 6 + int(3 * generator.random())
    phrase_offset = int(phrase_length * generator.random())
    in_phrase = (number + phrase_offset) % phrase_length
    silent = in_phrase == phrase_length - 1
    length = np.where(silent, 0.16 + 0.14 * chance[1], length)
    end = np.cumsum(length)
    start = end - length

    time = np.arange(frames) / _FRAME_RATE
    syllable = np.minimum(np.searchsorted(end, time, side="right"), count - 1)
    u = (time - start[syllable]) / length[syllable]
    onset = fricative_share * (0.85 + 0.3 * chance[2][syllable])
    fricative = chance[3][syllable] < 0.6
    sounding = ~silent[syllable]
    level = (0.8 + 0.4 * chance[4])[syllable] * sounding
    opening = smooth(u, onset - 0.08, onset + 0.1)
    voicing = level * np.where(fricative, opening, 0.3 + 0.7 * opening) * (1 - 0.8 * smooth(u, 0.86, 1.0))
    frication = level * fricative * smooth(u, 0.0, 0.06) * (1 - smooth(u, onset - 0.06, onset + 0.06))

    vowel = manner.vowels[np.minimum((chance[5] * len(manner.vowels)).astype(int), len(manner.vowels) - 1)]
    locus = np.stack([np.full(count, 330.0), 0.5 * vowel[:, 1] + 800], axis=1)
    knots = np.stack([start, start + 0.45 * length, start + 0.8 * length], axis=1).ravel()
    heights = np.stack([locus, vowel, vowel], axis=1).reshape(-1, 2)
    low = [np.interp(time, knots, heights[:, k]) for k in range(2)]
    high = [np.full(frames, value) for value in (_UPPER_FORMANTS[0] * third, *_UPPER_FORMANTS[1:])]
    formants = np.stack(low + high) * manner.tract

    position = (in_phrase[syllable] + u) / (phrase_length - 1) - 0.5
    accent = np.sin(2 * np.pi * (number[syllable] + u) / period)
    wobble = manner.tremor * np.sin(2 * np.pi * (5.2 * time + generator.random()))
    pitch = manner.pitch * 2 ** ((drift * position + manner.pitch_range * accent + wobble) / 12)
    breath = manner.breath * (voicing + 0.5 * silent[syllable])
    return _Score(pitch, voicing, breath, frication, formants)


def _pulses(score: _Score, manner: _Manner, samples: int, generator: np.random.Generator) -> Array:
    """Glottal pulses at fractional times (band-limited by an eight-sample windowed sinc), equal power at any pitch."""
    instant = np.interp(np.arange(samples) / _HOP, np.arange(len(score.pitch)), score.pitch)
    phase = np.cumsum(instant) / SAMPLE_RATE
    cycle = np.arange(1, int(phase[-1]))
    time = np.interp(cycle, phase, np.arange(samples))
    period = SAMPLE_RATE / np.interp(time, np.arange(samples), instant)
    noise = generator.standard_normal((2, len(cycle)))
    time = np.clip(time + manner.jitter * period * noise[0], 8, samples - 8)
    voicing = np.interp(time / _HOP, np.arange(len(score.voicing)), score.voicing)
    strength = voicing * np.sqrt(period) * np.maximum(1 + manner.shimmer * noise[1], 0.1)
    first = np.floor(time).astype(np.intp)[:, None] + np.arange(-3, 5)
    distance = first - time[:, None]
    taps = np.sinc(distance) * np.cos(np.pi * distance / 10) ** 2 * strength[:, None]
    return np.bincount(first.ravel(), weights=taps.ravel(), minlength=samples)[:samples].astype(np.float64, copy=False)


def _spectra(signal: Array, frames: int) -> NDArray[np.complex128]:
    padded = np.concatenate([np.zeros(_HOP), signal, np.zeros(2 * _HOP)])[: (frames + 1) * _HOP].reshape(-1, _HOP)
    return np.fft.rfft(np.concatenate([padded[:-1], padded[1:]], axis=1) * _WINDOW, _FFT, axis=1)


def _resonances(formants: Array, damping: float) -> NDArray[np.complex128]:
    """Cascade of second-order resonators with unit gain at 0 Hz, complex (frames, bins)."""
    response = np.ones((1, 1), dtype=np.complex128)
    gain = np.ones(formants.shape[1])
    for centre, bandwidth in zip(formants, _BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * bandwidth * damping / SAMPLE_RATE)
        linear = -2 * radius * np.cos(2 * np.pi * np.minimum(centre, 7600.0) / SAMPLE_RATE)
        gain = gain * (1 + linear + radius**2)
        response = response * (1 + radius**2 * _DELAY**2 + linear[:, None] * _DELAY)
    return gain[:, None] / response


def _overlap_add(spectra: NDArray[np.complex128], samples: int) -> Array:
    pieces = np.fft.irfft(spectra, _FFT, axis=1).reshape(len(spectra), _FFT // _HOP, _HOP)
    out = np.zeros((len(spectra) + _FFT // _HOP, _HOP))
    for k in range(_FFT // _HOP):
        out[k : k + len(spectra)] += pieces[:, k]
    return out.ravel()[_HOP : _HOP + samples]


def _record(speech: Array, manner: _Manner, generator: np.random.Generator) -> Array:
    """Room reflections, background noise and recording level of one clip."""
    samples = len(speech)
    reflections = generator.random((2, 10))
    wetness = 0.12 + 0.25 * generator.random()
    room = speech.copy()
    delays = np.floor(80 + 1500 * reflections[0]).astype(int).tolist()
    for delay, strength in zip(delays, (2 * reflections[1] - 1).tolist(), strict=True):
        room[delay:] += wetness * strength * np.exp(-delay / 700) * speech[:-delay]
    room /= np.sqrt(np.mean(room**2))
    hiss = generator.standard_normal(samples + 1)
    colour = generator.random()
    hiss = hiss[1:] + colour * hiss[:-1]
    room += hiss * 10 ** (-(36 + 12 * generator.random()) / 20)
    room *= 10 ** ((-23 + 1.5 * manner.loudness + 4 * generator.random()) / 20)
    return room * min(1.0, 0.95 / float(np.max(np.abs(room))))


def voice_clip(person: SyntheticPerson, clip: int) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Render one utterance.

    Args:
        person: Who speaks.
        clip: Number of the clip, 0 or more; every number is another utterance in another room.

    Returns:
        The waveform, int16 (T,), mono at 16 kHz, 2.6 to 3.6 s long, and the observed vector, float64 (7,): what a
        perfect listener would know of the shared traits, columns as in `voiceface.data.synthetic.TRAITS`.

    Example:
        >>> from voiceface.data.synthetic import SyntheticOptions, person
        >>> waveform, observed = voice_clip(person(SyntheticOptions(), 0), clip=0)
        >>> waveform.dtype.name, 2.6 < len(waveform) / 16_000 < 3.6
        ('int16', True)
    """
    generator = person.voice_generator(clip)
    manner = _manner(person)
    samples = int(SAMPLE_RATE * (2.6 + generator.random()))
    frames = samples // _HOP + 2
    score = _utterance(manner, frames, generator)

    noise = generator.standard_normal((2, samples + 1))
    breath = noise[0, 1:] - 0.9 * noise[0, :-1]
    source = _pulses(score, manner, samples, generator)
    source += np.interp(np.arange(samples) / _HOP, np.arange(frames), score.breath) * breath
    ratio = (_FREQUENCY / 250) ** 2
    equaliser = (1 + (_FREQUENCY / 1000) ** 2) ** (0.05 * (generator.random() - 0.5))
    glottis = np.sqrt(ratio) / (1 + ratio) ** manner.tilt * equaliser
    voiced = _spectra(source, frames) * _resonances(score.formants, manner.damping) * glottis

    centre = manner.accent[0]
    hiss_shape = equaliser / (((_FREQUENCY**2 - centre**2) / (1800 * (_FREQUENCY + 300))) ** 2 + 1)
    hissed = _spectra(noise[1, 1:], frames) * hiss_shape
    speech = _overlap_add(voiced + 0.14 * hissed * score.frication[:, None], samples)
    waveform = _record(speech, manner, generator)
    return np.round(waveform * 32767).astype(np.int16), person.voice.vector()
