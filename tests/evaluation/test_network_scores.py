"""Scores of methods whose score is a network: of pairs, and of candidates together."""

from typing import Any

import numpy as np
import pytest
import torch
from recipe_support import build
from torch import Tensor, nn

from voiceface.evaluation import network_scores
from voiceface.evaluation.network_scores import network_records, similarity_matrix
from voiceface.methods.base import Method
from voiceface.scores import score
from voiceface.utils.errors import UserError

NAMES = np.array([f"p{i}" for i in range(12)], dtype=object)
IDENTITIES = {name: {"gender": "mf"[i % 2]} for i, name in enumerate(NAMES)}


def classifier() -> Method:
    return build("kim_classifier").eval()


def table(width: int, seed: int = 0) -> dict[str, Any]:
    """Random embeddings of 12 people with 3 voices and 2 faces each."""
    rng, voice, face = np.random.default_rng(seed), np.arange(36) % 12, np.arange(24) // 2
    return {
        "voices": rng.normal(size=(36, width)).astype(np.float32),
        "faces": rng.normal(size=(24, width)).astype(np.float32),
        "voice_identity": voice,
        "face_identity": face,
        "voice_people": NAMES[voice],
        "face_people": NAMES[face],
    }


@pytest.mark.parametrize(
    ("clips_at_once", "bytes_in_memory"), [(256, 2**30), (1, 2**30), (7, 2**30), (10, 1), (256, 1)]
)
def test_the_matrix_is_the_methods_own_similarity_whatever_the_blocks(
    clips_at_once: int, bytes_in_memory: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(network_scores, "CLIPS_AT_ONCE", clips_at_once)
    monkeypatch.setattr(network_scores, "BYTES_IN_MEMORY", bytes_in_memory)
    method, clips, calls = classifier(), table(128), []
    similarity = method.similarity
    monkeypatch.setattr(method, "similarity", lambda v, f: calls.append((len(v), len(f))) or similarity(v, f))
    found = similarity_matrix(method, clips["voices"], clips["faces"])
    with torch.no_grad():
        wanted = similarity(*(torch.from_numpy(clips[k]) for k in ("voices", "faces"))).numpy()
    assert found.shape == (36, 24)
    assert found.dtype == np.float32
    assert np.asarray(found) == pytest.approx(wanted, abs=1e-5)
    assert isinstance(found, np.memmap) == (bytes_in_memory == 1)
    assert sum(v * f for v, f in calls) == 36 * 24
    assert max(calls) == (min(36, clips_at_once), min(24, clips_at_once))


def test_a_matrix_without_room_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(network_scores, "BYTES_IN_MEMORY", 1)
    voices, faces = (np.broadcast_to(np.float32(0), (n, 128)) for n in (2**22, 2**22))
    with pytest.raises(UserError, match=r"4,194,304 voices x 4,194,304 faces: .* take 65,536 GiB, .* set TMPDIR"):
        similarity_matrix(classifier(), voices, faces)


def test_a_pairwise_method_is_scored_on_all_pairs():
    method, clips = classifier(), table(128)
    found = network_records(method, clips, IDENTITIES, trials=10, level=0.95)
    with torch.no_grad():
        similarity = method.similarity(*(torch.from_numpy(clips[k]) for k in ("voices", "faces"))).numpy()
    names = [clips[f"{kind}_people"].tolist() for kind in ("voice", "face")]
    wanted = score(None, names[0], None, names[1], identities=IDENTITIES, similarity=similarity)
    assert [{k: r[k] for k in ("task", "metric", "direction", "stratum", "protocol", "n")} for r in found] == [
        {k: r[k] for k in ("task", "metric", "direction", "stratum", "protocol", "n")} for r in wanted
    ]
    assert [r["value"] for r in found] == pytest.approx([r["value"] for r in wanted], abs=1e-6, nan_ok=True)
    # One accuracy from its definition: triplets (voice, own face, another's), people and their clips alike.
    voice, face = clips["voice_identity"], clips["face_identity"]
    shares = []
    for i, person in enumerate(voice):
        own, others = similarity[i, face == person], similarity[i, face != person]
        shares.append((own[:, None] > others).mean())
    exact = next(
        r
        for r in found
        if (r["task"], r["metric"], r["direction"], r["stratum"], r["protocol"], r["n"])
        == ("matching", "accuracy", "v2f", "U", "exact", 2)
    )
    assert exact["value"] == pytest.approx(np.mean(shares), abs=1e-9)


class Knows(nn.Module):
    """In place of the layers after fusion: candidates are as good as their inner product with the query."""

    def __init__(self, ways: str, width: int, sign: float) -> None:
        super().__init__()
        self.ways, self.width, self.sign = ways, width, sign

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(self.width, dim=-1)
        if self.ways == "nway":
            candidate, query, _ = parts
            return self.sign * (candidate * query).sum(-1, keepdim=True)
        first, second, query = parts
        return self.sign * torch.stack([(first * query).sum(-1), (second * query).sum(-1)], dim=-1)


def chooser(recipe: str, sign: float) -> tuple[Method, dict[str, Any]]:
    """A method that reads people off one-hot embeddings."""
    method = build(recipe).eval()
    method.fusion = Knows("nway" if recipe == "svhf_nway" else "two", 12, sign)
    clips = table(12)
    for kind in ("voice", "face"):
        clips[f"{kind}s"] = np.eye(12, dtype=np.float32)[clips[f"{kind}_identity"]]
    return method, clips


@pytest.mark.parametrize("choices", [2**14, 7])
@pytest.mark.parametrize(("recipe", "directions"), [("svhf", {"v2f"}), ("svhf_f2v", {"f2v"}), ("svhf_nway", {"v2f"})])
@pytest.mark.parametrize(("sign", "right"), [(1.0, 1.0), (0.0, None), (-1.0, 0.0)])
def test_who_knows_is_always_right_and_who_does_not_is_right_by_chance(
    recipe: str, directions: set[str], sign: float, right: float | None, choices: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(network_scores, "CHOICES_AT_ONCE", choices)
    method, clips = chooser(recipe, sign)
    records = network_records(method, clips, IDENTITIES, trials=300, level=0.95)
    assert {r["direction"] for r in records} == directions
    assert {r["n"] for r in records} == ({2, 3, 5, 10} if recipe == "svhf_nway" else {2})
    assert {(r["task"], r["protocol"], r["trials"]) for r in records if r["value"] is not None} == {
        ("matching", "sampled", 300)
    }
    assert {"U", "G"} <= {r["stratum"] for r in records}
    for r in records:
        # Of one gender there are six people: no gallery of ten.
        assert (r["value"] is None) == (r["n"] == 10 and r["stratum"] != "U")
        if r["value"] is not None:
            assert r["value"] == pytest.approx(1 / r["n"] if right is None else right, abs=1e-9)


def test_galleries_larger_than_the_number_of_people_are_left_out():
    method, clips = chooser("svhf_nway", 1.0)
    few = {kind: clips[f"{kind}_identity"] < 4 for kind in ("voice", "face")}
    part = {k: v[few[k.removesuffix("s").split("_")[0]]] for k, v in clips.items()}
    records = network_records(method, part, IDENTITIES, trials=50, level=0.95)
    assert {r["n"] for r in records} == {2, 3}


def test_the_query_is_where_the_method_looks_for_it():
    """Candidates and query changed over, the same chooser no longer knows."""
    method, clips = chooser("svhf", 1.0)
    method.query_first = True
    (record,) = (r for r in network_records(method, clips, {}, trials=300, level=0.95) if r["stratum"] == "U")
    assert record["value"] < 0.9
