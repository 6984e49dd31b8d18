"""From what Lightning writes to a checkpoint folder, and nothing of what else such a file can hold."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_support import Fixed, build, eight_people, met, trainer
from safetensors.torch import load_file

from voiceface.checkpoints.convert import convert
from voiceface.checkpoints.weights import load_checkpoint, read_config
from voiceface.cli import main
from voiceface.utils.errors import UserError


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real state of one step, of a method that has weights for training only."""
    path = tmp_path_factory.mktemp("run") / "last.ckpt"
    run = trainer(1)
    run.fit(build("drl"), datamodule=Fixed([eight_people(samples=16_000)]))
    run.save_checkpoint(path)
    return path


def edited(state: Path, out: Path, **changes: Any) -> Path:
    torch.save(torch.load(state, weights_only=True) | changes, out)
    return out


def test_a_state_becomes_a_checkpoint_with_the_same_weights(state: Path, tmp_path: Path):
    before = torch.load(state, weights_only=True)["state_dict"]
    convert(state, tmp_path / "c", "drl")
    stored = load_file(tmp_path / "c" / "model.safetensors")
    assert stored.keys() < before.keys(), "classifiers stay behind"
    assert all(torch.equal(tensor, before[name]) for name, tensor in stored.items())
    method = load_checkpoint(tmp_path / "c")
    assert method.state_dict().keys() == stored.keys()
    assert dict(method.hparams) == dict(met("drl").hparams)
    config = read_config(tmp_path / "c")
    assert (config["recipe"], config["name"], config["calibration"]) == ("drl", "drl", None)


def test_the_class_comes_from_the_option_or_the_run(state: Path, tmp_path: Path):
    path = edited(state, tmp_path / "last.ckpt", VoxVGGDataModule={"root": "1234", "people": 8})
    with pytest.raises(UserError, match=r"no config\.yaml beside it .*--model"):
        convert(path, tmp_path / "c")
    (tmp_path / "config.yaml").write_text("model:\n  class_path: voiceface.methods.drl.DRL\n")
    convert(path, tmp_path / "c")
    config = read_config(tmp_path / "c")
    assert (config["class"], config["recipe"]) == ("DRL", "")
    assert config["data"] == {"corpus": None, "version": "1234", "split": "train"}
    assert "`1234`" in (tmp_path / "c" / "README.md").read_text()
    for model, message in (
        ("os.system", "the module os has no class system"),
        ("drll", "neither a recipe nor the path of a class, did you mean drl"),
        ("voiceface.methods.os.system", r"there is no module voiceface\.methods\.os"),
        ("voiceface.methods.drl.Path", r"voiceface\.methods\.drl has no class Path"),
        ("voiceface.methods.drl", r"voiceface\.methods has no class drl"),
        ("trinet", "TriNet has no argument"),
    ):
        with pytest.raises(UserError, match=message):
            convert(path, tmp_path / "d", model)
    assert not (tmp_path / "d").exists()


class Harm:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def test_code_in_a_state_is_refused_and_does_not_run(state: Path, tmp_path: Path):
    trace = tmp_path / "ran"
    pickle.loads(pickle.dumps(Harm(trace)))
    assert trace.exists(), "the trap works"
    trace.rmdir()
    plain = tmp_path / "plain.ckpt"
    plain.write_bytes(pickle.dumps(Harm(trace)))
    for path in (edited(state, tmp_path / "a.ckpt", harm=Harm(trace)), plain):
        with pytest.raises(
            UserError, match="more than tensors and plain values, which could run code; nothing was run"
        ):
            convert(path, tmp_path / "c", "drl")
        assert not trace.exists()
        assert not (tmp_path / "c").exists()


def test_states_that_are_none_are_refused(state: Path, tmp_path: Path):
    torn = tmp_path / "torn.ckpt"
    torn.write_bytes(state.read_bytes()[:5_000])
    options = torch.load(state, weights_only=True)["hyper_parameters"]
    weights = torch.load(state, weights_only=True)["state_dict"]
    first = next(iter(weights))
    dense = next(name for name, one in weights.items() if one.ndim == 2 and name.startswith("face_encoder"))
    for path, message in (
        (tmp_path / "none.ckpt", "no such file"),
        (torn, "damaged"),
        (edited(state, tmp_path / "a", hyper_parameters=None), "not a state that Lightning wrote"),
        (edited(state, tmp_path / "b", state_dict={"x": 1}), "holds more than tensors"),
        (edited(state, tmp_path / "c", hyper_parameters=options | {"dim": torch.ones(1)}), "are not plain values"),
        (
            edited(state, tmp_path / "d", hyper_parameters=options | {"dims": 4}),
            "no argument 'dims', did you mean dim?",
        ),
        (edited(state, tmp_path / "e", state_dict={first: weights[first]}), "does not fit DRL: it lacks"),
        (edited(state, tmp_path / "g", state_dict=weights | {dense: weights[dense].to("meta")}), "no plain numbers"),
        (edited(state, tmp_path / "h", state_dict=weights | {dense: weights[dense].to_sparse()}), "no plain numbers"),
        (edited(state, tmp_path / "f", hyper_parameters=options | {"_instantiator": "x.y"}), ""),
    ):
        if message:
            with pytest.raises(UserError, match=message):
                convert(path, tmp_path / "out", "drl")
            assert not (tmp_path / "out").exists()
        else:
            convert(path, tmp_path / "out", "drl")


def test_the_words_of_the_command(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["convert", str(state), str(tmp_path / "c"), "--model", "drl", "--half"]) == 0
    assert capsys.readouterr().out == f"checkpoint: {tmp_path / 'c'}\n"
    assert read_config(tmp_path / "c")["dtype"] == "float16"


def test_nothing_is_written_over(state: Path, tmp_path: Path):
    (tmp_path / "README.md").write_text("mine")
    for out in (tmp_path, tmp_path / "README.md"):
        with pytest.raises(UserError, match="already exists; name another folder"):
            convert(state, out, "drl")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    convert(state, tmp_path / "empty", "drl")
    assert read_config(tmp_path / "empty")["recipe"] == "drl"
