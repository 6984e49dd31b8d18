"""Training on what frozen networks computed once: the same training, however the cache came about."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from recipe_support import Losses
from safetensors.torch import load_file, save_file
from tests_support import in_processes, tone_corpus, voiceface

from voiceface.checkpoints.weights import load_checkpoint
from voiceface.data.corpus.clips import cut_face, cut_voice
from voiceface.data.corpus.shards import Corpus
from voiceface.data.features import cache as frozen_cache
from voiceface.data.features.extract import extract
from voiceface.data.module import VoxVGGDataModule
from voiceface.data.stream.cached_rows import FeatureRows, chunk_path, is_whole, write_chunk
from voiceface.encoders import face_encoder, voice_encoder
from voiceface.encoders.pretrained.frozen import of_weights
from voiceface.evaluation.callback import CrossModalMetrics
from voiceface.evaluation.results import read_results
from voiceface.methods.trinet import TriNet
from voiceface.utils.errors import UserError
from voiceface.utils.seeds import seeded

STEPS = 10
ONE = pytest.mark.slow(reason="four trainings; the quick one caches both networks")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 training people of 2 or 3 voices and 3 or 4 faces."""
    people = [("train", 2 + i % 2, 3 + i % 2) for i in range(14)] + [("val", 2, 2)] * 4 + [("test", 2, 2)] * 4
    return tone_corpus(tmp_path_factory.mktemp("corpora") / "tones", people, max_voices=2, max_faces=2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pretrained weights of both small networks."""
    torch.manual_seed(5)
    files = {kind: str(tmp_path_factory.mktemp("weights") / f"{kind}.safetensors") for kind in ("voice", "face")}
    save_file(voice_encoder("voice_small").state_dict(), files["voice"])
    save_file(face_encoder("face_small").state_dict(), files["face"])
    return files


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """With several, sums differ from run to run in their last bits, which training makes larger."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of the test's own, and few bundles in a chunk, so that there are several."""
    monkeypatch.setenv("VOICEFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(frozen_cache, "CHUNK", 8)
    monkeypatch.setattr(frozen_cache, "PART", 4)


def trinet(weights: dict[str, str], *frozen: str) -> TriNet:
    torch.manual_seed(1)
    options: dict[str, Any] = {f"{kind}_weights": weights[kind] for kind in frozen}
    options |= {f"freeze_{kind}": kind in frozen for kind in ("voice", "face")}
    return TriNet("face_small", "voice_small", scale=8.0, fc_rate=1e-2, face_rate=1e-3, voice_rate=1e-3, **options)


def data(root: Path, **options: Any) -> VoxVGGDataModule:
    settings = {"people": 4, "voices": 2, "faces": 2, "voice_seconds": 0.8, "workers": 0, "seed": 3, "flip": True}
    return VoxVGGDataModule(str(root), **{**settings, **options})


def fit(method: TriNet, module: VoxVGGDataModule, steps: int = STEPS, **options: Any) -> tuple[list[float], pl.Trainer]:
    """Losses of some steps, each after a validation of the one before."""
    kept = Losses()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = pl.Trainer(
        max_steps=steps,
        callbacks=[kept, CrossModalMetrics()],
        num_sanity_val_steps=0,
        enable_model_summary=False,
        **{**quiet, **options},  # type: ignore[arg-type]
    )
    trainer.fit(method, datamodule=module)
    return kept.seen, trainer


def caches(where: str | None = None) -> dict[str, bytes]:
    """All cached rows by the name of their file."""
    folder = Path(where or os.environ["VOICEFACE_CACHE"]) / "frozen"
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.rows"))}


@pytest.mark.parametrize(
    "frozen", [pytest.param(("voice",), marks=ONE), pytest.param(("face",), marks=ONE), ("voice", "face")]
)
def test_training_on_cached_outputs_is_training_with_the_network_on_fixed_crops(
    root: Path, weights: dict[str, str], frozen: tuple[str, ...]
):
    changes = {"fixed_crops": True, "voice_speed": 0.1, "face_jitter": 0.2}
    with_network, without = trinet(weights, *frozen), trinet(weights, *frozen)
    expected, real = fit(with_network, data(root, **changes))
    found, trainer = fit(without, data(root, **changes, cache_frozen=True, workers=2))
    assert len(found) == STEPS
    assert found == pytest.approx(expected, rel=1e-4)
    assert max(expected) - min(expected) > 0.05, "the losses hardly change"
    assert trainer.callback_metrics["val/accuracy"] == real.callback_metrics["val/accuracy"]
    for name, tensor in with_network.state_dict().items():
        torch.testing.assert_close(without.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)
    for kind in frozen:
        state = getattr(without, f"{kind}_encoder").state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in load_file(weights[kind]).items())
    # The network runs again after the training, and in a test.
    assert not without.voice_encoder.precomputed
    assert not without.face_encoder.precomputed
    (one,), (other,) = (
        t.test(method, datamodule=data(root), verbose=False) for t, method in ((real, with_network), (trainer, without))
    )
    assert one == pytest.approx(other, rel=1e-5)


def test_a_second_run_never_runs_the_networks(root: Path, weights: dict[str, str]):
    calls: list[torch.nn.Module] = []
    for expected in (True, False):
        method = trinet(weights, "voice", "face")
        for encoder in (method.voice_encoder, method.face_encoder):
            encoder.register_forward_hook(lambda encoder, given, made: calls.append(encoder))
        fit(method, data(root, cache_frozen=True), 7)
        assert bool(calls) is expected
        calls.clear()


def test_a_row_is_what_the_network_makes_of_the_fixed_crop(root: Path, weights: dict[str, str]):
    method = trinet(weights, "voice", "face")
    fit(method, data(root, cache_frozen=True), 1)
    corpus = Corpus(root)
    folders = {path.name.rsplit("-", 1)[0]: path for path in (Path(os.environ["VOICEFACE_CACHE"]) / "frozen").iterdir()}
    assert set(folders) == {"voices-train", "faces-train", "voices-val", "faces-val"}
    rows = {name: FeatureRows(path, 128, len(list(path.glob("*.rows")))) for name, path in folders.items()}
    assert {name: len(found) for name, found in rows.items()} == {
        name: corpus.description["splits"][name.split("-")[1]][name.split("-")[0]] for name in rows
    }
    for split in ("train", "val"):
        for _, member, stored in list(corpus.clips(split))[::5]:
            rng = np.random.default_rng(seeded(3, "fixed", member.key))
            if member.name.startswith("v"):
                wave = cut_voice(stored, 12_800 if split == "train" else None, rng)
                found = rows[f"voices-{split}"][member.key]
                method.voice_encoder.crops = split == "train"
                expected = method.voice_encoder.eval()(torch.from_numpy(wave.copy())[None])
            else:
                image = cut_face(stored, 40, 1.25, method.face_encoder.size, 1.0)
                if split == "train" and rng.random() < 0.5:
                    image = image[:, ::-1]
                found = rows[f"faces-{split}"][member.key]
                expected = method.face_encoder.eval()(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
            np.testing.assert_allclose(found, expected[0].detach(), rtol=1e-4, atol=1e-5)
    with pytest.raises(KeyError):
        rows["voices-train"]["nobody"]


def process(rank: int, root: str, weights: str, last: int) -> None:
    """Train two steps; kills itself after the last chunk."""
    frozen_cache.CHUNK, frozen_cache.PART = 8, 4
    write, written = frozen_cache.write_chunk, []

    def write_and_perhaps_die(*chunk: Any) -> None:
        write(*chunk)
        written.append(chunk)
        if len(written) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    frozen_cache.write_chunk = write_and_perhaps_die
    several = {"strategy": "ddp", "devices": 2} if "WORLD_SIZE" in os.environ else {}
    fit(trinet({"voice": weights}, "voice"), data(Path(root), cache_frozen=True, workers=1), 2, **several)


def test_killed_or_made_by_two_processes_the_cache_is_the_same(
    root: Path, weights: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fit(trinet(weights, "voice"), data(root, cache_frozen=True), 1)
    alone = caches()
    assert len(alone) == 5  # four of the training voices, one of those of validation
    made = process, root, weights["voice"]
    monkeypatch.setenv("VOICEFACE_CACHE", str(tmp_path / "together"))
    in_processes(2, *made, 99)
    assert caches(str(tmp_path / "together")) == alone
    monkeypatch.setenv("VOICEFACE_CACHE", str(tmp_path / "cache2"))
    in_processes(1, *made, 2, status=-signal.SIGKILL)
    left = {path: path.stat() for path in (tmp_path / "cache2").rglob("*.rows")}
    assert len(left) == 2
    fit(trinet(weights, "voice"), data(root, cache_frozen=True), 1)
    assert caches() == alone
    assert all(path.stat().st_mtime_ns == before.st_mtime_ns for path, before in left.items()), "made twice"


def test_a_damaged_chunk_is_made_again_and_other_settings_have_a_cache_of_their_own(
    root: Path, weights: dict[str, str], tmp_path: Path
):
    def names(**options: Any) -> dict[str, bytes]:
        fit(trinet(weights, "voice"), data(root, cache_frozen=True, **options), 1)
        return caches()

    first = names()
    folder = Path(os.environ["VOICEFACE_CACHE"]) / "frozen"
    flipped, cut = [folder / name for name in list(first)[:2]]
    flipped.write_bytes(flipped.read_bytes()[:100] + b"?" + flipped.read_bytes()[101:])
    cut.write_bytes(cut.read_bytes()[:-4])
    assert names() == first
    assert len(names(seed=4)) == len(first) + 4, "whole utterances do not depend on the seed"
    assert len(names(flip=False)) == len(first) + 4, "what changes faces is nothing to voices"
    assert len(names(voice_seconds=0.7)) == len(first) + 8
    before = caches()
    other = load_file(weights["voice"])
    other["fc.bias"][0] += 1
    save_file(other, tmp_path / "other.safetensors")
    fit(trinet({"voice": str(tmp_path / "other.safetensors")}, "voice"), data(root, cache_frozen=True), 1)
    assert len(caches()) == len(before) + 5


def test_chunks_hold_the_rows_that_were_written(tmp_path: Path):
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 5)).astype(np.float32) for n in (3, 0, 4, 1)]
    keys = [[f"{i}/{k}" for k in range(len(rows))] for i, rows in enumerate(parts)]
    for number, (names, rows) in enumerate(zip(keys, parts, strict=True)):
        write_chunk(chunk_path(tmp_path, number), names, rows)
        assert is_whole(chunk_path(tmp_path, number), 5)
    assert not is_whole(chunk_path(tmp_path, 0), 4)
    assert not is_whole(chunk_path(tmp_path, 4), 5)
    found = FeatureRows(tmp_path, 5, 4)
    assert len(found) == 8
    for names, rows in zip(keys, parts, strict=True):
        for name, row in zip(names, rows, strict=True):
            np.testing.assert_array_equal(found[name], row)
    chunk_path(tmp_path, 2).write_bytes(b"")
    with pytest.raises(OSError, match=r"000002\.rows is cut short"):
        found["2/3"]


