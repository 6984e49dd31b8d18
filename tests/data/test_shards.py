import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.data.corpus.bundles import Clip, Person, deal, write_bundles
from voiceface.data.corpus.index import Bundle
from voiceface.data.corpus.shards import Corpus, DamagedError
from voiceface.utils.errors import UserError


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 9), st.integers(1, 9), st.integers(0, 5))
@settings(max_examples=examples(200), deadline=None)
def test_deal_stores_each_clip_once_evenly_and_both_kinds_in_every_bundle(voices, faces, max_voices, max_faces, seed):
    if not voices + faces:
        return
    person = Person(
        "a", "train", tuple(Clip(f"v{i}", b"") for i in range(voices)), tuple(Clip(f"f{i}", b"") for i in range(faces))
    )
    parts = deal(person, max_voices, max_faces, seed)
    assert Counter(c.key for p in parts for c in p.voices + p.faces) == Counter(
        c.key for c in person.voices + person.faces
    )
    for kind in ("voices", "faces"):
        sizes = [len(getattr(p, kind)) for p in parts]
        assert max(sizes) - min(sizes) <= 1
    if voices and faces:
        assert all(p.voices and p.faces for p in parts)
    if min(voices, faces) * max_voices >= voices and min(voices, faces) * max_faces >= faces:
        assert all(len(p.voices) <= max_voices and len(p.faces) <= max_faces for p in parts)


def test_bundles_are_readable_by_tarfile_and_by_webdataset(tones: Path):
    corpus = Corpus(tones)
    by_index = {}
    for bundle, member, data in corpus.clips("train"):
        by_index[f"{bundle.key}.{member.name}"] = data
    by_tar, by_webdataset = {}, {}
    for path in sorted((tones / "train").glob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                if not info.name.endswith(".json"):
                    by_tar[info.name] = tar.extractfile(info).read()
        with path.open("rb") as file:
            for sample in webdataset.tariterators.group_by_keys(
                {"fname": f["fname"], "data": f["data"], "__url__": path.name}
                for f in webdataset.tariterators.tar_file_iterator(file)
            ):
                by_webdataset |= {f"{sample['__key__']}.{k}": v for k, v in sample.items() if k[0] in "vf"}
    assert by_index == by_tar == by_webdataset
    assert len(by_tar) == sum(b.voices + b.faces for b in corpus.index("train"))
    assert len(list((tones / "train").glob("*.tar"))) > 1


def test_a_bundle_with_more_than_a_hundred_members_keeps_its_places():
    clips = tuple(Clip(f"v{i}", bytes([i % 251]) * (i + 1)) for i in range(130))
    stream = io.BytesIO()
    (row,) = write_bundles(stream, [("0", Person("a", "train", clips))])
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue() + bytes(1024))) as tar:
        content = {info.name: (info.offset_data, info.size) for info in tar}

    class Memory(Corpus):
        def __init__(self) -> None:
            pass

        def read(self, split: str, bundle: Bundle, offset: int, size: int) -> bytes:
            return stream.getvalue()[offset : offset + size]

    voices, _ = Memory().members("train", row)
    assert [(m.offset, m.bytes) for m in voices] == [content[f"0.{m.name}"] for m in voices]
    assert [m.key for m in voices] == [c.key for c in clips]


def test_metadata_survives(tones: Path):
    corpus = Corpus(tones)
    bundle, member, data = next(iter(corpus.clips("test")))
    assert member.video == f"video{int(member.key[-2:])}"
    assert member.source == f"{member.key}.wav"
    assert corpus.identities[bundle.identity]["gender"] in "mf"
    assert soundfile.info(io.BytesIO(data)).samplerate == 16_000


def test_missing_unfinished_and_foreign_folders_are_named(tmp_path: Path):
    with pytest.raises(UserError, match="no such folder"):
        Corpus(tmp_path / "nothing")
    (tmp_path / "half.partial").mkdir()
    with pytest.raises(UserError, match="unfinished"):
        Corpus(tmp_path / "half")
    (tmp_path / "foreign").mkdir()
    with pytest.raises(UserError, match="not a corpus"):
        Corpus(tmp_path / "foreign")
    (tmp_path / "foreign" / "corpus.json").write_text('{"schema": 99}')
    with pytest.raises(UserError, match="schema 99"):
        Corpus(tmp_path / "foreign")
    with pytest.raises(UserError, match="refused"):
        Corpus("pipe:cat x")


def test_a_corpus_behind_an_address_reads_the_same(tones: Path):
    local, remote = Corpus(tones), Corpus(f"file://{tones}")
    assert [d for *_, d in local.clips("val")] == [d for *_, d in remote.clips("val")]


def test_a_truncated_shard_is_named(make_corpus):
    root = make_corpus([("train", 2, 2), ("train", 2, 2)])
    shard = root / "train/000000.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(DamagedError, match=r"train/000000\.tar"):
        list(Corpus(root).clips("train"))


def test_clips_come_back_bit_for_bit(tones: Path):
    for bundle, member, data in Corpus(tones).clips("val"):
        if member.name.endswith("flac"):
            number, k = int(bundle.identity[1:]), int(member.key[-2:])
            t = np.arange(16_000 + 1_600 * (k % 10)) / 16_000
            wave = soundfile.read(io.BytesIO(data), dtype="int16")[0]
            assert len(wave) == len(t)
            assert np.corrcoef(wave, np.sin(2 * np.pi * (100 + 20 * number) * t))[0, 1] > 0.99
