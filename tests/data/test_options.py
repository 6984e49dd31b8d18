"""The options of the training stream: off, they change nothing; on, they keep its promises."""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.data.corpus.bundles import Clip, Person, encode_flac, encode_jpeg
from voiceface.data.corpus.clips import change_speed, jitter_face, speed_samples
from voiceface.data.corpus.shards import Corpus
from voiceface.data.module import VoxVGGDataModule
from voiceface.data.prepare.engine.build import CorpusOptions, build
from voiceface.data.stream.batches import TrainingBatches
from voiceface.data.stream.loader import Loader
from voiceface.data.stream.sampling import Sampling
from voiceface.utils.errors import UserError

ON = {"voice_seconds_max": 1.2, "voice_speed": 0.1, "face_jitter": 0.3, "same_video": True}


def noisy_person(number: int) -> Person:
    """Person of 4 voices of white noise, 0.3 to 1.5 s long, and 5 faces of grey blocks: exact on every machine."""
    rng = np.random.default_rng(number)
    voices = [
        Clip(f"{number}/v{i}", encode_flac(rng.integers(-9000, 9000, 4800 * (i + 1) + number).astype(np.int16)), "one")
        for i in range(4)
    ]
    blocks = rng.integers(0, 32, (5, 4, 4)).astype(np.uint8) * 8
    faces = [
        Clip(f"{number}/f{i}", encode_jpeg(np.kron(block, np.ones((8, 8), np.uint8))[..., None].repeat(3, 2)), "one")
        for i, block in enumerate(blocks)
    ]
    return Person(str(number), "train", tuple(voices), tuple(faces))


