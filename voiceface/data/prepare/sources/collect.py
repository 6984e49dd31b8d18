"""Collect the people of a folder or of a CSV manifest: whose each file is, keys, splits, and what is left out."""

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from voiceface.data.corpus.bundles import Reject
from voiceface.data.prepare.sources.people import Source
from voiceface.data.prepare.sources.selection import PersonJob
from voiceface.data.prepare.sources.tables import IDENTITIES, identity_table, read_csv_rows
from voiceface.data.prepare.sources.walk import Shares, clip_keys, common_reasons, split_people, walk, within
from voiceface.utils.errors import UserError

Files = Mapping[str, tuple[Source, ...]]


@dataclass(frozen=True)
class Collection(Generic[PersonJob]):
    """What lies in the raw material: people to read, attributes of the identities, and what is left out unread."""

    jobs: list[PersonJob]
    identities: dict[str, dict[str, str]]
    rejects: list[Reject]


@dataclass(frozen=True)
class Entry:
    """A file that claims to be someone's."""

    identity: str
    kind: str
    path: str
    video: str = ""
    time: float | None = None


@dataclass(frozen=True)
class Material:
    """How the raw material of a command looks.

    Attributes:
        columns: Columns that a manifest must have.
        kinds: The kinds of files; a person needs one of each.
        what: What a person needs, for messages.
        give: The layout to give, for messages.
        of_path: The entry of a file in a folder by its path, or why it is left out.
        times: Whether a manifest may say at what time of its video a file stands.
    """

    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    what: str
    give: str
    of_path: Callable[[str], Entry | str]
    times: bool = False


def collect_people(
    source: Path, material: Material, shares: Shares, seed: int, job: Callable[[str, str, Files], PersonJob]
) -> Collection[PersonJob]:
    """Find the people in a folder or a manifest, without opening their files.

    Args:
        source: Folder or CSV.
        material: What is looked for.
        shares: Shares of the people for train, val and test, where the material names no split.
        seed: Seed of the split.
        job: Makes the job of an identity, its split and its files by kind.

    Raises:
        UserError: The source is missing or empty, a table lacks a column or contradicts itself, a split is unknown, or
            fewer than two identities have files of all kinds.
    """
    if not source.exists():
        raise UserError(f"{source}: no such folder or file; give {material.give}")
    root = str((source if source.is_dir() else source.parent).absolute())
    table = source / IDENTITIES if source.is_dir() else source
    rejects: list[Reject] = []
    people: dict[str, list[Entry]] = defaultdict(list)
    for entry in _walk(source, material, rejects) if source.is_dir() else _manifest(source, material, rejects):
        people[entry.identity].append(entry)
    if not people and not rejects:
        raise UserError(f"{source}: is empty; give {material.give}")
    attributes = identity_table(source, material.columns) if table.exists() else {}
    for identity, entries in sorted(people.items()):
        missing = [kind for kind in material.kinds if all(entry.kind != kind for entry in entries)]
        if missing:
            rejects += [Reject(entry.path, "collect", f"identity has no {missing[0]}") for entry in entries]
            del people[identity]
    if len(people) < 2:
        raise UserError(
            f"{source}: {len(people) or 'no'} identity with {material.what}, matching needs two or more; give "
            f"{material.give} (left out: {common_reasons(rejects)})"
        )
    if source.is_dir():
        there = people.keys() | {reject.path.split("/")[0] for reject in rejects}
        reason = f"in {IDENTITIES} but without files"
        rejects += [Reject(f"{identity}/", "collect", reason) for identity in sorted(attributes.keys() - there)]
    known = {identity: attributes.get(identity, {}) for identity in sorted(people)}
    splits = split_people(table, {identity: row.get("split", "") for identity, row in known.items()}, shares, seed)
    jobs = []
    for identity in known:
        entries = sorted(people[identity], key=lambda entry: entry.path)
        names = within(identity, [entry.path for entry in entries])
        keys = clip_keys(identity, list(names.values()))
        files = {
            kind: tuple(Source(e.path, keys[names[e.path]], e.video, e.time, root) for e in entries if e.kind == kind)
            for kind in material.kinds
        }
        jobs.append(job(identity, splits[identity], files))
    identities = {i: {name: value for name, value in row.items() if name != "split"} for i, row in known.items()}
    return Collection(jobs, identities, rejects)


def _walk(root: Path, material: Material, rejects: list[Reject]) -> Iterator[Entry]:
    """Every file below a folder, in order, as an entry or among the rejects."""
    for path in walk(root, rejects):
        entry = material.of_path(path)
        if isinstance(entry, Entry):
            yield entry
        else:
            rejects.append(Reject(path, "collect", entry))


def _manifest(path: Path, material: Material, rejects: list[Reject]) -> Iterator[Entry]:
    """Every row of a manifest, as an entry or among the rejects."""
    owners: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for number, row in read_csv_rows(path, material.columns):
        identity = row["identity"]
        if "/" in identity or identity in (".", ".."):
            raise UserError(f"{path}, line {number}: identity {identity} cannot name a folder; use another")
        if not identity or not row["path"]:
            name = row["path"] or f"{path.name}, line {number}"
            rejects.append(Reject(name, "collect", "row without identity or path"))
            continue
        file = os.path.relpath(path.parent / row["path"], path.parent)
        if (owner := owners.setdefault(file, identity)) != identity:
            raise UserError(
                f"{path}, line {number}: {row['path']} belongs to {identity}, above to {owner}; one file is one person"
            )
        kind = row["kind"].lower() if "kind" in material.columns else material.kinds[0]
        if kind not in material.kinds:
            rejects.append(Reject(file, "collect", f"kind is neither {' nor '.join(material.kinds)}"))
        elif (file, kind) in seen:
            rejects.append(Reject(file, "collect", "listed twice"))
        elif not (path.parent / file).is_file():
            rejects.append(Reject(file, "collect", "file does not exist"))
        else:
            time = _seconds(row.get("time", ""), f"{path}, line {number}") if material.times else None
            yield Entry(identity, kind, file, row.get("video", ""), time)
        seen.add((file, kind))


def _seconds(text: str, where: str) -> float | None:
    try:
        time = float(text) if text else None
        if not math.isfinite(time or 0):
            raise ValueError
    except ValueError:
        raise UserError(f"{where}: time {text} is not a number of seconds") from None
    return time
