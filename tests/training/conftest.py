"""The corpus that the tests of real runs share."""

import os
from pathlib import Path

import pytest
from filelock import FileLock
from tests_support import voiceface


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 synthetic people, made once for all test processes; nobody writes into it."""
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "synthetic"
    with FileLock(out.with_suffix(".lock")):
        if not out.exists():
            people = ["--identities", 40, "--voices", 2, "--faces", 2]
            voiceface("prepare", "synthetic", out, *people, "--workers", 1, status=0)
    return out
