"""The model card: says what the checkpoint is, the same every time, and never more than is known."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from voiceface.card import UNVERIFIED, card, count, read_facts
from voiceface.errors import UserError
from voiceface.method import Method
from voiceface.methods.dimnet import DIMNet
from voiceface.methods.drl import DRL
from voiceface.methods.svhf import SVHF
from voiceface.methods.trinet import TriNet
from voiceface.recipes import list_recipes, merged, title
from voiceface.weights import load_checkpoint, save_checkpoint

SMALL = {"face_encoder": "face_small", "voice_encoder": "voice_small"}
SYNTHETIC = {"corpus": "synthetic", "version": "abc", "split": "train"}
REAL = {"corpus": "voices of a village", "version": "def", "split": "train"}


class Own(Method):
    """A user's method, in a file without a word on any paper."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.build_encoders("face_small", "voice_small")

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.voice_encoder(waveforms, lengths)

    def embed_face(self, faces: Tensor) -> Tensor:
        return self.face_encoder(faces)

    def loss(self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor) -> Any:
        return voices.sum() + faces.sum(), {}


def front(text: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n\n# ", text, re.S)
    assert found
    return dict(yaml.safe_load(found[1]))


def test_a_checkpoint_has_its_card(tmp_path: Path):
    method = TriNet(**SMALL, freeze_voice=False)
    save_checkpoint(method, tmp_path, "trinet_s1", SYNTHETIC)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    text = (tmp_path / "README.md").read_text()
    assert text == card(load_checkpoint(tmp_path), "trinet_s1", SYNTHETIC)
    assert front(text)["license"] == "apache-2.0"
    assert front(text)["library_name"] == "voiceface"
    assert "voice-face-association" in front(text)["tags"]
    assert "\n# trinet_s1\n" in text
    assert (
        '["Voice-face cross-modal matching and retrieval: a benchmark"](https://arxiv.org/abs/1911.09338), 2021' in text
    )
    counted = [int(n.replace(",", "")) for n in re.findall(r"([\d,]+) parameters", text)]
    assert sum(counted) == json.loads((tmp_path / "config.json").read_text())["parameters"]
    assert "`face_small`" in text
    assert "must not be used to identify or screen" in " ".join(text.split())
    assert "the cosine of two embeddings" in text
    assert "voiceface embed CHECKPOINT" in text


def test_training_only_parts_are_not_counted():
    method = DRL(**SMALL, common=128)
    before = count(method)
    method.meet([{}] * 50)
    assert count(method) == before
    assert before.rest == 128 * 256 + 256


def test_pretrained_weights_have_terms_of_their_own():
    text = card(TriNet(**SMALL, freeze_voice=False, voice_weights="v.safetensors"), "trinet", SYNTHETIC)
    assert front(text)["license"] == "other"
    assert "Pretrained weights started the voice network." in text
    assert "v.safetensors" not in text
    assert "Pretrained" not in card(DIMNet(**SMALL, covariate_weights=[1, 2]), "dimnet_ig", SYNTHETIC)


def test_only_the_synthetic_corpus_is_called_synthetic():
    method = SVHF(**SMALL, width=32, hidden=(16, 8))
    synthetic, real, unknown = (card(method, "svhf", data) for data in (SYNTHETIC, REAL, {}))
    warning = "no number on them is one about people"
    assert warning in synthetic
    assert warning not in real + unknown
    assert "Corpus `voices of a village`, version `def`, split `train`." in real
    assert "Not recorded." in unknown
    assert front(real)["license"] == front(unknown)["license"] == "other"
    assert "there is no score of a single pair" in real
    assert "voiceface embed" not in real, "`embed` refuses methods that only compare candidates"


def section(text: str) -> str:
    return text.split("## What is unverified\n\n")[1].split("\n\n## ")[0]


def of_preset(recipe: str, **changes: Any) -> Method:
    """The recipe's paper preset, without memory for its weights."""
    chosen = merged(recipe, "paper")["model"]
    module, name = chosen.pop("class_path").rsplit(".", 1)
    with torch.device("meta"):
        method: Method = getattr(importlib.import_module(module), name)(**chosen | changes)
    return method


@pytest.mark.parametrize("name", ["trinet", "kim", "drl", "svhf", "dimnet_ig", "pins", "horiguchi"])
def test_all_that_is_unverified_is_named(name: str):
    said = section(card(of_preset(name), name, REAL))
    known, _, open_ = said.partition("Not stated in the paper, or not known, so chosen: ")
    chosen = {part.strip("`") for part in open_.removesuffix(".").split(", ")}
    lines = [line for line in known.splitlines() if line.startswith("- ")]
    count = 0
    for fact in read_facts(name.split("_")[0]):
        others = any(f"({other})" in fact.option + fact.paper for other in list_recipes())
        if fact.mark in UNVERIFIED and not others:
            (line,) = (li for li in lines if li.startswith((f"- `{fact.option}`: ", f"- {fact.option}: ")))
            assert line.endswith(f"{fact.source})")
            assert fact.mark in line.rsplit("(", 2)[-1] or f"({fact.mark}" in line
            assert (fact.paper if fact.paper != "the same" else fact.here) in line
            count += 1
        assert (fact.option in chosen) == (fact.mark == "not stated" and not others)
    assert count == len(lines)
    assert "Set otherwise" not in said


@pytest.mark.parametrize("recipe", list_recipes())
def test_a_card_has_no_fragments(recipe: str):
    text = card(of_preset(recipe, **SMALL, face_options=None, voice_options=None), recipe, REAL)
    assert f"\n# {recipe}\n\n{title(recipe)}.\n\nA model of voice-face association: " in text
    assert "chosen: nothing" not in section(text)
    assert not re.search(r"\((\w+): \1|: the same \(|: \((port|inferred|recalled)|\(\)|- none", section(text))


def test_a_line_says_what_the_source_says_and_what_is_done():
    said = section(card(of_preset("svhf"), "svhf", REAL)).splitlines()
    assert "- `model.galleries`: each triplet has clips of its own (recalled)" in said
    (loss,) = (line for line in said if line.startswith("- loss: "))
    assert loss.startswith("- loss: cross entropy over the candidates, the true one at a random place (port: ")
    (norms,) = (line for line in said if line.startswith("- batch norms of the voice stream: "))
    assert "; here: after every convolution and fc6 (port: " in norms


def test_facts_are_of_this_recipe_and_of_its_values():
    own, other = (section(card(of_preset(name), name, REAL)) for name in ("kim_vggvox", "kim"))
    assert "kim_vggvox" in own
    assert "kim_vggvox" not in other
    own_values = {**SMALL, "voice_options": None, "rate": 0.5, "face_weights": "mine.safetensors"}
    demo = section(card(of_preset("svhf", **own_values), "svhf", REAL))
    assert "- `model.rate`" not in demo
    assert "- `model.face_encoder`" not in demo
    assert "- `model.last_rate`" in demo
    last = demo.splitlines()[-1]
    assert last.startswith("Set otherwise than in the paper preset: ")
    assert set(re.findall(r"`model\.(\w+)`", last)) == {"face_encoder", "voice_encoder", "voice_options", "rate"}


def test_a_users_own_method(tmp_path: Path):
    save_checkpoint(Own(), tmp_path, "", REAL)
    text = (tmp_path / "README.md").read_text()
    assert "\n# Own\n" in text
    assert "| recipe | none |" in text
    assert "| paper | none named |" in text
    assert "Nothing is recorded of how this method's settings relate to its paper." in text


def test_a_users_method_that_is_called_as_one_of_ours_has_not_its_title():
    text = card(Own(), "kim", REAL)
    assert "\n# kim\n" in text
    assert title("kim") not in text


def test_a_card_that_cannot_be_written_leaves_no_half_of_one(tmp_path: Path):
    (tmp_path / "README.md").mkdir()
    with pytest.raises(UserError, match=r"README\.md: cannot be written"):
        save_checkpoint(Own(), tmp_path, "", REAL)
    assert not list(tmp_path.glob("*.tmp"))
