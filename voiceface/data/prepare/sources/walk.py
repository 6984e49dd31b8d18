"""Collecting people from folders and manifests: walking, keys, splits."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from voiceface.data.corpus.bundles import Reject
from voiceface.data.corpus.shards import SPLITS
from voiceface.data.prepare.sources.tables import CONTROL, IDENTITIES
from voiceface.utils.errors import UserError
from voiceface.utils.seeds import seeded

Shares = tuple[float, float, float]


def walk(root: Path, rejects: list[Reject]) -> Iterator[str]:
    """Every file below a folder, in order, through links.

    Hidden files and the folder's `identities.csv` are left out; unreadable folders, folders met a second time (links)
    and paths with control characters or what is not UTF-8 go to the rejects.

    Args:
        root: Folder.
        rejects: List that rejects are added to.

    Yields:
        Paths below `root`, with slashes.
    """
    seen: set[str] = set()

    def failed(error: OSError) -> None:
        name = os.path.relpath(error.filename, root)
        rejects.append(Reject(printable(name), "collect", f"folder cannot be read ({error.strerror})"))

    for folder, folders, files in os.walk(root, followlinks=True, onerror=failed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(folder).relative_to(root)
        if os.path.realpath(folder) in seen:
            rejects.append(Reject(printable(here.as_posix()), "collect", "folder read already under another name"))
            folders.clear()
            continue
        seen.add(os.path.realpath(folder))
        for name in sorted(files):
            path = (here / name).as_posix()
            if name.startswith(".") or path == IDENTITIES:
                continue
            if reason := unprintable(path):
                rejects.append(Reject(printable(path), "collect", reason))
            else:
                yield path


def check_outside(source: Path, out: Path, option: str = "") -> None:
    """Refuse an output folder within the raw material, which messages name after its option.

    Raises:
        UserError: `out` is `source` or lies within it.
    """
    if source.is_dir() and source.resolve() in (out.resolve(), *out.resolve().parents):
        raise UserError(f"{out}: lies within {option}{source}, which is only read; choose an OUT elsewhere")


def within(identity: str, paths: Sequence[str]) -> dict[str, str]:
    """What each file is called within its identity; a manifest may name files outside its own folder."""
    names = {path: re.sub(r"^(\.\./)+", "", path.removeprefix(f"{identity}/")) for path in paths}
    return names if len(set(names.values())) == len(set(paths)) else {path: path for path in paths}


def clip_keys(identity: str, paths: Sequence[str]) -> dict[str, str]:
    """Keys of an identity's files: the path without extension, or with it where that alone tells two files apart."""
    stems = {path: PurePosixPath(path).with_suffix("").as_posix() for path in paths}
    count = Counter(stems.values())
    return {
        path: f"{identity}/{stem if count[stem] == 1 and stem not in stems else path}" for path, stem in stems.items()
    }


def split_people(table: Path, given: Mapping[str, str], shares: Shares, seed: int) -> dict[str, str]:
    """Each identity's split: as given, else seeded.

    Without splits, people are put in the order of a seeded hash of their identity and split by the shares, with two
    people at least in test, then in val, as long as two are left for train: an added person moves few others.

    Args:
        table: Where the splits were given, for messages.
        given: Split of each identity, or an empty string.
        shares: Shares of the people for train, val and test.
        seed: Seed of the order.

    Raises:
        UserError: A split is unknown, or only some of the identities have one.
    """
    named = {identity: split.lower() for identity, split in given.items()}
    wrong = [identity for identity, split in named.items() if split and split not in SPLITS]
    if wrong:
        raise UserError(f"{table}: split {given[wrong[0]]} of identity {wrong[0]}; give train, val or test")
    without = [identity for identity, split in named.items() if not split]
    if not without:
        return named
    if len(without) < len(named):
        raise UserError(
            f"{table}: no split for {without[0]} ({len(without)} in all); give each one, or delete the column"
        )
    order = sorted(named, key=lambda identity: seeded(seed, "split", identity))
    spare = len(order) - 2
    sizes = {}
    for split, share in (("test", shares[2]), ("val", shares[1])):
        wanted = min(max(2, round(share * len(order))), spare) if share else 0
        sizes[split] = wanted if wanted >= 2 else 0
        spare -= sizes[split]
    test, val = sizes["test"], sizes["test"] + sizes["val"]
    return {identity: "test" if i < test else "val" if i < val else "train" for i, identity in enumerate(order)}


def check_shares(shares: Shares) -> None:
    """Refuse shares that are none.

    Raises:
        UserError: They do not sum to 1, or nobody is left to train on.
    """
    if min(shares) < 0 or not shares[0] or abs(sum(shares) - 1) > 1e-6:
        raise UserError(f"shares {shares}: give three that sum to 1, the first above 0")


def common_reasons(rejects: Sequence[Reject]) -> str:
    """The three most common reasons, for messages."""
    return "; ".join(f"{n} x {reason}" for reason, n in Counter(r.reason for r in rejects).most_common(3)) or "nothing"


def unprintable(path: str) -> str:
    """Why a path cannot be shown as it is; empty where it can."""
    if any("\ud800" <= c <= "\udfff" for c in path):
        return "file name is not UTF-8"
    return "control characters in the path" if CONTROL.search(path) else ""


def printable(path: str) -> str:
    """Path with control characters and what is not UTF-8 in it escaped."""
    text = path.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c >= " " and c != "\x7f" else repr(c)[1:-1] for c in text)
