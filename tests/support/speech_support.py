import numpy as np
from scipy.signal import lfilter

RATE = 16_000
# Formants of four vowels, Hz.
VOWELS = ((700, 1200, 2600), (300, 2300, 3000), (500, 1000, 2500), (400, 2000, 2700))


def speech(seconds: float = 1.5, hz: float = 120, level: float = 0.3) -> np.ndarray:
    """Vowels from pulses and formant filters, one every 0.22 s: detectors of speech take them for speech."""
    rng = np.random.default_rng(0)
    time = np.arange(round(RATE * seconds)) / RATE
    pitch = hz * (1 + 0.15 * np.sin(2 * np.pi * 1.1 * time))
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0) + 0.02 * rng.normal(size=len(time))
    wave = np.zeros(len(time))
    length = round(0.22 * RATE)
    radius = np.exp(-np.pi * 90 / RATE)
    for number, start in enumerate(range(0, len(time), length)):
        part = pulses[start : start + length]
        part = part * np.hanning(len(part)) ** 0.5
        for formant in VOWELS[number % 4]:
            part = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], part)
        wave[start : start + length] = part
    return np.rint(wave / np.abs(wave).max() * level * 32767).astype(np.int16)


def hush(seconds: float) -> np.ndarray:
    """Noise at -81 dBFS: no speech, and not silence either."""
    return np.rint(np.random.default_rng(0).normal(0, 3, round(RATE * seconds))).astype(np.int16)
