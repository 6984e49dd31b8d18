import os
import sys
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_support import hush, speech
from tests_support import examples

from voiceface.cli import main
from voiceface.data.prepare.media.speech import read_voice, regions_of
from voiceface.data.prepare.media.vad import speech_spans

torch = pytest.importorskip("torch")
AUDIO = Path(os.environ.get("VOICEFACE_TEST_DATA", "")) / "media/audio"
needs_data = pytest.mark.skipif("VOICEFACE_TEST_DATA" not in os.environ, reason="VOICEFACE_TEST_DATA is not set")


def talk(count: int = 1) -> np.ndarray:
    """1.5 s of vowels between two seconds of hush each."""
    return np.concatenate([part for i in range(count) for part in (hush(2), speech(1.5, 120 + 60 * i))] + [hush(2)])


def test_silero_agrees_with_its_own_package() -> None:
    silero = pytest.importorskip("silero_vad")
    waveform = talk(2)
    model = silero.load_silero_vad()
    samples = torch.from_numpy(waveform.astype(np.float32) / 32768)
    expected = [(s["start"], s["end"]) for s in silero.get_speech_timestamps(samples, model)]
    assert expected
    assert speech_spans(waveform, "silero") == expected


def test_silero_in_parts_is_silero_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("silero_vad")
    from voiceface.data.prepare.media import vad

    samples = torch.from_numpy(talk(2).astype(np.float32) / 32768)
    with torch.inference_mode():
        whole = vad._silero()[0](samples)
        monkeypatch.setattr(vad, "STEPS", 7)
        parts = vad._silero()[0](samples)
    assert len(whole) == -(-len(samples) // 512)
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_silero_leaves_the_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("silero_vad")
    from voiceface.data.prepare.media import vad

    for name in [name for name in sys.modules if name.partition(".")[0] == "silero_vad"]:
        monkeypatch.delitem(sys.modules, name)
    vad._silero.cache_clear()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert speech_spans(talk(), "silero")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_silero_hears_a_quiet_voice_and_no_noise() -> None:
    pytest.importorskip("silero_vad")
    loud = talk()
    spans = speech_spans(loud, "silero")
    quiet = speech_spans(np.rint(loud / 200).astype(np.int16), "silero")
    assert len(spans) == len(quiet) == 1
    assert np.abs(np.subtract(spans, quiet)).max() <= 1024
    assert 31_000 < spans[0][0] < 36_000
    assert 52_000 < spans[0][1] < 60_000
    noise = np.random.default_rng(1).normal(0, 5000, 48_000).astype(np.int16)
    assert speech_spans(noise, "silero") == []
    assert speech_spans(np.zeros(48_000, np.int16), "silero") == []


def naive_webrtc(voiced: list[bool]) -> list[tuple[int, int]]:
    """The rule in words: two voiced frames start, two unvoiced ones end; each starts to count after the last switch."""
    spans, inside, since, start = [], False, 0, 0
    for i in range(len(voiced)):
        if i - since < 1 or voiced[i] != voiced[i - 1] or voiced[i] == inside:
            continue
        if inside:
            spans.append((start * 320, (i + 1) * 320))
        else:
            start = i - 1
        inside, since = not inside, i + 1
    return [*spans, (start * 320, len(voiced) * 320)] if inside else spans


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.integers(0, 319))
def test_webrtc_rule(voiced: list[bool], rest: int) -> None:
    from voiceface.data.prepare.media import vad

    class Module:
        class Vad:
            def __init__(self, mode: int) -> None:
                assert mode == 2
                self.answers = iter(voiced)

            def is_speech(self, frame: bytes, rate: int) -> bool:
                assert (len(frame), rate) == (640, 16_000)
                return next(self.answers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vad, "_webrtc", lambda: Module)
        assert speech_spans(np.zeros(320 * len(voiced) + rest, np.int16), "webrtc") == naive_webrtc(voiced)


def test_webrtc_finds_the_vowels() -> None:
    webrtcvad = pytest.importorskip("webrtcvad")
    waveform = talk()
    detector = webrtcvad.Vad(2)
    frames = waveform[: len(waveform) // 320 * 320].reshape(-1, 320)
    voiced = [detector.is_speech(frame.tobytes(), 16_000) for frame in frames]
    spans = speech_spans(waveform, "webrtc")
    assert spans == naive_webrtc(voiced)
    heard = np.zeros(len(waveform), bool)
    for start, end in spans:
        heard[start:end] = True
    assert heard[34_000:54_000].mean() > 0.9
    assert heard[:30_000].mean() < 0.2


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12_000), st.integers(1, 700_000)), min_size=1, max_size=8))
def test_regions(gaps: list[tuple[int, int]]) -> None:
    spans, position = [], 0
    for gap, length in gaps:
        spans.append((position + gap, position + gap + length))
        position += gap + length
    regions = regions_of(spans)
    inside = np.zeros(position, bool)
    for start, end in spans:
        inside[start:end] = True
    for (_, before), (after, _) in pairwise(spans):
        inside[before:after] = after - before < 4800
    found = np.zeros(position, int)
    for start, end in regions:
        assert 0 < end - start <= 320_000
        found[start:end] += 1
    np.testing.assert_array_equal(found, inside)
    # No stretch is cut into more parts than it needs, and its parts are even.
    runs = [len(list(run)) for value, run in groupby(inside.tolist()) if value]
    assert len(regions) == sum(-(-run // 320_000) for run in runs)


@needs_data
def test_silero_agrees_with_its_own_package_on_real_speech() -> None:
    silero = pytest.importorskip("silero_vad")
    model = silero.load_silero_vad()
    paths = [next(AUDIO.glob("*16k_mono.wav")), *sorted((AUDIO.parents[1] / "videos").glob("*.mpg"))[:3]]
    for path in paths:
        waveform = read_voice(path)[0]
        samples = torch.from_numpy(waveform.astype(np.float32) / 32768)
        expected = [(s["start"], s["end"]) for s in silero.get_speech_timestamps(samples, model)]
        assert expected
        assert speech_spans(waveform, "silero") == expected


@pytest.mark.parametrize(
    ("option", "value", "package"),
    [("--vad", "silero", "silero_vad"), ("--vad", "webrtc", "webrtcvad"), ("--faces", "detect", "mtcnn")],
)
def test_a_missing_detector_is_told_before_the_walk(option, value, package, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["prepare", "folder", str(tmp_path / "no folder"), str(tmp_path / "out"), option, value]) == 2
    assert f"{option} {value}: needs the extra `prepare`: pip install" in capsys.readouterr().err
