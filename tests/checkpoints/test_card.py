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

from voiceface.checkpoints.build import config_of
from voiceface.checkpoints.card import card as card_from
from voiceface.checkpoints.card import card_of
from voiceface.checkpoints.weights import save_checkpoint
from voiceface.evaluation.results import content_hash, read_results
from voiceface.methods.base import Method
from voiceface.methods.dimnet import DIMNet
from voiceface.methods.drl import DRL
from voiceface.methods.papers import UNVERIFIED, count, read_facts
from voiceface.methods.recipes import list_recipes, load_recipe, title
from voiceface.methods.svhf import SVHF
from voiceface.methods.trinet import TriNet
from voiceface.utils.errors import UserError

SMALL = {"face_encoder": "face_small", "voice_encoder": "voice_small"}
GOLDEN = Path(__file__).parents[1] / "golden" / "results"
SYNTHETIC = {"corpus": "synthetic", "version": "abc", "split": "train"}
REAL = {"corpus": "voices of a village", "version": "def", "split": "train"}


class Own(Method):
    """A user's method, in a file without a word on any paper."""

    def __init__(self) -> None:
        super().__init__("face_small", "voice_small")

    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.voice_encoder(waveforms, lengths)

    def embed_face(self, faces: Tensor) -> Tensor:
        return self.face_encoder(faces)

    def loss(self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor) -> Any:
        return voices.sum() + faces.sum(), {}


def card(method: Method, recipe: str, data: dict[str, Any], results: dict[str, Any] | None = None) -> str:
    """The card of a checkpoint that would be written of a method; as JSON, for that is what is read."""
    config = config_of(method, recipe, data, "0" * 64)
    return card_from(json.loads(json.dumps(config)), results)


