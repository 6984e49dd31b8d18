"""YAML that somebody else made, and training states that are converted."""

from pathlib import Path

import pytest
import torch
from safety_support import Evil, nested, nothing_ran, payload, refused, watched

import voiceface.training.fit  # noqa: F401  # before the watch: what it imports makes folders of its own
from voiceface.checkpoints.convert import convert
from voiceface.cli import main
from voiceface.methods.trinet import TriNet

SMALL = {"face_encoder": "face_small", "voice_encoder": "voice_small", "freeze_voice": False, "dim": 4}
TAGS = [
    "!!python/object/apply:os.system ['touch {canary}']",
    "!!python/object/apply:subprocess.check_output [['touch', '{canary}']]",
    "!!python/object/new:os.system ['touch {canary}']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object/apply:builtins.exec [\"open('{canary}', 'w')\"]",
]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("place", ["model.init_args.dim", "seed_everything", "whole"])
def test_tags_of_python_run_nothing(tmp_path: Path, tag: str, place: str, capfd: pytest.CaptureFixture[str]):
    tag = tag.format(canary=tmp_path / "canary")
    texts = {
        "whole": tag,
        "seed_everything": f"seed_everything: {tag}\n",
        "model.init_args.dim": f"model:\n  class_path: voiceface.methods.trinet.TriNet\n  init_args:\n    dim: {tag}\n",
    }
    path = tmp_path / "config.yaml"
    path.write_text(texts[place])
    with watched() as watch:
        status = main(["fit", "--config", str(path), "--out", str(tmp_path / "run")])
    assert status == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    nothing_ran(watch, tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "path", ["os.system", "subprocess.Popen", "builtins.exec", "torch.nn.Linear", "evil_module.Evil"]
)
def test_a_method_is_a_method(tmp_path: Path, path: str, capfd: pytest.CaptureFixture[str]):
    """Another class is refused before it is built. Its module is imported, as the documentation says of `--config`."""
    config = tmp_path / "config.yaml"
    config.write_text(f"model:\n  class_path: {path}\n  init_args:\n    args: touch {tmp_path / 'canary'}\n")
    with watched() as watch:
        status = main(["fit", "--config", str(config), "--out", str(tmp_path / "run")])
    assert status == 2
    assert len(capfd.readouterr().err.splitlines()) == 1
    nothing_ran(watch, tmp_path)


def state(**more: object) -> dict[str, object]:
    torch.manual_seed(0)
    return {"state_dict": TriNet(**SMALL).state_dict(), "hyper_parameters": dict(SMALL), **more}


def test_a_converted_state_runs_nothing(tmp_path: Path):
    out, ckpt = tmp_path / "out", tmp_path / "last.ckpt"
    torch.save(state(), ckpt)
    convert(ckpt, out, "voiceface.methods.trinet.TriNet")
    (out / "config.json").rename(tmp_path / "sound.json")
    evil = [
        state(callbacks=Evil(tmp_path)),
        state(hyper_parameters={**SMALL, "dim": Evil(tmp_path)}),
        state(state_dict={"a": Evil(tmp_path)}),
        Evil(tmp_path),
    ]
    for number, content in enumerate(evil):
        for new in (True, False):
            torch.save(content, ckpt, _use_new_zipfile_serialization=new)
            line = refused(tmp_path, lambda: convert(ckpt, tmp_path / "other", "trinet"))
            assert str(ckpt) in line, number
            assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "lie",
    [
        {"_instantiator": "evil_module.build", "dim": "os"},
        {"_class_path": "os.system", "evil": 1},
        {"face_encoder": "../evil"},
        {"dim": 10**15},
        {"dim": float("nan")},
        {"dim": torch.zeros(1)},
        {1: 2},
    ],
    ids=str,
)
def test_hyper_parameters_of_a_converted_state_are_plain_and_known(tmp_path: Path, lie, monkeypatch):
    (tmp_path / "evil_module.py").write_text(payload(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    ckpt = tmp_path / "last.ckpt"
    torch.save(state(hyper_parameters={**SMALL, **lie}), ckpt)
    refused(tmp_path, lambda: convert(ckpt, tmp_path / "out", "voiceface.methods.trinet.TriNet"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text",
    [
        "model: {class_path: os.system}",
        "model: {class_path: voiceface.methods.trinet.torch}",
        "model: {class_path: voiceface.methods.os.system}",
        "model: {class_path: voiceface.methods.trinet.nn.Linear}",
        "model: {class_path: voiceface.methods...evil_module.Evil}",
        "model: {class_path: [1]}",
        "model: !!python/object/apply:os.system ['touch canary']",
        "!!python/name:os.system",
        "- 1",
        "",
        "\x00",
        nested()[:4_000],
        "a: &a [x, x]\nb: &b [*a, *a]\nmodel: {class_path: *b}",
    ],
    ids=lambda text: text[:40],
)
def test_the_config_beside_a_converted_state_names_methods_alone(tmp_path: Path, text: str, monkeypatch):
    (tmp_path / "evil_module.py").write_text(payload(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    ckpt = tmp_path / "last.ckpt"
    torch.save(state(), ckpt)
    (tmp_path / "config.yaml").write_text(text)
    refused(tmp_path, lambda: convert(ckpt, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
