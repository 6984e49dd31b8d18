"""The watch that the other tests here trust sees what it should."""

import contextlib
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safety_support import Evil, canary, nothing_ran, refused, watched

from voiceface.utils.errors import UserError


def test_a_pickle_that_runs_is_seen(tmp_path: Path):
    with watched() as watch:
        pickle.loads(pickle.dumps(Evil(tmp_path)))
    assert canary(tmp_path).exists(), "the attack works where nothing guards against it"
    assert [line.split()[0] for line in watch.ran] == ["pickle.find_class", "os.system"]
    with pytest.raises(AssertionError):
        nothing_ran(watch, tmp_path)


@pytest.mark.parametrize(
    "act",
    [
        lambda folder: subprocess.run([sys.executable, "-c", ""], check=True),
        lambda folder: socket.create_connection(("127.0.0.1", 9), timeout=1),
        lambda folder: (folder.parent / "outside").write_text("x"),
        lambda folder: os.symlink("x", folder.parent / "link"),
        lambda folder: canary(folder).touch(),
    ],
    ids=["process", "network", "file outside", "link outside", "canary"],
)
def test_other_deeds_are_seen(tmp_path: Path, act):
    folder = tmp_path / "in"
    folder.mkdir()
    with watched() as watch, contextlib.suppress(ConnectionError):
        act(folder)
    with pytest.raises(AssertionError):
        nothing_ran(watch, folder)


def test_what_lies_inside_may_be_written(tmp_path: Path):
    with watched() as watch:
        (tmp_path / "a").write_text("x")
        (tmp_path / "a").rename(tmp_path / "b")
    assert len(watch.written) == 3
    nothing_ran(watch, tmp_path)


def test_a_refusal_of_two_lines_is_none(tmp_path: Path):
    def two_lines() -> None:
        raise UserError("one\ntwo")

    with pytest.raises(AssertionError):
        refused(tmp_path, two_lines)
