"""How fast are voices read on one core, against the libraries alone, and what does finding speech add, in one run?

`bare` opens a file with PyAV, decodes it, resamples it with PyAV's resampler to 16 kHz mono and encodes FLAC with
soundfile. `voiceface` is `read_voice` and the same encoder: it also checks the file's length, levels and channels, and
resamples with a sharper filter. The detectors of speech are timed apart, on decoded voices; `package` is silero-vad's
own function. Voices are rendered, 8 s, about VoxCeleb's mean. Time is processor time of one thread.

    python -m benchmarks.data.speech [--voices 20]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import av
import numpy as np
import soundfile
import torch
from benchmarks.machine import describe
from numpy.typing import NDArray
from scipy.signal import resample_poly

from voiceface.data.corpus.bundles import encode_flac
from voiceface.data.prepare.media.speech import read_voice
from voiceface.data.prepare.media.vad import speech_spans
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.voice import voice_clip
from voiceface.utils.audio import SAMPLE_RATE

REPEATS = 9
SECONDS = 8
KINDS = {
    "wav 16 kHz mono": ("wav", "pcm_s16le", SAMPLE_RATE, 1),
    "m4a 16 kHz mono": ("m4a", "aac", SAMPLE_RATE, 1),
    "wav 48 kHz stereo": ("wav", "pcm_s16le", 48_000, 2),
    "m4a 44.1 kHz stereo": ("m4a", "aac", 44_100, 2),
}


def voice(number: int) -> NDArray[np.int16]:
    """A rendered voice, repeated to its length."""
    return np.resize(voice_clip(person(SyntheticOptions(), number), 0)[0], SECONDS * SAMPLE_RATE)


def write(path: Path, codec: str, rate: int, channels: int, waveform: NDArray[np.int16]) -> Path:
    sound = (
        resample_poly(waveform / 32768, rate // 100, SAMPLE_RATE // 100) if rate != SAMPLE_RATE else waveform / 32768
    )
    sound = np.tile(sound.clip(-1, 1)[:, None], (1, channels)) * np.linspace(1, 0.7, channels)
    if codec == "pcm_s16le":
        soundfile.write(path, sound, rate, subtype="PCM_16")
        return path
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono" if channels == 1 else "stereo"
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound.T, np.float32), format="fltp", layout=stream.layout.name
        )
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(format="fltp", layout=stream.layout.name, rate=rate, frame_size=1024)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def bare(path: Path) -> bytes:
    """PyAV and soundfile alone."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(str(path)) as container:
        parts = [p.to_ndarray() for frame in container.decode(audio=0) for p in resampler.resample(frame)]
        parts += [p.to_ndarray() for p in resampler.resample(None)]
    return encode_flac(np.concatenate(parts, axis=1)[0])


def per_second(ways: dict[str, Callable[[], object]], items: int) -> dict[str, list[float]]:
    """Items per second of each way, all in turn, so that a busy moment hits them alike."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, run in ways.items():
            start = time.process_time()
            run()
            found[name].append(items / (time.process_time() - start))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--voices", type=int, default=20)
    count = parser.parse_args().voices
    torch.set_num_threads(1)
    waveforms = [voice(number) for number in range(count)]
    rows: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as folder:
        for kind, (suffix, codec, rate, channels) in KINDS.items():
            paths = [
                write(Path(folder, f"{codec}-{rate}-{i}.{suffix}"), codec, rate, channels, waveform)
                for i, waveform in enumerate(waveforms)
            ]
            ways = {
                "bare": lambda paths=paths: [bare(path) for path in paths],
                "voiceface": lambda paths=paths: [encode_flac(read_voice(path)[0]) for path in paths],
            }
            found = per_second(ways, count)
            ratio = median(ours / theirs for ours, theirs in zip(found["voiceface"], found["bare"], strict=True))
            rows[kind] = {name: round(median(values), 1) for name, values in found.items()} | {"ratio": round(ratio, 3)}
            print(f"{kind:22}" + "   ".join(f"{name} {value:8.5g}" for name, value in rows[kind].items()))
    from silero_vad import get_speech_timestamps, load_silero_vad

    model = load_silero_vad()
    detectors = {
        "silero": lambda: [speech_spans(waveform, "silero") for waveform in waveforms],
        "webrtc": lambda: [speech_spans(waveform, "webrtc") for waveform in waveforms],
        "package": lambda: [
            get_speech_timestamps(torch.from_numpy(waveform.astype(np.float32) / 32768), model)
            for waveform in waveforms[:3]
        ],
    }
    for detect in detectors.values():
        detect()
    found = per_second(detectors, count)
    found["package"] = [value * min(3, count) / count for value in found["package"]]
    vad = {name: round(median(values), 1) for name, values in found.items()}
    print("voices per second     " + "   ".join(f"{name} {value:8.5g}" for name, value in vad.items()))
    result = {"machine": describe(), "seconds_per_voice": SECONDS, "reading": rows, "detecting": vad}
    place = Path(__file__).parents[1] / "results" / "speech.json"
    place.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
