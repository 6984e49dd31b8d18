"""Corpora behind an address (`https://`, `s3://`, `hf://`): every file is fetched whole, checked by hash, and kept.

A file is kept under its sha256 and no other name. So nothing that a server says becomes a path here, versions of a
corpus never mix, and what two addresses share is fetched once.
"""

import fcntl
import multiprocessing
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from fsspec.core import url_to_fs

from voiceface.utils.errors import UserError, reason
from voiceface.utils.files import locked, sha256_of
from voiceface.utils.progress import progress

CHUNK = 8 << 20  # bytes of one request: what a cut connection can cost
DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each new attempt
LIMIT_GB = 100.0
MIB = 1 << 20
# A forked process that let go of its parent's filesystem would take the parent's connections out of the parent's epoll,
# which both share: the parent's next answer would never arrive.
_open_filesystems: dict[int, Any] = {}


def cache_folder() -> Path:
    """Folder of what voiceface can make or fetch again.

    Returns:
        `$VOICEFACE_CACHE`, else `$XDG_CACHE_HOME/voiceface`, else `~/.cache/voiceface`.
    """
    own = os.environ.get("VOICEFACE_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voiceface"


def cache_limit() -> float:
    """Bytes that fetched files may take: `$VOICEFACE_CACHE_GB` (10^9 bytes each; default 100).

    Raises:
        UserError: The variable is no positive number.
    """
    given = os.environ.get("VOICEFACE_CACHE_GB") or str(LIMIT_GB)
    try:
        limit = 1e9 * float(given)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise UserError(f"VOICEFACE_CACHE_GB={given}: give a number of gigabytes above 0")
    return limit


def read_remote(root: str, name: str) -> bytes:
    """Read a small file of a remote corpus, past the cache.

    Args:
        root: Address of the corpus.
        name: The file.

    Raises:
        FileNotFoundError: There is none.
        UserError: The address is wrong or does not answer.
    """
    return _ask(f"{root}/{name}")


def fetch(root: str, name: str, sha256: str, size: int | None) -> Path:
    """Find a file of a remote corpus in the cache, or fetch it.

    Any number of processes may ask at once: one fetches, the others wait. A fetch that was cut, or whose process was
    killed, goes on where it stopped. The least recently used files make room.

    Args:
        root: Address of the corpus.
        name: The file.
        sha256: What its content must hash to, 64 hexadecimal digits.
        size: Its bytes; None: a small file of unknown size.

    Returns:
        The file, complete and checked.

    Raises:
        UserError: It is not there, its content is not what the corpus says, the address does not answer, or the cache
            cannot be written.
    """
    path = cache_folder() / "remote" / sha256
    if path.exists():
        with suppress(OSError):  # a cache that somebody else owns can be read all the same
            os.utime(path)
        return path
    try:
        with locked(path.with_suffix(".part"), wait=True) as part:
            if not path.exists():
                _make_room(path.parent, size or 0)
                _download(f"{root}/{name}", part, sha256, size)
                os.replace(part.name, path)
            else:  # another process was faster
                os.unlink(part.name)
    except FileNotFoundError:
        raise UserError(f"{root}/{name}: not there, though corpus.json names it; the corpus is not whole") from None
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot be written ({reason(error)}); make room, or set VOICEFACE_CACHE to another folder"
        ) from None
    return path


def _download(url: str, part: IO[bytes], sha256: str, size: int | None) -> None:
    """Complete a file, from wherever it stands, and check it."""
    resumed = part.tell() > 0
    _append(url, part, size)
    if resumed and sha256_of(Path(part.name)) != sha256:  # what an earlier process left was no good
        part.truncate(0)
        _append(url, part, size)
    if sha256_of(Path(part.name)) != sha256:
        os.unlink(part.name)
        raise UserError(
            f"{url}: its content is not what corpus.json says (sha256 differs); the corpus was changed or damaged there"
        )
    os.fsync(part.fileno())


def _append(url: str, part: IO[bytes], size: int | None) -> None:
    start = part.seek(0, os.SEEK_END)
    if size is None:
        part.truncate(0)
        part.write(_ask(url))
    else:
        # Workers show no bar: many would be a mess.
        shown = multiprocessing.parent_process() is None
        what = f"fetching {'/'.join(url.split('/')[-2:])}, MiB"
        with progress(what, size // MIB, start // MIB, shown) as advance:
            while start < size:
                end = min(start + CHUNK, size)
                data = _ask(url, start, end)
                if len(data) > end - start:  # a server without ranges sends the whole file
                    data = data[start:size]
                part.write(data)
                start += len(data)
                advance(len(data) / MIB)
    part.flush()


def _make_room(folder: Path, size: int) -> None:
    """Remove the least recently used files until so many more bytes fit."""
    files = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            stat = path.stat()
            files.append((stat.st_mtime, stat.st_size, path))
    total = size + sum(taken for _, taken, _ in files)
    for _, taken, path in sorted(files):
        if total <= cache_limit():
            return
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            if path.suffix == ".part":
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not what somebody fetches just now
            path.unlink()
            total -= taken


def _ask(url: str, start: int | None = None, end: int | None = None) -> bytes:
    """Ask for bytes of a file, again after a failure that may pass."""
    try:
        options = _options(url)
        filesystem, path = url_to_fs(url, **options)  # type: ignore[no-untyped-call]
    except ImportError:
        raise UserError(f"{url}: this address needs the extra `remote`: pip install 'voiceface[remote]'") from None
    except ValueError as error:
        raise UserError(f"{url}: not an address that can be read ({_line(error)}); give https, s3 or hf") from None
    _open_filesystems[id(filesystem)] = filesystem
    for delay in (*DELAYS, None):
        try:
            data = bytes(filesystem.cat_file(path, start=start, end=end))
            if start is not None and not data:
                raise ConnectionError("the server sent nothing")
            return data
        except FileNotFoundError:
            raise
        except Exception as error:
            if delay is None or _final(error):
                raise UserError(f"{url}: cannot be fetched ({_line(error)}); try again, or check the address") from None
            time.sleep(delay)
    raise AssertionError


def _options(url: str) -> dict[str, Any]:
    """What the filesystem of this address is to be made with."""
    if not url.startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(total=None, sock_connect=30, sock_read=60)
    # Compressed transfers cannot be resumed; proxies are those of the environment.
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}, "headers": {"Accept-Encoding": "identity"}}


def _final(error: Exception) -> bool:
    """Whether asking again would not help: no permission, or the server refused the request itself."""
    status = getattr(error, "status", None)
    refused = isinstance(status, int) and 400 <= status < 500 and status not in (408, 429)
    return isinstance(error, PermissionError) or refused


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