@pytest.fixture(scope="module")
def noises(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpora") / "noises"
    layout = CorpusOptions("noises", face_size=32, max_voices=3, max_faces=3)
    build(out, range(12), noisy_person, {}, layout, {"command": "test"}, workers=1)
    return out


def module(root: Path, **options: object) -> VoxVGGDataModule:
    return VoxVGGDataModule(str(root), 4, 2, 3, 0.8, **{"flip": True, "workers": 0, "seed": 3, **options})


def digest(batches: list[dict]) -> str:
    """Hash of everything that batches hold."""
    found = hashlib.sha256()
    for batch in batches:
        for name, value in sorted(batch.items()):
            if isinstance(value, torch.Tensor):
                found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                found.update(value.contiguous().numpy().tobytes())
            else:
                found.update(f"{name} {value}".encode())
    return found.hexdigest()


def test_the_defaults_give_the_batches_of_version_0_1_0(noises: Path):
    loader = module(noises).train_dataloader()
    batches = [batch for _ in range(2) for batch in loader]
    assert len(batches) == 12
    assert digest(batches) == "319078d19c3fb36787e6e0692f577c12de33451dd45aff354427b68754f059e3"


@pytest.mark.parametrize("option", ON)
def test_each_option_alone_changes_its_own_clips_only(noises: Path, option: str):
    off, on = (next(iter(module(noises, **o).train_dataloader())) for o in ({}, {option: ON[option]}))
    changed = {name for name in off if digest([{name: off[name]}]) != digest([{name: on[name]}])}
    expected = {
        "voice_seconds_max": {"voices", "voice_lengths"},
        "voice_speed": {"voices"},
        "face_jitter": {"faces"},
        "same_video": set(),  # everybody has one video only
    }
    assert changed == expected[option]


@pytest.mark.parametrize(
    ("workers", "start_method"),
    [(2, "fork"), pytest.param(1, "spawn", marks=pytest.mark.slow(reason="its worker imports torch anew"))],
)
def test_workers_and_a_resume_in_mid_epoch_change_nothing_with_all_options_on(
    noises: Path, workers: int, start_method: str
):
    alone = module(noises, **ON).train_dataloader()
    batches = [digest([b]) for _ in range(2) for b in alone]
    assert len(set(batches)) == len(batches) == 12
    resumed = module(noises, workers=workers, start_method=start_method, **ON).train_dataloader()
    resumed.load_state_dict({"served": 4})
    again = [digest([b]) for b in itertools.islice(resumed, 6)]
    resumed.close()
    assert again == batches[4:10]


def test_a_batch_has_one_length_between_the_bounds_and_the_same_on_every_rank(tones: Path):
    corpus = Corpus(tones)
    paired = [b for b in corpus.index("train") if b.voices and b.faces]
    sampling = Sampling(2, 1, 1, 0.3, 32, 1.0, False, 0, voice_seconds_max=0.4)
    ranks = [Loader(TrainingBatches(corpus, "train", paired, sampling, "stop", rank, 2)) for rank in range(2)]
    lengths = []
    for _ in range(3):
        for one, other in zip(*ranks, strict=True):
            assert set(one["voice_lengths"].tolist()) == {one["voices"].shape[1]}
            assert one["voices"].shape == other["voices"].shape
            lengths.append(one["voices"].shape[1])
    assert len(set(lengths)) > 0.8 * len(lengths) > 20
    assert 4_800 <= min(lengths) < 5_200 < 6_000 < max(lengths) <= 6_400


def test_lengths_are_uniform_and_reach_both_bounds():
    sampling = Sampling(2, 1, 1, 1.0, 32, 1.0, False, 0, voice_seconds_max=1.0 + 9 / 16_000)
    counts = np.bincount([sampling.voice_samples(e, s) - 16_000 for e in range(20) for s in range(100)], minlength=10)
    assert len(counts) == 10
    assert ((counts - 200) ** 2 / 200).sum() < 33.7  # chi-square, 9 degrees of freedom, 1 in 10,000


@pytest.mark.parametrize("percent", [50, 90, 95, 97, 100, 103, 110, 150])
def test_a_tone_changes_its_pitch_with_the_speed(percent: int):
    frequency, samples = 800, 16_000
    t = np.arange(speed_samples(samples, percent)) / 16_000
    wave = np.rint(12_000 * np.sin(2 * np.pi * frequency * t)).astype(np.int16)
    played = change_speed(wave, percent, samples)
    assert played.dtype == np.int16
    assert played.shape == (samples,)
    # One second: a bin of the FFT is a hertz.
    assert np.abs(np.fft.rfft(played * np.hanning(samples))).argmax() == frequency * percent / 100
    expected = 12_000 * np.sin(2 * np.pi * frequency * percent / 100 * np.arange(samples) / 16_000)
    assert np.abs(played - expected)[50:-50].max() < 0.005 * 12_000


def test_a_loud_voice_is_clipped_and_does_not_wrap_around():
    square = np.where(np.arange(4_000) % 80 < 40, 32_767, -32_768).astype(np.int16)
    played = change_speed(square, 95, 4_000)
    expected = np.where(np.arange(4_000) * 0.95 % 80 < 40, 1, -1)
    assert (np.sign(played) == expected)[10:-10].mean() > 0.97


def test_the_stream_plays_voices_at_all_speeds_of_the_range_in_hundredths(tones: Path):
    loader = VoxVGGDataModule(str(tones), 6, 2, 1, 1.0, workers=0, voice_speed=0.05).train_dataloader()
    percents = []
    for batch in itertools.chain(loader, loader, loader):
        for wave, key in zip(batch["voices"].numpy(), batch["voice_keys"], strict=True):
            spectrum = np.abs(np.fft.rfft(wave * np.hanning(16_000), 160_000))  # a bin is 0.1 Hz
            percents.append(10 * spectrum.argmax() / (100 + 20 * int(key[1:4])))
    # The shortest voice is as long as the crop: played faster it is repeated, which blurs its peak a little.
    assert np.abs(np.array(percents) - np.rint(percents)).max() < 0.25
    assert set(np.rint(percents).astype(int)) == set(range(95, 106))


def naive_jitter(image: np.ndarray, brightness: float, saturation: float) -> np.ndarray:
    out = np.zeros(image.shape)
    for place in np.ndindex(image.shape[:2]):
        r, g, b = (min(brightness * float(v), 255) for v in image[place])
        luma = 0.299 * r + 0.587 * g + 0.114 * b
        out[place] = [min(max(luma + saturation * (v - luma), 0), 255) for v in (r, g, b)]
    return out


@given(st.integers(0, 9), st.floats(0, 2), st.floats(0, 2))
@settings(max_examples=examples(60), deadline=None)
def test_jitter_is_its_formula_to_the_roundings(seed: int, brightness: float, saturation: float):
    image = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    jittered = jitter_face(image, brightness, saturation)
    assert jittered.dtype == np.uint8
    # Whole numbers after the brightness (at most 1 off, which the saturation doubles), the luma and the saturation.
    assert np.abs(jittered - naive_jitter(image, brightness, saturation)).max() < 1 + 3 * max(saturation, 1)


def test_jitter_by_one_changes_nothing_and_by_no_saturation_gives_grey():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    assert (jitter_face(image, 1.0, 1.0) == image).all()
    grey = jitter_face(image, 1.0, 0.0)
    assert (grey == grey[..., :1]).all()
    assert jitter_face(image, 0.0, 1.0).max() == 0


def test_the_stream_jitters_each_face_within_the_range(tones: Path):
    loader = VoxVGGDataModule(str(tones), 6, 1, 3, 0.2, workers=0, face_jitter=0.2).train_dataloader()
    factors = []
    for batch in itertools.chain(loader, loader):
        for face, key in zip(batch["faces"], batch["face_keys"], strict=True):
            brightness = 10 * int(key[1:4]) % 250
            if 100 <= brightness <= 200:
                factors.append(float(face.float().mean()) / brightness)
    assert len(factors) > 50
    assert 0.78 < min(factors) < 0.84
    assert 1.16 < max(factors) < 1.22
    assert len(set(factors)) > 0.5 * len(factors)


@pytest.mark.parametrize("option", ON)
def test_a_resume_with_another_value_is_refused(noises: Path, option: str):
    without, having = module(noises), module(noises, **{option: ON[option]})
    having.load_state_dict(having.state_dict())
    old = {name: value for name, value in without.state_dict().items() if name not in ON}
    without.load_state_dict(old)
    for saved, resumed in ((without.state_dict(), having), (having.state_dict(), without), (old, having)):
        with pytest.raises(UserError, match=f"the run had --data.{option} "):
            resumed.load_state_dict(saved)


def test_settings_that_make_no_sense_are_named():
    for wrong in (
        {"voice_seconds": 3.0, "voice_seconds_max": 2.0},
        {"voice_speed": -0.1},
        {"voice_speed": 0.001},
        {"voice_speed": 0.6},
        {"face_jitter": 1.1},
        {"face_jitter": -0.1},
    ):
        with pytest.raises(UserError, match=f"--data.{list(wrong)[-1]} "):
            VoxVGGDataModule(**wrong)