def front(text: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n\n# ", text, re.S)
    assert found
    return dict(yaml.safe_load(found[1]))


def test_a_checkpoint_has_its_card(tmp_path: Path):
    method = TriNet(**SMALL, freeze_voice=False)
    save_checkpoint(method, tmp_path, "trinet_s1", SYNTHETIC)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    text = (tmp_path / "README.md").read_text()
    assert text == card_of(tmp_path)
    assert front(text)["license"] == "apache-2.0"
    assert front(text)["library_name"] == "voiceface"
    assert "voice-face-association" in front(text)["tags"]
    assert "\n# trinet_s1-synthetic\n\n**Trained on synthetic voices and faces: these numbers say" in text
    assert "Not tested yet" in text
    assert "No calibration: scores are given without probabilities." in text
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
    method.build_training_heads([{}] * 50)
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
    chosen = load_recipe(recipe, "paper")["model"]
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
    assert f"\n# {recipe}-voices-of-a-village\n\n{title(recipe)}.\n\nA model of voice-face association: " in text
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
    assert "\n# own-voices-of-a-village\n" in text
    assert "| recipe | none |" in text
    assert "| paper | none named |" in text
    assert "Nothing is recorded of how this method's settings relate to its paper." in text


def test_a_users_method_that_is_called_as_one_of_ours_has_not_its_title():
    text = card(Own(), "kim", REAL)
    assert "\n# kim-voices-of-a-village\n" in text
    assert title("kim") not in text


def test_a_card_that_cannot_be_written_leaves_no_half_of_one(tmp_path: Path):
    (tmp_path / "README.md").mkdir()
    with pytest.raises(UserError, match=r"README\.md: cannot be written"):
        save_checkpoint(Own(), tmp_path, "", REAL)
    assert not list(tmp_path.glob("*.tmp"))


def record(task: str, metric: str, way: str, stratum: str, n: int, value: float, protocol: str) -> dict[str, Any]:
    ends = {"ci_low": value - 0.02, "ci_high": value + 0.02, "ci_level": 0.95, "ci_method": "identity"}
    counts = {"identities": 8, "trials": 100, "ties": 0, "error_bound": 0.0}
    what = {"task": task, "direction": way, "stratum": stratum, "n": n, "metric": metric, "value": value}
    return {**what, **ends, **counts, "chance": 0.5 if n == 2 else 0.1, "protocol": protocol}


def result(scores: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    data = {"corpus": "synthetic", "version": "v1", "split": "test", "identities": 1_200, "voices": 16, "faces": 17}
    return {"data": {**data, "leaking_identities": 0}, "scores": scores, **more}


SCORES = [
    record("matching", "accuracy", "v2f", "U", 2, 0.801, "exact"),
    record("matching", "accuracy", "f2v", "U", 2, 0.752, "exact"),
    record("matching", "accuracy", "v2f", "G", 2, 0.603, "exact"),
    record("matching", "accuracy", "v2f", "U", 5, 0.999, "exact"),
    record("matching", "accuracy", "v2f", "U", 2, 0.998, "clip_weighted"),
    record("verification", "AUC", "both", "U", 1, 0.854, "exact"),
    record("retrieval", "mAP", "v2f", "U", 900, 0.0456, "whole_split"),
    record("retrieval", "R@10", "v2f", "U", 900, 0.157, "whole_split"),
    record("retrieval", "mAP", "v2f", "G", 450, 0.997, "whole_split"),
]


def scores_section(text: str) -> str:
    return text.split("## Scores\n\n")[1].split("\n\n## ")[0]


def test_the_scores_stand_with_interval_and_chance():
    method = TriNet(**SMALL, freeze_voice=False)
    said = scores_section(card(method, "trinet", SYNTHETIC, result(SCORES)))
    assert "1,200 people, 16 voices, 17 faces. In per cent, with intervals of 95% confidence" in said
    assert "| anybody | 80.1 [78.1, 82.1] (50.0) | 75.2 [73.2, 77.2] (50.0) | 85.4 [83.4, 87.4] (10.0) |" in said
    assert "| same gender | 60.3 [58.3, 62.3] (50.0) | - | - |" in said
    assert "| voice to face, among 900 | 4.6 [2.6, 6.6] (10.0) | 15.7 [13.7, 17.7] (10.0) |" in said
    assert "99." not in said, "1:5, clip-weighted and strata of retrieval are in results.json"
    assert "ideal" not in said


def test_the_ideal_observer_stands_beside_where_it_is_known():
    best = [{**one, "value": 0.91} for one in SCORES]
    said = scores_section(card(TriNet(**SMALL), "trinet", SYNTHETIC, result(SCORES, ideal_observer=best)))
    assert "| people to tell apart | 1:2 voice to face | ideal | 1:2 face to voice | ideal |" in said
    assert "| anybody | 80.1 [78.1, 82.1] (50.0) | 91.0 | 75.2" in said
    assert "\n\nIdeal: the best that anything can reach on these clips" in said


def test_a_method_of_one_direction_has_no_empty_columns():
    method = SVHF(**SMALL, width=32, hidden=(16, 8))
    only = [{**SCORES[0], "protocol": "sampled"}, {**SCORES[2], "protocol": "sampled"}]
    said = scores_section(card(method, "svhf", SYNTHETIC, result(only)))
    assert "| people to tell apart | 1:2 voice to face |\n| --- | --- |\n| anybody | 80.1" in said
    assert "retrieval" not in said
    text = card(method, "svhf", SYNTHETIC, result(only))
    assert "**This one was trained to choose among faces for a voice**, not for the reverse, nor to retrieve." in text
    assert "trained to choose" not in card(TriNet(**SMALL), "trinet", SYNTHETIC, result(SCORES))
    best = [{**one, "value": 0.91} for one in SCORES]
    said = scores_section(card(method, "svhf", SYNTHETIC, result(only, ideal_observer=best)))
    assert "| people to tell apart | 1:2 voice to face | ideal |\n| --- | --- | --- |\n| anybody | 80.1" in said


def test_a_card_says_who_was_trained_on():
    method = TriNet(**SMALL)
    for people, words in ((3, "trained on 3 of these people"), (None, "is not known"), (0, None)):
        found = result(SCORES)
        found["data"]["leaking_identities"] = people
        said = scores_section(card(method, "trinet", SYNTHETIC, found))
        assert words in said if words else "trained on" not in said


def test_words_of_others_are_no_markdown():
    evil = "c`|x\n\n# Evil\n<b>\x1b["
    config = config_of(TriNet(**SMALL), evil, {"corpus": evil, evil: evil, "list": [evil]}, "0" * 64, name="mine")
    found = result(SCORES)
    found["data"] = {**found["data"], "corpus": evil, "version": evil, "split": evil}
    text = card_from(config, found)
    plain = card_from({**config, "recipe": "own", "data": {"corpus": "c", "k": "k", "list": ["c"]}}, result(SCORES))
    assert text.count("\n") == plain.count("\n")
    assert "| recipe | `c x # Evil <b> [` |" in text
    assert "<" not in re.sub("`[^`]*`", "", text), "all of it is code"
    assert text.isprintable() or set(filter(lambda letter: not letter.isprintable(), text)) == {"\n"}


def test_the_calibration_and_its_error_are_said():
    config = config_of(TriNet(**SMALL), "trinet", SYNTHETIC, "0" * 64)
    fitted = {"slope": 10.158, "intercept": 0.0, "error": None}
    config["calibration"] = {"v2f": fitted}
    said = scores_section(card_from(config, None))
    assert "voice to face slope 10.16. Its error on test people is not measured yet." in said
    config["calibration"] = {"v2f": {**fitted, "error": 0.0312}, "f2v": {**fitted, "error": 0.04}}
    said = scores_section(card_from(config, result(SCORES)))
    assert "Expected calibration error on the test people, in per cent: voice to face 3.1, face to voice 4.0." in said


def test_a_card_is_made_again_from_the_folder_alone(tmp_path: Path):
    save_checkpoint(TriNet(**SMALL), tmp_path, "trinet", SYNTHETIC)
    (tmp_path / "model.safetensors").unlink()
    assert card_of(tmp_path) == (tmp_path / "README.md").read_text()
    content = read_results(GOLDEN / "schema1.json")
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"results\.json: scores of other weights"):
        card_of(tmp_path)
    content["model"]["checkpoint"] = json.loads((tmp_path / "config.json").read_text())["sha256"]
    (tmp_path / "results.json").write_text(json.dumps({**content, "sha256": content_hash(content)}))
    assert "| anybody | " in scores_section(card_of(tmp_path))
