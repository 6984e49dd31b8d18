"""The checkpoint folder: what is written is read back, and anything else is refused in one line before it is used."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from voiceface import __version__
from voiceface.checkpoints.card import card_of
from voiceface.checkpoints.config import NAME, check_arguments, check_version, compatible, default_name
from voiceface.checkpoints.weights import halve, load_checkpoint, read_config, read_training, save_checkpoint
from voiceface.methods.base import Method
from voiceface.methods.drl import DRL
from voiceface.methods.recipes import list_recipes
from voiceface.methods.svhf import SVHF
from voiceface.methods.trinet import TriNet
from voiceface.utils.errors import UserError

SMALL = {"face_encoder": "face_small", "voice_encoder": "voice_small"}
DATA = {"corpus": "synthetic", "version": "abc", "split": "train"}
CALIBRATION = {way: {"slope": 2.0, "intercept": 0.0, "error": None} for way in ("v2f", "f2v")}


@pytest.fixture(scope="module")
def method() -> TriNet:
    torch.manual_seed(0)
    return TriNet(**SMALL, freeze_voice=False, dim=16)


@pytest.fixture(scope="module")
def saved(method: TriNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "checkpoint"
    save_checkpoint(method, folder, "trinet", DATA, {"p1", "p2"}, {"steps": 5}, CALIBRATION)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "checkpoint"))


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit(config)
    (folder / "config.json").write_text(json.dumps(config))


def reweigh(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Other weights with a hash that is right."""
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    content = save(tensors)
    (folder / "model.safetensors").write_bytes(content)
    change(folder, lambda c: c.update(sha256=hashlib.sha256(content).hexdigest()))


def test_what_is_written_is_read_back(method: TriNet, saved: Path):
    config = read_config(saved)
    assert config["name"] == "trinet-synthetic"
    assert config["requires"] == compatible(__version__)
    assert config["encoders"]["face"] == {
        "name": "face_small",
        "size": method.face_encoder.size,
        "margin": 1.0,
        "dim": method.face_encoder.dim,
        "parameters": sum(p.numel() for p in method.face_encoder.parameters()),
    }
    assert config["encoders"]["voice"]["sample_rate"] == 16_000
    assert (config["space"], config["directions"], config["dtype"]) == ("cosine", ["v2f", "f2v"], "float32")
    again = load_checkpoint(saved)
    assert not again.training
    assert again.calibration == CALIBRATION
    assert again.training_identities == {"p1", "p2"}
    assert again.training_data == DATA
    for name, tensor in method.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_half_precision_is_half_the_bytes_and_loads_as_float32(saved: Path, method: TriNet, tmp_path: Path):
    out = tmp_path / "half"
    halve(saved, out)
    config, whole = read_config(out), read_config(saved)
    content = (out / "model.safetensors").read_bytes()
    assert config["sha256"] == hashlib.sha256(content).hexdigest() != whole["sha256"]
    assert len(content) < 0.52 * (saved / "model.safetensors").stat().st_size
    same = ("recipe", "name", "data", "arguments", "encoders", "calibration")
    assert [config[key] for key in same] == [whole[key] for key in same]
    assert (config["dtype"], read_training(out)) == ("float16", {"steps": 5})
    again = load_checkpoint(out)
    assert again.training_identities == {"p1", "p2"}
    for name, tensor in method.state_dict().items():
        found = again.state_dict()[name]
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor.half().float() if tensor.is_floating_point() else tensor), name
    with pytest.raises(UserError, match="the same folder"):
        halve(saved, saved / ".." / "checkpoint")


def test_a_weight_too_large_for_half_precision_is_refused(tmp_path: Path):
    method = TriNet(**SMALL, freeze_voice=False, dim=16)
    with torch.no_grad():
        method.face_fc.weight[0, 0] = 1e6
    with pytest.raises(UserError, match=r"^face_fc\.weight: a weight over 65,504, too large for float16"):
        save_checkpoint(method, tmp_path / "c", "trinet", DATA, dtype="float16")
    assert not (tmp_path / "c").exists()


