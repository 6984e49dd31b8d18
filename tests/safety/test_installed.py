"""Installed checkpoints: nothing of their packages is imported, and no name leads out of them."""

import json
import os
import sys
from pathlib import Path

import pytest
from checkpoint_support import save
from safety_support import canary, nothing_ran, payload, refused, watched

import voiceface
import voiceface.training.fit  # before the watch: what it imports makes folders of its own
from voiceface.checkpoints.find import find_checkpoint
from voiceface.cli import main
from voiceface.compare.reading import installed_results


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_installed_checkpoints: None) -> Path:
    """A folder of installed packages, first on the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOICEFACE_CACHE", str(tmp_path / "cache"))
    return folder


def install(site: Path, name: str, value: str, record: list[str], distribution: str = "voiceface-evil") -> Path:
    """The metadata of a distribution that says that it brings a checkpoint."""
    info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[voiceface.checkpoints]\n{name} = {value}\n")
    (info / "RECORD").write_text("".join(f"{line},,\n" for line in [*record, f"{info.name}/METADATA"]))
    return info


def package(site: Path, name: str = "evil_package") -> Path:
    """A package with a whole checkpoint and code that tells when it runs."""
    folder = save(site / name)
    for module in ("__init__.py", "config.py", "results.py", "__main__.py"):
        (folder / module).write_text(payload(site.parent))
    return folder


def test_no_package_is_imported(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = package(site)
    install(site, "trinet-synthetic", "evil_package", [f"evil_package/{file.name}" for file in folder.iterdir()])
    with watched() as watch:
        found = find_checkpoint("trinet-synthetic")
        voiceface.load("trinet-synthetic")
        listed = [one.name for one in voiceface.list_checkpoints() if not one.problem]
        installed_results()
        assert main(["list"]) == 0
    nothing_ran(watch, tmp_path)
    assert found.samefile(folder)
    assert "trinet-synthetic" in listed
    assert "trinet-synthetic" in capsys.readouterr().out
    assert "evil_package" not in sys.modules
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "modules", dict(sys.modules))
        __import__("evil_package")
    assert canary(tmp_path).exists(), "an import would have been seen"


@pytest.mark.parametrize(
    "value",
    [
        "..",
        "../outside",
        "/etc",
        "evil_package:load",
        "evil_package.inner",
        "evil_package.__init__:load [extra]",
        "os:system",
        "outside",
        "evil_package/../../outside",
        "",
        "évil package",
    ],
)
def test_an_entry_point_leads_nowhere_else(site: Path, tmp_path: Path, value: str):
    """Even where a whole checkpoint lies there: what another brought is not its own."""
    package(site)
    save(tmp_path / "outside")
    save(site / "outside")
    install(site, "wanted", value, ["evil_package/__init__.py"])
    line = refused(tmp_path, lambda: find_checkpoint("wanted"))
    assert "wanted" in line
    with watched() as watch:
        (one,) = (one for one in voiceface.list_checkpoints() if one.name == "wanted")
        installed_results()
    assert one.problem
    assert one.folder is None
    nothing_ran(watch, tmp_path)


@pytest.mark.parametrize("record", ["../outside/config.json", "/etc/passwd", "evil_package/../../outside/config.json"])
def test_a_record_leads_nowhere_else(site: Path, tmp_path: Path, record: str):
    save(tmp_path / "outside")
    install(site, "wanted", "outside", [record])
    refused(tmp_path, lambda: find_checkpoint("wanted"))


def test_a_name_of_another_is_nobodys(site: Path, tmp_path: Path):
    """However it is spelt."""
    for number, name in enumerate(("trinet-synthetic", "TriNet_Synthetic")):
        folder = package(site, f"package_{number}")
        files = [f"package_{number}/{file.name}" for file in folder.iterdir()]
        install(site, name, f"package_{number}", files, f"voiceface-number{number}")
    for name in ("trinet-synthetic", "trinet.synthetic", "TRINET_SYNTHETIC"):
        line = refused(tmp_path, lambda: voiceface.load(name))  # noqa: B023
        assert "voiceface-number0" in line
        assert "voiceface-number1" in line


def test_a_config_of_another_name_is_refused(site: Path, tmp_path: Path):
    folder = package(site)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "name": "somebody-elses"}))
    install(site, "trinet-synthetic", "evil_package", [f"evil_package/{file.name}" for file in folder.iterdir()])
    assert "somebody-elses" in refused(tmp_path, lambda: find_checkpoint("trinet-synthetic"))


@pytest.mark.parametrize(
    "name",
    ["hf://", "hf://a", "hf://../../etc", "hf://a/b/c", "hf://a/../b", "hf://-x/y", "hf://a/b?x", "hf://a b/c",
     "hf://a/b@", "https://127.0.0.1:9/x", "pipe:touch canary", "file:///etc", "no\x00name", "no-such-name", ""],
)  # fmt: skip
def test_names_that_are_none_ask_nobody(site: Path, tmp_path: Path, name: str):
    refused(tmp_path, lambda: voiceface.load(name))


def test_a_module_beside_the_user_is_not_taken_for_a_part_of_voiceface(site: Path, tmp_path: Path):
    """Files of the working folder have no say in what is loaded."""
    for name in ("trinet.py", "face_small.py", "voice_small.py", "huggingface_hub.py", "hubconf.py"):
        (tmp_path / name).write_text(payload(tmp_path))
    folder = save(tmp_path / "checkpoint")
    with watched() as watch:
        voiceface.load("checkpoint")
        voiceface.load(os.path.relpath(folder))
    nothing_ran(watch, tmp_path)
