"""`voiceface prepare videos`: the speech and the faces of talking-head videos, with the video of each kept.

Every file below the folder (every row of the manifest) ends up in the corpus or among the rejects; hidden files and
`identities.csv` excepted. A video is used where it gives both speech and a face: a voice without a visible speaker may
be anyone's.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from voiceface.data.corpus.bundles import Clip, Person, Reject, encode_flac, encode_jpeg
from voiceface.data.prepare.engine.build import LOCAL, Bundling, CorpusOptions, Engine, Summary, build
from voiceface.data.prepare.media.faces import FaceOptions, read_faces
from voiceface.data.prepare.media.file_stamps import stamp
from voiceface.data.prepare.media.frames import read_frames
from voiceface.data.prepare.media.rejected import Rejected, unchanged
from voiceface.data.prepare.media.speech import LONGEST_REGION, VoiceOptions, read_speech
from voiceface.data.prepare.sources.people import Reading, Source, check_reading
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
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
}
# fmt: on
READING = Reading(VoiceOptions(vad="silero"), FaceOptions(faces="detect"))
COLUMNS = ("identity", "path")
# Frames of one video that the detector sees together.
FRAMES_AT_ONCE = 8


@dataclass(frozen=True)
class VideosOptions:
    """How videos are collected and read.

    Args:
        name: Name of the corpus.
        licence: Licence of the material.
        reading: How voices and faces are read.
        fps: Frames per second that are looked at.
        shares: Shares of the people for train, val and test, where the material names no split; they sum to 1.
        seed: Seed of the split, of the dealing and of the order.
    """

    name: str = "videos"
    licence: str = ""
    reading: Reading = READING
    fps: float = 1.0
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: int = 0


@dataclass(frozen=True)
class VideosJob:
    """One person's videos."""

    identity: str
    split: str
    videos: tuple[Source, ...]
    reading: Reading
    fps: float

    @property
    def clips(self) -> int:
        """Files to read."""
        return len(self.videos)


@dataclass(frozen=True)
class VideoCollection:
    """What lies in the raw material: people to read, attributes of the identities, and what is left out unread."""

    jobs: list[VideosJob]
    identities: dict[str, dict[str, str]]
    rejects: list[Reject]


def prepare_videos(
    source: Path,
    out: Path,
    options: VideosOptions,
    workers: int | None = None,
    bundle: Bundling = "random",
    limit: int | None = None,
    only: str = "",
    engine: Engine = LOCAL,
) -> Summary:
    """Make a corpus of the people in a folder or a manifest of videos.

    Args:
        source: Folder or CSV, see `collect_videos`.
        out: Folder of the corpus.
        options: What is kept, and how.
        workers: Processes; default one per core.
        bundle: `video` keeps the clips of one video together, see `CorpusOptions`.
        limit: So many people at most, see `voiceface.data.prepare.sources.selection.chosen`.
        only: These people only, see there.
        engine: Where the videos are read, see `voiceface.data.prepare.engine.build.build`.

    Returns:
        Counts per split, and rejects by reason.

    Raises:
        UserError: As `collect_videos`, `voiceface.data.prepare.sources.selection.chosen` and
            `voiceface.data.prepare.engine.build.build`.
    """
    check_outside(source, out)
    found = collect_videos(source, options)
    face = options.reading.face
    corpus = CorpusOptions(options.name, options.licence, face.size, face.margin, seed=options.seed, bundle=bundle)
    made_by = {"command": "prepare videos", "videos": asdict(options)}
    jobs = chosen(found.jobs, limit, only)
    return build(out, jobs, make_videos_person, found.identities, corpus, made_by, found.rejects, workers, engine)


def collect_videos(source: Path, options: VideosOptions) -> VideoCollection:
    """Find the people in a folder or a manifest, without opening their videos.

    A folder holds `<identity>/*.mp4` (or another container), at any depth. A file right below its identity is a video
    of its own; the files of a sub-folder are pieces of one video, whose id is the sub-folder (as in VoxCeleb's
    `<identity>/<video>/00001.mp4`). Its `identities.csv` (optional) has a column `identity`; `split` is honoured, all
    others are attributes. A manifest has the columns identity and path (relative to the manifest), may have video and
    split; all others are attributes of the identity.

    Without splits, people are split by a seeded hash, see `split_people`.

    Args:
        source: Folder or CSV.
        options: Shares and seed of the split, and what the jobs carry.

    Raises:
        UserError: An option cannot be meant, the source is missing or empty, a table lacks a column or contradicts
            itself, a split is unknown, or fewer than two identities have videos.
    """
    _check(options)
    layout = "a folder of IDENTITY/*.mp4, or a CSV with identity, path"
    if not source.exists():
        raise UserError(f"{source}: no such folder or file; give {layout}")
    root = str((source if source.is_dir() else source.parent).absolute())
    table = source / IDENTITIES if source.is_dir() else source
    rejects: list[Reject] = []
    people: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for identity, path, video in _walk(source, rejects) if source.is_dir() else _manifest(source, rejects):
        people[identity].append((path, video))
    if len(people) < 2:
        raise UserError(
            f"{source}: {len(people) or 'no'} identity with videos, matching needs two or more; give {layout} (left "
            f"out: {common_reasons(rejects)})"
        )
    attributes = identity_table(source, COLUMNS) if table.exists() else {}
    if source.is_dir():
        there = people.keys() | {reject.path.split("/")[0] for reject in rejects}
        reason = f"in {IDENTITIES} but without files"
        rejects += [Reject(f"{identity}/", "collect", reason) for identity in sorted(attributes.keys() - there)]
    given = {identity: attributes.get(identity, {}).get("split", "") for identity in sorted(people)}
    splits = split_people(table, given, options.shares, options.seed)
    jobs = []
    for identity, videos in sorted(people.items()):
        names = within(identity, [path for path, _ in videos])
        keys = clip_keys(identity, list(names.values()))
        # Without an id of its own a video is named as its clips are, within the identity.
        sources = tuple(
            Source(path, keys[names[path]], video or keys[names[path]].removeprefix(f"{identity}/"), root=root)
            for path, video in sorted(videos)
        )
        jobs.append(VideosJob(identity, splits[identity], sources, options.reading, options.fps))
    identities = {i: {k: v for k, v in attributes.get(i, {}).items() if k != "split"} for i in sorted(people)}
    return VideoCollection(jobs, identities, rejects)