CONFIGS = {
    "unknown key": (lambda c: c.update(colour=1), "unknown key colour"),
    "misspelt key": (lambda c: c.update(recipes=1), "unknown key recipes, did you mean recipe?"),
    "missing key": (lambda c: c.pop("requires"), "requires is missing"),
    "wrong type": (lambda c: c.update(parameters="many"), 'parameters cannot be "many"'),
    "a bool is no number": (lambda c: c.update(parameters=True), "parameters cannot be true"),
    "another schema": (lambda c: c.update(schema=3), "checkpoint schema 3, this version reads 1 and 2; update"),
    "a schema that is none": (lambda c: c.update(schema=True), "checkpoint schema True"),
    "nested unknown": (lambda c: c["encoders"]["face"].update(x=1), "unknown key encoders.face.x"),
    "nested missing": (lambda c: c["encoders"]["voice"].pop("dim"), "encoders.voice.dim is missing"),
    "calibration": (lambda c: c["calibration"]["v2f"].pop("slope"), "calibration.v2f.slope is missing"),
    "no number": (lambda c: c["calibration"]["v2f"].update(slope=10**400), "calibration.v2f.slope cannot be 1000"),
    "direction": (lambda c: c["calibration"].update(up={}), "its calibration holds 'up'"),
    "no directions": (lambda c: c.update(directions=[]), r"its directions are \[\]"),
    "dtype": (lambda c: c.update(dtype="int8"), "its dtype is 'int8'"),
    "name": (lambda c: c.update(name="../up"), "its name '../up' is none"),
    "no version": (lambda c: c.update(voiceface="new"), "its voiceface 'new' is no version"),
    "hash": (lambda c: c.update(sha256="x"), "its sha256 is none"),
    "range": (lambda c: c.update(requires="new"), "its requires 'new' is no range"),
    "other versions": (
        lambda c: c.update(requires=">=7.1,<7.2"),
        f"made for voiceface >=7.1,<7.2, this is {__version__}",
    ),
    "wrong hash": (lambda c: c.update(sha256="0" * 64), "damaged"),
    "foreign module": (
        lambda c: c.update(method="os"),
        r"needs the class os\.TriNet, and no checkpoint chooses what is imported",
    ),
    "path": (lambda c: c.update(method="../x"), r"its method '\.\./x' is none"),
    "a function": (lambda c: c.update({"class": "rows"}), "the class 'rows' is no method of voiceface.methods.trinet"),
    "another class": (lambda c: c.update({"class": "Method"}), "the class 'Method' is no method of"),
    "argument": (lambda c: c["arguments"].update(margins=1), "no argument 'margins', did you mean margin?"),
    "argument's type": (lambda c: c["arguments"].update(dim="16"), 'the argument dim of TriNet cannot be "16"'),
    "object": (lambda c: c["arguments"].update(margin={"class_path": "os.system"}), "margin of TriNet cannot be"),
    "encoder": (
        lambda c: c["arguments"].update(face_encoder="os.path"),
        r"face encoder os\.path: a class of your own is imported only where you name it",
    ),
    "size": (lambda c: c["arguments"].update(dim=-1), "cannot be built from its arguments"),
    "contract": (lambda c: c["encoders"]["face"].update(size=7), "config.json says encoders"),
    "space": (lambda c: c.update(space="euclidean"), 'says space "euclidean", but its arguments make "cosine"'),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_was_not_written_so_is_refused(folder: Path, name: str):
    edit, message = CONFIGS[name]
    change(folder, edit)
    with pytest.raises(UserError, match=message) as refused:
        load_checkpoint(folder)
    assert len(str(refused.value).splitlines()) == 1
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"schema": NaN}', b"\xff\xfe", b"[" * 100_000, b'"' + b"x" * 2**20 + b'"', pickle.dumps({})],
)
def test_a_config_that_is_no_json_object_is_refused(folder: Path, content: bytes):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json: (not readable as JSON|no object|over 1 MiB)"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("face_fc.bias"), "it lacks 1 tensors, such as face_fc.bias"),
        (lambda t: t.update(more=torch.zeros(1)), "it has 1 unknown tensors, such as more"),
        (lambda t: t.update({"face_fc.bias": torch.zeros(17)}), r"face_fc.bias has shape \(17,\)"),
        (lambda t: t.update({"face_fc.bias": torch.zeros(16).half()}), "face_fc.bias is of float16, not float32"),
        (lambda t: t.update({"face_fc.bias": torch.zeros(16).double()}), "face_fc.bias is of float64, not float32"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder: Path, edit: Any, message: str):
    reweigh(folder, edit)
    with pytest.raises(UserError, match=message):
        load_checkpoint(folder)


