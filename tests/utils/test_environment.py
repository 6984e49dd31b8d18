"""Libraries that do not load are named in one line that mends them; the versions that are pinned go together."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from tests_support import voiceface

from voiceface.utils.environment import DEFAULT, EXTRAS, LIBRARIES, MATCHED, SET, installed_version, load_problem

ROOT = Path(__file__).parents[2]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]


def run(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python as a user would, with `folder` before all that is installed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str, str], Path]:
    """Put a module that fails while it is imported before the real one."""

    def make(module: str, failure: str) -> Path:
        (tmp_path / "broken" / module).mkdir(parents=True)
        (tmp_path / "broken" / module / "__init__.py").write_text(failure)
        return tmp_path / "broken"

    return make


SYMBOL = "raise OSError('/x/lib/libtorch.so: undefined symbol: torch_exception_get_what_without_backtrace')"
LOAD = """
import voiceface, voiceface.utils.errors
try:
    voiceface.load('zoo/trinet-synthetic/src/voiceface_trinet_synthetic')
except voiceface.utils.errors.UserError as error:
    print(error)
"""
COMMANDS = [
    "fit --model trinet",
    "test zoo/trinet-synthetic/src/voiceface_trinet_synthetic",
    "embed zoo/trinet-synthetic/src/voiceface_trinet_synthetic --out {out}/e.npz",
    "match zoo/trinet-synthetic/src/voiceface_trinet_synthetic docs/example/voice.flac docs/example/a.jpg "
    "docs/example/b.jpg --asis",
    "retrieve zoo/trinet-synthetic/src/voiceface_trinet_synthetic docs/example/voice.flac docs/example --asis",
    "index zoo/trinet-synthetic/src/voiceface_trinet_synthetic docs/example {out}/index --asis",
    "export zoo/trinet-synthetic/src/voiceface_trinet_synthetic {out}/exported",
    "extract {out}/features --checkpoint zoo/trinet-synthetic/src/voiceface_trinet_synthetic",
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words.split()[0])
def test_every_command_that_needs_torch_names_the_set_in_one_line(
    broken: Callable[[str, str], Path], tmp_path: Path, words: str
):
    folder = broken("torch", SYMBOL)
    done = run("-m", "voiceface", *words.format(out=tmp_path).split(), folder=folder)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    for name in SET:
        assert f"{name} {installed_version(name)}" in line
    assert "(libtorch.so: undefined symbol: torch_exception_get_what_without_backtrace)" in line
    torch_version = Version(installed_version("torch")).public
    vision, audio = MATCHED[torch_version]
    assert f"`pip install --force-reinstall torch=={torch_version} torchvision=={vision} torchaudio=={audio}`" in line
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_load_names_the_set_too(broken: Callable[[str, str], Path]):
    done = run("-c", LOAD, folder=broken("torch", SYMBOL))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"torch {installed_version('torch')}, torchvision ")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.slow(reason="two processes import torch and Lightning anew")
def test_fit_and_load_name_a_torchaudio_of_another_release(broken: Callable[[str, str], Path]):
    folder = broken("torchaudio", "raise RuntimeError('Could not load this library')")
    loaded = run("-c", LOAD, folder=folder)
    fitted = run("-m", "voiceface", "fit", "--model", "trinet", folder=folder)
    assert (loaded.returncode, fitted.returncode) == (0, 2), loaded.stderr
    for said in (loaded.stdout, fitted.stderr):
        (line,) = said.splitlines()
        assert "do not load together (Could not load this library); matching torch" in line
        assert "`pip install --force-reinstall --no-deps torchvision==" in line


@pytest.mark.parametrize(
    ("module", "failure", "words"),
    [
        ("numba", "raise ImportError('libllvm.so: cannot open shared object file')", "score {out}/e.npz"),
        ("soundfile", "raise OSError('sndfile library not found')", COMMANDS[3]),
        ("av", "raise ImportError('libavcodec.so.61: cannot open shared object file')", COMMANDS[3]),
        ("numpy", "raise ValueError('dtype size changed, may indicate binary incompatibility')", COMMANDS[3]),
    ],
    ids=["numba", "soundfile", "av", "numpy"],
)
def test_any_compiled_library_that_does_not_load_is_named(
    broken: Callable[[str, str], Path], tmp_path: Path, module: str, failure: str, words: str
):
    table = {f"{kind}s": np.random.default_rng(0).standard_normal((8, 4)) for kind in ("voice", "face")}
    table |= {f"{kind}_identity": np.array(["a", "b"] * 4) for kind in ("voice", "face")}
    table |= {f"{kind}_key": np.array([f"{kind}{i}" for i in range(8)]) for kind in ("voice", "face")}
    np.savez(tmp_path / "e.npz", **table)
    done = run("-m", "voiceface", *words.format(out=tmp_path).split(), folder=broken(module, failure))
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert f"{module} {installed_version(module)} does not load (" in line
    assert f"give `pip install --force-reinstall --no-deps {module}=={installed_version(module)}`" in line


def test_check_lists_all():
    whole = voiceface("check", status=0).stdout
    assert all(f"{name} " in whole and (installed_version(name) in whole) for name in LIBRARIES)
    assert all(name in whole for names in EXTRAS.values() for name in names)
    assert "environment: sound" in whole


@pytest.mark.slow(reason="a process imports all libraries anew")
@pytest.mark.parametrize("module", ["av", "soundfile", "numpy", "torch"])
def test_check_names_what_does_not_load(broken: Callable[[str, str], Path], module: str):
    done = run("-m", "voiceface", "check", folder=broken(module, "raise ImportError('lib.so: no such file')"))
    assert done.returncode == 2
    assert re.search(rf"^{module} .* does not load\s*$", done.stdout, re.M)
    assert "environment: 1 problems" in done.stdout
    assert f"{module} {installed_version(module)}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_library_is_named_and_other_mistakes_are_not_taken_for_one():
    missing = ModuleNotFoundError("No module named 'torchaudio'", name="torchaudio")
    assert str(load_problem(missing)).startswith("torchaudio is not installed; ")
    assert load_problem(ModuleNotFoundError("No module named 'mine'", name="mine")) is None
    for mistake in (ValueError("no"), OSError("no"), RuntimeError("torch")):
        assert load_problem(mistake) is None
    with pytest.raises(RuntimeError) as raised:
        torch.zeros(2) @ torch.zeros(3)
    assert load_problem(raised.value) is None


def raised_in(*modules: str) -> Exception:
    """What comes out where the body of the last module fails, which the others import."""
    code = "raise ImportError('Numba needs NumPy 2.2 or less. Got NumPy 2.4.')"
    for name in reversed(modules):
        code = f"exec(compile({code!r}, '{name}', 'exec'), {{'__name__': {name!r}}})"
    with pytest.raises(ImportError) as raised:
        exec(code, {})
    return raised.value


def test_the_innermost_library_is_the_culprit():
    for modules, culprit in (
        (["pytorch_lightning", "torchmetrics", "torchvision"], "torch"),
        (["torch", "numpy"], "numpy"),
        (["torchvision", "PIL.Image"], "pillow"),
        (["sklearn", "scipy"], "scipy"),
        (["faiss"], "faiss-cpu"),
    ):
        assert str(load_problem(raised_in(*modules))).startswith(f"{culprit} {installed_version(culprit)}")
    assert load_problem(raised_in("mine")) is None
    assert load_problem(MemoryError()) is None


def test_a_library_that_finds_fault_with_another_is_not_installed_anew():
    assert str(load_problem(raised_in("numba"))).endswith(
        "(Numba needs NumPy 2.2 or less. Got NumPy 2.4.); give `pip install -c constraints.txt .` in voiceface's "
        "folder, for versions that go together"
    )


@pytest.mark.slow(reason="makes an environment and downloads a torchaudio into it")
def test_a_really_wrong_pair_is_named_in_one_line(tmp_path: Path):
    wrong = "2.11.1" if Version(installed_version("torch")) < Version("2.13") else "2.8.0"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    binaries = tmp_path / "venv/bin"
    pip = [binaries / "pip", "install", "-q", "--no-deps", f"torchaudio=={wrong}"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"torchaudio {wrong} cannot be had: {done.stderr.splitlines()[-1:]}")
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    rest = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "the_rest.pth").write_text("\n".join([str(ROOT), *rest]))
    match = ["match", *COMMANDS[3].split()[1:]]
    for words in (["fit", "--model", "trinet"], match):
        done = subprocess.run(
            [binaries / "python", "-m", "voiceface", *words], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert done.returncode == 2, done.stderr
        (line,) = done.stderr.splitlines()
        assert f"torchaudio {wrong} do not load together" in line
        assert f"torchaudio=={MATCHED[Version(installed_version('torch')).public][1]}" in line


def test_the_constraints_hold_one_version_of_each_library_for_every_python():
    vision, audio = MATCHED[DEFAULT]
    pinned = {pin.name: str(pin.specifier) for pin in PINS}
    assert [pinned[name] for name in SET] == [f"=={DEFAULT}", f"=={vision}", f"=={audio}"]
    assert all(re.fullmatch(r"==[^,*]+", str(pin.specifier)) and pin.url is None for pin in PINS)
    try:
        wanted = [Requirement(line) for line in requires("voiceface") or ()]
    except PackageNotFoundError:
        pytest.skip("voiceface is not installed, only importable")
    for python in ("3.10", "3.11", "3.12", "3.13"):
        here = {"python_version": python, "python_full_version": f"{python}.0", "extra": "test"}
        found: dict[str, Version] = {}
        for pin in PINS:
            if pin.marker is None or pin.marker.evaluate(here):
                assert pin.name not in found, f"{pin.name} stands twice for Python {python}"
                found[pin.name] = Version(str(pin.specifier).removeprefix("=="))
        for requirement in wanted:
            if requirement.name != "voiceface" and (requirement.marker is None or requirement.marker.evaluate(here)):
                name = re.sub(r"[-_.]+", "-", requirement.name).lower()
                assert requirement.specifier.contains(found[name], prereleases=True), (python, str(requirement))


def test_all_that_is_installed_with_it_is_pinned():
    """Followed through what the installed distributions require: nothing is left to the day of the install."""
    if Version(installed_version("torch")).public != DEFAULT:
        pytest.skip("another torch brings other packages of CUDA")
    pinned = {canonicalize_name(pin.name) for pin in PINS}
    found, left = {"voiceface"}, [("voiceface", "test")]
    while left:
        name, extra = left.pop()
        with suppress(PackageNotFoundError):
            for requirement in map(Requirement, requires(name) or ()):
                wanted = canonicalize_name(requirement.name)
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    new = [(wanted, one) for one in ("", *requirement.extras) if f"{wanted}[{one}]" not in found]
                    found |= {wanted, *(f"{name}[{one}]" for name, one in new)}
                    left += new
    found = {name for name in found if "[" not in name} - {"voiceface"}
    assert len(found) > 100
    assert found - pinned == set()


def test_the_extras_are_those_of_the_project():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = {extra: tuple(Requirement(line).name for line in lines) for extra, lines in extras.items()}
    assert {extra: names for extra, names in listed.items() if extra not in ("test", "dev", "docs")} == EXTRAS


def test_what_pip_builds_with_is_pinned_alike():
    (line,) = re.findall(r"^requires = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    pinned = {pin.name: str(pin.specifier) for pin in PINS}
    building = [Requirement(text) for text in re.findall(r'"([^"]+)"', line)]
    assert "hatchling" in {one.name for one in building}
    assert {one.name: str(one.specifier) for one in building} == {one.name: pinned[one.name] for one in building}


def test_the_page_has_the_table_of_sets():
    page = (ROOT / "docs/install.md").read_text().replace("*", "")
    for version, (vision, audio) in MATCHED.items():
        assert f"| {version} | {vision} | {audio} |" in page
