"""`voiceface prepare folder`: collect people from a folder or from a CSV manifest, and read each of them.

Every file below the folder (every row of the manifest) ends up in the corpus or among the rejects; hidden files and
`identities.csv` excepted.
"""

import math
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from voiceface.data.corpus.bundles import Person, Reject
from voiceface.data.corpus.videos import shared_videos
from voiceface.data.prepare.engine.build import LOCAL, Bundling, CorpusOptions, Engine, Summary, build
from voiceface.data.prepare.sources.people import KINDS, Reading, Source, check_reading, make_person
from voiceface.data.prepare.sources.selection import chosen
from voiceface.data.prepare.sources.tables import IDENTITIES, identity_table, rows
from voiceface.data.prepare.sources.walk import (
    check_outside,
    check_shares,
    clip_keys,
    common_reasons,
    split_people,
    walk,
    within,
)
from voiceface.utils.errors import UserError

# fmt: off
EXTENSIONS = {
    "voice": {
        ".aac", ".ac3", ".aif", ".aiff", ".amr", ".au", ".avi", ".caf", ".flac", ".flv", ".m4a", ".m4v", ".mka", ".mkv",
        ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg", ".ogv", ".opus", ".ts", ".w64", ".wav",
        ".webm", ".wma", ".wmv",
    },
    "face": {
        ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff",
        ".webp",
    },
}
# fmt: on


@dataclass(frozen=True)
class FolderOptions:
    """How people are collected and stored.

    Args:
        name: Name of the corpus.
        licence: Licence of the material.
        reading: How voices and faces are read.
        shares: Shares of the people for train, val and test, where the material names no split; they sum to 1.
        seed: Seed of the split, of the dealing and of the order.
    """

    name: str = "folder"
    licence: str = ""
    reading: Reading = field(default_factory=Reading)
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: int = 0


@dataclass(frozen=True)
class Job:
    """One person to read."""

    identity: str
    split: str
    voices: tuple[Source, ...]
    faces: tuple[Source, ...]
    reading: Reading

    @property
    def clips(self) -> int:
        """Files to read."""
        return len(self.voices) + len(self.faces)


@dataclass(frozen=True)
class Collection:
    """What lies in the raw material: people to read, attributes of the identities, and what is left out unread."""

    jobs: list[Job]
    identities: dict[str, dict[str, str]]
    rejects: list[Reject]


@dataclass(frozen=True)
class _Entry:
    """A file that claims to be someone's voice or face; `within` is its path as seen from the identity."""

    identity: str
    kind: str
    path: str
    within: str
    video: str = ""
    time: float | None = None


def prepare_folder(
    source: Path,
    out: Path,
    options: FolderOptions,
    workers: int | None = None,
    bundle: Bundling = "random",
    limit: int | None = None,
    only: str = "",
    engine: Engine = LOCAL,
) -> Summary:
    """Make a corpus of the people in a folder or a manifest.

    Args:
        source: Folder or CSV, see `collect`.
        out: Folder of the corpus.
        options: What is kept, and how.
        workers: Processes; default one per core.
        bundle: `video` keeps the clips of one video together, see `CorpusOptions`.
        limit: So many people at most, see `voiceface.data.prepare.sources.selection.chosen`.
        only: These people only, see there.
        engine: Where the files are read, see `voiceface.data.prepare.engine.build.build`.

    Returns:
        Counts per split, and rejects by reason.

    Raises:
        UserError: As `collect`, `voiceface.data.prepare.sources.selection.chosen` and
            `voiceface.data.prepare.engine.build.build`.
    """
    check_outside(source, out)
    found = collect(source, options)
    if bundle == "video" and not any(shared_videos(job.voices, job.faces) for job in found.jobs):
        raise UserError(
            f"--bundle video: no video in {source} has both voices and faces; name the videos by equal folders below "
            "voice/ and face/ or in a column video, or leave --bundle out"
        )
    corpus = CorpusOptions(
        options.name,
        options.licence,
        options.reading.face.size,
        options.reading.face.margin,
        seed=options.seed,
        bundle=bundle,
    )
    made_by = {"command": "prepare folder", "folder": asdict(options)}
    jobs = chosen(found.jobs, limit, only)
    return build(out, jobs, make_folder_person, found.identities, corpus, made_by, found.rejects, workers, engine)


