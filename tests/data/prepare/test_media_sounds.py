"""Every file of `media/audio`, with and without the detectors of speech. Most of them are one speech of 11 s."""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from voiceface.data.prepare.media.speech import Rejected, VoiceOptions, read_speech, read_voice

AUDIO = Path(os.environ.get("VOICEFACE_TEST_DATA", "")) / "media/audio"
pytestmark = pytest.mark.skipif("VOICEFACE_TEST_DATA" not in os.environ, reason="VOICEFACE_TEST_DATA is not set")

# Used: warnings, seconds of the whole sound, seconds of speech by silero and by webrtc.
USED = {
    "speech.aac": ([], 11.0, 7.8, 9.5),
    "speech.m4a": ([], 11.0, 7.9, 9.6),
    "speech.mp3": ([], 11.0, 7.8, 9.5),
    "speech.ogg": ([], 11.0, 7.9, 9.6),
    "speech.opus": ([], 11.0, 7.9, 9.6),
    "speech_16k_mono.wav": ([], 11.0, 7.9, 9.6),
    "speech_48k_stereo.flac": ([], 11.0, 7.9, 9.6),
    "speech_6ch.flac": ([], 11.0, 7.7, 9.4),
    "speech_8k.wav": ([], 11.0, 7.7, 9.6),
    "speech_8k_mulaw.wav": ([], 11.0, 7.7, 9.6),
    "speech_antiphase_stereo.wav": (["antiphase channels"], 11.0, 7.9, 9.5),
    "speech_clipped.wav": (["clipped 41.6 %"], 11.0, 6.9, 10.9),
    "speech_f32.wav": ([], 11.0, 7.9, 9.6),
    "speech_left_only.wav": ([], 11.0, 7.9, 9.5),
    "speech_quiet.wav": ([], 11.0, 7.7, 4.8),
    "speech_s24.wav": ([], 11.0, 7.9, 9.6),
    "noise_3s.wav": ([], 3.0, "no speech", 3.0),
}
LEFT_OUT = {
    "speech_0p2s.wav": "shorter than 0.5 s",
    "speech_truncated.m4a": "truncated",
    "speech_truncated.mp3": "truncated",
    "speech_truncated.wav": "truncated",
    "silent_3s.wav": "silent",
    "zero_bytes.wav": "empty file",
}


@pytest.fixture(scope="module")
def paths() -> dict[str, Path]:
    # The files are named by the speaker.
    speaker = Counter(re.split(r"[_.]", path.name)[0] for path in AUDIO.iterdir()).most_common(1)[0][0]
    found = {path.name.replace(speaker, "speech"): path for path in AUDIO.iterdir()}
    assert found.keys() == USED.keys() | LEFT_OUT.keys()
    return found


@pytest.mark.parametrize(("vad", "column"), [("none", 1), ("silero", 2), ("webrtc", 3)])
def test_the_whole_table(paths: dict[str, Path], vad: str, column: int, capfd: pytest.CaptureFixture[str]) -> None:
    if vad != "none":
        pytest.importorskip({"silero": "silero_vad", "webrtc": "webrtcvad"}[vad])
    options = VoiceOptions(vad=vad)
    expected = {name: (row[0], row[column]) for name, row in USED.items()} | LEFT_OUT
    fates: dict[str, object] = {}
    for name, path in paths.items():
        try:
            waveform, warnings = read_voice(path, options)
            fates[name] = (warnings, len(waveform) / 16_000)
        except Rejected as rejected:
            fates[name] = rejected.reason
    for name, fate in expected.items():
        if isinstance(fate, str) or isinstance(fate[1], str):
            assert fates[name] == (fate if isinstance(fate, str) else fate[1]), name
        else:
            warnings, seconds = fates[name]
            assert warnings == fate[0], name
            # Codecs lose and add a frame or two; another version of the detector moves a border by a few steps.
            assert seconds == pytest.approx(fate[1], abs=0.06 if vad == "none" else 0.15), name
    assert capfd.readouterr().out == ""


def test_one_speech_in_every_shape(paths: dict[str, Path]) -> None:
    reference = read_voice(paths["speech_16k_mono.wav"])[0].astype(float)
    for name in USED:
        if not name.startswith("speech"):
            continue
        waveform = read_voice(paths[name])[0].astype(float)
        # The same speech at the same place, whatever the container, the rate and the channels did to it.
        n = 2 ** int(np.ceil(np.log2(len(reference) + len(waveform))))
        cross = np.fft.irfft(np.fft.rfft(waveform, n) * np.fft.rfft(reference, n).conj(), n)
        peak = int(np.abs(cross).argmax())
        assert min(peak, n - peak) < 1200, name
        assert np.abs(cross[peak]) / np.linalg.norm(reference) / np.linalg.norm(waveform) > 0.7, name


def test_the_sentences_of_a_speech(paths: dict[str, Path]) -> None:
    pytest.importorskip("silero_vad")
    whole = read_voice(paths["speech_16k_mono.wav"])[0]
    regions, _ = read_speech(paths["speech_16k_mono.wav"], VoiceOptions(vad="silero"))
    assert [start for start, _ in regions] == pytest.approx([0.32, 3.27, 5.38, 8.16], abs=0.1)
    for start, part in regions:
        np.testing.assert_array_equal(part, whole[round(start * 16_000) :][: len(part)])
    parts, _ = read_speech(paths["speech_16k_mono.wav"], VoiceOptions())
    assert [(start, len(part)) for start, part in parts] == [(0.0, len(whole))]
