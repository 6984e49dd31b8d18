from pathlib import Path

import pytest
import pytorch_lightning as pl

from voiceface.data.module import VoxVGGDataModule
from voiceface.utils.errors import UserError


def test_splits_without_voices_faces_or_people_are_named(make_corpus):
    cases = {
        "has no voices": [("train", 0, 3)] * 3,
        "has no faces": [("train", 3, 0)] * 3,
        "has 1 identity": [("train", 3, 3), ("train", 3, 0)],
        "no train split": [("test", 3, 3)] * 2,
    }
    for number, (message, people) in enumerate(cases.items()):
        root = make_corpus(people, name=str(number))
        with pytest.raises(UserError, match=message):
            VoxVGGDataModule(str(root)).bundles("train")


def test_too_few_people_for_a_batch(make_corpus):
    with pytest.raises(UserError, match="the train split has 3 people"):
        VoxVGGDataModule(str(make_corpus([("train", 3, 3)] * 3)), people=4).train_dataloader()


def test_settings_that_make_no_sense():
    for wrong in ({"people": 1}, {"voices": 0}, {"faces": 0}, {"workers": -1}):
        with pytest.raises(UserError, match=f"--data.{next(iter(wrong))}"):
            VoxVGGDataModule(**wrong)


def test_people_with_one_modality_only_are_no_training_material(make_corpus):
    root = make_corpus([("train", 3, 3)] * 4 + [("train", 3, 0)] * 4)
    loader = VoxVGGDataModule(str(root), people=4, workers=0).train_dataloader()
    assert {k[:4] for batch in loader for k in batch["voice_keys"]} == {"p000", "p001", "p002", "p003"}


def test_by_default_every_core_reads(tones: Path, monkeypatch: pytest.MonkeyPatch):
    data = VoxVGGDataModule(str(tones), people=2)
    for there, ranks, wanted in ((1, 1, 1), (6, 1, 6), (6, 4, 1), (64, 4, 16), (64, 1, 16)):
        monkeypatch.setattr("voiceface.data.module.cores", lambda there=there: there)
        data.trainer = pl.Trainer(accelerator="cpu", devices=ranks, logger=False, enable_checkpointing=False)
        assert data._workers() == wanted
    assert VoxVGGDataModule(str(tones), people=2, workers=0)._workers() == 0
