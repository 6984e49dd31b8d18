"""Clips of one video: dealt together, and drawn together."""

import itertools
import multiprocessing
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests_support import examples, voiceface

from voiceface.data.corpus.bundles import Clip, Person, encode_flac, encode_jpeg
from voiceface.data.corpus.check import corpus_problems
from voiceface.data.corpus.shards import Corpus
from voiceface.data.corpus.videos import deal_videos, shared_videos
from voiceface.data.module import VoxVGGDataModule
from voiceface.data.prepare.engine.build import CorpusOptions, build
from voiceface.data.prepare.folder import FolderOptions
from voiceface.data.prepare.people import prepare_people
from voiceface.utils.errors import UserError

counts = st.dictionaries(st.sampled_from(["", "a", "b", "c"]), st.integers(1, 12), max_size=4)


@given(counts, counts, st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=examples(150), deadline=None)
def test_dealt_bundles_with_both_kinds_are_of_one_video(voices, faces, max_voices, max_faces):
    person = Person(
        "p",
        "train",
        tuple(Clip(f"v{video}{i}", b"", video) for video, n in voices.items() for i in range(n)),
        tuple(Clip(f"f{video}{i}", b"", video) for video, n in faces.items() for i in range(n)),
    )
    parts = deal_videos(person, max_voices, max_faces, 0)
    assert sorted(c.key for p in parts for c in (*p.voices, *p.faces)) == sorted(
        c.key for c in (*person.voices, *person.faces)
    )
    both = {video for video in "abc" if voices.get(video) and faces.get(video)}
    trained = Counter()
    for part in parts:
        assert part.voices or part.faces
        assert (part.identity, part.split) == ("p", "train")
        videos = {c.video for c in (*part.voices, *part.faces)}
        if part.voices and part.faces:
            assert len(videos) == 1
            trained.update(videos)
        else:
            assert not videos & both
    assert set(trained) == both
    for video in both:
        needed = max(-(-voices[video] // max_voices), -(-faces[video] // max_faces))
        assert trained[video] == min(needed, voices[video], faces[video])


def filmed_person(number: int) -> Person:
    """Person with three videos of 2 voices and 3 faces, one of voices alone, and two faces of no video."""
    voice = encode_flac(np.random.default_rng(number).integers(-9000, 9000, 4_000).astype(np.int16))
    face = encode_jpeg(np.full((32, 32, 3), 9 * number, np.uint8))
    voices = [Clip(f"{number}/{video}/v{i}", voice, video) for video in ("x", "y", "z", "heard") for i in range(2)]
    faces = [Clip(f"{number}/{video or 'still'}/f{i}", face, video) for video in ("x", "y", "z", "") for i in range(3)]
    return Person(str(number), "train", tuple(voices), tuple(faces))


def filmed(out: Path, **layout: object) -> Path:
    options = CorpusOptions("filmed", face_size=32, **layout)  # type: ignore[arg-type]
    build(out, range(8), filmed_person, {}, options, {"command": "test"}, workers=1)
    return out


def batches(root: Path, passes: int, **options: object) -> list[dict]:
    loader = VoxVGGDataModule(
        str(root), 4, 2, 3, 0.2, **{"workers": 0, "same_video": True, **options}
    ).train_dataloader()
    found = [batch for _ in range(passes) for batch in loader]
    loader.close()
    return found


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param({"bundle": "video"}, id="one video in a bundle"),
        pytest.param({"max_voices": 100, "max_faces": 100}, id="all videos in a bundle"),
    ],
)
def test_a_persons_clips_in_a_batch_are_of_one_video_and_each_video_gets_its_turn(tmp_path: Path, layout: dict):
    root = filmed(tmp_path / "corpus", **layout)
    assert not corpus_problems(Corpus(root), deep=True)
    seen = Counter()
    for batch in batches(root, 24):
        videos: dict[int, set[str]] = {}
        for kind in ("voice", "face"):
            for identity, key in zip(batch[f"{kind}_identity"].tolist(), batch[f"{kind}_keys"], strict=True):
                videos.setdefault(identity, set()).add(key.split("/")[1])
        assert len(videos) == 4
        assert all(len(names) == 1 for names in videos.values()), videos
        seen.update(names.pop() for names in videos.values())
    assert set(seen) == {"x", "y", "z"}
    assert min(seen.values()) > 0.2 * sum(seen.values())


