"""The paper preset of every recipe: its networks, and its optimiser as a real trainer has it.

The expected numbers are written out here from the papers (docs/methods.md names their sources), not read from the code.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from network_support import constant_weights
from recipe_support import PEOPLE, SMALL, build, eight_people, losses, settings, trainer

from voiceface.methods.base import Method
from voiceface.methods.recipes import list_recipes

NETWORKS = {
    "trinet": ("LResNet50IR", 112, "ThinResNet34"),
    "trinet_dimnet": ("DIMNetFace", 128, "ThinResNet34"),
    "trinet_seresnet50": ("SEResNet50", 224, "ThinResNet34"),
    "trinet_vggm": ("VGGM", 224, "ThinResNet34"),
    "kim": ("VGG16", 224, "SoundNet8"),
    "kim_vggvox": ("VGG16", 224, "VGGVox"),
    "svhf": ("VGGM", 224, "VGGVox"),
    "pins": ("VGGM", 224, "VGGVox"),
    "horiguchi": ("LResNet50IR", 112, "VGGVox"),
    "drl": ("InceptionResNetV1", 224, "DIMNetVoice"),
    "dimnet": ("DIMNetFace", 128, "DIMNetVoice"),
    "infonce": ("LResNet50IR", 112, "ThinResNet34"),
}
MARGINS = {"kim": 1.5, "svhf": 1.36, "pins": 1.36, "trinet_box11": 1.1}
WIDTHS = {
    "trinet": 128,
    "kim": 128,
    "svhf": 1024,
    "pins": 256,
    "horiguchi": 128,
    "drl": 256,
    "dimnet": 64,
    "infonce": 128,
}


def of(table: dict[str, Any], recipe: str, otherwise: Any = None) -> Any:
    """The entry of a recipe, or that of its method."""
    return table.get(recipe, table.get(recipe.split("_")[0], otherwise))


@pytest.mark.parametrize("recipe", list_recipes())
def test_it_can_be_built_with_its_own_networks_and_with_the_common_ones(recipe: str):
    with torch.device("meta"):
        own, common = build(recipe, "paper"), build(recipe, "paper", "common")
    assert (type(common.face_encoder).__name__, type(common.voice_encoder).__name__) == ("LResNet50IR", "ThinResNet34")
    assert common.face_encoder.margin == 1.0
    kept = {"face_encoder", "voice_encoder", "face_options", "voice_options", "face_margin"}
    assert {k: v for k, v in own.hparams.items() if k not in kept} == {
        k: v for k, v in common.hparams.items() if k not in kept
    }
    networks = of(NETWORKS, recipe)
    if networks is None:
        pytest.skip(f"{recipe}: add its paper's networks to NETWORKS, its face box to MARGINS, its width to WIDTHS")
    face, size, voice = networks
    assert (type(own.face_encoder).__name__, own.face_encoder.size) == (face, size)
    assert type(own.voice_encoder).__name__ == voice
    assert own.face_encoder.margin == of(MARGINS, recipe, 1.0)


@pytest.mark.parametrize("recipe", [r for r in list_recipes() if r in NETWORKS or r in ("dimnet_ig", "kim_classifier")])
def test_at_paper_size_it_embeds_both_modalities(recipe: str):
    with constant_weights():
        method = build(recipe, "paper").eval()
    size = method.face_encoder.size
    with torch.no_grad():
        faces = method.embed_face(torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8))
        voices = method.embed_voice(torch.randint(-3_000, 3_000, (1, 16_000), dtype=torch.int16))
    width = 512 if recipe == "kim_classifier" else of(WIDTHS, recipe)
    assert faces.shape == voices.shape == (1, width)
    assert faces.dtype == voices.dtype == torch.float32
    assert faces.isfinite().all()
    assert voices.isfinite().all()


Rates = dict[str, Callable[[int], float]]


def falling(first: float, *steps: int) -> Callable[[int], float]:
    """A tenth after each of some steps."""
    return lambda step: first * 10.0 ** -sum(step >= s for s in steps)


def logarithmic(first: float, last: float, total: int) -> Callable[[int], float]:
    """Ten rates with equal ratios from the first to the last, each for a tenth of the training."""
    rates = [10 ** (math.log10(first) + k / 9 * math.log10(last / first)) for k in range(10)]
    return lambda step: rates[next(k for k in range(10) if step < (k + 1) * total / 10)]


Expected = tuple[type[torch.optim.Optimizer], dict[str, Any], Rates, int]


def expected(recipe: str) -> Expected | None:
    """Optimiser, its settings, rate of each group by step, and number of steps; None: not written down here."""
    method = recipe.split("_")[0]
    adam = {"betas": (0.9, 0.999), "weight_decay": 0, "eps": 1e-8}
    if method == "trinet":
        rates = {"fc": falling(1e-3, 20_000, 40_000, 60_000), "face": falling(1e-6)}
        if recipe in ("trinet_noface", "trinet_scratch"):
            rates["face"] = falling(1e-3)
        if recipe == "trinet_frozenface":
            del rates["face"]
        if recipe in ("trinet_frozenface", "trinet_trainable"):
            rates["voice"] = falling(1e-6)
        if recipe == "trinet_scratch":
            rates["voice"] = falling(1e-3)
        return torch.optim.Adam, adam, rates, 70_000
    if method == "kim":
        slow = falling(1e-5, 80_000, 160_000)
        return torch.optim.Adam, adam, {"fc": falling(1e-3, 80_000, 160_000), "face": slow, "voice": slow}, 240_000
    if method == "horiguchi":
        return torch.optim.Adam, adam, {"projections": falling(1e-3)}, 50_000
    if method == "infonce":
        return torch.optim.Adam, adam, {"fc": falling(1e-3), "face": falling(1e-4), "voice": falling(1e-4)}, 50_000
    sgd = {"momentum": 0.9, "weight_decay": 5e-4, "nesterov": False}
    if method == "dimnet":
        rate = falling(0.1, 16_000, 24_000)
        groups = {"classifiers": rate, "face": rate, "voice": rate}
        return torch.optim.SGD, {**sgd, "weight_decay": 1e-3}, groups, 28_000
    steps = {"drl": 50_000, "pins": 80_000, "svhf": 187_500}.get(method)
    if steps is None:
        return None
    first = 1e-3 if method == "drl" else 1e-2
    rate = logarithmic(first, 1e-8, steps)
    groups = {("fusion" if method == "svhf" else "fc"): rate, "face": rate, "voice": rate}
    return torch.optim.SGD, sgd, groups | ({"centres": falling(0.5)} if method == "drl" else {}), steps


@pytest.fixture(params=list_recipes())
def configured(request: pytest.FixtureRequest) -> tuple[str, Method, Any]:
    """A recipe with the paper's settings, but small networks, as a trainer of the paper's length configures it."""
    recipe = request.param
    method = build(recipe, "paper", **SMALL)
    method.trainer = trainer(settings(recipe, "paper")["trainer"]["max_steps"])
    method.build_training_heads(PEOPLE)
    return recipe, method, method.configure_optimizers()


def parts(chosen: Any) -> tuple[torch.optim.Optimizer, list[Callable[[int], float]]]:
    if isinstance(chosen, torch.optim.Optimizer):
        return chosen, [lambda step: 1.0] * len(chosen.param_groups)
    assert chosen["lr_scheduler"]["interval"] == "step"
    return chosen["optimizer"], chosen["lr_scheduler"]["scheduler"].lr_lambdas


def test_the_optimiser_and_its_rates_at_every_stage_are_the_papers(configured: tuple[str, Method, Any]):
    recipe, method, chosen = configured
    known = expected(recipe)
    if known is None:
        pytest.skip(f"{recipe}: add its paper's optimiser, rates and number of steps to expected()")
    kind, numbers, rates, steps = known
    optimizer, factors = parts(chosen)
    assert type(optimizer) is kind
    assert method.trainer.max_steps == steps
    assert [group["name"] for group in optimizer.param_groups] == list(rates)
    edges = {0, 1, steps - 1} | {round(k * steps / 10) + d for k in range(1, 10) for d in (-1, 0, 1)}
    edges |= {e + d for e in (16_000, 20_000, 24_000, 40_000, 60_000, 80_000, 160_000) for d in (-1, 0, 1)}
    for group, factor in zip(optimizer.param_groups, factors, strict=True):
        name = group["name"]
        own = {"momentum": 0.0, "weight_decay": 0.0} if name == "centres" else {}
        assert {k: group[k] for k in numbers} == {**numbers, **own}, name
        assert group.get("amsgrad", False) is False
        first = group.get("initial_lr", group["lr"])
        for step in sorted(edge for edge in edges if edge < steps):
            assert first * factor(step) == pytest.approx(rates[name](step), rel=1e-9), (name, step)


def test_a_step_moves_what_is_trained_and_nothing_else(configured: tuple[str, Method, Any]):
    recipe, method, chosen = configured
    optimizer, _ = parts(chosen)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    method.train()
    losses(method, eight_people(samples=16_000)).backward()
    optimizer.step()
    still = {name for name, tensor in method.state_dict().items() if torch.equal(tensor, before[name])}
    known = expected(recipe)
    trained = known[2] if known else [part for part in ("face", "voice") if not method.hparams[f"freeze_{part}"]]
    frozen = tuple(f"{part}_encoder." for part in ("face", "voice") if part not in trained)
    assert still == {name for name in before if name.startswith(frozen)} if frozen else not still
    in_groups = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in in_groups} == {id(p) for p in method.parameters() if p.requires_grad}
    assert len(in_groups) == len({id(p) for p in in_groups})
    for part in ("face", "voice"):
        encoder = getattr(method, f"{part}_encoder")
        assert any(m.training for m in encoder.modules()) == (f"{part}_encoder." not in frozen)


def test_the_real_scheduler_gives_the_rates_of_its_closed_form():
    method = build("svhf", "paper", **SMALL)
    method.trainer = trainer(20)
    optimizer, _ = parts(chosen := method.configure_optimizers())
    seen = []
    for _ in range(20):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        chosen["lr_scheduler"]["scheduler"].step()
    rate = logarithmic(1e-2, 1e-8, 20)
    assert seen == [pytest.approx([rate(step)] * 3) for step in range(20)]
    assert len({rates[0] for rates in seen}) == 10
