import os
from pathlib import Path

import pytest

from voiceface.data.prepare.media.rejected import Rejected, unchanged


def outcome(path: Path, act: object = None, failure: Exception | None = None) -> str:
    """What a block that does something to the file, then fails or not, ends in."""
    try:
        with unchanged(path, "face"):
            if callable(act):
                act()
            if failure:
                raise failure
    except Rejected as rejected:
        return rejected.reason
    except OSError as error:
        return type(error).__name__
    return "used"


@pytest.mark.parametrize("failure", [None, Rejected("face", "truncated"), PermissionError("no")])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, failure: Exception | None) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    assert outcome(path, None, failure) == {"NoneType": "used", "Rejected": "truncated"}.get(
        type(failure).__name__, "PermissionError"
    )
    assert outcome(path, lambda: path.read_text(), failure) != "changed while it was read"
    assert outcome(path, lambda: path.write_text("longer"), failure) == "changed while it was read"
    assert outcome(path, lambda: os.utime(path, (1, 1)), failure) == "changed while it was read"
    (tmp_path / "other").write_text("longer")
    assert outcome(path, lambda: os.replace(tmp_path / "other", path), failure) == "changed while it was read"
    assert outcome(path, path.unlink, failure) == "vanished while it was read"
    assert outcome(path, None, failure) == "vanished since it was listed"
    assert outcome(tmp_path / "gone" / "a", None, failure) == "vanished since it was listed"


def test_what_might_never_end_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    for path in tmp_path.iterdir():
        assert outcome(path, lambda: pytest.fail("opened")) == "not a regular file"


def vanish(path: Path) -> None:
    with unchanged(path, "face"):
        path.unlink()
        raise ZeroDivisionError


def test_other_failures_are_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(ZeroDivisionError):
        vanish(tmp_path / "a")
    with pytest.raises(Rejected) as caught:
        vanish(tmp_path / "a")
    assert caught.value.stage == "face"
