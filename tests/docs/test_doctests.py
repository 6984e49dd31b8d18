"""Every example of a docstring does what it says."""

import doctest
import importlib
import shutil
from pathlib import Path

import pytest
from tests_support import tone_corpus

import voiceface
from voiceface.inference.model import Model

ROOT = Path(__file__).parents[2]
PACKAGE = Path(voiceface.__file__).parent
WITH_EXAMPLES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text()]


@pytest.fixture(scope="module")
def model() -> Model:
    """A checkpoint of the zoo, that the examples call `model`."""
    return voiceface.load(ROOT / "zoo/trinet-synthetic/src/voiceface_trinet_synthetic")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the examples read: a voice, two faces and a corpus."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "docs/example", folder / "faces", ignore=shutil.ignore_patterns("*.flac"))
    shutil.copy(ROOT / "docs/example/voice.flac", folder)
    tone_corpus(folder / "corpus", [("train", 3, 3)] * 6 + [("val", 2, 2)] * 2 + [("test", 3, 3)] * 4)
    return folder


@pytest.mark.filterwarnings("ignore:.*synthetic people")
@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_examples_of(path: Path, model: Model, files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(files)
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name), extraglobs={"model": model})
    assert found.attempted > 0
    assert found.failed == 0
