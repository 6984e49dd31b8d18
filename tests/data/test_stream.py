import io
import itertools
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, UnidentifiedImageError
from tests_support import examples

from voiceface.data.corpus.bundles import encode_flac, encode_jpeg
from voiceface.data.corpus.clips import cut_face, cut_voice
from voiceface.data.corpus.shards import Corpus
from voiceface.data.stream.batches import EvaluationBatches, TrainingBatches
from voiceface.data.stream.loader import Loader
from voiceface.data.stream.order import epoch_plan, steps_per_epoch
from voiceface.data.stream.sampling import Sampling
from voiceface.utils.errors import UserError

SAMPLING = Sampling(people=4, voices=2, faces=3, voice_seconds=0.8, face_size=32, face_margin=1.0, flip=True, seed=3)


def training(
    root: Path, rank: int = 0, world: int = 1, on_error: str = "stop", sampling: Sampling = SAMPLING
) -> TrainingBatches:
    corpus = Corpus(root)
    paired = [b for b in corpus.index("train") if b.voices and b.faces]
    return TrainingBatches(corpus, "train", paired, sampling, on_error, rank, world)


def digest(batch: dict) -> list:
    return [
        batch["voice_keys"],
        batch["face_keys"],
        batch["voices"].tolist(),
        batch["faces"].tolist(),
        batch["voice_identity"].tolist(),
    ]


@given(st.lists(st.integers(1, 12), min_size=2, max_size=30), st.integers(1, 6), st.integers(1, 3), st.integers(0, 3))
@settings(max_examples=examples(200), deadline=None)
def test_plan_holds_distinct_people_and_no_bundle_twice(counts, people, world, epoch):
    identities = np.repeat(np.arange(len(counts)), counts)
    identities = np.random.default_rng(0).permutation(identities)
    steps = steps_per_epoch(identities, people * world)
    brute = max(s for s in range(len(identities) + 1) if s == 0 or sum(min(c, s) for c in counts) >= s * people * world)
    assert steps == brute
    plan = epoch_plan(identities, people, world, 5, epoch) if steps else np.zeros((0, world, people), int)
    assert plan.shape == (steps, world, people)
    assert len(np.unique(plan)) == plan.size
    for step in plan:
        assert len(set(identities[step.ravel()])) == people * world


def test_every_epoch_has_another_order_and_the_same_seed_the_same_one():
    identities = np.arange(40)
    assert (epoch_plan(identities, 4, 1, 0, 0) == epoch_plan(identities, 4, 1, 0, 0)).all()
    for other in ((0, 1), (1, 0)):
        assert (epoch_plan(identities, 4, 1, 0, 0) != epoch_plan(identities, 4, 1, *other)).any()


def test_every_bundle_gets_its_turn():
    seen = Counter(itertools.chain.from_iterable(epoch_plan(np.arange(30), 4, 1, 0, e).ravel() for e in range(40)))
    assert set(seen) == set(range(30))
    assert min(seen.values()) > 25


def test_one_global_order_whatever_the_number_of_ranks():
    identities = np.repeat(np.arange(24), 3)
    one = epoch_plan(identities, 8, 1, 0, 0).reshape(-1, 8)
    four = epoch_plan(identities, 2, 4, 0, 0).reshape(-1, 8)
    assert (one == four).all()


def test_batches_are_what_their_keys_say(tones: Path):
    batches = training(tones)
    for batch in itertools.islice(Loader(batches), 3):
        assert batch["voices"].shape == (8, 12_800)
        assert batch["voices"].dtype == torch.int16
        assert batch["faces"].shape == (12, 3, 32, 32)
        assert batch["faces"].dtype == torch.uint8
        assert len(batch["voice_identity"].unique()) == 4
        for wave, key in zip(batch["voices"].numpy(), batch["voice_keys"], strict=True):
            spectrum = np.abs(np.fft.rfft(wave))
            assert abs(spectrum.argmax() * 16_000 / len(wave) - (100 + 20 * int(key[1:4]))) < 2
        for face, key in zip(batch["faces"], batch["face_keys"], strict=True):
            assert abs(float(face.float().mean()) - 10 * int(key[1:4]) % 250) < 2
        names = sorted({b.identity for b in batches.bundles})
        assert [names[i] for i in batch["voice_identity"]] == [k[:4] for k in batch["voice_keys"]]


