"""`voiceface pack`: a wheel that real pip installs, checks and removes, with the same bytes every time."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest
from checkpoint_support import SYNTHETIC, save
from hatchling.builders.wheel import WheelBuilder
from packaging.metadata import Metadata

from voiceface.checkpoints.wheel import META, describe, pack, read_licence, write_source, write_zoo
from voiceface.cli import main
from voiceface.evaluation.results import content_hash
from voiceface.utils.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("run") / "checkpoint")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment that finds what this one imports."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site(folder) / "ours.pth").write_text("\n".join([str(ROOT), *packages, ""]))
    return folder


def site(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def pip(environment: Path, *words: object, status: int = 0) -> str:
    """Run this pip on an environment, without a network."""
    command = [sys.executable, "-m", "pip", "--python", environment / "bin/python", *map(str, words)]
    plain = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | plain, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def python(environment: Path, program: str) -> str:
    done = subprocess.run(
        [environment / "bin/python", "-c", program], capture_output=True, text=True, env={"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_the_wheel_holds_the_checkpoint_and_says_what_it_is(checkpoint: Path, tmp_path: Path):
    (checkpoint / "notes.py").write_text("raise SystemExit")
    wheel = pack(checkpoint, tmp_path, "my.trinet", "1.2-post3")
    (checkpoint / "notes.py").unlink()
    assert wheel == tmp_path / "voiceface_my_trinet-1.2.post3-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        packed = {name.partition("/")[2] for name in names if name.startswith("voiceface_my_trinet/")}
        assert packed == {path.name for path in checkpoint.iterdir()} | {"__init__.py"}
        for file in packed & {"model.safetensors", "results.json"}:
            assert archive.read(f"voiceface_my_trinet/{file}") == (checkpoint / file).read_bytes()
        config = json.loads(archive.read("voiceface_my_trinet/config.json"))
        assert config == {**json.loads((checkpoint / "config.json").read_text()), "name": "my.trinet"}
        about = archive.read("voiceface_my_trinet-1.2.post3.dist-info/METADATA")
        assert all(info.external_attr >> 16 & 0o777 == 0o644 for info in archive.infolist())
    metadata = Metadata.from_email(about, validate=True)
    assert (metadata.name, str(metadata.version)) == ("voiceface-my-trinet", "1.2.post3")
    assert metadata.license_expression == "Apache-2.0"
    assert [str(one) for one in metadata.requires_dist or []] == ["voiceface<0.2,>=0.1"]
    assert "synthetic" in str(BytesParser().parsebytes(about)["Summary"])


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = pack(checkpoint, tmp_path / "a")
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    for path in sorted(checkpoint.iterdir(), reverse=True):
        (copy / path.name).write_bytes(path.read_bytes())
        (copy / path.name).chmod(0o600)
        os.utime(copy / path.name, (1e9, 1e9))
    monkeypatch.chdir(tmp_path)
    assert pack(Path("copy"), Path("b")).read_bytes() == first.read_bytes()


def test_nothing_is_overwritten(checkpoint: Path, tmp_path: Path):
    wheel = pack(checkpoint, tmp_path)
    before = wheel.read_bytes()
    with pytest.raises(UserError, match=r"py3-none-any\.whl: already exists; give another --version"):
        pack(checkpoint, tmp_path)
    project = write_source(checkpoint, tmp_path)
    with pytest.raises(UserError, match="already exists; remove it first"):
        write_source(checkpoint, tmp_path)
    assert wheel.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {wheel.name, project.name}


def test_pip_installs_finds_and_removes_it(checkpoint: Path, environment: Path, tmp_path: Path):
    """Of two versions, as in two environments, each is found with its own version and weights."""
    before = files(site(environment))
    name = "packed-here"  # of the checkpoints of the zoo some may be installed
    later = save(tmp_path / "later", seed=1)
    weights = {}
    for folder, version in ((checkpoint, "1.0"), (later, "2.0")):
        pip(environment, "install", "--no-deps", "--no-compile", pack(folder, tmp_path, name, version))
        installed = site(environment) / "voiceface_packed_here"
        weights[version] = (installed / "model.safetensors").read_bytes()
        told = python(
            environment,
            "import sys; from voiceface.checkpoints.find import find_checkpoint, list_checkpoints as all; "
            f"print(find_checkpoint('{name}')); "
            f"print(*((o.name, o.version, o.problem) for o in all() if o.name == '{name}')); "
            "print({'torch', 'numpy', 'voiceface_packed_here'} & set(sys.modules))",
        )
        assert told.splitlines() == [str(installed), str((name, version, "")), "set()"]
    assert weights["1.0"] != weights["2.0"]
    pip(environment, "uninstall", "-y", f"voiceface-{name}")
    assert files(site(environment)) == before


@pytest.mark.slow(reason="pip in an environment of its own")
def test_pip_checks_the_versions_of_voiceface(checkpoint: Path, tmp_path: Path):
    environment = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    pip(environment, "install", "--no-deps", pack(checkpoint, tmp_path))
    about = site(environment) / "voiceface-0.1.7.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: voiceface\nVersion: 0.1.7\n")
    pip(environment, "check")
    about = about.rename(site(environment) / "voiceface-0.2.0.dist-info")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: voiceface\nVersion: 0.2.0\n")
    told = pip(environment, "check", status=1)
    assert "voiceface-trinet-synthetic 0.1.0 has requirement voiceface<0.2,>=0.1, but you have voiceface 0.2.0" in told


@pytest.mark.slow(reason="pip builds it; the quick tests compare the wheel that hatchling builds")
def test_a_project_of_the_zoo_is_what_pip_builds(checkpoint: Path, environment: Path, tmp_path: Path):
    """The wheel that pip builds of the project is the one that `pack` makes; an editable one is found as well."""
    write_zoo(tmp_path)
    project = write_source(checkpoint, tmp_path, "trinet-zoo", "1.1")
    pip(environment, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "built", project)
    (wheel,) = (tmp_path / "built").iterdir()
    assert wheel.read_bytes() == pack(checkpoint, tmp_path / "dist", "trinet-zoo", "1.1").read_bytes()
    pip(environment, "install", "--no-deps", "--no-build-isolation", "-e", project)
    told = python(environment, "from voiceface.checkpoints.find import find_checkpoint as f; print(f('trinet-zoo'))")
    assert told.strip() == str(project / "src/voiceface_trinet_zoo")


def test_the_zoos_own_wheel_asks_for_all_of_them(checkpoint: Path, tmp_path: Path):
    write_source(checkpoint, tmp_path, "a-first", "1.1")
    assert not (tmp_path / META).exists()  # not every folder of projects is a zoo
    write_zoo(tmp_path)
    write_source(checkpoint, tmp_path, "b_second", "2.0")
    (built,) = WheelBuilder(str(tmp_path / META)).build(directory=str(tmp_path / "dist"), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        (about,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        wanted = Metadata.from_email(archive.read(about), validate=True).requires_dist or []
    assert [str(one) for one in wanted] == ["voiceface-a-first==1.1", "voiceface-b-second==2.0"]


def test_the_package_loads_itself(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(pack(checkpoint, tmp_path, "loads-itself", "1.1").with_suffix(""))
    with zipfile.ZipFile(tmp_path / "voiceface_loads_itself-1.1-py3-none-any.whl") as archive:
        archive.extractall(tmp_path / "voiceface_loads_itself-1.1-py3-none-any")
    package = importlib.import_module("voiceface_loads_itself")
    assert package.__version__ == "1.1"
    model = package.load()
    assert type(model.method).__name__ == "TriNet"
    assert not model.method.training


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "../a", "a/b", 'a"\nx = "', "é", "a" * 101, "A", "zoo"])
def test_a_name_that_is_none_is_refused(checkpoint: Path, tmp_path: Path, name: str):
    if not name:
        assert describe(checkpoint, name).name == "trinet-synthetic"
        return
    with pytest.raises(UserError, match=r"^--name "):
        write_source(checkpoint, tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["x", "1.0\n", "1..0", "latest", "1.0/../2"])
def test_a_version_that_is_none_is_refused(checkpoint: Path, tmp_path: Path, version: str):
    if version == "1.0\n":  # PEP 440 ignores blanks around
        assert describe(checkpoint, version=version).version == "1.0"
        return
    with pytest.raises(UserError, match="not a version"):
        write_source(checkpoint, tmp_path, version=version)
    assert list(tmp_path.iterdir()) == []


def test_what_is_broken_is_not_packed(tmp_path: Path):
    folder = save(tmp_path / "c")
    results = folder / "results.json"
    right = results.read_text()
    other = json.loads(right)
    other["model"]["checkpoint"] = "0" * 64
    for content, said in (
        (other, "changed after it was written"),
        ({**other, "sha256": content_hash(other)}, "not the result"),
    ):
        results.write_text(json.dumps(content))
        with pytest.raises(UserError, match=rf"results\.json: {said}"):
            pack(folder, tmp_path / "dist")
    results.write_text(right)
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(card.replace("license: apache-2.0", "licence: free"))
    with pytest.raises(UserError, match="names no license"):
        pack(folder, tmp_path / "dist")
    (folder / "README.md").unlink()
    with pytest.raises(UserError, match=r"no card \(README\.md\)"):
        pack(folder, tmp_path / "dist")
    (folder / "README.md").write_text(card)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors: damaged"):
        pack(folder, tmp_path / "dist")
    with pytest.raises(UserError, match="no card"):
        pack(tmp_path, tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


def test_no_file_of_ones_own_is_handed_on(checkpoint: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    folder = Path(shutil.copytree(checkpoint, tmp_path / "c"))
    for name, target in (("identities.txt", secret), ("training.json", "../secret"), ("results.effects.npz", "up")):
        (folder / "up").unlink(missing_ok=True)
        (folder / "up").symlink_to(secret)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
        with pytest.raises(UserError, match=f"{name}: a link to a file elsewhere"):
            write_source(folder, tmp_path / "zoo")
        (folder / name).unlink()
    (folder / "card.md").write_text((folder / "README.md").read_text())
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("card.md")
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    assert (write_source(linked, tmp_path / "zoo") / "src/voiceface_trinet_synthetic/README.md").is_file()


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("license: MIT", "MIT"),
        ("license: cc-by-nc-4.0", "CC-BY-NC-4.0"),
        ("license: other\nlicense_name: that-of-the-training-data", "LicenseRef-that-of-the-training-data"),
        ('license: "x\\"\\ny = 1"', "LicenseRef-x-y-1"),
    ],
)
def test_licences_are_expressions(tmp_path: Path, front: str, licence: str):
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n\n# x\n")
    assert read_licence(tmp_path) == licence


def test_words_of_others_stay_words(checkpoint: Path, tmp_path: Path):
    """The name of a corpus is in the description of the project; it cannot be more than a text there."""
    folder = save(tmp_path / "c", data={**SYNTHETIC, "corpus": 'x"""\nimport os\n"\n[tool.hatch.build.hooks.custom]\n'})
    project = write_source(folder, tmp_path / "zoo", "quoted")
    text = (project / "pyproject.toml").read_text() + (project / "src/voiceface_quoted/__init__.py").read_text()
    assert "\nimport os" not in text
    assert "\n[tool.hatch.build.hooks" not in text


def test_the_command(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["pack", str(checkpoint), "--out", str(tmp_path), "--version", "3"]) == 0
    assert Path(capsys.readouterr().out.strip()) == tmp_path / "voiceface_trinet_synthetic-3-py3-none-any.whl"
    assert main(["pack", str(checkpoint), "--source", str(tmp_path / "zoo")]) == 0
    assert Path(capsys.readouterr().out.strip()) == tmp_path / "zoo/trinet-synthetic"
    assert main(["pack", "x", "--source", "y", "--out", "z"]) == 2
    assert "not allowed with" in capsys.readouterr().err