def test_without_the_option_a_persons_clips_mix_videos(tmp_path: Path):
    root = filmed(tmp_path / "corpus")
    keys = [key for batch in batches(root, 2, same_video=False) for key in batch["voice_keys"]]
    assert any(a.split("/")[1] != b.split("/")[1] for a, b in itertools.pairwise(keys) if a[0] == b[0])


def test_evaluation_reads_every_clip_of_a_corpus_dealt_by_video(tmp_path: Path):
    root = filmed(tmp_path / "corpus", bundle="video")
    module = VoxVGGDataModule(str(root), workers=0, same_video=True)
    module.test_split = "train"
    keys = Counter(k for batch in module.test_dataloader() for k in batch["voice_keys"] + batch["face_keys"])
    assert keys == Counter(c.key for p in map(filmed_person, range(8)) for c in (*p.voices, *p.faces))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("on_error", ["skip", "stop"])
def test_a_corpus_whose_bundles_share_no_video_is_refused_with_what_to_do(tones: Path, workers: int, on_error: str):
    with pytest.raises(UserError, match=r"bundle 00000.* of train/.*\.tar .*`--bundle video`") as refused:
        batches(tones, 1, workers=workers, on_error=on_error)
    assert str(refused.value).startswith(f"{tones}: --data.same_video true: ")
    assert "\n" not in str(refused.value)
    assert "damaged" not in str(refused.value)
    assert multiprocessing.active_children() == []


def raw_material(folder: Path, video: str) -> Path:
    rng = np.random.default_rng(0)
    for person, number, kind in itertools.product("abcdef", "123", ("voice", "face")):
        place = folder / person / kind / video.format(number)
        place.mkdir(parents=True, exist_ok=True)
        if kind == "voice":
            soundfile.write(place / f"{number}.wav", rng.integers(-9000, 9000, 9_600).astype(np.int16), 16_000)
        else:
            Image.fromarray(rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)).save(place / f"{number}.png")
    return folder


def test_a_folder_is_prepared_by_video(tmp_path: Path):
    source = raw_material(tmp_path / "people", "video{}")
    (source / "identities.csv").write_text("identity,split\n" + "".join(f"{person},train\n" for person in "abcdef"))
    words = ("prepare", "folder", source, tmp_path / "corpus", "--face-size", 32, "--workers", 1)
    voiceface(*words, "--bundle", "video", status=0)
    index = Corpus(tmp_path / "corpus").index("train")
    assert [(b.voices, b.faces) for b in index] == [(1, 1)] * 18
    for batch in batches(tmp_path / "corpus", 2):
        heard = [k.split("/")[2] for k in batch["voice_keys"][::2]]
        assert heard == [k.split("/")[2] for k in batch["face_keys"][::3]]
    assert "made by another command" in voiceface(*words, status=2).stderr


def test_a_folder_that_names_no_videos_is_not_prepared_by_video(tmp_path: Path):
    source = raw_material(tmp_path / "people", "")
    with pytest.raises(UserError, match=f"--bundle video: no video in {source} has both"):
        prepare_people(source, tmp_path / "corpus", FolderOptions(), 1, "video")
    assert not list(tmp_path.glob("corpus*"))


def test_synthetic_people_are_prepared_by_video(tmp_path: Path):
    words = ("--identities", 6, "--voices", 2, "--faces", 3, "--workers", 1, "--bundle", "video")
    voiceface("prepare", "synthetic", tmp_path / "corpus", *words, status=0)
    corpus = Corpus(tmp_path / "corpus")
    index = corpus.index("train")
    assert sorted((b.voices, b.faces) for b in index) == [(1, 1)] * 2 + [(1, 2)] * 2
    assert all(len(shared_videos(*corpus.members("train", bundle))) == 1 for bundle in index)


def test_a_corpus_dealt_at_random_describes_itself_as_before_the_option(tmp_path: Path):
    root = filmed(tmp_path / "corpus")
    assert "bundle" not in Corpus(root).description["plan"]["options"]
    assert Corpus(filmed(tmp_path / "other", bundle="video")).description["plan"]["options"]["bundle"] == "video"