def test_ranks_share_no_clip_and_take_the_same_number_of_steps(tones: Path):
    loaders = [
        Loader(training(tones, rank, 3, sampling=Sampling(2, 1, 1, 0.5, 32, 1.0, False, 0))) for rank in range(3)
    ]
    keys = [{k for batch in loader for k in batch["voice_keys"]} for loader in loaders]
    assert len({len(loader) for loader in loaders}) == 1
    assert sum(map(len, keys)) == len(keys[0] | keys[1] | keys[2])


IMPORTS = pytest.mark.slow(reason="its worker processes import torch anew")


@pytest.mark.parametrize(
    ("workers", "start_method"),
    [(3, "fork"), pytest.param(2, "spawn", marks=IMPORTS), pytest.param(2, "forkserver", marks=IMPORTS)],
)
def test_workers_change_nothing(tones: Path, workers: int, start_method: str):
    alone = [digest(b) for b in Loader(training(tones))]
    with_workers = Loader(training(tones), workers=workers, start_method=start_method)
    assert [digest(b) for b in with_workers] == alone
    assert [digest(b) for b in with_workers] != alone, "the second epoch repeats the first"


def test_resume_after_any_number_of_batches(tones: Path):
    whole = Loader(training(tones))
    batches = [digest(b) for _ in range(3) for b in whole]
    for served in random.Random(0).sample(range(len(batches)), 5):
        for workers in (0, 3):
            resumed = Loader(training(tones), workers=workers)
            resumed.load_state_dict({"served": served})
            expected = batches[served : served + 7]
            assert [digest(b) for b in itertools.islice(resumed, len(expected))] == expected


def test_evaluation_reads_everything_exactly_once_on_any_number_of_ranks(tones: Path):
    corpus = Corpus(tones)
    index = corpus.index("test")
    wanted = Counter(m.key for _, m, _ in corpus.clips("test"))
    for world in (1, 2, 4, 40):
        batches = EvaluationBatches(corpus, "test", index, SAMPLING, "stop", bundles_per_batch=2)
        seen = Counter(
            key
            for rank in range(world)
            for b in Loader(batches, rank=rank, world=world)
            for key in b["voice_keys"] + b["face_keys"]
        )
        assert seen == wanted
        assert all(len(Loader(batches, rank=rank, world=world)) > 0 for rank in range(world))


def test_evaluation_gives_whole_utterances(tones: Path):
    corpus = Corpus(tones)
    stored = {
        m.key: soundfile.read(io.BytesIO(d), dtype="int16")[0]
        for _, m, d in corpus.clips("val")
        if m.name.endswith("flac")
    }
    for batch in Loader(EvaluationBatches(corpus, "val", corpus.index("val"), SAMPLING, "stop", 3)):
        for wave, length, key in zip(batch["voices"].numpy(), batch["voice_lengths"], batch["voice_keys"], strict=True):
            assert (wave[:length] == stored[key]).all()
            assert not wave[length:].any()


def damage(root: Path, split: str, members: int) -> list[str]:
    """Overwrite the content of some FLAC members with noise; returns their keys."""
    corpus = Corpus(root)
    damaged = []
    for bundle in corpus.index(split):
        voices, _ = corpus.members(split, bundle)
        if len(damaged) < members and len(voices) > 1:
            path = root / split / bundle.shard
            content = bytearray(path.read_bytes())
            start = bundle.offset + voices[0].offset
            content[start : start + voices[0].bytes] = b"\x55" * voices[0].bytes
            path.write_bytes(bytes(content))
            damaged.append(voices[0].key)
    assert len(damaged) == members
    return damaged


def test_damaged_members_stop_or_are_skipped_by_name(make_corpus, caplog):
    root = make_corpus([("train", 9, 9)] * 8 + [("test", 4, 4)] * 40)
    (bad,) = damage(root, "train", 1)
    strict = Loader(training(root, on_error="stop"))
    with pytest.raises(UserError, match=f"voice {bad} is damaged"):
        list(itertools.chain.from_iterable(strict for _ in range(40)))
    loader = Loader(training(root, on_error="skip"))
    sizes = {(len(b["voices"]), len(b["faces"])) for _ in range(12) for b in loader}
    assert sizes == {(8, 12)}
    assert loader.skipped == sum(bad in r.message for r in caplog.records) > 0

    (bad,) = damage(root, "test", 1)
    corpus = Corpus(root)
    with pytest.raises(UserError, match=f"voice {bad} is damaged"):
        list(Loader(EvaluationBatches(corpus, "test", corpus.index("test"), SAMPLING, "stop", 4)))
    loader = Loader(EvaluationBatches(corpus, "test", corpus.index("test"), SAMPLING, "skip", 4))
    keys = [k for b in loader for k in b["voice_keys"]]
    assert len(keys) == 40 * 4 - 1
    assert bad not in keys
    assert loader.skipped == 1


