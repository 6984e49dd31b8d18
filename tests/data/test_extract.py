"""Features of frozen networks as a corpus: they are what the networks give, survive kills, and heads train on them."""

import fcntl
import io
import json
import os
import pickle
import random
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_support import build, trainer
from safetensors.torch import load_file, save_file
from tests_support import examples

import voiceface.data.features.extract
from voiceface.checkpoints.frozen import of_checkpoint
from voiceface.checkpoints.weights import save_checkpoint
from voiceface.cli import main
from voiceface.data.corpus.clips import cut_face, cut_feature
from voiceface.data.corpus.shards import Corpus
from voiceface.data.features.extract import extract
from voiceface.data.module import VoxVGGDataModule
from voiceface.encoders import face_encoder, voice_encoder
from voiceface.encoders.pretrained.frozen import Frozen, of_weights
from voiceface.training.arguments import expand
from voiceface.training.feature_words import features_of, widths
from voiceface.utils.errors import UserError
from voiceface.utils.files import write_atomic
from voiceface.utils.npy import encode_feature

METHODS = (
    "trinet",
    "kim",
    "kim_classifier",
    "kim_siamese",
    "drl",
    "dimnet_ig",
    "pins",
    "svhf",
    "svhf_nway",
    "horiguchi",
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(3)
    for name, network in (("face", face_encoder("face_small")), ("voice", voice_encoder("voice_small"))):
        save_file(network.state_dict(), folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in ("face", "voice")}


@pytest.fixture(scope="module")
def frozen(weights: dict[str, Path]) -> Frozen:
    return of_weights("voice_small", "face_small", weights["voice"], weights["face"], 1.25)


@pytest.fixture(scope="module")
def features(tones: Path, frozen: Frozen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features") / "features"
    summary = extract(out, Corpus(tones), frozen, batch=4, workers=0)
    assert summary.splits["test"] == {"identities": 6, "voices": 30, "faces": 36}
    return out


def damaged_copy(features: Path, out: Path, change: bytes) -> Path:
    """A copy whose first training member holds other bytes, and whose index and header are as they were."""
    shutil.copytree(features, out)
    corpus = Corpus(out)
    bundle = corpus.index("train")[0]
    voice = corpus.members("train", bundle)[0][0]
    with (out / "train" / bundle.shard).open("r+b") as file:
        file.seek(bundle.offset + voice.offset)
        file.write(change)
    return out


def test_features_are_what_the_networks_give_each_clip_alone(features: Path, tones: Path, frozen: Frozen):
    voice, face = frozen.voice, frozen.face
    corpus = Corpus(features)
    for split in ("train", "val", "test"):
        pairs = zip(corpus.clips(split), Corpus(tones).clips(split), strict=True)
        for (bundle, member, data), (of_bundle, of_member, raw) in pairs:
            assert (bundle.key, bundle.identity) == (of_bundle.key, of_bundle.identity)
            for name in ("key", "video", "time", "source", "observed", "landmarks"):
                assert getattr(member, name) == getattr(of_member, name)
            stored = np.load(io.BytesIO(data), allow_pickle=False)
            assert stored.dtype == np.float32
            with torch.inference_mode():
                if of_member.name.endswith("flac"):
                    alone = voice(torch.from_numpy(soundfile.read(io.BytesIO(raw), dtype="int16")[0])[None])
                else:
                    picture = cut_face(raw, 40, 1.25, 64, 1.25)
                    alone = face(torch.from_numpy(picture).permute(2, 0, 1)[None])
            np.testing.assert_allclose(stored, alone[0].numpy(), rtol=1e-4, atol=2e-6)
    assert (features / "identities.csv").read_bytes() == (tones / "identities.csv").read_bytes()


def test_the_corpus_says_what_its_features_are_of(
    features: Path, tones: Path, weights: dict[str, Path], frozen: Frozen
):
    about = Corpus(features).description["features"]
    assert about["of"] == {"name": "tones", "version": Corpus(tones).version}
    assert about["dtype"] == "float32"
    assert {k: about["voices"][k] for k in ("encoder", "options", "dim")} == {
        "encoder": "voice_small",
        "options": {},
        "dim": 128,
    }
    assert about["faces"]["margin"] == 1.25
    assert about["voices"]["weights"] != about["faces"]["weights"]
    again = of_weights("voice_small", "face_small", weights["voice"], weights["face"], 1.25)
    assert again.about == frozen.about
    other = load_file(weights["voice"])
    other["fc.bias"][0] += 1e-3
    save_file(other, weights["voice"].with_name("other.safetensors"))
    changed = of_weights("voice_small", "face_small", weights["voice"].with_name("other.safetensors"), weights["face"])
    assert changed.about["voices"]["weights"] != frozen.about["voices"]["weights"]


def test_half_precision_rounds_each_value(features: Path, make_corpus, frozen: Frozen, tmp_path: Path):
    corpus = Corpus(make_corpus([("train", 1, 1)] * 2))
    extract(tmp_path / "whole", corpus, frozen, workers=0)
    extract(tmp_path / "half", corpus, frozen, "float16", workers=0)
    pairs = zip(Corpus(tmp_path / "whole").clips("train"), Corpus(tmp_path / "half").clips("train"), strict=True)
    for (_, _, whole), (_, _, half) in pairs:
        rounded = np.load(io.BytesIO(whole)).astype(np.float16)
        np.testing.assert_array_equal(np.load(io.BytesIO(half)), rounded)
        np.testing.assert_array_equal(cut_feature(half, 128, "float16"), rounded.astype(np.float32))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def in_child(out: Path, corpus: Path, frozen: Frozen, die_at: int | None, counter: Path) -> int:
    """Extract in a forked process that is killed just before its n-th touch of a file of OUT's; its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    touched = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal touched
        mine = event in ("open", "os.rename", "os.mkdir") and str(out) in str(arguments[0])
        if mine or event in ("os.remove", "os.rmdir"):
            touched += 1
            if touched == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        torch.set_num_threads(1)  # the parent's threads are not here
        sys.addaudithook(watch)
        extract(out, Corpus(corpus), frozen, workers=0)
        if die_at is None:
            counter.write_text(str(touched))
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)


@pytest.mark.parametrize("kills", [6, pytest.param(19, marks=pytest.mark.slow(reason="20 kills; the quick one has 7"))])
def test_killed_at_any_moment_it_goes_on_and_leaves_the_same_bytes(
    kills: int, make_corpus, frozen: Frozen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(voiceface.data.features.extract, "PIECE", 1)
    monkeypatch.setattr(voiceface.data.features.extract, "SHARD_BYTES", 6_000)
    corpus = make_corpus([("train", 2, 2), ("train", 1, 1), ("val", 1, 1), ("test", 1, 1)])
    counter = tmp_path / "moments"
    assert in_child(tmp_path / "whole", corpus, frozen, None, counter) == 0
    whole = files(tmp_path / "whole")
    assert "train/000001.tar" in whole
    assert not any(name.startswith(("pieces", "plan", "lock")) or name.endswith(".tmp") for name in whole)
    moments = int(counter.read_text())
    assert moments > 50
    for at in [*sorted(random.Random(7).sample(range(1, moments), kills)), moments]:
        out = tmp_path / f"out{at}"
        assert in_child(out, corpus, frozen, at, counter) == signal.SIGKILL
        if not out.exists():
            with pytest.raises(UserError, match=r"unfinished|no such folder"):
                Corpus(out)
        assert in_child(out, corpus, frozen, None, counter) == 0
        assert files(out) == whole, at
        # What was done is not done again: all of it, where only the last rename was missing.
        assert at < moments // 2 or int(counter.read_text()) < (moments if at < moments else moments // 3)
        assert not out.with_name(out.name + ".partial").exists()


def test_it_refuses_what_it_cannot_go_on_with(
    tones: Path, features: Path, frozen: Frozen, weights: dict[str, Path], tmp_path: Path
):
    before = files(features)
    assert extract(features, Corpus(tones), frozen, batch=4, workers=0).already_there
    assert files(features) == before
    with pytest.raises(UserError, match="batch is 4, not 5"):
        extract(features, Corpus(tones), frozen, batch=5, workers=0)
    with pytest.raises(UserError, match="holds features already"):
        extract(tmp_path / "out", Corpus(features), frozen, workers=0)
    wide = of_weights("voice_small", "face_small", weights["voice"], weights["face"], 1.5)
    with pytest.raises(UserError, match=r"margin 1.25, the face network is given 1.5; give --face-margin"):
        extract(tmp_path / "out", Corpus(tones), wide, workers=0)
    assert not list(tmp_path.iterdir())
    work = tmp_path / "out.partial"
    work.mkdir()
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another run is at work there"):
            extract(tmp_path / "out", Corpus(tones), frozen, workers=0)
    write_atomic(work / "plan.json", b"{}")
    with pytest.raises(UserError, match="unfinished work of another command"):
        extract(tmp_path / "out", Corpus(tones), frozen, workers=0)


def test_a_feature_that_is_not_finite_stops_it(make_corpus, weights: dict[str, Path], tmp_path: Path):
    broken = load_file(weights["face"])
    broken["fc.bias"][5] = float("nan")
    save_file(broken, tmp_path / "broken.safetensors")
    frozen = of_weights("voice_small", "face_small", weights["voice"], tmp_path / "broken.safetensors")
    with pytest.raises(UserError, match=r"p000/f00: its face feature holds a value that is no finite float32"):
        extract(tmp_path / "out", Corpus(make_corpus([("train", 1, 1)] * 2)), frozen, workers=0)


def test_batches_of_features_are_the_batches_of_the_clips(features: Path, tones: Path):
    options = {"people": 4, "voices": 2, "faces": 3, "seed": 5}
    loaders = [
        VoxVGGDataModule(str(root), workers=n, **options) for root, n in ((tones, 0), (features, 0), (features, 2))
    ]
    streams = [iter(module.train_dataloader()) for module in loaders]
    stored = {member.key: data for _, member, data in Corpus(features).clips("train")}
    for _ in range(4):
        clips, batch, by_workers = (next(stream) for stream in streams)
        for name in ("voice_keys", "face_keys", "voice_identity", "face_identity"):
            assert str(clips[name]) == str(batch[name]) == str(by_workers[name])
        for kind in ("voice", "face"):
            wanted = np.stack([np.load(io.BytesIO(stored[key])) for key in batch[f"{kind}_keys"]])
            np.testing.assert_array_equal(batch[f"{kind}s"].numpy(), wanted)
            assert torch.equal(batch[f"{kind}s"], by_workers[f"{kind}s"])
    for module in loaders:
        module.teardown("fit")


@pytest.mark.parametrize("recipe", METHODS)
def test_every_method_trains_its_head(recipe: str, features: Path):
    there = features_of(str(features))
    assert there is not None
    options = dict(word.removeprefix("--model.").split("=", 1) for word in widths(there))
    method = build(recipe, "paper", "features", **{name: json.loads(value) for name, value in options.items()})
    before = {name: value.clone() for name, value in method.named_parameters()}
    assert before
    assert not [name for name in before if "encoder" in name]
    data = VoxVGGDataModule(str(features), people=12, voices=1, faces=2, workers=0)
    run = trainer(2)
    run.fit(method, datamodule=data)
    assert run.global_step == 2
    assert any(not torch.equal(value, before[name]) for name, value in method.named_parameters() if name in before)


def fit(features: object, out: Path, *words: object) -> int:
    small = ["--data.people", 6, "--data.workers", 0, "--trainer.max_steps", 3, "--trainer.val_check_interval", 3]
    given = ["fit", "--model", "trinet", "--data", features, "--out", out, *small, *words]
    return main([*map(str, given), "--trainer.accelerator=cpu"])


def test_the_commands_from_weights_to_scores(
    tones: Path, weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, run = tmp_path / "features", tmp_path / "run"
    words = ["--voice-encoder", "voice_small", "--face-encoder", "face_small", "--workers", 1]
    words += ["--voice-weights", weights["voice"], "--face-weights", weights["face"]]
    assert main(["extract", str(out), "--data", str(tones), *map(str, words)]) == 0
    assert "voices: 128 dimensions, of voice_small" in capsys.readouterr().out
    assert main(["check", str(out), "--deep"]) == 0
    assert fit(out, run) == 0
    config = json.loads((run / "checkpoint" / "config.json").read_text())
    assert config["arguments"]["face_encoder"] == "face_features"
    assert config["parameters"] == 2 * 129 * 128
    results = json.loads((run / "results.json").read_text())
    checkpoint = str(run / "checkpoint")
    assert main(["test", checkpoint, "--data", str(out), "--out", str(tmp_path / "again.json"), "--workers", "0"]) == 0
    assert json.loads((tmp_path / "again.json").read_text())["scores"] == results["scores"]
    assert main(["embed", checkpoint, "--data", str(out), "--out", str(tmp_path / "e.npz"), "--workers", "0"]) == 0
    with np.load(tmp_path / "e.npz", allow_pickle=False) as arrays:
        assert arrays["voices"].shape == (30, 128)
        assert "voice_pitch" not in arrays
    capsys.readouterr()
    for command, message in (
        (["test", checkpoint, "--data", str(tones)], "holds voices, the model takes features of voice_small"),
        (["extract", str(tmp_path / "x"), "--checkpoint", checkpoint], "was trained on features"),
        (["extract", str(tmp_path / "x"), "--face-margin", "0"], "--face-margin 0.0: give a number above 0"),
    ):
        assert main([*command, "--workers", "0"]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert len(said.splitlines()) == 1
    whole = (out / "corpus.json").read_text()
    (out / "corpus.json").write_text(whole.replace('"dim": 128', '"dim": "all"'))
    assert fit(out, tmp_path / "other") == 2
    assert "corpus.json is damaged (its features)" in capsys.readouterr().err
    changed = json.loads(whole)
    changed["features"]["faces"]["weights"] = "0" * 64
    (out / "corpus.json").write_text(json.dumps(changed))
    assert main(["test", checkpoint, "--data", str(out), "--workers", "0"]) == 2
    assert "its faces are features with weights 000" in capsys.readouterr().err


def test_a_checkpoints_networks_are_those_it_was_trained_with(make_corpus, tmp_path: Path):
    method = build("trinet", "demo", face_margin=1.1).eval()
    save_checkpoint(method, tmp_path / "checkpoint", "trinet", {"corpus": "tones"})
    frozen = of_checkpoint(tmp_path / "checkpoint")
    assert frozen.about["faces"]["margin"] == 1.1
    assert frozen.about["voices"]["encoder"] == "voice_small"
    assert frozen.about["voices"]["checkpoint"]["recipe"] == "trinet"
    corpus = Corpus(make_corpus([("train", 2, 2)] * 2))
    extract(tmp_path / "out", corpus, frozen, workers=0)
    for _, member, data in Corpus(tmp_path / "out").clips("train"):
        if member.name.startswith("v"):
            raw = next(r for _, m, r in corpus.clips("train") if m.key == member.key)
            wave = torch.from_numpy(soundfile.read(io.BytesIO(raw), dtype="int16")[0])[None]
            with torch.inference_mode():
                wanted = method.embed_voice(wave)[0]
                found = method._head(method.voice_fc, torch.from_numpy(np.load(io.BytesIO(data)))[None])[0]
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--encoders", "common"], "--encoders common: .* holds features, which no network takes"),
        (["--data.flip", "true"], "--data.flip: does not apply to features"),
        (["--data.voice_seconds=3"], "--data.voice_seconds: does not apply to features"),
        (
            ["--model.face_encoder", "face_small", "--model.face_options=null"],
            "holds features of face_small, the model",
        ),
        (["--model.test_seconds", "2.5"], "--model.test_seconds 2.5: the features of .* are of whole voices"),
    ],
)
def test_wrong_use_of_features_is_refused_in_one_line(
    words: list[str], message: str, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert fit(features, tmp_path / "run", *words) == 2
    said = capsys.readouterr().err.splitlines()
    assert re.search(message, said[-1])
    assert not (tmp_path / "run").exists()


def test_features_are_wanted_where_there_are_none(tones: Path, weights: dict[str, Path], tmp_path: Path):
    with pytest.raises(UserError, match="holds voices and faces; give --data a corpus of features"):
        expand(["--model", "trinet", "--encoders", "features", "--data", str(tones)])
    with pytest.raises(UserError, match="--encoders features: the built-in corpus holds voices"):
        expand(["--model", "trinet", "--encoders", "features"])
    with pytest.raises(UserError, match="face_features: its width is missing"):
        face_encoder("face_features")
    for arguments, message in (
        (("voice_small", "face_small", None, weights["face"]), "--voice-weights is missing"),
        (("voice_small", None, weights["voice"], weights["face"]), "--face-encoder is missing"),
        (("voice_small", "face_small", weights["voice"], weights["voice"]), "--face-weights: .* does not fit"),
        (("voice_small", "face_small", weights["voice"], tmp_path / "none"), "--face-weights: no file"),
    ):
        with pytest.raises(UserError, match=message):
            of_weights(*arguments)


def test_the_encoders_of_features_give_them_back_and_refuse_the_rest():
    face, voice = face_encoder("face_features", dim=3), voice_encoder("voice_features", dim=4)
    assert not [*face.parameters(), *voice.parameters()]
    rows = torch.rand(2, 3)
    assert torch.equal(face(rows), rows)
    for network, wrong in ((face, rows.double()), (face, torch.rand(2, 4)), (voice, torch.zeros(2, 16_000).short())):
        with pytest.raises(ValueError, match="takes float32 features of shape"):
            network(wrong)


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(1, 40), st.sampled_from(["float32", "float16"]), st.data())
def test_a_stored_feature_is_an_npy_file_and_nothing_else_is_read(dim: int, dtype: str, data: st.DataObject):
    feature = np.random.default_rng(dim).standard_normal(dim).astype(dtype)
    stored = encode_feature(feature)
    np.testing.assert_array_equal(np.load(io.BytesIO(stored), allow_pickle=False), feature)
    found = cut_feature(stored, dim, dtype)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, feature.astype(np.float32))
    cut = data.draw(st.integers(0, len(stored) - 1))
    for wrong in (stored[:cut], stored + b"\0", pickle.dumps(feature)):
        with pytest.raises(ValueError, match=r"not an \.npy array"):
            cut_feature(wrong, dim, dtype)
    for other in ((dim + 1, dtype), (dim, "float16" if dtype == "float32" else "float32")):
        with pytest.raises(ValueError, match=r"not an \.npy array"):
            cut_feature(stored, *other)
    feature[data.draw(st.integers(0, dim - 1))] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        cut_feature(encode_feature(feature), dim, dtype)


def test_a_damaged_feature_is_named(features: Path, tmp_path: Path):
    objects = io.BytesIO()
    np.save(objects, np.array([{}], object), allow_pickle=True)
    root = damaged_copy(features, tmp_path / "copy", objects.getvalue()[:128])
    module = VoxVGGDataModule(str(root), workers=0, people=2)
    module.test_split = "train"
    with pytest.raises(UserError, match=r"train/000000.tar: voice p\d+/v\d+ is damaged \(not an .npy array of float32"):
        list(module.test_dataloader())
