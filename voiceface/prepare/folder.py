"""`voiceface prepare folder`: collect people from a folder or from a CSV manifest, and read each of them.

Every file below the folder (every row of the manifest) ends up in the corpus or among the rejects; hidden files and
`identities.csv` excepted.
"""

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from voiceface.data.shards import SPLITS, Clip, Person, Reject, encode_flac, encode_jpeg, seeded
from voiceface.data.videos import shared_videos
from voiceface.errors import UserError
from voiceface.prepare.engine import Bundling, CorpusOptions, Summary, build
from voiceface.prepare.faces import read_face
from voiceface.prepare.speech import Rejected, read_voice
from voiceface.prepare.tables import IDENTITIES, identity_table, rows

KINDS = ("voice", "face")
# fmt: off
EXTENSIONS = {
    "voice": {
        ".aac", ".ac3", ".aif", ".aiff", ".amr", ".au", ".avi", ".caf", ".flac", ".flv", ".m4a", ".m4v", ".mka", ".mkv",
        ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg", ".ogv", ".opus", ".ts", ".w64", ".wav",
        ".webm", ".wma", ".wmv",
    },
    "face": {
        ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff",
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
        face_size: Side of the stored faces, pixels.
        face_margin: How many times the face box the pictures show; nothing is cut, the number is only kept in the
            corpus.
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
    """One file to read: its path relative to the raw material, its clip's key, and what is known of its video."""

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
    source: Path, out: Path, options: FolderOptions, workers: int | None = None, bundle: Bundling = "random"
) -> Summary:
    """Make a corpus of the people in a folder or a manifest.

    Args:
        source: Folder or CSV, see `collect`.
        out: Folder of the corpus.
        options: What is kept, and how.
        workers: Processes; default one per core.
        bundle: `video` keeps the clips of one video together, see `CorpusOptions`.

    Returns:
        Counts per split, and rejects by reason.

    Raises:
        UserError: As `collect` and `voiceface.prepare.engine.build`.
    """
    if source.is_dir() and source.resolve() in (out.resolve(), *out.resolve().parents):
        raise UserError(f"{out}: lies within {source}, which is only read; choose an OUT elsewhere")
    found = collect(source, options)
    if bundle == "video" and not any(shared_videos(job.voices, job.faces) for job in found.jobs):
        raise UserError(
            f"--bundle video: no video in {source} has both voices and faces; name the videos by equal folders below "
            "voice/ and face/ or in a column video, or leave --bundle out"
        )
    corpus = CorpusOptions(
        options.name, options.licence, options.face_size, options.face_margin, seed=options.seed, bundle=bundle
    )
    made_by = {"command": "prepare folder", "folder": asdict(options)}
    return build(out, found.jobs, make_person, found.identities, corpus, made_by, found.rejects, workers)


def collect(source: Path, options: FolderOptions) -> Collection:
    """Find the people in a folder or a manifest, without opening their files.

    A folder holds `<identity>/voice/*` and `<identity>/face/*`, at any depth below those two: the sub-folders in
    between are the video id. Its `identities.csv` (optional) has a column `identity`; `split` is honoured, all others
    are attributes. A manifest has the columns identity, path (relative to the manifest) and kind (voice or face), may
    have video, time (seconds) and split; all others are attributes of the identity.

    Without splits, people are put in the order of a seeded hash of their identity and split by `options.shares`, with
    two people at least in test, then in val, as long as two are left for train: an added person moves few others.

    Args:
        source: Folder or CSV.
        options: Shares and seed of the split, and what the jobs carry.

    Raises:
        UserError: The source is missing or empty, a table lacks a column or contradicts itself, a split is unknown, or
            fewer than two identities have both voices and faces.
    """
    _check(options)
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
            f" give {layout} (left out: {_common(rejects)})"
        )
    if source.is_dir():
        there = {path.split("/")[0] for path in [e.path for e in entries] + [r.path for r in rejects]}
        reason = f"in {IDENTITIES} but without files"
        rejects += [Reject(f"{i}/", "collect", reason) for i in sorted(attributes) if i not in there]
    splits = _splits(table, {i: attributes.get(i, {}).get("split", "") for i in sorted(people)}, options)
    jobs = []
    for identity, kinds in sorted(people.items()):
        keys = _keys(identity, kinds["voice"] + kinds["face"])
        voices, faces = (
            tuple(
                Source(e.path, keys[kind, e.path], e.video, e.time) for e in sorted(kinds[kind], key=lambda e: e.path)
            )
            for kind in KINDS
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


def _manifest(path: Path, rejects: list[Reject]) -> Iterator[_Entry]:
    """Every row of a manifest, as an entry or among the rejects."""
    seen: dict[str, tuple[str, set[str]]] = {}
    for number, row in rows(path, ("identity", "path", "kind")):
        identity, kind = row["identity"], row["kind"].lower()
        if "/" in identity:
            raise UserError(f"{path}, line {number}: identity {identity} holds a slash; use another character")
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
            except ValueError:
                raise UserError(f"{path}, line {number}: time {row['time']} is not a number of seconds") from None
            yield _Entry(identity, kind, file, file, row.get("video", ""), time)
        kinds.add(kind)


def _splits(table: Path, given: Mapping[str, str], options: FolderOptions) -> dict[str, str]:
    """Each identity's split: as given, else seeded."""
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
    order = sorted(named, key=lambda identity: seeded(options.seed, "split", identity))
    spare = len(order) - 2
    sizes = {}
    for split, share in (("test", options.shares[2]), ("val", options.shares[1])):
        wanted = min(max(2, round(share * len(order))), spare) if share else 0
        sizes[split] = wanted if wanted >= 2 else 0
        spare -= sizes[split]
    test, val = sizes["test"], sizes["test"] + sizes["val"]
    return {identity: "test" if i < test else "val" if i < val else "train" for i, identity in enumerate(order)}


def _keys(identity: str, entries: Sequence[_Entry]) -> dict[tuple[str, str], str]:
    """Keys of an identity's clips: the path without extension, or with it where that alone tells two files apart."""
    stems = {entry.within: PurePosixPath(entry.within).with_suffix("").as_posix() for entry in entries}
    count = Counter(stems.values())
    return {
        (e.kind, e.path): f"{identity}/{stem if count[stem] == 1 and stem not in stems else e.within}"
        for e in entries
        for stem in [stems[e.within]]
    }


def _check(options: FolderOptions) -> None:
    if options.face_size < 16:
        raise UserError(f"--face-size {options.face_size}: give 16 pixels or more")
    if not options.face_margin > 0:
        raise UserError(f"--margin {options.face_margin}: give a number above 0")
    if not options.minimum_seconds >= 0:
        raise UserError(f"--minimum-seconds {options.minimum_seconds}: give 0 or more")
    if min(options.shares) < 0 or not options.shares[0] or abs(sum(options.shares) - 1) > 1e-6:
        raise UserError(f"shares {options.shares}: give three that sum to 1, the first above 0")


def _common(rejects: Sequence[Reject]) -> str:
    return "; ".join(f"{n} x {reason}" for reason, n in Counter(r.reason for r in rejects).most_common(3)) or "nothing"


def _printable(path: str) -> str:
    """Path with what is not UTF-8 in it escaped."""
    return path.encode("utf-8", "backslashreplace").decode()