def test_a_damaged_clip_is_left_out_or_stops_the_run(
    weights: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    root = tone_corpus(tmp_path / "tones", [("train", 3, 2)] * 8 + [("val", 2, 2)] * 2 + [("test", 2, 2)] * 2)
    corpus = Corpus(root)
    bundle = next(iter(corpus.index("train")))
    voice = corpus.members("train", bundle)[0][0]
    shard = root / "train" / bundle.shard
    content = bytearray(shard.read_bytes())
    start = bundle.offset + voice.offset
    content[start : start + voice.bytes] = b"\0" * voice.bytes
    shard.write_bytes(content)
    with pytest.raises(UserError, match=f"voice {voice.key} is damaged .*--data.on_error skip"):
        fit(trinet(weights, "voice"), data(root, cache_frozen=True, on_error="stop"), 1)
    fit(trinet(weights, "voice"), data(root, cache_frozen=True, voices=3), 4)
    assert f"voice {voice.key} is damaged" in caplog.text
    assert f"voice {voice.key} was damaged when the features in" in caplog.text
    with pytest.raises(UserError, match=f"voice {voice.key} was damaged when"):
        fit(trinet(weights, "voice"), data(root, cache_frozen=True, on_error="stop", voices=3), 4)


def test_what_makes_no_sense_is_refused_in_one_line(root: Path, weights: dict[str, str]):
    cases: list[tuple[TriNet, dict[str, Any], str]] = [
        (trinet(weights), {"cache_frozen": True}, "--cache-frozen: no network of this run is frozen"),
        (
            trinet(weights, "voice"),
            {"cache_frozen": True, "voice_seconds_max": 1.0},
            "--data.voice_seconds_max 1.0: fixed crops",
        ),
        (trinet(weights), {"fixed_crops": True, "voice_seconds_max": 1.0}, "--data.voice_seconds_max 1.0: fixed crops"),
        (
            TriNet("face_small", "voice_small", freeze_voice=True),
            {"cache_frozen": True},
            "--model.voice_weights: the voice network is frozen and has no pretrained weights",
        ),
    ]
    for method, options, message in cases:
        with pytest.raises(UserError, match=f"^{message}"):
            fit(method, data(root, **options), 1)
    broken = load_file(weights["voice"])
    broken["fc.bias"][0] = float("nan")
    save_file(broken, weights["voice"] + ".nan")
    with pytest.raises(UserError, match=r"^--cache-frozen: p0.*/v0\d: what the frozen voice network makes of it"):
        fit(trinet({"voice": weights["voice"] + ".nan"}, "voice"), data(root, cache_frozen=True), 1)
    saved = data(root, cache_frozen=True, fixed_crops=True).state_dict()
    for name in ("cache_frozen", "fixed_crops"):
        with pytest.raises(UserError, match=f"the run had --data.{name} True, now it is False"):
            data(root, **{"cache_frozen": True, "fixed_crops": True, name: False}).load_state_dict(saved)


def test_a_corpus_of_features_has_nothing_to_cache(root: Path, weights: dict[str, str], tmp_path: Path):
    networks = of_weights("voice_small", "face_small", Path(weights["voice"]), Path(weights["face"]))
    extract(tmp_path / "features", Corpus(root), networks, workers=0)
    about = Corpus(tmp_path / "features").description["features"]
    options = {f"{k}_options": {n: about[f"{k}s"][n] for n in ("dim", "encoder", "weights")} for k in ("face", "voice")}
    method = TriNet("face_features", "voice_features", freeze_voice=False, **options)
    for name in ("cache_frozen", "fixed_crops"):
        with pytest.raises(UserError, match=f"^--data.{name} True: does not apply to the features of"):
            fit(method, data(tmp_path / "features", flip=False, **{name: True}), 1)


def test_test_seconds_leave_whole_utterances_to_the_network(root: Path, weights: dict[str, str]):
    def method() -> TriNet:
        torch.manual_seed(1)
        names = {"freeze_voice": True, "voice_weights": weights["voice"], "test_seconds": 0.5}
        return TriNet("face_small", "voice_small", scale=8.0, **names)  # type: ignore[arg-type]

    expected, real = fit(method(), data(root, fixed_crops=True), 7)
    found, trainer = fit(method(), data(root, fixed_crops=True, cache_frozen=True), 7)
    assert found == pytest.approx(expected, rel=1e-4)
    assert trainer.callback_metrics["val/accuracy"] == real.callback_metrics["val/accuracy"]
    assert {name.split("-")[1] for name in caches()} == {"train"}


def test_a_frozen_network_keeps_nothing_for_gradients(weights: dict[str, str]):
    kept = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    wave = torch.randint(-9000, 9000, (2, 16_000), dtype=torch.int16)
    for frozen in (False, True):
        method = trinet(weights, *(["voice"] if frozen else [])).train()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = method.voice_encoder(wave)
        assert out.requires_grad is not frozen
        assert bool(kept) is not frozen
        assert method.voice_encoder.training is not frozen
        kept.clear()


def test_the_command_tests_the_real_network_and_exports_it(root: Path, weights: dict[str, str], tmp_path: Path):
    words = ["fit", "--model", "trinet", "--preset", "demo", "--data", root, "--data.people", 4, "--data.workers", 0]
    words += ["--model.freeze_voice", "true", "--model.voice_weights", weights["voice"], "--cache-frozen"]
    steps = ["--trainer.max_steps", 4, "--trainer.val_check_interval", 2]
    done = voiceface(*words, *steps, "--out", tmp_path / "run", status=0)
    lines = [line for line in done.stderr.splitlines() if line.startswith("--cache-frozen")]
    assert "voices of train are read as features, of one fixed crop each" in lines[0]
    assert "voices of val are read as features" in lines[3]
    assert "eval mode" not in done.stderr
    method = load_checkpoint(tmp_path / "run" / "checkpoint")
    for name, tensor in load_file(weights["voice"]).items():
        assert torch.equal(method.voice_encoder.state_dict()[name], tensor)
    metrics = CrossModalMetrics()
    trainer = pl.Trainer(accelerator="cpu", logger=False, callbacks=[metrics], enable_progress_bar=False)
    trainer.test(method, datamodule=VoxVGGDataModule(str(root), workers=0), verbose=False)
    assert metrics.results is not None
    assert json.loads(json.dumps(metrics.results["scores"])) == read_results(tmp_path / "run/results.json")["scores"]