def test_more_than_one_per_cent_damaged_stops_even_when_skipping(make_corpus):
    root = make_corpus([("train", 4, 4)] * 2 + [("test", 6, 2)] * 30)
    damage(root, "test", 20)
    corpus = Corpus(root)
    with pytest.raises(UserError, match="are damaged, more than 1%"):
        list(Loader(EvaluationBatches(corpus, "test", corpus.index("test"), SAMPLING, "skip", 4)))


def test_a_missing_shard_is_replaced_by_other_people_or_stops(make_corpus):
    root = make_corpus([("train", 3, 3)] * 40, shard_bytes=100_000)
    shards = sorted((root / "train").glob("*.tar"))
    assert len(shards) > 10
    shards[0].unlink()
    with pytest.raises(UserError, match=r"train/000000\.tar"):
        list(Loader(training(root, on_error="stop")))
    first = next(iter(Loader(training(root, on_error="skip"))))
    again = next(iter(Loader(training(root, on_error="skip"), workers=2)))
    assert digest(first) == digest(again)


def test_ranks_take_different_substitutes(make_corpus):
    """Bundles of several people are gone: in no step may two ranks put the same person in their place."""
    root = make_corpus([("train", 3, 3)] * 18, shard_bytes=100_000)
    for shard in sorted((root / "train").glob("*.tar"))[:2]:
        shard.unlink()
    ranks = [training(root, rank, 2, "skip", Sampling(5, 1, 1, 0.5, 32, 1.0, False, 0)) for rank in range(2)]
    both = 0
    for when in itertools.product(range(12), range(ranks[0].steps)):
        one, two = (batches[when] for batches in ranks)
        both += bool(one["skipped"]) and bool(two["skipped"])
        together = [*one["voice_identity"].tolist(), *two["voice_identity"].tolist()]
        assert len(set(together)) == len(together) == 10
    assert both > 3


@given(st.integers(20, 200), st.sampled_from([1.0, 1.25, 1.5]), st.integers(8, 120), st.floats(0.5, 1.5))
@settings(max_examples=examples(60), deadline=None)
def test_cut_face_takes_the_middle_at_the_right_scale(stored, stored_margin, size, margin):
    margin = min(margin, stored_margin)
    ramp = np.tile(np.linspace(20, 230, stored)[None, :, None], (stored, 1, 3)).astype(np.uint8)
    cut = cut_face(encode_jpeg(ramp), stored, stored_margin, size, margin)
    assert cut.shape == (size, size, 3)
    half = margin / stored_margin / 2
    edges = 20 + 210 * (0.5 + half * np.array([-1, 1]) * (1 - 1 / size))
    found = cut[:, [0, -1], 1].mean(0)
    assert np.abs(found - edges).max() < 3 + 210 * 1.5 / min(stored, size)


def test_cut_face_takes_the_whole_picture_where_the_margins_are_the_same():
    # 224 * 1.36 / 1.36 is a little more than 224 in floating point, and no pixel lies beyond the edge.
    data = encode_jpeg(np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8))
    whole = np.asarray(Image.open(io.BytesIO(data)))
    for margin in np.arange(100, 251) / 100:
        assert (cut_face(data, 224, margin, 224, margin) == whole).all()
        assert cut_face(data, 224, margin, 112, margin).shape == (112, 112, 3)


@pytest.mark.parametrize("form", ["PNG", "EPS", "GIF"])
def test_cut_face_reads_jpeg_alone(form: str):
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, form)
    with pytest.raises(UnidentifiedImageError):
        cut_face(picture.getvalue(), 64, 1.0, 64, 1.0)


def test_cut_face_without_scaling_gives_the_stored_pixels():
    picture = np.random.default_rng(0).integers(0, 255, (140, 140, 3), dtype=np.uint8)
    data = encode_jpeg(picture)
    stored = np.asarray(Image.open(io.BytesIO(data)))
    assert (cut_face(data, 140, 1.25, 112, 1.0) == stored[14:126, 14:126]).all()


def test_cut_voice_takes_stored_samples_and_repeats_short_ones():
    wave = np.arange(1, 5001, dtype=np.int16)
    data = encode_flac(wave)
    crop = cut_voice(data, 1200, np.random.default_rng(0))
    assert (np.diff(crop) == 1).all()
    long = cut_voice(data, 12_000, np.random.default_rng(0))
    assert len(long) == 12_000
    assert set(np.diff(long)) == {1, -4999}
    assert (cut_voice(data, None, None) == wave).all()
