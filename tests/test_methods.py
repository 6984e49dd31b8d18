"""One suite over every recipe: with the demo preset's small encoders, and the paper's settings built once."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from voiceface.errors import UserError
from voiceface.method import Method
from voiceface.methods.trinet import TriNet, middle
from voiceface.recipes import FOLDER, list_recipes, recipe_files
from voiceface.weights import load_checkpoint, save_checkpoint


def settings(recipe: str, preset: str) -> dict[str, Any]:
    merged: dict[str, Any] = {"model": {"init_args": {}}, "data": {}, "trainer": {}}
    for file in recipe_files(recipe, preset):
        for group, values in yaml.safe_load(file.read_text()).items():
            merged[group] |= {k: v for k, v in values.items() if k != "init_args"}
            merged[group].setdefault("init_args", {}).update(values.get("init_args", {}))
    return merged


def build(recipe: str, preset: str = "demo", **changes: Any) -> Method:
    chosen = settings(recipe, preset)["model"]
    module, name = chosen["class_path"].rsplit(".", 1)
    torch.manual_seed(0)
    return getattr(__import__(module, fromlist=[name]), name)(**{**chosen["init_args"], **changes})


def eight_people() -> dict[str, Any]:
    """A batch of eight people that anybody could tell apart: a tone and a bright square each."""
    t = torch.arange(24_000) / 16_000
    generator = torch.Generator().manual_seed(0)
    voices = [8_000 * torch.sin(2 * torch.pi * (150 + 90 * i) * t) for i in range(8) for _ in range(2)]
    voices = [v + 300 * torch.randn(24_000, generator=generator) for v in voices]
    faces = torch.full((16, 3, 64, 64), 60)
    for k in range(16):
        i = k // 2
        faces[k, :, 16 * (i % 4) : 16 * (i % 4) + 16, 32 * (i // 4) : 32 * (i // 4) + 32] = 200
    faces += torch.randint(0, 20, faces.shape, generator=generator)
    identity = torch.arange(8).repeat_interleave(2)
    return {
        "voices": torch.stack(voices).short(),
        "voice_lengths": torch.full((16,), 24_000),
        "faces": faces.byte(),
        "voice_identity": identity,
        "face_identity": identity,
    }


def losses(method: Method, batch: dict[str, Any]) -> torch.Tensor:
    voices, faces = method.embed_voice(batch["voices"], batch["voice_lengths"]), method.embed_face(batch["faces"])
    return method.loss(voices, faces, batch["voice_identity"], batch["face_identity"])[0]


@pytest.mark.parametrize("recipe", list_recipes())
class TestEveryRecipe:
    def test_it_overfits_eight_people(self, recipe: str):
        method, batch = build(recipe), eight_people()
        optimizer = torch.optim.Adam(method.parameters(), 1e-3)
        method.train()
        for _ in range(60):
            optimizer.zero_grad()
            losses(method, batch).backward()
            optimizer.step()
        method.eval()
        with torch.no_grad():
            similarity = method.similarity(method.embed_voice(batch["voices"]), method.embed_face(batch["faces"]))
        same = batch["voice_identity"][:, None] == batch["face_identity"]
        wins = (similarity[:, :, None] > similarity[:, None, :])[same[:, :, None] & ~same[:, None, :]]
        assert wins.float().mean() > 0.95

    def test_similarity_is_larger_for_what_is_more_alike_and_its_space_says_how(self, recipe: str):
        method = build(recipe)
        x = torch.randn(5, 8)
        similarity = method.similarity(x, x)
        assert (similarity.diagonal()[:, None] >= similarity - 1e-5).all()
        assert method.space in ("cosine", "euclidean")

    def test_a_checkpoint_gives_the_same_embeddings(self, recipe: str, tmp_path: Path):
        method, batch = build(recipe).eval(), eight_people()
        save_checkpoint(method, tmp_path / "c", recipe, {"corpus": "none"})
        again = load_checkpoint(tmp_path / "c")
        with torch.no_grad():
            assert torch.equal(method.embed_voice(batch["voices"]), again.embed_voice(batch["voices"]))
            assert torch.equal(method.embed_face(batch["faces"]), again.embed_face(batch["faces"]))

    def test_its_hyper_parameters_are_plain(self, recipe: str):
        def plain(value: object) -> bool:
            if isinstance(value, (list, tuple)):
                return all(map(plain, value))
            if isinstance(value, dict):
                return all(map(plain, value.values()))
            return value is None or isinstance(value, (str, int, float, bool))

        assert plain(dict(build(recipe).hparams))

    def test_its_file_opens_with_the_paper_and_every_argument_is_explained(self, recipe: str):
        module = settings(recipe, "paper")["model"]["class_path"].split(".")[-2]
        tree = ast.parse((FOLDER / f"{module}.py").read_text())
        assert re.search(r'"[^"]{15,}" \(.*\d{4}', ast.get_docstring(tree) or "", re.S)
        (method,) = (n for n in tree.body if isinstance(n, ast.ClassDef))
        init = next(n for n in method.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
        assert not init.args.kwarg
        explained = re.findall(r"^ {4,}(\w+): ", ast.get_docstring(method, clean=False) or "", re.M)
        assert {a.arg for a in init.args.args[1:]} <= set(explained)


def test_trinet_takes_the_papers_numbers_by_default():
    chosen = settings("trinet", "paper")
    method = build("trinet", "paper")
    assert (method.face_encoder.size, method.face_encoder.margin) == (112, 1.0)
    assert (method.margin, method.scale, method.space) == (1.0, 128.0, "cosine")
    assert chosen["trainer"]["max_steps"] == 70_000
    data = chosen["data"]
    triplets = data["people"] * data["voices"] * data["faces"] * (data["people"] - 1) * data["faces"]
    assert triplets * 10_000 == 30_720_000
    configured = method.configure_optimizers()
    groups, schedule = configured["optimizer"].param_groups, configured["lr_scheduler"]["scheduler"]
    assert {g["name"] for g in groups} == {"fc", "face"}
    for step, rate in ((0, 1e-3), (19_999, 1e-3), (20_000, 1e-4), (40_000, 1e-5), (60_000, 1e-6), (69_999, 1e-6)):
        rates = {g["name"]: g["initial_lr"] * f(step) for g, f in zip(groups, schedule.lr_lambdas, strict=True)}
        assert rates == pytest.approx({"fc": rate, "face": 1e-6})


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


def test_a_frozen_encoder_needs_weights_and_takes_them(tmp_path: Path):
    from safetensors.torch import save_file

    with pytest.raises(UserError, match="frozen and has no pretrained weights"):
        build("trinet", freeze_voice=True).setup("fit")
    donor = build("trinet")
    save_file(donor.voice_encoder.state_dict(), tmp_path / "voice.safetensors")
    method = build("trinet", freeze_voice=True, voice_weights=str(tmp_path / "voice.safetensors"))
    torch.nn.init.zeros_(next(method.voice_encoder.parameters()))
    method.setup("fit")
    assert all(
        torch.equal(a, b)
        for a, b in zip(donor.voice_encoder.parameters(), method.voice_encoder.parameters(), strict=True)
    )
    with pytest.raises(UserError, match="does not fit FaceSmall"):
        build("trinet", face_weights=str(tmp_path / "voice.safetensors")).setup("fit")
    with pytest.raises(UserError, match="no file"):
        build("trinet", face_weights=str(tmp_path / "none.safetensors")).setup("fit")


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
