"""Mixed precision, memory format and compilation change the speed of a training and not what it computes."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_support import DISTINCT, Fixed, Losses, build, eight_people, met, trainer

from voiceface.checkpoints.weights import load_checkpoint, save_checkpoint
from voiceface.encoders import voice_encoder
from voiceface.methods.base import Method
from voiceface.training.acceleration import check_precision, compile_encoders, keep_channels_last
from voiceface.training.fit import fit
from voiceface.utils.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true", "transformer-engine"])
def test_other_weights_than_float32_are_refused(precision: str):
    with pytest.raises(UserError, match=rf"--trainer\.precision {precision}: .*give 32-true, bf16-mixed or 16-mixed"):
        check_precision({"precision": precision, "accelerator": "auto"})


@pytest.mark.parametrize("precision", ["16-mixed", 16])
def test_fp16_on_a_cpu_is_refused(precision: Any):
    with pytest.raises(UserError, match=r"fp16 needs a GPU; give bf16-mixed or 32-true"):
        check_precision({"precision": precision, "accelerator": "cpu"})


def test_the_command_refuses_before_it_makes_a_folder(tmp_path: Path):
    for word, reason in (("16-mixed", "fp16 needs a GPU"), ("bf16-true", "give 32-true, bf16-mixed or 16-mixed")):
        words = ["--model", "trinet", "--trainer.precision", word, "--trainer.accelerator", "cpu"]
        with pytest.raises(UserError, match=reason):
            fit([*words, "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("precision", [None, 32, "32-true", "bf16-mixed", "bf16"])
def test_the_others_pass(precision: Any):
    check_precision({"precision": precision, "accelerator": "cpu"})


@pytest.mark.parametrize("recipe", DISTINCT)
def test_loss_and_similarity_of_given_embeddings_are_those_of_float32_under_autocast(recipe: str):
    """To the last bit: whatever is computed of embeddings is computed in float32."""
    method, batch = met(recipe).eval(), eight_people(samples=16_000)
    with torch.no_grad():
        voices, faces = method.embed_voice(batch["voices"]), method.embed_face(batch["faces"])

    def all_of(enabled: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found = [method.loss(voices, faces, batch["voice_identity"], batch["face_identity"])[0]]
            if method.space != "relative":
                found.append(method.similarity(voices, faces))
            for direction in method.directions:
                query, items = (voices, faces) if direction == "v2f" else (faces, voices)
                found.append(method.choose(query[:4], items[:8].view(4, 2, -1), direction))
        return found

    for mixed, full in zip(all_of(True), all_of(False), strict=True):
        assert mixed.dtype == torch.float32
        assert torch.equal(mixed, full)


def losses_of(method: Method, **options: Any) -> list[float]:
    """Losses of three training steps."""
    seen, batches = Losses(), [eight_people(samples=16_000, seed=i) for i in range(3)]
    trainer(3, None, seen, **options).fit(method, datamodule=Fixed(batches))
    return seen.seen


@pytest.mark.parametrize(("mixed", "tolerance", "of_gradient"), [(False, 1e-5, 0.01), (True, 0.02, 0.2)])
def test_channels_last_trains_alike(mixed: bool, tolerance: float, of_gradient: float):
    plain, last = build("svhf"), build("svhf")
    keep_channels_last(last)
    weights = [w for w in last.face_encoder.parameters() if w.ndim == 4]
    assert len(weights) == 4
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
    batch = eight_people(samples=16_000)
    arrived: list[bool] = []
    hook = last.face_encoder.convolutions.register_forward_pre_hook(
        lambda _, x: arrived.append(x[0].is_contiguous(memory_format=torch.channels_last))
    )
    for memory in (torch.contiguous_format, torch.channels_last):
        faces, found = batch["faces"].contiguous(memory_format=memory), []
        for method in (plain, last):
            method.zero_grad()
            torch.manual_seed(0)
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                voices, images = method.embed_voice(batch["voices"]), method.embed_face(faces)
                loss = method.loss(voices, images, batch["voice_identity"], batch["face_identity"])[0]
            loss.backward()
            gradient = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])
            found.append((loss.detach(), gradient))
        (one, its), (two, others) = found
        assert (one - two).abs() <= tolerance * one
        assert (its - others).norm() <= of_gradient * its.norm()
    hook.remove()
    assert arrived == [True, True]


def test_channels_last_leaves_a_checkpoint_as_it_is(tmp_path: Path):
    plain, last = build("trinet"), build("trinet")
    keep_channels_last(last)
    assert save_checkpoint(plain, tmp_path / "a", "trinet", {}) == save_checkpoint(last, tmp_path / "b", "trinet", {})


def test_a_run_in_channels_last_goes_on_without(tmp_path: Path):
    """Adam's state comes back in the other memory format and means the same."""
    first = trainer(2)
    last = build("trinet")
    keep_channels_last(last)
    batches = [eight_people(samples=16_000, seed=i) for i in range(4)]
    first.fit(last, datamodule=Fixed(batches))
    first.save_checkpoint(tmp_path / "state")
    found = []
    for channels_last in (True, False):
        method, seen = build("trinet"), Losses()
        if channels_last:
            keep_channels_last(method)
        more = trainer(4, None, seen)
        more.fit(method, datamodule=Fixed(batches), ckpt_path=tmp_path / "state", weights_only=True)
        found.append(seen.seen)
    assert found[0] == pytest.approx(found[1], rel=1e-3)


