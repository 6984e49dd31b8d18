"""Checkpoint folders that somebody else made: one class of ours is built from plain values, and tensors are read."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_support import change_config, save
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as as_safetensors
from safety_support import canary, lying_headers, nested, nothing_ran, payload, refused, watched

import voiceface
import voiceface.training.fit  # before the watch: what it imports makes folders of its own
from voiceface.checkpoints.weights import load_checkpoint, read_training
from voiceface.checkpoints.wheel import pack, write_source
from voiceface.compare.reading import find_results
from voiceface.encoders.weights import load_into

SECRET = "/etc/passwd"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path / "checkpoint")


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def weights(folder: Path, content: bytes) -> None:
    """Put other weights in, with the sha256 that goes with them."""
    (folder / "model.safetensors").write_bytes(content)
    change_config(folder, sha256=hashlib.sha256(content).hexdigest())


def test_a_sound_one_loads_and_opens_only_its_own_files(folder: Path, tmp_path: Path):
    for name in ("__init__.py", "modeling.py", "trinet.py", "setup.py", "conftest.py", "sitecustomize.py"):
        (folder / name).write_text(payload(tmp_path))
    for name in ("pytorch_model.bin", "model.pt", "last.ckpt"):
        (folder / name).write_bytes(b"cos\nsystem\n(S'touch " + str(canary(tmp_path)).encode() + b"'\ntR.")
    voiceface.load(folder)
    with watched() as watch:
        model = voiceface.load(folder)
    nothing_ran(watch, tmp_path)
    assert watch.written == []
    mine = {Path(path).name for path in watch.opened if path.startswith(str(folder))}
    assert mine <= {"config.json", "model.safetensors", "identities.txt", "training.json"}
    assert type(model.method).__module__ == "voiceface.methods.trinet"


@pytest.mark.parametrize(
    "lie",
    [
        {"method": "os"},
        {"method": "os.path"},
        {"method": "../../../evil"},
        {"method": "__init__"},
        {"method": ".trinet"},
        {"method": "voiceface.methods.trinet"},
        {"method": ["trinet"]},
        {"method": None},
        {"class": "torch"},
        {"class": "Method"},
        {"class": "triplet_loss"},
        {"class": "middle"},
        {"class": "Any"},
        {"class": "TriNet.__init__"},
        {"class": "__builtins__"},
        {"class": "__loader__"},
        {"class": ["TriNet"]},
        {"class": {"__reduce__": ["os.system", "touch canary"]}},
        {"__reduce__": ["os.system", ["touch canary"]]},
        {"class_path": "os.system"},
        {"auto_map": {"AutoModel": "modeling.Evil"}},
        {"_instantiator": "evil_module.build"},
        {"arguments": {"__class__": "os.system"}},
        {"arguments": {"class_path": "subprocess.Popen", "init_args": {"args": "touch canary"}}},
        {"arguments": {"self": 1}},
        {"arguments": {"face_encoder": "os"}},
        {"arguments": {"face_encoder": "../face_small"}},
        {"arguments": {"face_encoder": "voice_small"}},
        {"arguments": {"face_encoder": {"class_path": "os.system"}}},
        {"arguments": {"voice_options": {"__import__": "os"}}},
        {"arguments": {"dim": "__import__('os').system('touch canary')"}},
        {"arguments": {"dim": -1}},
        {"arguments": {"dim": 0.5}},
        {"arguments": {"dim": 10**15}},
        {"arguments": {"dim": 10**30}},
        {"arguments": []},
        {"arguments": None},
        {"data": "synthetic"},
        {"sha256": 1},
        {"schema": True},
        {"schema": 10**400},
        {"schema": "2"},
        {"voiceface": ["9"]},
    ],
    ids=json.dumps,
)
def test_no_config_leads_out_of_the_package(folder: Path, tmp_path: Path, lie: dict[str, Any], monkeypatch):
    (tmp_path / "evil_module.py").write_text(payload(tmp_path))
    (tmp_path / "modeling.py").write_text(payload(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = config_of(folder)
    if isinstance(lie.get("arguments"), dict):
        lie = {"arguments": {**config["arguments"], **lie["arguments"]}}
    change_config(folder, **lie)
    line = refused(tmp_path, lambda: load_checkpoint(folder))
    assert str(folder) in line
    assert "class" not in lie or "class" in line  # and not for what its constructor takes


@pytest.mark.parametrize(
    "name", ["timm/hf-hub:evil/model", "timm/hf_hub:evil/model", "timm/local-dir:/etc", "timm/../x"]
)
def test_no_network_comes_from_elsewhere(folder: Path, tmp_path: Path, name: str):
    import timm  # noqa: F401

    change_config(folder, arguments={**config_of(folder)["arguments"], "face_encoder": name})
    assert str(folder) in refused(tmp_path, lambda: load_checkpoint(folder))


def test_files_that_arguments_name_are_not_opened(folder: Path, tmp_path: Path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(as_safetensors({"a": torch.zeros(1)}))
    for path in (SECRET, str(other), str(tmp_path / "missing"), "/dev/zero", "https://127.0.0.1:9/x", "../../x"):
        arguments = {**config_of(folder)["arguments"], "face_weights": path, "voice_weights": path}
        change_config(folder, arguments=arguments)
        with watched() as watch:
            load_checkpoint(folder)
        nothing_ran(watch, tmp_path)
        assert path not in watch.opened


TEXTS = {
    "nesting": nested,
    "nesting inside": lambda: '{"schema": 2, "arguments": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}",
    "20 MB": lambda: '{"schema": 2, "data": "' + "x" * 20_000_000 + '"}',
    "empty": str,
    "null": lambda: "null",
    "list": lambda: "[1]",
    "pickle": lambda: "\x80\x04cos\nsystem\n.",
    "yaml": lambda: "!!python/object/apply:os.system ['touch canary']",
    "not UTF-8": lambda: b"\xff\xfe{",
    "a number of a million digits": lambda: '{"schema": ' + "9" * 1_000_000 + "}",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_config_that_is_none_is_refused(folder: Path, tmp_path: Path, text: Callable[[], str | bytes]):
    content = text()
    (folder / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "config.json" in refused(tmp_path, lambda: load_checkpoint(folder))


def test_numbers_that_are_none_and_keys_that_stand_twice_are_refused(folder: Path, tmp_path: Path):
    text = (folder / "config.json").read_text()
    for word in ("NaN", "Infinity", "-Infinity", "1e999"):
        (folder / "config.json").write_text(text.replace('"parameters":', f'"extra": {word}, "parameters":', 1))
        assert word in refused(tmp_path, lambda: load_checkpoint(folder))
    (folder / "config.json").write_text(text.replace('"method":', '"method": "os", "method":', 1))
    assert "twice" in refused(tmp_path, lambda: load_checkpoint(folder))


@pytest.mark.parametrize("lie", lying_headers())
def test_headers_that_lie_are_refused(folder: Path, tmp_path: Path, lie: str):
    content = lying_headers()[lie]
    weights(folder, content)
    assert "model.safetensors" in refused(tmp_path, lambda: load_checkpoint(folder))
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    assert "w.safetensors" in refused(tmp_path, lambda: load_into(torch.nn.Linear(2, 2), path, "--w"))


def test_a_header_of_100_mb_is_refused(folder: Path, tmp_path: Path):
    weights(folder, (100_000_001).to_bytes(8, "little") + b" " * 100_000_001)
    assert "header too large" in refused(tmp_path, lambda: load_checkpoint(folder))


def test_other_tensors_are_refused(folder: Path, tmp_path: Path):
    right = from_safetensors((folder / "model.safetensors").read_bytes())
    first = min(name for name, tensor in right.items() if tensor.ndim > 1)
    lies = [
        {**right, "evil": torch.zeros(1)},
        {name: tensor for name, tensor in right.items() if name != first},
        {**right, first: right[first].flatten()},
        {**right, first: right[first].double()},
        {**right, first: torch.zeros(right[first].shape, dtype=torch.int32)},
    ]
    for lie in lies:
        weights(folder, as_safetensors(lie))
        refused(tmp_path, lambda: load_checkpoint(folder))
    (folder / "model.safetensors").write_bytes(as_safetensors(right))
    assert "damaged" in refused(tmp_path, lambda: load_checkpoint(folder)), "its sha256 is still another's"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_is_no_file_is_refused(folder: Path, tmp_path: Path, name: str):
    (folder / name).rename(tmp_path / name)
    (folder / name).mkdir()
    assert str(folder) in refused(tmp_path, lambda: load_checkpoint(folder))


@pytest.mark.parametrize("file", ["../e.npz", "/etc/passwd", "..", "a/../../e.npz", "e.npz\n", "results.json", ""])
def test_a_result_names_no_file_elsewhere(tmp_path: Path, file: str):
    golden = next((Path(__file__).parents[1] / "golden/results").rglob("*.json"))
    content = json.loads(golden.read_text())
    content["effects"] = {"file": file, "sha256": "0" * 64}
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "results.json").write_text(json.dumps(content))
    (tmp_path / "e.npz").write_bytes(b"x")
    with watched() as watch:
        line = refused(tmp_path, lambda: find_results([inside]))
    assert "results.json" in line
    assert SECRET not in watch.opened
    assert not any(path.endswith("e.npz") for path in watch.opened)


def test_files_beside_that_are_broken_are_refused(folder: Path, tmp_path: Path):
    (folder / "identities.txt").write_bytes(b"\xff\xfe\x00\x80")
    assert "identities.txt" in refused(tmp_path, lambda: load_checkpoint(folder))
    (folder / "training.json").write_text(nested())
    assert "training.json" in refused(tmp_path, lambda: read_training(folder))


@pytest.mark.parametrize(
    "front", ["license: &a [x, x]", "license: !!python/name:os.system", "license: {a: 1}", nested()[:4_000]]
)
def test_a_card_is_no_program(folder: Path, tmp_path: Path, front: str):
    """What `voiceface pack` reads of it, before anything is written."""
    (folder / "README.md").write_text(f"---\n{front}\n---\n")
    assert "README.md" in refused(tmp_path, lambda: pack(folder, tmp_path / "dist"))
    assert not (tmp_path / "dist").exists()


def test_a_packed_checkpoint_says_nothing_that_runs(folder: Path, tmp_path: Path):
    """Its words become Python and TOML of the wheel's project; they stay words."""
    words = f'x"""\n{payload(tmp_path)}"""\\N{{a}}"\nname = "evil'
    change_config(folder, data={**config_of(folder)["data"], "corpus": words}, recipe=words)
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = write_source(folder, tmp_path / "zoo", "plain", "1.0")
    said = tomllib.loads((project / "pyproject.toml").read_text())
    assert said["project"]["name"] == "voiceface-plain"
    (module,) = project.glob("src/*/__init__.py")
    with watched() as watch:
        exec(compile(module.read_text(), str(module), "exec"), {"__file__": str(module)})
    nothing_ran(watch, tmp_path)
