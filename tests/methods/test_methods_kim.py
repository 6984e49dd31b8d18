"""Kim: the hard triplets' time, pooling by width, the classifier of pairs, and the paper's numbers of parameters."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recipe_support import Fixed, build, eight_people, trainer
from safetensors.torch import save_file

from voiceface.methods.kim import Kim
from voiceface.methods.mining import draw_triplets


def rows(people: int, clips: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    identity = torch.arange(people).repeat_interleave(clips)
    return torch.randn(len(identity), width, generator=generator).requires_grad_(), identity


@pytest.mark.parametrize(("recipe", "clips"), [("kim", (1, 2)), ("kim_f2v", (2, 1))])
def test_before_the_hard_triplets_time_only_the_first_anchors_people_are_embedded(recipe: str, clips: tuple[int, int]):
    people = [5, 3, 12, 0, 7, 15, 1, 9, 2, 4, 6, 8, 10, 11, 13, 14]
    of_voice, of_face = (eight_people(n, 16_000, people=people) for n in clips)
    batch = {k: (of_voice if "voice" in k else of_face)[k] for k in of_voice}
    method, sizes, seen = build(recipe, hard_after=2, keep=8), [], []
    embed_voice, embed_face, loss = method.embed_voice, method.embed_face, method.loss

    def spied_loss(voices: Any, faces: Any, voice_identity: Any, face_identity: Any) -> Any:
        seen.append((set(voice_identity.tolist()), set(face_identity.tolist())))
        return loss(voices, faces, voice_identity, face_identity)

    method.embed_voice = lambda x, n: sizes.append(len(x)) or embed_voice(x, n)  # type: ignore[method-assign]
    method.embed_face = lambda x: sizes.append(len(x)) or embed_face(x)  # type: ignore[method-assign]
    method.loss = spied_loss  # type: ignore[method-assign]
    trainer(4).fit(method, datamodule=Fixed([batch] * 4))
    voices, faces = clips
    assert sizes == [8 * voices, 8 * faces] * 2 + [16 * voices, 16 * faces] * 2
    assert seen == [(set(people[:8]),) * 2] * 2 + [(set(people),) * 2] * 2


@pytest.mark.parametrize("anchor", ["voice", "face"])
@pytest.mark.parametrize("step", [119_999, 120_000])
def test_from_its_time_on_the_eight_hardest_of_sixteen_triplets_give_the_gradients(
    anchor: str, step: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Kim, "global_step", property(lambda self: step))
    method = build("kim", hard_after=120_000, anchor=anchor)
    voices, voice_identity = rows(16, 1 if anchor == "voice" else 2, 6, 0)
    faces, face_identity = rows(16, 2 if anchor == "voice" else 1, 6, 1)
    torch.manual_seed(7)
    loss, _ = method.loss(voices, faces, voice_identity, face_identity)
    loss.backward()
    clips = [(voices, voice_identity), (faces, face_identity)]
    (anchors, mine), (others, theirs) = clips if anchor == "voice" else clips[::-1]
    torch.manual_seed(7)
    triplets = torch.stack(draw_triplets(mine, theirs), dim=1).tolist()
    a, o = anchors.detach().double().numpy(), others.detach().double().numpy()
    each = []
    for i, p, n in triplets:
        apart = np.linalg.norm(a[i] - o[n])
        together = np.linalg.norm(a[i] - o[p])
        softmax = np.exp([together, apart]) / np.exp([together, apart]).sum()
        each.append(np.linalg.norm(softmax - [0, 1]) ** 2)
    order = np.argsort(each)[::-1]
    counted = order[:8] if step >= 120_000 else order
    assert len(triplets) == 16
    assert loss.item() == pytest.approx(np.mean([each[k] for k in counted]), rel=1e-5)
    moved = set(anchors.grad.abs().sum(1).nonzero()[:, 0].tolist())  # type: ignore[union-attr]
    assert moved == {triplets[k][0] for k in counted}
    pulled = set(others.grad.abs().sum(1).nonzero()[:, 0].tolist())  # type: ignore[union-attr]
    assert pulled == {triplets[k][place] for k in counted for place in (1, 2)}


@pytest.mark.parametrize(
    ("width", "pooling", "dims"),
    [
        (128, None, (512, 512)),
        (512, None, (512, 512)),
        (1023, None, (512, 512)),
        (1024, None, (25_088, 3_584)),
        (4096, None, (25_088, 3_584)),
        (4096, "global", (512, 512)),
        (128, "half", (25_088, 3_584)),
    ],
)
def test_wide_last_layers_stand_on_maps_pooled_by_halves(width: int, pooling: Any, dims: tuple[int, int]):
    with torch.device("meta"):
        method = build("kim", "paper", width=width, pooling=pooling)
    assert (method.face_encoder.dim, method.voice_encoder.dim) == dims
    for head, inputs in zip((method.face_head, method.voice_head), dims, strict=True):
        layers = [tuple(m.weight.shape) for m in head if isinstance(m, torch.nn.Linear)]
        assert layers == [(width, inputs), (width, width)]


def test_the_numbers_of_parameters_are_the_papers():
    with torch.device("meta"):
        method = build("kim", "paper")
        other = build("kim_f2v", "paper")
    face = [*method.face_encoder.parameters(), *method.face_head.parameters()]
    voice = [*method.voice_encoder.parameters(), *method.voice_head.parameters()]
    assert sum(p.numel() for p in face) == 14_796_864
    assert sum(p.numel() for p in voice) == 855_248
    assert method.count_parameters() == other.count_parameters() == 15_652_112


def test_the_classifiers_similarity_is_its_odds_on_each_pair():
    method = build("kim_classifier")
    voices, _ = rows(5, 1, 128, 0)
    faces, _ = rows(7, 1, 128, 1)
    with torch.no_grad():
        found = method.similarity(voices, faces)
        for i, voice in enumerate(voices):
            for j, face in enumerate(faces):
                logits = method.classifier(torch.cat([face, voice])[None])[0]
                match = torch.softmax(logits.double(), 0)[1]
                assert found[i, j].item() == pytest.approx(torch.logit(match).item(), abs=1e-5)
    assert found.shape == (5, 7)


@pytest.mark.parametrize("recipe", ["kim_classifier", "kim_siamese"])
@pytest.mark.parametrize("anchor", ["voice", "face"])
def test_the_alternatives_take_both_pairs_of_a_triplet(recipe: str, anchor: str):
    method = build(recipe, anchor=anchor, triplets=1)
    (voices, identity), (faces, _) = rows(6, 2, 128, 0), rows(6, 2, 128, 1)
    voices, faces = 0.05 * voices.detach(), 0.05 * faces.detach()
    torch.manual_seed(3)
    loss, _ = method.loss(voices, faces, identity, identity)
    torch.manual_seed(3)
    each = []
    for a, p, n in zip(*draw_triplets(identity, identity), strict=True):
        for other, same in ((p, 1), (n, 0)):
            voice, face = (voices[a], faces[other]) if anchor == "voice" else (voices[other], faces[a])
            if recipe == "kim_classifier":
                logits = method.classifier(torch.cat([face, voice])).detach().double().numpy()
                each.append(np.log(np.exp(logits).sum()) - logits[same])
            else:
                d = np.linalg.norm((voice - face).double().numpy())
                each.append(d**2 if same else max(0.0, method.margin - d) ** 2)
    assert loss.item() == pytest.approx(np.mean(each), rel=1e-5)
    assert len(each) == 24


def test_frozen_networks_take_their_weights_from_the_whole_method(tmp_path: Path):
    donor = build("kim")
    save_file(donor.state_dict(), tmp_path / "kim.safetensors")
    method = build("kim", weights=str(tmp_path / "kim.safetensors"), freeze_face=True, freeze_voice=True)
    torch.nn.init.zeros_(next(method.face_encoder.parameters()))
    trainer(1).fit(method, datamodule=Fixed([eight_people(samples=16_000)]))
    after = method.face_encoder.state_dict()
    assert all(torch.equal(w, after[n]) for n, w in donor.face_encoder.state_dict().items())


def test_validation_looks_at_the_anchors_direction():
    assert build("kim").directions == ("v2f",)
    assert build("kim_f2v").directions == ("f2v",)


def test_several_triplets_of_an_anchor_are_drawn_anew():
    batch = eight_people(samples=16_000)
    method = build("kim", triplets=50)
    voices, faces = (torch.randn(16, 128) for _ in range(2))
    drawn = []
    of_triplets = method._of_triplets
    method._of_triplets = lambda a, p, n: drawn.append((a, p, n)) or of_triplets(a, p, n)  # type: ignore[func-returns-value, method-assign]
    method.loss(voices, faces, batch["voice_identity"], batch["face_identity"])
    (anchors, positives, negatives) = drawn[0]
    assert len(anchors) == 16 * 50
    assert torch.equal(anchors, voices.repeat_interleave(50, 0))
    own, other = ((faces == x).all(1).nonzero()[0] for x in (positives[0], negatives[0]))
    assert batch["face_identity"][own] == 0 != batch["face_identity"][other]
    assert len({tuple(x.tolist()) for x in negatives[:50]}) > 10
