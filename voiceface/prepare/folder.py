"""`voiceface prepare folder`: collect people from a folder or from a CSV manifest, and read each of them.

Every file below the folder (every row of the manifest) ends up in the corpus or among the rejects; hidden files and `identities.csv` excepted.
"""

import csv
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from voiceface.data.shards import SPLITS, Clip, Person, Reject, encode_flac, encode_jpeg, seeded
from voiceface.errors import UserError
from voiceface.prepare.engine import CorpusOptions, Summary, build
from voiceface.prepare.faces import read_face
from voiceface.prepare.speech import Rejected, read_voice

KINDS = ("voice", "face")
IDENTITIES = "identities.csv"
EXTENSIONS = {
    "voice": set(
        ".aac .ac3 .aif .aiff .amr .au .avi .caf .flac .flv .m4a .m4v .mka .mkv .mov .mp2 .mp3 .mp4 .mpeg .mpg .oga .ogg .ogv .opus .ts .w64"
        " .wav .webm .wma .wmv".split()
    ),
    "face": set(".bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pgm .png .ppm .tif .tiff .webp .avif".split()),
}
GENDERS = {"male": "m", "female": "f", "M": "m", "F": "f", "Male": "m", "Female": "f"}


@dataclass(frozen=True)
class FolderOptions:
    """How people are collected and stored.

    Args:
        name: Name of the corpus.
        licence: Licence of the material.
        face_size: Side of the stored faces, pixels.
        face_margin: How many times the face box the pictures show; nothing is cut, the number is only kept in the corpus.
        minimum_seconds: Shorter voices are left out, seconds.
        minimum_side: Pictures with a smaller side are left out, pixels.
        shares: Shares of the people for train, val and test, where the material names no split; they sum to 1.
        seed: Seed of the split, of the dealing and of the order.
    """

    name: str = "folder"
    licence: str = ""
    face_size: int = 224
    face_margin: float = 1.0
    minimum_seconds: float = 0.5
    minimum_side: int = 32
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: int = 0


@dataclass(frozen=True)
class Source:
    """One file to read: its path relative to the raw material's folder, its clip's key, and what is known of its video."""

    path: str
    key: str
    video: str = ""
    time: float | None = None


@dataclass(frozen=True)
class Job:
    """One person to read."""

    root: str
    identity: str
    split: str
    voices: tuple[Source, ...]
    faces: tuple[Source, ...]
    options: FolderOptions


@dataclass(frozen=True)
class Collection:
    """What lies in the raw material: the people to read, the identity table (attributes), and what is left out before reading."""

    jobs: list[Job]
    identities: dict[str, dict[str, str]]
    rejects: list[Reject]


@dataclass(frozen=True)
class _Entry:
    """A file that claims to be a voice or a face of someone; `stem` is the part of its path that tells it apart within the identity."""

    identity: str
    kind: str
    path: str
    within: str
    video: str = ""
    time: float | None = None


def prepare_folder(source: Path, out: Path, options: FolderOptions, workers: int | None = None) -> Summary:
    """Make a corpus of the people in a folder or a manifest.

    Args:
        source: Folder or CSV, see `collect`.
        out: Folder of the corpus.
        options: What is kept, and how.
        workers: Processes; default one per core.

    Returns:
        Counts per split, and rejects by reason.

    Raises:
        UserError: As `collect` and `voiceface.prepare.engine.build`.
    """
    found = collect(source, options)
    corpus = CorpusOptions(options.name, options.licence, options.face_size, options.face_margin, seed=options.seed)
    made_by = {"command": "prepare folder", "folder": asdict(options)}
    return build(out, found.jobs, make_person, found.identities, corpus, made_by, found.rejects, workers)


def collect(source: Path, options: FolderOptions) -> Collection:
    """Find the people in a folder or a manifest, without opening their files.

    A folder holds `<identity>/voice/*` and `<identity>/face/*`, at any depth below those two: the sub-folders in between are the video id. Its
    `identities.csv` (optional) has a column `identity`; `split` is honoured, all others are attributes. A manifest has the columns identity, path
    (relative to the manifest) and kind (voice or face), may have video, time (seconds) and split; all others are attributes of the identity.

    Without splits, people are put in the order of a seeded hash of their identity and split by `options.shares`, with two people at least in
    test, then in val, as long as two are left for train: an added person moves few others.

    Args:
        source: Folder or CSV.
        options: Shares and seed of the split, and what the jobs carry.

    Raises:
        UserError: The source is missing or empty, a table lacks a column or contradicts itself, a split is unknown, or fewer than two
            identities have both voices and faces.
    """
    _check(options)
    if not source.exists():
        raise UserError(f"{source}: no such folder or file; give a folder of IDENTITY/voice and IDENTITY/face, or a CSV")
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
            rejects += [Reject(e.path, "collect", f"identity has no {missing[0]}") for e in kinds["voice"] + kinds["face"]]
            del people[identity]
    if len(people) < 2:
        raise UserError(
            f"{source}: {len(people) or 'no'} {'identity' if len(people) == 1 else 'identities'} with both voices and faces, matching needs two"
            f" or more; expected {'IDENTITY/voice/* and IDENTITY/face/*' if source.is_dir() else 'rows of both kinds'}"
            f" (left out: {_common(rejects)})"
        )
    if source.is_dir():
        rejects += [Reject(f"{i}/", "collect", f"in {IDENTITIES} but without files") for i in sorted(attributes) if not (source / i).is_dir()]
    splits = _splits(table, {i: attributes.get(i, {}).get("split", "") for i in sorted(people)}, options)
    jobs = []
    for identity, kinds in sorted(people.items()):
        keys = _keys(identity, kinds["voice"] + kinds["face"])
        voices, faces = (
            tuple(Source(e.path, keys[kind, e.path], e.video, e.time) for e in sorted(kinds[kind], key=lambda e: e.path)) for kind in KINDS
        )
        jobs.append(Job(str(root), identity, splits[identity], voices, faces, options))
    identities = {i: {k: v for k, v in attributes.get(i, {}).items() if k != "split"} for i in sorted(people)}
    return Collection(jobs, identities, rejects)


