"""Checkpoints on the Hugging Face hub, through huggingface_hub itself, against its endpoints on loopback."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from checkpoint_support import save
from hub_server import Hub

from voiceface.checkpoints.find import find_checkpoint
from voiceface.checkpoints.hub import push
from voiceface.checkpoints.weights import load_checkpoint
from voiceface.checkpoints.wheel import write_source
from voiceface.cli import main
from voiceface.utils.errors import UserError

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("run") / "checkpoint")


def turn_to(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment variable HF_ENDPOINT does, which is read once."""
    monkeypatch.setattr(constants, "ENDPOINT", root)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", root + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        turn_to(server.root, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_of_no_one")
        yield server


def test_a_pushed_checkpoint_comes_back(hub: Hub, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (checkpoint / "train.py").write_text("never pushed")
    assert push(checkpoint, "owner/trinet") == f"{hub.root}/owner/trinet"
    (checkpoint / "train.py").unlink()
    assert hub.repositories["owner/trinet"] == {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    folder = find_checkpoint("hf://owner/trinet")
    assert {path.name for path in folder.iterdir()} == {path.name for path in checkpoint.iterdir()}
    assert capfd.readouterr() == ("", "")  # no bars where there is no terminal
    found, wanted = load_checkpoint(folder).state_dict(), load_checkpoint(checkpoint).state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert write_source(folder, tmp_path / "zoo").is_dir(), "the cache holds links to files of its own"


def test_other_files_are_never_fetched(hub: Hub, checkpoint: Path):
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    others = ("pytorch_model.bin", "modeling.py", "sub/config.json", "config.json.py", "model.safetensors.pkl")
    hub.repositories["owner/trap"] = {**files, **dict.fromkeys(others, b"canary")}
    folder = find_checkpoint("hf://owner/trap")
    assert sorted(hub.fetched) == sorted(files)
    assert {path.name for path in folder.rglob("*")} == set(files)


def test_a_second_push_replaces_the_checkpoint_alone(hub: Hub, checkpoint: Path):
    hub.repositories["owner/trinet"] = {"training.json": b"of another", ".gitattributes": b"", "demo.py": b"1"}
    push(checkpoint, "hf://owner/trinet")
    wanted = {path.name for path in checkpoint.iterdir()} | {".gitattributes", "demo.py"}
    assert set(hub.repositories["owner/trinet"]) == wanted


def test_revisions_and_the_cache_without_a_network(
    hub: Hub, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    push(checkpoint, "owner/trinet")
    first = hub.commit("owner/trinet")
    assert find_checkpoint(f"hf://owner/trinet@{first}") == find_checkpoint("hf://owner/trinet@main")
    with pytest.raises(UserError, match=r"^hf://owner/trinet@v9: no such revision of it on the hub$"):
        find_checkpoint("hf://owner/trinet@v9")
    turn_to("http://127.0.0.1:1", monkeypatch)
    assert find_checkpoint("hf://owner/trinet").name == first
    assert load_checkpoint(find_checkpoint(f"hf://owner/trinet@{first}"))
    with pytest.raises(UserError, match=r"^hf://owner/other: the hub cannot be reached, and it is not in the cache"):
        find_checkpoint("hf://owner/other")


@pytest.mark.parametrize(
    "name", ["hf://", "hf://a", "hf://a/b/c", "hf://a/b@", "hf://../b", "hf://a/..", "hf://a/b@../../x", "hf://a/b@ c"]
)
def test_names_that_are_none_ask_nobody(hub: Hub, name: str):
    with pytest.raises(UserError, match="not a checkpoint on the hub; write hf://owner/name"):
        find_checkpoint(name)


def test_what_the_hub_has_not_is_one_line(hub: Hub, checkpoint: Path):
    with pytest.raises(UserError, match=r"^hf://owner/none: no such repository on the hub, or it is private"):
        find_checkpoint("hf://owner/none")
    hub.repositories["owner/data"] = {"README.md": b"# data", "config.json": b"{}"}
    with pytest.raises(UserError, match=r"^hf://owner/data: not a checkpoint of voiceface \(no model.safetensors\)"):
        find_checkpoint("hf://owner/data")
    hub.repositories["owner/empty"] = {"a.bin": b"1"}
    with pytest.raises(UserError, match=r"^hf://owner/empty: "):
        find_checkpoint("hf://owner/empty")
    hub.read_only = True
    with pytest.raises(UserError, match="the hub refuses; run `hf auth login`"):
        push(checkpoint, "owner/trinet")


def test_a_broken_checkpoint_is_not_pushed(hub: Hub, tmp_path: Path):
    folder = save(tmp_path / "c")
    (folder / "model.safetensors").write_bytes(b"0" * 100)
    with pytest.raises(UserError, match=r"model\.safetensors: damaged"):
        push(folder, "owner/trinet")
    with pytest.raises(UserError, match="not a name on the hub"):
        push(folder, "trinet")
    folder = save(tmp_path / "d")
    save(tmp_path / "other", seed=1)
    shutil.copy(tmp_path / "other/results.json", folder)
    with pytest.raises(UserError, match="not the result of these weights"):
        push(folder, "owner/trinet")
    assert hub.repositories == {}


def test_the_command(hub: Hub, checkpoint: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["push", str(checkpoint), "owner/secret", "--private"]) == 0
    assert capsys.readouterr().out == f"{hub.root}/owner/secret\n"
    assert hub.private == {"owner/secret"}


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"needs the extra `remote`: pip install 'voiceface\[remote\]'"):
        find_checkpoint("hf://owner/trinet")