def test_weights_that_are_no_safetensors_are_refused(folder: Path, tmp_path: Path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 9_999]}}).encode()
    for content in (
        b"",
        pickle.dumps({"a": 1}),
        (2**63).to_bytes(8, "little"),
        len(header).to_bytes(8, "little") + header,
    ):
        (folder / "model.safetensors").write_bytes(content)
        change(folder, lambda c, content=content: c.update(sha256=hashlib.sha256(content).hexdigest()))
        with pytest.raises(UserError, match="is not a safetensors file"):
            load_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        load_checkpoint(folder)
    with pytest.raises(UserError, match="not a checkpoint folder"):
        load_checkpoint(tmp_path / "none")


def test_loading_opens_no_file_that_the_arguments_name(tmp_path: Path):
    """Weights that training started from may be gone, or lead anywhere."""
    method = TriNet(**SMALL, freeze_voice=True, face_weights="/nowhere/face.safetensors", voice_weights=str(tmp_path))
    save_checkpoint(method, tmp_path / "c", "trinet", DATA)
    again = load_checkpoint(tmp_path / "c")
    assert again.hparams["face_weights"] == "/nowhere/face.safetensors"
    assert again.hparams["voice_weights"] == str(tmp_path)


def test_a_checkpoint_of_schema_1_is_still_read(folder: Path):
    new = ("requires", "name", "encoders", "space", "directions", "dtype", "calibration")
    change(folder, lambda c: [c.update(schema=1), *(c.pop(key) for key in new)])
    config = read_config(folder)
    assert (config["name"], config["requires"], config["calibration"]) == ("trinet-synthetic", None, None)
    method = load_checkpoint(folder)
    assert method.calibration is None
    halve(folder, folder.parent / "half")
    assert read_config(folder.parent / "half")["schema"] == 2
    change(folder, lambda c: c.update(colour=1))
    with pytest.raises(UserError, match="unknown key colour"):
        load_checkpoint(folder)


def test_what_only_training_needs_is_not_written(tmp_path: Path):
    method = DRL(**SMALL, common=16)
    method.build_training_heads([{}] * 7)
    save_checkpoint(method, tmp_path / "c", "drl", DATA)
    assert load_checkpoint(tmp_path / "c").state_dict().keys() == DRL(**SMALL, common=16).state_dict().keys()


def test_a_users_own_method_has_a_checkpoint_and_a_card_but_is_not_built(folder: Path):
    change(folder, lambda c: c.update(method="mine.models.own"))
    assert read_config(folder)["method"] == "mine.models.own"
    assert "| paper | none named |" in card_of(folder)
    with pytest.raises(
        UserError, match=r"needs the class mine\.models\.own\.TriNet, .* give --model mine\.models\.own"
    ):
        load_checkpoint(folder)


def test_ranges_of_versions_and_names():
    assert compatible("0.1.0") == ">=0.1,<0.2"
    assert compatible("1.12.3rc1") == ">=1.12,<1.13"
    assert compatible("1") == ">=1.0,<1.1"
    check_version(Path(), {"requires": compatible(__version__)})
    assert default_name("trinet_s1", "synthetic") == "trinet_s1-synthetic"
    assert default_name("kim", "Voices of a Village!") == "kim-voices-of-a-village"
    assert default_name("", "") == "checkpoint"
    for recipe in list_recipes():
        assert NAME.fullmatch(default_name(recipe, "../../etc"))
    assert not any(NAME.fullmatch(name) for name in ("", "../a", "a/b", "A", "a..b", "-a", "a-", ".a", "a\n"))


def test_arguments_are_of_the_annotated_types():
    def refused(owner: type[Method], **arguments: Any) -> str:
        with pytest.raises(UserError) as error:
            check_arguments("here", owner, arguments)
        return str(error.value)

    check_arguments("here", SVHF, {"hidden": [8, 4], "rate": 1, "direction": "f2v", "face_options": {"a": [1]}})
    check_arguments("here", TriNet, {"milestones": [1, 2], "face_weights": None})
    assert "hidden of SVHF cannot be [8]" in refused(SVHF, hidden=[8])
    assert "direction of SVHF" in refused(SVHF, direction="both")
    assert "milestones of TriNet" in refused(TriNet, milestones="12")
    assert "freeze_face of TriNet" in refused(TriNet, freeze_face=1)
    assert "dim of TriNet cannot be 1.5" in refused(TriNet, dim=1.5)