def make_person(job: Job) -> Person:
    """Read one person's files. A person of whom no voice or no face is usable is left out whole.

    Warnings about what is kept (clipped, DC offset) go to this module's log, level INFO.

    Args:
        job: One job of `collect`.
    """
    clips: dict[str, list[Clip]] = {kind: [] for kind in KINDS}
    rejects: list[Reject] = []
    for kind, sources in (("voice", job.voices), ("face", job.faces)):
        for source in sources:
            path = Path(job.root, source.path)
            try:
                if kind == "voice":
                    waveform, warnings = read_voice(path, job.options.minimum_seconds)
                    data = encode_flac(waveform)
                    for warning in warnings:
                        logging.getLogger(__name__).info("%s: %s", source.path, warning)
                else:
                    data = encode_jpeg(read_face(path, job.options.face_size, job.options.minimum_side))
            except Rejected as rejected:
                rejects.append(Reject(source.path, rejected.stage, rejected.reason))
            else:
                clips[kind].append(Clip(source.key, data, source.video, source.time, source.path))
    missing = [kind for kind in KINDS if not clips[kind]]
    if missing:
        rest = clips["voice"] + clips["face"]
        rejects += [Reject(clip.source, "collect", f"identity has no usable {missing[0]}") for clip in rest]
        return Person(job.identity, job.split, rejects=tuple(rejects))
    return Person(job.identity, job.split, tuple(clips["voice"]), tuple(clips["face"]), tuple(rejects))


def identity_table(source: Path) -> dict[str, dict[str, str]]:
    """Read what is known of each identity, from a folder's `identities.csv` or from a manifest.

    Args:
        source: Folder or CSV.

    Returns:
        Identity to attributes, all strings, empty where unknown, and `split` where the table has it; gender as m or f.

    Raises:
        UserError: A column is missing, an identity has two rows (in `identities.csv`) or two values (in a manifest).
    """
    path = source / IDENTITIES if source.is_dir() else source
    table: dict[str, dict[str, str]] = {}
    for number, row in _rows(path, ("identity",) if source.is_dir() else ("identity", "path", "kind")):
        identity = row.pop("identity")
        if not identity:
            if source.is_dir():
                raise UserError(f"{path}, line {number}: no identity; fill it in or delete the line")
            continue
        if not source.is_dir():
            row = {k: v for k, v in row.items() if k not in ("path", "kind", "video", "time")}
        elif identity in table:
            raise UserError(f"{path}, line {number}: identity {identity} stands there twice; keep one row")
        if "gender" in row:
            row["gender"] = GENDERS.get(row["gender"], row["gender"])
        known = table.setdefault(identity, row)
        for column, value in row.items():
            if value != known[column] and value and known[column]:
                raise UserError(f"{path}, line {number}: {column} of identity {identity} is {value}, above it is {known[column]}; make them one")
            known[column] = known[column] or value
    return table


def _walk(root: Path, rejects: list[Reject]) -> Iterator[_Entry]:
    """Every file below a folder, in order, as an entry or among the rejects."""
    seen: set[str] = set()

    def failed(error: OSError) -> None:
        name = os.path.relpath(error.filename, root)
        rejects.append(Reject(_printable(name), "collect", f"folder cannot be read ({error.strerror})"))

    for folder, folders, files in os.walk(root, followlinks=True, onerror=failed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(folder).relative_to(root)
        if os.path.realpath(folder) in seen:
            rejects.append(Reject(_printable(here.as_posix()), "collect", "folder read already under another name"))
            folders.clear()
            continue
        seen.add(os.path.realpath(folder))
        for name in sorted(files):
            path = (here / name).as_posix()
            if name.startswith(".") or path == IDENTITIES:
                continue
            identity, kind, *between = (*here.parts, "", "")[: max(len(here.parts), 2)]
            reason = _misplaced(path, identity, kind)
            if reason:
                rejects.append(Reject(_printable(path), "collect", reason))
            else:
                yield _Entry(identity, kind, path, path.removeprefix(f"{identity}/"), "/".join(between))


def _misplaced(path: str, identity: str, kind: str) -> str:
    """Why a file of a folder is left out; empty if it is not."""
    extension = PurePosixPath(path).suffix.lower()
    if _printable(path) != path:
        return "file name is not UTF-8"
    if not identity:
        return "not in an identity's folder"
    if kind not in KINDS:
        return "neither below voice/ nor below face/"
    if extension in EXTENSIONS[kind]:
        return ""
    other = "image below voice/" if kind == "voice" else "sound or video below face/"
    return other if any(extension in known for known in EXTENSIONS.values()) else "unknown file extension"
