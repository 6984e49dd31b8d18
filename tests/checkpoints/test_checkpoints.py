"""Finding checkpoints by folder and installed name: every broken or false one is named, and no package is imported."""

import io
import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from checkpoint_support import change_config, save
from rich.console import Console

from voiceface.checkpoints.config import canonical
from voiceface.checkpoints.find import Installed, find_checkpoint, list_checkpoints
from voiceface.checkpoints.weights import load_checkpoint
from voiceface.checkpoints.wheel import pack
from voiceface.cli.listing import print_list
from voiceface.utils.errors import UserError

ZOO = Path(__file__).parents[2] / "zoo"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("run") / "checkpoint")


@pytest.fixture(scope="module")
def wheels(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("dist")
    return {name: pack(checkpoint, out, name, "1.0") for name in ("find-me", "other")}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_installed_checkpoints: None) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(tmp_path)
    return folder


def install(wheel: Path, site: Path) -> Path:
    """Unpack a wheel, as installers do; its package would tell if it was imported."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    package = site / wheel.name.partition("-")[0]
    (package / "__init__.py").write_text(f"open({str(site / 'ran')!r}, 'w')")
    return package


def ours(name: str = "find-me") -> Installed:
    (found,) = (one for one in list_checkpoints() if one.name == name)
    return found


def printed() -> str:
    console = Console(width=160, file=io.StringIO(), force_terminal=False)
    print_list(console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def refused(name: str | Path) -> str:
    with pytest.raises(UserError) as caught:
        find_checkpoint(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_installed_ones_are_found_and_not_imported(site: Path, wheels: dict[str, Path]):
    package = install(wheels["find-me"], site)
    for name in ("find-me", "Find_Me", "find.me"):
        assert find_checkpoint(name) == package
    matching = {"v2f": 0.812, "f2v": 0.798}
    about = Installed("find-me", "1.0", "voiceface-find-me", package, "trinet", "synthetic", matching, "Apache-2.0")
    assert ours() == about
    assert "\n find-me 1.0  1:2 81.2 / 79.8 %, trinet on synthetic, Apache-2.0\n" in printed()
    assert not (site / "ran").exists()
    assert package.name not in sys.modules


def test_a_folder_goes_first_and_only_if_it_is_a_checkpoint(
    site: Path, wheels: dict[str, Path], checkpoint: Path, tmp_path: Path
):
    package = install(wheels["find-me"], site)
    (tmp_path / "find-me").mkdir()
    assert find_checkpoint("find-me") == package
    shutil.copy(checkpoint / "config.json", tmp_path / "find-me")
    assert find_checkpoint("find-me") == Path("find-me")
    assert find_checkpoint(checkpoint) == checkpoint
    assert find_checkpoint(str(checkpoint)) == checkpoint


def test_what_is_none_is_told(site: Path, wheels: dict[str, Path], checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    install(wheels["find-me"], site)
    text = refused("find-mi")
    assert "no checkpoint of this name is installed, did you mean find-me?; installed: " in text
    assert "no such folder; give a checkpoint folder, an installed name or hf://owner/name" in refused("runs/a")
    assert "no such folder" in refused(Path("nowhere"))
    assert refused(checkpoint.parent).endswith(f"not a checkpoint folder (no config.json); give {checkpoint}")
    assert refused("kim_vggvox-synthetic").endswith("kim_vggvox is kim: give kim-synthetic")
    assert "is kim" not in refused("kim_vggvox-other")
    assert "no such folder" in refused("x" * 5000)
    assert "no such folder" in refused("a\0b")
    assert "no config.json" in refused(".")
    assert refused("")
    for name, clone, said in (
        ("drl-synthetic", True, "of the zoo is not installed; `pip install ./zoo/drl-synthetic`"),
        ("kim-f2v-synthetic", True, "`pip install ./zoo/kim_f2v-synthetic`"),
        ("drl-synthetic", False, f"`pip install {ZOO}/drl-synthetic`"),
        ("drl-synthtic", True, "did you mean drl-synthetic?"),
    ):
        monkeypatch.chdir(ZOO.parent if clone else checkpoint)
        assert said in refused(name)


def test_a_name_that_two_claim_is_nobodys(site: Path, wheels: dict[str, Path]):
    package = install(wheels["find-me"], site)
    install(wheels["other"], site)
    entry = site / "voiceface_other-1.0.dist-info/entry_points.txt"
    entry.write_text("[voiceface.checkpoints]\nFind.Me = voiceface_other\n")
    both = "claimed by voiceface-find-me and by voiceface-other; uninstall all but the one you want"
    assert both in refused("find-me")
    assert [both in one.problem for one in list_checkpoints() if canonical(one.name) == "find-me"] == [True, True]
    assert printed().count(both) == 2
    shutil.rmtree(package)
    shutil.rmtree(site / "voiceface_find_me-1.0.dist-info")
    assert "its config.json says that it is other, not Find.Me" in refused("find-me")


def test_the_files_of_another_distribution_are_not_its_own(site: Path, wheels: dict[str, Path]):
    install(wheels["find-me"], site)
    package = install(wheels["other"], site)
    entry = site / "voiceface_other-1.0.dist-info/entry_points.txt"
    for value in ("voiceface_find_me", "voiceface_find_me:load", "json"):
        entry.write_text(f"[voiceface.checkpoints]\nother = {value}\n")
        assert f"its package {value.partition(':')[0]} holds no config.json; reinstall it" in refused("other")
    entry.write_text("[voiceface.checkpoints]\nother = ../voiceface_other\n")
    assert "names no package" in refused("other")
    entry.write_text("[voiceface.checkpoints]\nother = voiceface_other\n")
    shutil.copy(site / "voiceface_find_me/config.json", package)
    assert "its config.json is not the one that was installed" in refused("other")
    assert find_checkpoint("find-me")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: (p / "model.safetensors").unlink(), "its package voiceface_other holds no model.safetensors"),
        (lambda p: (p / "config.json").write_text("{"), "config.json"),
        (lambda p: (p / "config.json").write_text("[]"), "config.json"),
        (lambda p: (p / "results.json").write_text("{"), "results.json is not readable as JSON"),
        (lambda p: (p / "results.json").write_text('{"scores": [{}]}'), "results.json does not hold the scores"),
        (lambda p: (p / "results.json").write_text('{"scores": 3}'), "results.json does not hold the scores"),
        (lambda p: change_config(p, schema=99), "checkpoint schema 99"),
        (lambda p: change_config(p, data="x"), "data cannot be"),
        (lambda p: change_config(p, requires=">=7"), "made for voiceface >=7"),
    ],
)
def test_a_broken_one_is_named_and_the_others_are_listed(site: Path, wheels: dict[str, Path], spoil, reason: str):
    install(wheels["find-me"], site)
    package = install(wheels["other"], site)
    spoil(package)
    # The record of what was installed speaks of the files as they are here.
    record = site / "voiceface_other-1.0.dist-info/RECORD"
    lines = [line.partition(",")[0] + ",," for line in record.read_text().splitlines()]
    record.write_text("\n".join(lines))
    assert reason in ours("other").problem
    assert ours("other").folder is None
    assert ours().problem == ""
    shown = " ".join(printed().split())
    assert f"other 1.0 cannot be loaded (voiceface-other): {ours('other').problem}" in shown
    assert "find-me 1.0 1:2 81.2" in shown


def test_without_a_result_no_score_is_shown(site: Path, checkpoint: Path, tmp_path: Path):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "c"))
    (folder / "results.json").unlink()
    install(pack(folder, tmp_path, "find-me", "1.0"), site)
    assert ours().matching == {}
    assert "not tested, trinet on synthetic" in printed()


def test_what_steers_a_terminal_is_not_printed(site: Path, wheels: dict[str, Path]):
    install(wheels["find-me"], site)
    about = site / "voiceface_find_me-1.0.dist-info/METADATA"
    about.write_text(about.read_text().replace("Apache-2.0", "free\x1b[2J\x07"))
    assert "free?[2J?" in printed()


@pytest.mark.usefixtures("no_installed_checkpoints")
def test_a_zipped_installation_is_unpacked_into_the_cache(
    tmp_path: Path, wheels: dict[str, Path], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(wheels["find-me"])
    monkeypatch.setenv("VOICEFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = find_checkpoint("find-me")
    assert folder.parent == tmp_path / "cache/checkpoints"
    assert {path.name for path in folder.iterdir()} == {path.name for path in checkpoint.iterdir()}
    found, wanted = load_checkpoint(folder).state_dict(), load_checkpoint(checkpoint).state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert ours().folder == folder
    assert json.loads((folder / "config.json").read_text())["name"] == "find-me"
