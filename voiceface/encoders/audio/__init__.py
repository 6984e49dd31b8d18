"""Features of the voice encoders: from a padded batch of waveforms to their inputs, on the batch's device.

Waveforms are (B, T), 16 kHz, zero-padded at the end; `lengths` (B,) counts each utterance's samples and is None when
every utterance fills the batch. Every function treats each utterance by its own length, so that what else is in the
batch never changes its features. All of it runs in float32, under autocast too.
"""

from voiceface.encoders.audio.spectrograms import (
    log_mel,
    magnitude_spectrogram,
    mirrored_spectrogram,
    normalised_log_mel,
)
from voiceface.encoders.audio.waveforms import append_reversed, prepare_waveforms, reflect_pad, resample, zero_beyond
from voiceface.utils.audio import SAMPLE_RATE

__all__ = [
    "SAMPLE_RATE",
    "append_reversed",
    "log_mel",
    "magnitude_spectrogram",
    "mirrored_spectrogram",
    "normalised_log_mel",
    "prepare_waveforms",
    "reflect_pad",
    "resample",
    "zero_beyond",
]
