"""One suite over every recipe, with the demo preset's small encoders; recipes with equal settings share a run."""

import ast
import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_support import DISTINCT, PEOPLE, Fixed, build, eight_people, losses, met, settings, trainer
from safetensors.torch import load_file
from torch import Tensor

from voiceface.checkpoints.weights import load_checkpoint, save_checkpoint
from voiceface.methods.base import Method
from voiceface.methods.kim import Kim
from voiceface.methods.recipes import METHODS, list_methods, list_recipes
from voiceface.methods.trinet import TriNet
from voiceface.utils.source import constructor, explanations, parameters


def embedded(method: Method, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    method.eval()
    with torch.no_grad():
        return method.embed_voice(batch["voices"], batch["voice_lengths"]), method.embed_face(batch["faces"])


def told_apart(method: Method) -> Tensor:
    """Which people the method's training can tell apart, bool (8, 8): all, or those of different covariates."""
    covariates = getattr(method, "covariates", ["identity"])
    if "identity" in covariates:
        return ~torch.eye(len(PEOPLE), dtype=torch.bool)
    values = [tuple(person[name] for name in covariates) for person in PEOPLE]
    return torch.tensor([[a != b for b in values] for a in values])


def asked(method: Method) -> tuple[str, ...]:
    """Directions that the loss ranks: TriNet's anchors are voices, Kim's of one modality."""
    if isinstance(method, TriNet):
        return ("v2f",)
    if isinstance(method, Kim) and method.loss_name == "triplet":
        return ("v2f",) if method.anchor == "voice" else ("f2v",)
    return method.directions


def accuracy(method: Method, batch: dict[str, Any]) -> float:
    """Share of (query, own clip, another person's clip) that is chosen rightly, in the directions of the training."""
    voices, faces = embedded(method, batch)
    identity = batch["voice_identity"]
    same = identity[:, None] == identity
    differ = told_apart(method)[identity][:, identity]
    query, own, other = (same[:, :, None] & differ[:, None, :]).nonzero(as_tuple=True)
    wins = []
    with torch.no_grad():
        if method.space == "relative":
            (direction,) = method.directions
            queries, items = (voices, faces) if direction == "v2f" else (faces, voices)
            for place, pair in enumerate(((own, other), (other, own))):
                scores = method.choose(queries[query], items[torch.stack(pair, dim=1)], direction)
                wins.append(scores[:, place] > scores[:, 1 - place])
        else:
            similarity = method.similarity(voices, faces)
            for direction in asked(method):
                table = similarity if direction == "v2f" else similarity.T
                wins.append(table[query, own] > table[query, other])
    return torch.cat(wins).float().mean().item()


SIXTY = pytest.mark.slow(reason="sixty steps of every recipe; the quick ones: one of each method, until it has them")


@pytest.mark.parametrize(
    ("recipe", "whole"),
    [(r, False) for r in DISTINCT if r in (*list_methods(), "dimnet_ig")]
    + [pytest.param(r, True, marks=SIXTY) for r in DISTINCT],
)
def test_it_overfits_eight_people(recipe: str, whole: bool):
    method, batch = met(recipe), eight_people(samples=16_000)
    assert accuracy(method, batch) < 0.95
    optimizer = torch.optim.Adam(method.parameters(), 1e-3)
    for _ in range(6):
        method.train()
        for _ in range(10):
            optimizer.zero_grad()
            losses(method, batch).backward()
            optimizer.step()
        if not whole and accuracy(method, batch) > 0.95:
            break
    assert accuracy(method, batch) > 0.95


@pytest.mark.parametrize("recipe", DISTINCT)
class TestEveryDistinctRecipe:
    @pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
    def test_a_step_has_a_float32_loss_and_finite_gradients_that_reach_every_weight(self, recipe: str, precision: Any):
        method = build(recipe)
        run = trainer(1, precision=precision)
        logged: dict[str, Tensor] = {}
        wrong: list[str] = []

        def step(*arguments: Any) -> Tensor:
            logged["loss"] = type(method).training_step(method, *arguments)
            return logged["loss"]

        def look() -> None:
            for name, weight in method.named_parameters():
                if weight.grad is None or not weight.grad.isfinite().all() or not weight.grad.any():
                    wrong.append(name)

        method.training_step = step  # type: ignore[method-assign]
        method.on_after_backward = look  # type: ignore[method-assign]
        run.fit(method, datamodule=Fixed([eight_people(samples=16_000)]))
        assert logged["loss"].dtype == torch.float32
        assert logged["loss"].isfinite()
        assert wrong == []

    def test_a_checkpoint_gives_the_same_embeddings_and_choices(self, recipe: str, tmp_path: Path):
        method, batch = met(recipe), eight_people(samples=16_000)
        save_checkpoint(method, tmp_path / "c", recipe, {"corpus": "none"})
        again = load_checkpoint(tmp_path / "c")
        assert not any(module.training for module in again.modules())
        (voices, faces), found = embedded(method, batch), embedded(again, batch)
        assert torch.equal(voices, found[0])
        assert torch.equal(faces, found[1])
        with torch.no_grad():
            if method.space != "relative":
                assert torch.equal(method.similarity(voices, faces), again.similarity(*found))
            galleries = torch.tensor([[i, (i + 2) % 16] for i in range(16)])
            for direction in method.directions:
                queries, items = (voices, faces) if direction == "v2f" else (faces, voices)
                chosen = method.choose(queries, items[galleries], direction)
                assert torch.equal(chosen, again.choose(queries, items[galleries], direction))
                assert chosen.shape == (16, 2)

    def test_a_checkpoint_lacks_what_only_training_needs(self, recipe: str, tmp_path: Path):
        alone, method = build(recipe), met(recipe)
        save_checkpoint(method, tmp_path / "c", recipe, {"corpus": "none"})
        stored = load_file(tmp_path / "c" / "model.safetensors")
        assert stored.keys() == alone.state_dict().keys()
        for_training = method.state_dict().keys() - stored.keys()
        assert bool(for_training) == bool(method.training_only)
        parameters = sum(p.numel() for p in alone.parameters())
        assert json.loads((tmp_path / "c" / "config.json").read_text())["parameters"] == parameters
        assert method.count_parameters() == parameters

    def test_an_embedding_depends_neither_on_its_neighbours_nor_on_padding(self, recipe: str):
        method = build(recipe).eval()
        generator = torch.Generator().manual_seed(0)
        lengths = torch.tensor([48_000, 30_000, 17_000])
        waves = torch.zeros(3, 48_000, dtype=torch.int16)
        for wave, length in zip(waves, lengths.tolist(), strict=True):
            wave[:length] = (1_000 * torch.randn(length, generator=generator)).short()
        faces = torch.randint(0, 256, (3, 3, 64, 64), generator=generator).byte()
        with torch.no_grad():
            together = method.embed_voice(waves, lengths), method.embed_face(faces)
            voices = [method.embed_voice(w[None, :n]) for w, n in zip(waves, lengths.tolist(), strict=True)]
            alone = torch.cat(voices), torch.cat([method.embed_face(face[None]) for face in faces])
            crowd = method.embed_voice(waves.flip(0), lengths.flip(0)).flip(0), method.embed_face(faces.flip(0)).flip(0)
        for both, one, other in zip(together, alone, crowd, strict=True):
            size = both.abs().max().item()
            torch.testing.assert_close(both, one, rtol=0, atol=1e-4 * size)
            torch.testing.assert_close(both, other, rtol=0, atol=1e-4 * size)
            assert (both[0] - both[1]).abs().max() > 1e-3 * size

    def test_similarity_is_what_its_space_says(self, recipe: str):
        """Larger for what is nearer; of a network of pairs, each pair's own; of a relative one, the whole gallery's."""
        method, batch = met(recipe), eight_people(samples=16_000)
        voices, faces = embedded(method, batch)
        assert method.directions in (("v2f", "f2v"), ("v2f",), ("f2v",))
        with torch.no_grad():
            if method.space in ("cosine", "euclidean"):
                x = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
                similarity = method.similarity(x, x)
                assert (similarity.diagonal()[:, None] >= similarity - 1e-5).all()
                assert (similarity.diagonal().sum() * 5 - similarity.sum()).item() > 1e-3
                return
            if method.space == "pairwise":
                together = method.similarity(voices, faces)
                alone = torch.stack([method.similarity(v[None], f[None])[0, 0] for v in voices for f in faces])
                torch.testing.assert_close(together, alone.view(16, 16), rtol=1e-4, atol=1e-5)
                assert together.std(dim=0).min() > 0
                assert together.std(dim=1).min() > 0
                return
            assert method.space == "relative"
            (direction,) = method.directions
            query, items = (voices, faces) if direction == "v2f" else (faces, voices)
            galleries = torch.tensor([[0, 2], [0, 4], [0, 6]])
            scores = method.choose(query[:1].expand(3, -1), items[galleries], direction)
            assert scores[:, 0].unique().numel() == 3, "a candidate's score depends on the other one"
            for size in method.gallery_sizes:
                assert method.choose(query[:2], items[:size].expand(2, -1, -1), direction).shape == (2, size)

    def test_its_hyper_parameters_are_plain(self, recipe: str):
        def plain(value: object) -> bool:
            if isinstance(value, (list, tuple)):
                return all(map(plain, value))
            if isinstance(value, dict):
                return all(map(plain, value.values()))
            return value is None or isinstance(value, (str, int, float, bool))

        assert plain(dict(build(recipe).hparams))


@pytest.mark.parametrize("recipe", list_recipes())
def test_its_file_opens_with_the_paper_and_every_argument_is_explained(recipe: str):
    module, owner = settings(recipe, "paper")["model"]["class_path"].split(".")[-2:]
    file = METHODS / f"{module}.py"
    assert re.search(r'"[^"]{15,}" \(.*\d{4}', ast.get_docstring(ast.parse(file.read_text())) or "", re.S)
    assert set(constructor(file, owner)) == set(
        parameters(getattr(import_module(f"voiceface.methods.{module}"), owner))
    )
    assert {"face_encoder", "freeze_voice", *constructor(file, owner)} <= set(explanations(file, owner))
