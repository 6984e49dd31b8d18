"""Checkpoints of classes of other packages: built where the user named or installed the class, imported by no file."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from own_package import METHOD, VOICE, install, write_package
from safety_support import canary, payload, refused

import voiceface
import voiceface.training.fit  # before the watch: what it imports makes folders of its own
from voiceface.checkpoints.card import card_of
from voiceface.checkpoints.config import read_config
from voiceface.checkpoints.convert import convert
from voiceface.checkpoints.weights import load_checkpoint, save_checkpoint
from voiceface.checkpoints.wheel import write_source
from voiceface.cli import main
from voiceface.methods.own import import_named, own_method
from voiceface.methods.trinet import TriNet
from voiceface.training.arguments import expand
from voiceface.utils import own_classes
from voiceface.utils.errors import UserError

MODULES = ("my_package", "my_voice", "evil_module")
DATA = {"corpus": "synthetic", "version": "abc", "split": "train"}
SMALL = {"face_encoder": "face_small", "voice_encoder": "voice_small"}


def forget() -> None:
    """As in a new process: nothing is imported, nothing named."""
    for name in MODULES:
        sys.modules.pop(name, None)
    own_classes._named.clear()
    importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with the page's package, of which nothing is imported."""
    forget()
    monkeypatch.syspath_prepend(write_package(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "site"
    forget()


def saved(folder: Path, **arguments: object) -> Path:
    """A checkpoint of the page's method, and then nothing imported."""
    import_named(VOICE)
    method = own_method(METHOD)
    assert method is not None
    torch.manual_seed(0)
    save_checkpoint(method(**{**SMALL, "dim": 8, **arguments}), folder, "mymethod", DATA)
    forget()
    return folder


def test_it_is_refused_until_the_user_names_the_class(site: Path, tmp_path: Path):
    folder = saved(tmp_path / "c")
    line = refused(tmp_path, lambda: load_checkpoint(folder))
    assert line.startswith(f"{folder}: needs the class {METHOD}, and no checkpoint chooses")
    assert f"--model {METHOD}" in line
    assert "my_package" not in sys.modules
    import_named(METHOD)
    assert type(load_checkpoint(folder)).__module__ == "my_package"
    forget()
    import my_package

    assert type(load_checkpoint(folder)) is my_package.MyMethod, "the program has imported it already"


def test_a_class_that_has_moved_is_passed_from_python(site: Path, tmp_path: Path):
    folder = saved(tmp_path / "c")
    (site / "my_package.py").rename(site / "evil_module.py")
    moved = importlib.import_module("evil_module").MyMethod
    with pytest.raises(UserError, match="needs the class"):
        voiceface.load(folder)
    model = voiceface.load(folder, method=moved)
    assert type(model.method) is moved
    assert model.method.hparams["dim"] == 8
    forget()
    with pytest.raises(UserError, match="needs the class"):
        voiceface.load(folder, method=TriNet)


def test_an_entry_point_is_trusted_named_and_listed(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    folder, plain = tmp_path / "c", saved(tmp_path / "plain")
    assert read_config(plain)["distributions"] == {}
    assert "code of its own that no distribution has" in card_of(plain)
    import_named(METHOD)
    with pytest.raises(UserError, match="needs a class of no installed package"):
        write_source(plain, tmp_path / "zoo")
    forget()
    install(site)
    saved(folder, voice_encoder="my_voice")
    assert read_config(folder)["distributions"] == {"my-package": "0.1"}
    assert "| method | `my_package.MyMethod`; needs `my-package` 0.1 |" in card_of(folder)
    method = load_checkpoint(folder)
    assert (type(method).__name__, type(method.voice_encoder).__name__) == ("MyMethod", "MyVoice")
    assert load_checkpoint(plain).eval()
    project = write_source(folder, tmp_path / "zoo")
    assert '", "my-package>=0.1"]' in (project / "pyproject.toml").read_text()
    forget()
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "Methods of other packages (--model NAME)\n mymethod  my_package.MyMethod, my-package 0.1\n" in listed
    assert " my_voice  my_voice.MyVoice, my-package 0.1\n" in listed
    assert "my_package" not in sys.modules
    words, chosen = expand(["--model", "mymethod"])
    assert (words[1], chosen.recipe) == (f"--model={METHOD}", "mymethod")


def test_an_own_encoder_of_one_of_our_methods_follows_the_same_rule(site: Path, tmp_path: Path):
    import_named(VOICE)
    method = TriNet("face_small", VOICE, freeze_voice=False, dim=8, voice_options={"filters": 4})
    voices = torch.randint(-3000, 3000, (2, 4000)).short()
    lengths = torch.tensor([4000, 2500])
    voices[1, 2500:] = 0
    method.eval()
    torch.testing.assert_close(method.embed_voice(voices, lengths)[1:], method.embed_voice(voices[1:, :2500]))
    save_checkpoint(method, tmp_path / "c", "trinet", DATA)
    assert read_config(tmp_path / "c")["encoders"]["voice"]["name"] == VOICE
    forget()
    line = refused(tmp_path, lambda: load_checkpoint(tmp_path / "c"))
    assert f"give --model {VOICE}, or in Python `import my_voice`" in line
    import_named(VOICE)
    assert load_checkpoint(tmp_path / "c").voice_encoder.dim == 8
    with pytest.raises(UserError, match=rf"face encoder {VOICE}: is no subclass of voiceface\.encoders\.FaceEncoder"):
        TriNet(VOICE, "voice_small", freeze_voice=False)


@pytest.mark.parametrize(
    "lie",
    [{"method": "evil_module"}, {"voice_encoder": "evil_module.TriNet"}, {"distributions": {"evil; x": "1"}}],
    ids=str,
)
def test_no_checkpoint_imports_what_lies_on_the_path(site: Path, tmp_path: Path, lie: dict[str, object]):
    (site / "evil_module.py").write_text(payload(tmp_path))
    method = TriNet("face_small", "voice_small", freeze_voice=False, dim=8)
    save_checkpoint(method, tmp_path / "c", "trinet", DATA)
    path = tmp_path / "c" / "config.json"
    config = json.loads(path.read_text())
    assert "distributions" not in config, "a checkpoint of voiceface's own classes is as ever"
    (config["arguments"] if "voice_encoder" in lie else config).update(lie)
    path.write_text(json.dumps(config))
    assert str(tmp_path / "c") in refused(tmp_path, lambda: load_checkpoint(tmp_path / "c"))
    with pytest.raises(UserError):
        import_named("evil_module.TriNet")
    assert canary(tmp_path).exists(), "an import would have been seen"


def test_a_run_is_converted_where_the_class_is_named(site: Path, tmp_path: Path):
    method = own_method(METHOD)
    assert method is not None
    built = method(**SMALL, dim=8)
    torch.save({"state_dict": built.state_dict(), "hyper_parameters": dict(built.hparams)}, tmp_path / "last.ckpt")
    (tmp_path / "config.yaml").write_text(f"model:\n  class_path: {METHOD}\n")
    forget()
    with pytest.raises(UserError, match=f"needs the class {METHOD}"):
        convert(tmp_path / "last.ckpt", tmp_path / "c")
    assert "my_package" not in sys.modules
    convert(tmp_path / "last.ckpt", tmp_path / "c", METHOD)
    assert load_checkpoint(tmp_path / "c").hparams["dim"] == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./my.yaml", r"^--model \./my\.yaml: a file; .* --config takes a file of settings$"),
        ("my.yaml", "a file"),
        ("my_packge.MyMethod", "there is no module my_packge; install its package, or work in the folder"),
        ("my_package.inner.MyMethod", r"there is no module my_package\.inner"),
        ("my_package.MyMetod", "the module my_package has no class MyMetod, did you mean MyMethod"),
        ("my_package.torch", "has no class torch"),
        (VOICE, r"must be a subclass of voiceface\.methods\.Method$"),
        ("my_package.", "not the path of a class"),
        ("evil_module.A", r"importing evil_module fails with ZeroDivisionError: .* in .*evil_module\.py, line 2"),
    ],
)
def test_a_wrong_path_is_told_in_one_line(site: Path, name: str, message: str):
    (site / "evil_module.py").write_text("\n1 / 0\n")
    with pytest.raises(UserError, match=message) as caught:
        expand(["--model", name])
    assert len(str(caught.value).splitlines()) == 1
