"""Real recordings, from the folder to the table; skipped where there are none.

A smoke test: no accuracy measured on so few people means anything.
"""

import csv
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from tests_support import voiceface

from voiceface.data.corpus.shards import Corpus
from voiceface.evaluation.results import read_results

DATA = os.environ.get("VOICEFACE_TEST_DATA", "")
pytestmark = pytest.mark.skipif(not DATA, reason="VOICEFACE_TEST_DATA names no folder with real recordings")


def test_a_folder_of_people_becomes_a_trained_model_and_its_table(tmp_path: Path):
    prepared = voiceface("prepare", "folder", Path(DATA) / "people", tmp_path / "corpus", "--faces", "asis", status=0)
    assert "prepared" in prepared.stdout
    assert prepared.stdout.endswith(f"next: voiceface fit --model trinet --data {tmp_path}/corpus --preset demo\n")
    assert "whole, every clip decodes" in voiceface("check", tmp_path / "corpus", "--deep", status=0).stdout
    words = ["fit", "--model", "trinet", "--data", tmp_path / "corpus", "--preset", "demo", "--data.people", 12]
    fitted = voiceface(*words, "--out", tmp_path / "run", "--trainer.max_steps", 6, status=0)
    assert "same gender" in fitted.stdout
    assert "ideal" not in fitted.stdout
    tested = voiceface("test", tmp_path / "run/checkpoint", "--data", tmp_path / "corpus", "--out", tmp_path / "r.json")
    assert tested.returncode == 0, tested.stderr
    again, first = read_results(tmp_path / "r.json"), read_results(tmp_path / "run/results.json")
    assert again["scores"] == first["scores"]
    assert first["data"]["identities"] == 7
    assert not first["data"]["synthetic"]


def test_every_file_of_a_messy_folder_is_used_or_listed_with_its_reason(tmp_path: Path):
    source = tmp_path / "people"
    shutil.copytree(Path(DATA) / "people", source)
    for kind, media in (("voice", "audio"), ("face", "img")):
        for folder in ("mixed_a", "mixed_b"):
            target = source / folder / kind
            target.mkdir(parents=True)
            for file in sorted((Path(DATA) / "media" / media).iterdir()):
                shutil.copy(file, target / f"{folder}_{file.name}")
    (source / "grid_a" / "voice" / "picture.jpg").write_bytes((source / "grid_a/face/bbaf2n_25.jpg").read_bytes())
    (source / "grid_a" / "notes.txt").write_text("remember the milk")
    voiceface("prepare", "folder", source, tmp_path / "corpus", status=0)

    corpus = Corpus(tmp_path / "corpus")
    used = {m.source for split in ("train", "val", "test") for _, m, _ in corpus.clips(split)}
    with (tmp_path / "corpus/rejects.csv").open() as file:
        rejected = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    there = {str(p.relative_to(source)) for p in source.rglob("*") if p.is_file() and p.name != "identities.csv"}
    assert used | rejected.keys() == there
    assert not used & rejected.keys()
    bad = ("truncated", "zero_bytes", "silent", "0p2s", "one_pixel", "text_as", "no_face_flat", "bitflip")
    for path in there:
        if "mixed_" in path:
            assert (path in rejected) == any(word in path for word in bad), (path, rejected.get(path))
    assert all(reason for reason in rejected.values())
    assert Counter(rejected.values())["truncated"] >= 6
    assert not any(path.startswith("ravdess") for path in rejected)
