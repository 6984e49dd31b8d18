"""TriNet: the rows of its Table 5, its frozen voice network, the middle of a voice."""

from pathlib import Path

import pytest
import torch
from recipe_support import Fixed, build, eight_people, losses, settings, trainer
from safetensors.torch import save_file

from voiceface.methods.base import Method
from voiceface.methods.trinet import TriNet, middle
from voiceface.utils.errors import UserError


def test_the_batch_gives_the_triplets_that_the_papers_counts_imply():
    data = settings("trinet", "paper")["data"]
    triplets = data["people"] * data["voices"] * data["faces"] * (data["people"] - 1) * data["faces"]
    assert triplets * 10_000 == 30_720_000
    method = build("trinet", "paper", face_encoder="face_small", voice_encoder="voice_small")
    assert (method.margin, method.scale, method.space) == (1.0, 128.0, "cosine")


TABLE_5 = {
    "box 1.1": {"face_margin": 1.1},
    "test audio cropped": {"test_seconds": 2.5},
    "VGG-M": {"face_encoder": "face_vggm"},
    "DIMNet CNN": {"face_encoder": "face_dimnet"},
    "SE-ResNet50": {"face_encoder": "face_seresnet50"},
    "both trained": {"freeze_voice": False},
    "face frozen": {"freeze_face": True, "freeze_voice": False},
    "Euclidean": {"space": "euclidean"},
    "s = 1": {"scale": 1.0},
    "s = 512": {"scale": 512.0},
    "GhostVLAD, as the released voice weights": {"voice_options": {"ghosts": 2}},
}


@pytest.mark.parametrize("row", TABLE_5)
def test_every_row_of_table_5_is_an_option(row: str):
    changes = {"face_encoder": "face_small", "voice_encoder": "voice_small", "dim": 16, **TABLE_5[row]}
    if "voice_options" in changes:
        changes["voice_encoder"] = "voice_thin_resnet34"
    method = TriNet(**changes).eval()
    size = method.face_encoder.size
    with torch.no_grad():
        faces = method.embed_face(torch.randint(0, 255, (2, 3, size, size), dtype=torch.uint8))
        voices = method.embed_voice(torch.randint(-3000, 3000, (2, 48_000), dtype=torch.int16))
    assert faces.shape == voices.shape == (2, 16)
    if changes.get("space") == "euclidean":
        assert method.space == "euclidean"
    else:
        assert torch.allclose(voices.norm(dim=1), torch.tensor(changes.get("scale", 128.0)), rtol=1e-4)
    assert method.face_encoder.margin == changes.get("face_margin", 1.0)


def test_a_frozen_branch_stays_as_it_is_in_train_mode_too():
    method, batch = build("trinet", freeze_voice=True), eight_people()
    before = {k: v.clone() for k, v in method.voice_encoder.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], 1e-2)
    method.train()
    for _ in range(2):
        optimizer.zero_grad()
        losses(method, batch).backward()
        optimizer.step()
    after = method.voice_encoder.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not any(m.training for m in method.voice_encoder.modules())
    assert method.face_encoder.training


def set_up(method: Method) -> None:
    """What a trainer does before the first step."""
    method.trainer = trainer(1)
    method.trainer.datamodule = Fixed([])  # type: ignore[attr-defined]
    method.setup("fit")


def test_a_frozen_encoder_needs_weights_and_takes_them(tmp_path: Path):
    with pytest.raises(UserError, match="frozen and has no pretrained weights"):
        set_up(build("trinet", freeze_voice=True))
    donor = build("trinet")
    save_file(donor.voice_encoder.state_dict(), tmp_path / "voice.safetensors")
    method = build("trinet", freeze_voice=True, voice_weights=str(tmp_path / "voice.safetensors"))
    torch.nn.init.zeros_(next(method.voice_encoder.parameters()))
    set_up(method)
    assert all(
        torch.equal(a, b)
        for a, b in zip(donor.voice_encoder.parameters(), method.voice_encoder.parameters(), strict=True)
    )
    with pytest.raises(UserError, match="does not fit FaceSmall"):
        set_up(build("trinet", face_weights=str(tmp_path / "voice.safetensors")))
    with pytest.raises(UserError, match="no file"):
        set_up(build("trinet", face_weights=str(tmp_path / "none.safetensors")))


def test_middle_cuts_the_middle_of_each_utterance():
    waves = torch.zeros(3, 100)
    lengths = torch.tensor([100, 41, 7])
    for wave, length in zip(waves, lengths, strict=True):
        wave[:length] = torch.arange(1, length + 1)
    cut, kept = middle(waves, lengths, 20)
    assert kept.tolist() == [20, 20, 7]
    assert cut[0].tolist() == list(range(41, 61))
    assert cut[1].tolist() == list(range(11, 31))
    assert cut[2].tolist() == [1, 2, 3, 4, 5, 6, 7] + 13 * [0]


def test_a_frozen_voice_network_is_given_the_crop_in_training_and_crop_and_reversal_in_evaluation():
    method = TriNet("face_small", "voice_thin_resnet34", freeze_voice=True, dim=8)
    widths: list[int] = []
    method.voice_encoder.trunk = lambda x, frames: widths.append(x.shape[2]) or (torch.zeros(1, 512, 7, 4), None)  # type: ignore[operator, assignment, func-returns-value]
    for mode in (True, False, True):
        method.train(mode)
        assert not method.voice_encoder.training
        with torch.no_grad():
            method.embed_voice(torch.ones(1, 40_000, dtype=torch.int16))
    assert widths == [251, 501, 251]


@pytest.mark.parametrize("trained", [True, False])
def test_the_voices_last_layer_is_trained_or_not(trained: bool):
    method = build("trinet", train_voice_fc=trained)
    fc = next(g for g in method.configure_optimizers()["optimizer"].param_groups if g["name"] == "fc")
    assert len(fc["params"]) == (4 if trained else 2)
    assert all(p.requires_grad == trained for p in method.voice_fc.parameters())
