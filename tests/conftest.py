"""Fixtures that all tests share."""

import gc
import os
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread per test process, and for what it starts; the libraries read this when they are imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from hypothesis import settings
from tests_support import Counts, server, tone_corpus

# `tests_support.examples` reads which of the two is in force.
settings.register_profile("quick", deadline=None)
settings.register_profile("thorough", deadline=None)
settings.load_profile("quick")


def pytest_configure(config: pytest.Config) -> None:
    """Start one fork server for all test processes, while they import."""
    if "PYTEST_XDIST_WORKER" not in os.environ and config.getoption("numprocesses", None):
        os.environ["FORK_SERVER"] = server().address


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end: the imported libraries and all tests."""
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden losses of tests/golden anew")


@pytest.fixture
def no_installed_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the checkpoints that are installed in this environment, but not those that the test installs itself."""
    import voiceface.checkpoints.find as checkpoints

    def place(entry: EntryPoint) -> tuple[str, str]:
        return entry.name, str(entry.dist.locate_file("")) if entry.dist else ""

    there = {place(entry) for entry in entry_points(group=checkpoints.GROUP)}

    def own(group: str) -> list[EntryPoint]:
        return [entry for entry in entry_points(group=group) if place(entry) not in there]

    monkeypatch.setattr(checkpoints, "entry_points", own)


@pytest.fixture
def make_corpus(tmp_path: Path) -> Callable[..., Path]:
    def make(people: list[Counts], name: str = "corpus", **options: object) -> Path:
        return tone_corpus(tmp_path / name, people, **options)

    return make


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training people with 1 to 9 voices and faces, 4 for validation, 6 for testing."""
    rng = np.random.default_rng(0)
    people: list[Counts] = [("train", int(rng.integers(1, 10)), int(rng.integers(1, 10))) for _ in range(24)]
    people += [("val", 2, 3)] * 4 + [("test", 5, 6)] * 6
    return tone_corpus(tmp_path_factory.mktemp("corpora") / "tones", people)
