import os
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly
from speech_support import hush, speech
from tests_support import examples

from voiceface.data.prepare.media.speech import SAMPLE_RATE, Rejected, VoiceOptions, read_speech, read_voice
from voiceface.data.prepare.media.vad import speech_spans

AUDIO = Path(os.environ.get("VOICEFACE_TEST_DATA", "")) / "media/audio"
needs_data = pytest.mark.skipif("VOICEFACE_TEST_DATA" not in os.environ, reason="VOICEFACE_TEST_DATA is not set")


def tone(hz: float, rate: int = SAMPLE_RATE, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)


def encode(path: Path, codec: str, samples: np.ndarray, rate: int, **options: str) -> Path:
    """Write mono sound with FFmpeg's own encoder."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def reason(path: Path, **options: Any) -> str:
    with pytest.raises(Rejected) as caught:
        read_voice(path, VoiceOptions(**options))
    assert caught.value.stage == "voice"
    return caught.value.reason


def test_16k_mono_int16_passes_unchanged(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 20_000).astype(np.int16)
    samples[:2] = -32768, 32767
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "a.flac", samples, SAMPLE_RATE, subtype="PCM_16")
    for name in ("a.wav", "a.flac"):
        waveform, _ = read_voice(tmp_path / name)
        assert waveform.dtype == np.int16
        np.testing.assert_array_equal(waveform, samples)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_sample_formats_are_scaled_alike(tmp_path: Path, subtype: str) -> None:
    samples = tone(300)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype=subtype)
    waveform, warnings = read_voice(tmp_path / "a.wav")
    step = 256 if subtype == "PCM_U8" else 1
    assert np.abs(waveform - samples * 32768).max() <= step
    assert warnings == []


def test_float_rounds_and_saturates(tmp_path: Path) -> None:
    samples = np.tile(np.array([2.0, -2.0, 0.4 / 32768, 0.6 / 32768, -1.6 / 32768], np.float32), 4000)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    waveform, warnings = read_voice(tmp_path / "a.wav")
    np.testing.assert_array_equal(waveform[:5], [32767, -32768, 0, 1, -2])
    assert warnings == ["clipped 40.0 %"]


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_resampling_agrees_with_polyphase_filter(tmp_path: Path, rate: int) -> None:
    samples = tone(440, rate) + tone(2100, rate, level=0.2)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    waveform, _ = read_voice(tmp_path / "a.wav")
    divisor = np.gcd(rate, SAMPLE_RATE)
    expected = resample_poly(samples, SAMPLE_RATE // divisor, rate // divisor, window=("kaiser", 12.0))
    exact = tone(440) + tone(2100, level=0.2)
    assert abs(len(waveform) - SAMPLE_RATE) <= 1
    middle = slice(1000, -1000)
    assert np.abs(waveform[middle] / 32768 - exact[: len(waveform)][middle]).max() < 1e-4
    assert np.abs(waveform[middle] / 32768 - expected[: len(waveform)][middle]).max() < 0.01


@pytest.mark.parametrize(("hz", "low", "high"), [(7000, -0.05, 0.05), (8600, -300, -80), (14000, -300, -85)])
def test_passband_is_flat_and_aliases_are_gone(tmp_path: Path, hz: float, low: float, high: float) -> None:
    # A carrier at 1 kHz keeps the file from being silent.
    soundfile.write(tmp_path / "a.wav", tone(hz, 48000) + tone(1000, 48000, level=0.1), 48000, subtype="FLOAT")
    waveform, _ = read_voice(tmp_path / "a.wav")
    seen = hz if hz < 8000 else abs(SAMPLE_RATE - hz)
    window = np.hanning(8000)
    spectrum = np.abs(np.fft.rfft(waveform[4000:12000] / 32768 * window)) / window.sum() * 2
    assert low < 20 * np.log10(spectrum[round(seen / 2)] / 0.5 + 1e-12) < high


@settings(max_examples=examples(15), deadline=None)
@given(rate=st.sampled_from([8000, 16000, 22050, 44100]), count=st.integers(12_000, 30_000), channels=st.integers(1, 3))
def test_length_is_kept(tmp_path_factory: pytest.TempPathFactory, rate: int, count: int, channels: int) -> None:
    path = tmp_path_factory.mktemp("v") / "a.wav"
    noise = np.random.default_rng(count).normal(0, 0.1, (count * rate // SAMPLE_RATE + 1, channels))
    soundfile.write(path, noise, rate)
    waveform, _ = read_voice(path)
    assert abs(len(waveform) - len(noise) * SAMPLE_RATE / rate) <= 1


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(300), tone(700, level=0.3)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), SAMPLE_RATE, subtype="FLOAT")
    waveform, warnings = read_voice(tmp_path / "a.wav")
    assert np.abs(waveform / 32768 - (left + right) / 2).max() < 2 / 32768
    assert warnings == []


def test_one_of_six_channels_is_no_antiphase(tmp_path: Path) -> None:
    samples = np.zeros((SAMPLE_RATE, 6))
    samples[:, 2] = tone(300)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    waveform, warnings = read_voice(tmp_path / "a.wav")
    assert np.abs(waveform / 32768 - samples[:, 2] / 6).max() < 2 / 32768
    assert warnings == []


@pytest.mark.parametrize("gain", [1.0, 0.9])
def test_antiphase_takes_the_strongest_channel(tmp_path: Path, gain: float) -> None:
    left = tone(300)
    soundfile.write(tmp_path / "a.wav", np.stack([-gain * left, left], 1), SAMPLE_RATE, subtype="FLOAT")
    waveform, warnings = read_voice(tmp_path / "a.wav")
    assert warnings == ["antiphase channels"]
    assert np.abs(np.abs(waveform / 32768) - np.abs(left)).max() < 2 / 32768


def test_offset_is_named_and_does_not_hide_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(300) + 0.02, SAMPLE_RATE, subtype="FLOAT")
    assert read_voice(tmp_path / "a.wav")[1] == ["DC offset 2.0 %"]
    soundfile.write(tmp_path / "b.wav", np.full(SAMPLE_RATE, 0.25), SAMPLE_RATE, subtype="FLOAT")
    assert reason(tmp_path / "b.wav") == "silent"


@pytest.mark.parametrize(("decibels", "used"), [(-84, True), (-86, False)])
def test_silence_threshold(tmp_path: Path, decibels: float, used: bool) -> None:
    soundfile.write(tmp_path / "a.wav", tone(300, level=2**0.5 * 10 ** (decibels / 20)), SAMPLE_RATE, subtype="FLOAT")
    if used:
        assert read_voice(tmp_path / "a.wav")[0].any()
    else:
        assert reason(tmp_path / "a.wav") == "silent"


def test_minimum_length(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(300, 48000, 0.5), 48000)
    assert len(read_voice(tmp_path / "a.wav", VoiceOptions(minimum_seconds=0.5))[0]) == 8000
    assert reason(tmp_path / "a.wav", minimum_seconds=0.6) == "shorter than 0.6 s"


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    samples = tone(300).astype(np.float32)
    samples[5] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    assert reason(tmp_path / "a.wav") == "values that are not finite"


CONTAINERS = [
    ("a.wav", "pcm_s16le"),
    ("a.flac", "flac"),
    ("a.m4a", "aac"),
    ("a.mp3", "libmp3lame"),
    ("a.aiff", "pcm_s16be"),
    ("a.mkv", "flac"),
]


@pytest.mark.parametrize(("name", "codec"), CONTAINERS)
def test_truncated_file_is_rejected_and_whole_one_is_used(tmp_path: Path, name: str, codec: str) -> None:
    path = encode(tmp_path / name, codec, tone(440, 44100, 3), 44100)
    whole, warnings = read_voice(path)
    assert abs(len(whole) / SAMPLE_RATE - 3) < 0.05
    assert warnings == []
    strongest = np.fft.rfft(whole[8000:24000] * np.hanning(16000))
    assert np.abs(strongest).argmax() == 440
    content = path.read_bytes()
    for share in (0.5, 0.8):
        path.write_bytes(content[: int(share * len(content))])
        assert reason(path) == "truncated"


def test_truncated_with_the_index_in_front(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", "aac", tone(440, 44100, 3), 44100, movflags="+faststart")
    path.write_bytes(path.read_bytes()[:-9000])
    assert reason(path) == "truncated"


def test_flac_cut_between_two_frames(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.flac", "flac", tone(440, 44100, 3), 44100)
    with av.open(str(path)) as container:
        positions = [packet.pos for packet in container.demux() if packet.size]
    path.write_bytes(path.read_bytes()[: positions[len(positions) // 2]])
    assert reason(path) == "truncated"


def test_length_that_is_only_guessed_is_no_evidence(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp3", "libmp3lame", tone(440, 44100, 3), 44100, write_xing="0")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert 1.4 < len(read_voice(path)[0]) / SAMPLE_RATE < 1.6


@pytest.mark.parametrize("placeholder", [0xFFFFFFFF, 0x7FFFF000])
def test_wav_from_a_pipe_is_whole(tmp_path: Path, placeholder: int) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((tone(300) * 32767).astype("<i2").tobytes())
    content = bytearray(path.read_bytes())
    content[40:44] = placeholder.to_bytes(4, "little")
    path.write_bytes(content)
    assert len(read_voice(path)[0]) == SAMPLE_RATE


def test_lost_packets_are_counted(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.aac", "aac", np.random.default_rng(0).normal(0, 0.1, 441_000), 44100)
    content = bytearray(path.read_bytes())
    middle = content.index(b"\xff\xf1", len(content) // 2)
    content[middle + 10 : middle + 60] = b"\xff" * 50
    path.write_bytes(content)
    warnings = read_voice(path)[1]
    assert len(warnings) == 1
    assert warnings[0].endswith("packets do not decode")
    for start in range(len(content) // 4, len(content) * 3 // 4, 2000):
        content[start : start + 60] = b"\xff" * 60
    path.write_bytes(content)
    assert reason(path) == "damaged"


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\na.wav\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile a.wav\n"])
def test_playlist_in_disguise_reads_no_other_file(tmp_path: Path, text: str) -> None:
    soundfile.write(tmp_path / "a.wav", tone(300), SAMPLE_RATE)
    (tmp_path / "list.mp3").write_text(text)
    assert reason(tmp_path / "list.mp3").startswith("unreadable")


def test_unreadable_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "noise.mp3").write_bytes(np.random.default_rng(0).bytes(5000))
    assert reason(tmp_path / "empty.wav") == "empty file"
    assert reason(tmp_path / "missing.wav") == "vanished since it was listed"
    assert reason(tmp_path / "noise.mp3") in ("unreadable (Invalid data found when processing input)", "damaged")
    assert capfd.readouterr() == ("", "")


def test_a_long_sound_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for name, codec in CONTAINERS:
        path = encode(tmp_path / name, codec, tone(440, 44100, 3), 44100)
        assert len(read_voice(path, VoiceOptions(maximum_seconds=3.2))[0])
        content = path.read_bytes()
        # Half of it cannot be decoded: that would be found only by decoding.
        path.write_bytes(content[: len(content) // 2] if name not in ("a.m4a", "a.aiff") else content)
        assert reason(path, maximum_seconds=2) == "longer than 2 s"


def test_a_long_sound_that_says_nothing_is_stopped(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.aac", "aac", np.random.default_rng(0).normal(0, 0.1, 132_300), 44100)
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4 :] = b"\xff" * (len(content) // 4)
    path.write_bytes(content)
    assert reason(path) == "truncated"
    assert reason(path, maximum_seconds=1) == "longer than 1 s"


def test_hours_in_the_header_of_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(300), SAMPLE_RATE, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = (0x70000000).to_bytes(4, "little")
    path.write_bytes(content)
    assert reason(path) == "longer than 3600 s"
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(300), SAMPLE_RATE, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    # STREAMINFO: 36 bits of the number of samples end 18 bytes into the block, which starts at 8.
    content[21:26] = bytes([content[21] | 0x0F, 255, 255, 255, 255])
    path.write_bytes(content)
    assert reason(path) == "longer than 3600 s"


def wav_header(path: Path, rate: int, channels: int, data: bytes) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(data)
    return path


def test_rates_and_channels_that_no_recorder_has(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-9000, 9000, 2 * 50_000, dtype=np.int16).tobytes()
    rate = "sample rate outside 4 to 384 kHz"
    assert reason(wav_header(tmp_path / "slow.wav", 100, 1, noise)) == rate
    assert reason(wav_header(tmp_path / "fast.wav", 2_000_000, 1, noise)) == rate
    assert reason(wav_header(tmp_path / "wide.wav", 16_000, 100, noise)) == "more than 64 channels"
    assert len(read_voice(wav_header(tmp_path / "edge.wav", 4_000, 1, noise))[0]) == 400_000


def test_more_samples_than_memory_is_meant_for(tmp_path: Path) -> None:
    path = wav_header(tmp_path / "a.wav", 192_000, 8, tone(300).astype("<i2").tobytes())
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = (0x60000000).to_bytes(4, "little")  # 524 s of 8 channels: 805 million samples
    path.write_bytes(content)
    assert reason(path) == "more than 536 million samples"


def test_speech_is_cut_out_and_joined(tmp_path: Path) -> None:
    pytest.importorskip("silero_vad")
    sound = np.concatenate([hush(2), speech(1.5), hush(2), speech(1.5, 190), hush(2)])
    soundfile.write(tmp_path / "a.wav", sound, SAMPLE_RATE, subtype="PCM_16")
    spans = speech_spans(sound, "silero")
    assert len(spans) == 2
    waveform, warnings = read_voice(tmp_path / "a.wav", VoiceOptions(vad="silero"))
    np.testing.assert_array_equal(waveform, np.concatenate([sound[a:b] for a, b in spans]))
    assert warnings == []
    assert reason(tmp_path / "a.wav", vad="silero", minimum_seconds=5) == "less than 5 s of speech"
    regions, _ = read_speech(tmp_path / "a.wav", VoiceOptions(vad="silero"))
    assert [(start * SAMPLE_RATE, len(part)) for start, part in regions] == [(a, b - a) for a, b in spans]
    with pytest.raises(Rejected, match="less than 5 s of speech"):
        read_speech(tmp_path / "a.wav", VoiceOptions(vad="silero", minimum_seconds=5))
    soundfile.write(tmp_path / "b.wav", hush(3), SAMPLE_RATE, subtype="PCM_16")
    for read in (read_voice, read_speech):
        with pytest.raises(Rejected, match="no speech"):
            read(tmp_path / "b.wav", VoiceOptions(vad="silero"))


def test_long_sounds_are_cut_evenly(tmp_path: Path) -> None:
    sound = tone(300, seconds=45)
    soundfile.write(tmp_path / "a.wav", sound, SAMPLE_RATE, subtype="PCM_16")
    regions, _ = read_speech(tmp_path / "a.wav", VoiceOptions())
    assert [start for start, _ in regions] == [0, 15, 30]
    np.testing.assert_array_equal(np.concatenate([part for _, part in regions]), read_voice(tmp_path / "a.wav")[0])


@needs_data
def test_real_videos_and_pictures() -> None:
    videos = sorted((AUDIO.parents[1] / "videos").glob("*.mpg"))
    assert videos
    for video in videos[:3]:
        assert 2.9 < len(read_voice(video)[0]) / SAMPLE_RATE < 3.1
    assert reason(next((AUDIO.parent / "img").glob("*_rgb.jpg"))) == "no audio stream"
