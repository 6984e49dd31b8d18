"""Find the speech in a waveform: silero's network or WebRTC's detector."""

from collections import deque
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from voiceface.utils.audio import SAMPLE_RATE
from voiceface.utils.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import LSTM

Detector = Literal["silero", "webrtc"]
Span = tuple[int, int]

# Silero's network: 512 new samples a step, 64 samples of the step before, the width of its recurrence.
CHUNK, CONTEXT, HIDDEN = 512, 64, 128
# Steps at once: 131 s of sound, 50 MB.
STEPS = 4096
# Below this peak (-12 dBFS) silero begins to miss speech, and it finds none at -57 dBFS.
SILERO_PEAK = 0.25
# DIMNet's settings: aggressiveness, samples of a frame (20 ms), frames of the ring (50 ms).
WEBRTC_MODE, WEBRTC_FRAME, WEBRTC_RING = 2, 320, 2


def speech_spans(waveform: NDArray[np.int16], vad: Detector) -> list[Span]:
    """Find the speech in a waveform.

    `silero` is the network of the package `silero-vad` with the package's own rule (probability above 0.5 starts, below
    0.35 for 100 ms ends, 250 ms of speech at least, 30 ms of margin), on the CPU. It hears a quiet waveform raised to a
    peak of -12 dBFS. `webrtc` is the GMM detector of the WebRTC project as DIMNet uses it (Wen et al., ICLR 2019):
    mode 2, frames of 20 ms; speech starts with two voiced frames and ends with two unvoiced ones, which belong to it.
    It takes loud noise for speech.

    Args:
        waveform: int16 of shape (T,), 16 kHz.
        vad: `silero` or `webrtc`.

    Returns:
        First sample and the one past the last of each stretch of speech, in order, without overlaps.

    Raises:
        UserError: The detector's package is not installed.
    """
    return _silero_spans(waveform) if vad == "silero" else _webrtc_spans(waveform)


def _webrtc_spans(waveform: NDArray[np.int16]) -> list[Span]:
    detector = _webrtc().Vad(WEBRTC_MODE)
    spans: list[Span] = []
    ring: deque[bool] = deque(maxlen=WEBRTC_RING)
    start = None
    end = len(waveform) // WEBRTC_FRAME * WEBRTC_FRAME
    for position in range(0, end, WEBRTC_FRAME):
        ring.append(detector.is_speech(waveform[position : position + WEBRTC_FRAME].tobytes(), SAMPLE_RATE))
        # More than 90 % of a ring of two frames are both.
        if len(ring) < WEBRTC_RING or (not all(ring) if start is None else any(ring)):
            continue
        if start is None:
            start = position - (WEBRTC_RING - 1) * WEBRTC_FRAME
        else:
            spans.append((start, position + WEBRTC_FRAME))
            start = None
        ring.clear()
    if start is not None:
        spans.append((start, end))
    return spans


def _silero_spans(waveform: NDArray[np.int16]) -> list[Span]:
    import torch

    network, rule = _silero()
    samples = torch.from_numpy(waveform.astype(np.float32) / 32768)
    peak = float(samples.abs().max()) if len(waveform) else 0.0
    if 0 < peak < SILERO_PEAK:
        samples = samples * (SILERO_PEAK / peak)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # The last bits depend on it, and the steps are too small for more.
    try:
        with torch.inference_mode():
            chances = network(samples)
    finally:
        torch.set_num_threads(threads)
    found = rule(chances, sampling_rate=SAMPLE_RATE, audio_length_samples=len(waveform))
    return [(int(span["start"]), int(span["end"])) for span in found]


@cache
def _silero() -> "tuple[Callable[[Tensor], list[float]], Callable[..., list[dict[str, int]]]]":
    """Silero's network, and the package's rule from chances to spans."""
    import torch

    threads = torch.get_num_threads()
    try:
        from silero_vad import get_speech_timestamps_from_probs, load_silero_vad
    except ImportError:
        raise UserError(_missing("silero", "silero-vad")) from None
    finally:
        torch.set_num_threads(threads)  # Importing the package sets one thread for the whole process.
    network = load_silero_vad()._model  # The part for 16 kHz.
    recurrence = torch.nn.LSTM(HIDDEN, HIDDEN)
    recurrence.load_state_dict({f"{name}_l0": value for name, value in network.decoder.rnn.state_dict().items()})
    return partial(_chances, network, recurrence), get_speech_timestamps_from_probs


def _chances(network: Any, recurrence: "LSTM", samples: "Tensor") -> list[float]:
    """Run silero's network over a waveform of shape (T,): the chance of speech in each step of 512 samples.

    The package takes the steps one by one; here all but the recurrence run over many steps at once, about ten times as
    fast, and equal within rounding.
    """
    from torch.nn import functional

    padded = functional.pad(samples, (CONTEXT, -len(samples) % CHUNK))
    state: tuple[Tensor, Tensor] | None = None
    chances: list[float] = []
    steps = padded.unfold(0, CONTEXT + CHUNK, CHUNK)
    for first in range(0, len(steps), STEPS):
        part = steps[first : first + STEPS]
        hidden, state = recurrence(network.encoder(network.run_extractors(part)).squeeze(-1), state)
        chances += network.decoder.decoder(hidden.unsqueeze(-1)).flatten().tolist()
    return chances


@cache
def _webrtc() -> ModuleType:
    try:
        import webrtcvad
    except ImportError:
        raise UserError(_missing("webrtc", "webrtcvad-wheels")) from None
    module: ModuleType = webrtcvad
    return module


def _missing(vad: Detector, package: str) -> str:
    return f"--vad {vad}: {package} is not installed; it needs the extra `prepare`: pip install 'voiceface[prepare]'"
