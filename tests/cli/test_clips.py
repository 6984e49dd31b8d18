"""`voiceface clips`: the keys and identities that results are compared by."""

import csv
import io
from pathlib import Path

import pytest

from voiceface.cli import main
from voiceface.data.corpus.shards import Corpus


@pytest.fixture
def corpus(make_corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_corpus([("train", 3, 3)] * 6 + [("val", 2, 2)] * 2 + [("test", 3, 3)] * 4)


def test_every_clip_of_a_split_is_listed(corpus: Path, capsys: pytest.CaptureFixture[str]):
    for split, people in (("test", 4), ("train", 6)):
        assert main(["clips", str(corpus), "--split", split]) == 0
        printed = capsys.readouterr().out
        rows = list(csv.DictReader(io.StringIO(printed)))
        held = {(clip.key, bundle.identity) for bundle, clip, _ in Corpus(corpus).clips(split)}
        assert {(row["key"], row["identity"]) for row in rows} == held
        assert len(rows) == len(held) == people * 6
        assert all(row["kind"] == {"v": "voice", "f": "face"}[row["key"][5]] for row in rows)
        assert {row["gender"] for row in rows} == {"m", "f"}
    assert list(rows[0]) == ["kind", "key", "identity", "gender"]
    assert main(["clips", str(corpus), "--split", "train", "--out", "deep/clips.csv"]) == 0
    assert Path("deep/clips.csv").read_text() == printed
    assert capsys.readouterr().out == "deep/clips.csv: 36 clips of 6 people\n"


def test_what_cannot_be_listed(corpus: Path, capsys: pytest.CaptureFixture[str]):
    shard = corpus / "test/000000.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    for words, said in (
        (["nowhere"], "nowhere: no such folder"),
        ([str(corpus), "--split", "tset"], "did you mean test?"),
        ([str(corpus)], "run `voiceface check` on it"),
        ([str(corpus), "--out", str(corpus)], "cannot be written"),
    ):
        assert main(["clips", *words]) == 2
        printed = capsys.readouterr()
        assert (printed.out, len(printed.err.splitlines())) == ("", 1)
        assert said in printed.err