def make_videos_person(job: VideosJob) -> Person:
    """Read one person's videos. A person of whom no video is usable is left out.

    A clip's key is the video file's, then `v` or `f` and the seconds from the start of that file's sound or picture,
    which is also the clip's time.

    Args:
        job: One job of `collect_videos`.
    """
    voices: list[Clip] = []
    faces: list[Clip] = []
    rejects: list[Reject] = []
    notes: list[Reject] = []
    before = tuple(stamp(Path(source.root, source.path)) for source in job.videos)
    for source in job.videos:
        try:
            heard, seen = _read_video(source, job, rejects, notes)
        except Rejected as rejected:
            rejects.append(Reject(source.path, rejected.stage, rejected.reason))
            continue
        voices += heard
        faces += seen
    return Person(job.identity, job.split, tuple(voices), tuple(faces), tuple(rejects), tuple(notes), before)


def _read_video(
    source: Source, job: VideosJob, rejects: list[Reject], notes: list[Reject]
) -> tuple[list[Clip], list[Clip]]:
    """Voices and faces of one video, at least one of each; frames without a usable face are added to the rejects."""
    path = Path(source.root, source.path)
    faces: list[Clip] = []
    left_out: list[Reject] = []
    with unchanged(path, "video"):
        speech, warnings = read_speech(path, job.reading.voice)
        voices = [
            Clip(f"{source.key}/v{start:09.3f}", encode_flac(waveform), source.video, start, source.path)
            for start, waveform in speech
        ]
        frames = read_frames(path, job.fps, job.reading.voice.maximum_seconds)
        while batch := list(islice(frames, FRAMES_AT_ONCE)):
            found = read_faces([frame for _, frame in batch], job.reading.face)
            for (exact, _), face in zip(batch, found, strict=True):
                time = round(exact, 3)
                if isinstance(face, Rejected):
                    left_out.append(Reject(f"{source.path}#t={time:g}", face.stage, face.reason))
                else:
                    key = f"{source.key}/f{time:09.3f}"
                    data = encode_jpeg(face.pixels)
                    faces.append(Clip(key, data, source.video, time, source.path, landmarks=face.landmarks))
    rejects += left_out
    if not faces:
        raise Rejected("video", "no usable face in any frame")
    notes += [Reject(source.path, "voice", warning) for warning in warnings]
    return voices, faces


def _walk(root: Path, rejects: list[Reject]) -> Iterator[tuple[str, str, str]]:
    """Identity, path and video id of every video below a folder; other files go to the rejects."""
    for path in walk(root, rejects):
        *above, name = path.split("/")
        if not above:
            rejects.append(Reject(path, "collect", "not in an identity's folder"))
        elif PurePosixPath(name).suffix.lower() not in EXTENSIONS:
            rejects.append(Reject(path, "collect", "no video by its file extension"))
        else:
            yield above[0], path, "/".join(above[1:])


def _manifest(path: Path, rejects: list[Reject]) -> Iterator[tuple[str, str, str]]:
    """Identity, path and video id of every row of a manifest; rows that cannot be used go to the rejects."""
    owners: dict[str, str] = {}
    for number, row in rows(path, COLUMNS):
        identity = row["identity"]
        if "/" in identity or identity in (".", ".."):
            raise UserError(f"{path}, line {number}: identity {identity} cannot name a folder; use another")
        if not identity or not row["path"]:
            name = row["path"] or f"{path.name}, line {number}"
            rejects.append(Reject(name, "collect", "row without identity or path"))
            continue
        file = os.path.relpath(path.parent / row["path"], path.parent)
        again, owner = file in owners, owners.setdefault(file, identity)
        if owner != identity:
            raise UserError(
                f"{path}, line {number}: {row['path']} belongs to {identity}, above to {owner}; one file is one person"
            )
        if again:
            rejects.append(Reject(file, "collect", "listed twice"))
        elif not (path.parent / file).is_file():
            rejects.append(Reject(file, "collect", "file does not exist"))
        else:
            yield identity, file, row.get("video", "")


def _check(options: VideosOptions) -> None:
    check_reading(options.reading)
    check_shares(options.shares)
    if not 0 < options.fps <= 60:
        raise UserError(f"--fps {options.fps:g}: give frames per second above 0, 60 at most")
    if options.reading.voice.minimum_seconds > LONGEST_REGION / 2:
        raise UserError(
            f"--minimum-seconds {options.reading.voice.minimum_seconds:g}: speech over {LONGEST_REGION:g} s is cut into"
            f" equal parts; give {LONGEST_REGION / 2:g} or less"
        )