@pytest.mark.slow(reason="networks are compiled")
@pytest.mark.parametrize(
    "backend",
    [
        "eager",
        pytest.param("aot_eager", marks=pytest.mark.slow(reason="traces the gradients too; the quick one is eager's")),
        pytest.param(
            "inductor",
            marks=pytest.mark.skipif(
                "VOICEFACE_TEST_COMPILE" not in os.environ, reason="minutes; set VOICEFACE_TEST_COMPILE=1"
            ),
        ),
    ],
)
def test_compiled_encoders_give_the_same_losses_embeddings_and_checkpoints(backend: str, tmp_path: Path):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain, compiled = build("trinet"), build("trinet")
    compile_encoders(compiled, CPU, backend)
    assert losses_of(compiled) == pytest.approx(losses_of(plain), rel=1e-4)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    for method in (plain, compiled):
        method.eval()
    save_checkpoint(compiled, tmp_path / "c", "trinet", {})
    again = load_checkpoint(tmp_path / "c")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for count, samples in ((3, 20_000), (5, 31_000), (2, 28_000)):
            waves = torch.randint(-3000, 3000, (count, samples), generator=generator).short()
            lengths = torch.randint(8_000, samples, (count,), generator=generator)
            voices = waves.masked_fill(torch.arange(samples) >= lengths[:, None], 0)
            torch.testing.assert_close(
                compiled.embed_voice(voices, lengths), again.embed_voice(voices, lengths), rtol=1e-3, atol=1e-3
            )
            faces = torch.randint(0, 256, (count, 3, 64, 64), generator=generator).byte()
            torch.testing.assert_close(compiled.embed_face(faces), again.embed_face(faces), rtol=1e-3, atol=1e-3)
    # Each network once for training and once for evaluation, and there once more for all sizes.
    assert 4 <= torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 8
    torch._dynamo.reset()


@pytest.mark.slow(reason="a whole voice network is compiled")
def test_the_features_break_the_graph_of_a_voice_network_once():
    """The networks after the features are one graph each; those without resampling have no break inside."""
    for name in ("voice_small", "voice_thin_resnet34"):
        torch._dynamo.reset()
        found = torch._dynamo.explain(voice_encoder(name))(torch.zeros(2, 20_000).short(), torch.tensor([20_000] * 2))
        assert found.graph_count == 1, name
    torch._dynamo.reset()


def test_a_machine_without_a_compiler_is_told_so(monkeypatch: pytest.MonkeyPatch):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (None, "/nonexistent/g++"))
    torch._dynamo.reset()
    method = build("trinet")
    with pytest.raises(UserError, match=r"--compile: this machine cannot compile \(.*; install a C\+\+ compiler") as no:
        compile_encoders(method, CPU)
    assert len(str(no.value).splitlines()) == 1
    assert losses_of(method)[0] > 0, "nothing is compiled"