def collect(source: Path, options: FolderOptions) -> Collection:
    """Find the people in a folder or a manifest, without opening their files.

    A folder holds `<identity>/voice/*` and `<identity>/face/*`, at any depth below those two: the sub-folders in
    between are the video id. Its `identities.csv` (optional) has a column `identity`; `split` is honoured, all others
    are attributes. A manifest has the columns identity, path (relative to the manifest) and kind (voice or face), may
    have video, time (seconds) and split; all others are attributes of the identity.

    Without splits, people are split by a seeded hash, see `split_people`.

    Args:
        source: Folder or CSV.
        options: Shares and seed of the split, and what the jobs carry.

    Raises:
        UserError: The source is missing or empty, a table lacks a column or contradicts itself, a split is unknown, or
            fewer than two identities have both voices and faces.
    """
    check_reading(options.reading)
    check_shares(options.shares)
    if not source.exists():
        raise UserError(
            f"{source}: no such folder or file; give a folder of IDENTITY/voice and IDENTITY/face, or a CSV"
        )
    root = (source if source.is_dir() else source.parent).absolute()
    table = source / IDENTITIES if source.is_dir() else source
    rejects: list[Reject] = []
    entries = list(_walk(source, rejects) if source.is_dir() else _manifest(source, rejects))
    if not entries and not rejects:
        raise UserError(f"{source}: is empty; give a folder of IDENTITY/voice and IDENTITY/face, or a CSV")
    attributes = identity_table(source) if table.exists() else {}
    people: dict[str, dict[str, list[_Entry]]] = defaultdict(lambda: {kind: [] for kind in KINDS})
    for entry in entries:
        people[entry.identity][entry.kind].append(entry)
    for identity, kinds in sorted(people.items()):
        missing = [kind for kind in KINDS if not kinds[kind]]
        if missing:
            rejects += [
                Reject(e.path, "collect", f"identity has no {missing[0]}") for e in kinds["voice"] + kinds["face"]
            ]
            del people[identity]
    if len(people) < 2:
        layout = "IDENTITY/voice/* and IDENTITY/face/*" if source.is_dir() else "rows of both kinds for each identity"
        raise UserError(
            f"{source}: {len(people) or 'no'} identity with both voices and faces, matching needs two or more;"
            f" give {layout} (left out: {common_reasons(rejects)})"
        )
    if source.is_dir():
        there = {path.split("/")[0] for path in [e.path for e in entries] + [r.path for r in rejects]}
        reason = f"in {IDENTITIES} but without files"
        rejects += [Reject(f"{i}/", "collect", reason) for i in sorted(attributes) if i not in there]
    given = {identity: attributes.get(identity, {}).get("split", "") for identity in sorted(people)}
    splits = split_people(table, given, options.shares, options.seed)
    jobs = []
    for identity, kinds in sorted(people.items()):
        names = within(identity, [entry.within for entry in kinds["voice"] + kinds["face"]])
        keys = clip_keys(identity, [names[entry.within] for entry in kinds["voice"] + kinds["face"]])
        voices, faces = (
            tuple(
                Source(e.path, keys[names[e.within]], e.video, e.time, str(root))
                for e in sorted(kinds[kind], key=lambda e: e.path)
            )
            for kind in KINDS
        )
        jobs.append(Job(identity, splits[identity], voices, faces, options.reading))
    identities = {i: {k: v for k, v in attributes.get(i, {}).items() if k != "split"} for i in sorted(people)}
    return Collection(jobs, identities, rejects)


def make_folder_person(job: Job) -> Person:
    """Read one person's files, see `voiceface.data.prepare.sources.people.make_person`."""
    return make_person(job.identity, job.split, job.voices, job.faces, job.reading)


def _walk(root: Path, rejects: list[Reject]) -> Iterator[_Entry]:
    """Every file below a folder, in order, as an entry or among the rejects."""
    for path in walk(root, rejects):
        above = path.split("/")[:-1]
        identity, kind, *between = (*above, "", "")[: max(len(above), 2)]
        reason = _misplaced(path, identity, kind)
        if reason:
            rejects.append(Reject(path, "collect", reason))
        else:
            yield _Entry(identity, kind, path, path.removeprefix(f"{identity}/"), "/".join(between))


def _misplaced(path: str, identity: str, kind: str) -> str:
    """Why a file of a folder is left out; empty if it is not."""
    extension = PurePosixPath(path).suffix.lower()
    if not identity:
        return "not in an identity's folder"
    if kind not in KINDS:
        return "neither below voice/ nor below face/"
    if extension in EXTENSIONS[kind]:
        return ""
    other = "image below voice/" if kind == "voice" else "sound or video below face/"
    return other if any(extension in known for known in EXTENSIONS.values()) else "unknown file extension"


def _manifest(path: Path, rejects: list[Reject]) -> Iterator[_Entry]:
    """Every row of a manifest, as an entry or among the rejects."""
    seen: dict[str, tuple[str, set[str]]] = {}
    for number, row in rows(path, ("identity", "path", "kind")):
        identity, kind = row["identity"], row["kind"].lower()
        if "/" in identity or identity in (".", ".."):
            raise UserError(f"{path}, line {number}: identity {identity} cannot name a folder; use another")
        if not identity or not row["path"]:
            rejects.append(
                Reject(row["path"] or f"{path.name}, line {number}", "collect", "row without identity or path")
            )
            continue
        file = os.path.relpath(path.parent / row["path"], path.parent)
        owner, kinds = seen.setdefault(file, (identity, set()))
        if owner != identity:
            raise UserError(
                f"{path}, line {number}: {row['path']} belongs to {identity}, above to {owner}; one file is one person"
            )
        if kind not in KINDS:
            rejects.append(Reject(file, "collect", "kind is neither voice nor face"))
        elif kind in kinds:
            rejects.append(Reject(file, "collect", "listed twice"))
        elif not (path.parent / file).is_file():
            rejects.append(Reject(file, "collect", "file does not exist"))
        else:
            try:
                time = float(row["time"]) if row.get("time") else None
                if not math.isfinite(time or 0):
                    raise ValueError
            except ValueError:
                raise UserError(f"{path}, line {number}: time {row['time']} is not a number of seconds") from None
            yield _Entry(identity, kind, file, file, row.get("video", ""), time)
        kinds.add(kind)
