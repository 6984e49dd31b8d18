"""`voiceface prepare videos`: the speech and the faces of talking-head videos, with the video of each kept.

Every file below the folder (every row of the manifest) ends up in the corpus or among the rejects; hidden files and
`identities.csv` excepted. A video is used where it gives both speech and a face: a voice without a visible speaker may
be anyone's.
"""

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath

from voiceface.data.corpus.bundles import Clip, Person, Reject, encode_flac, encode_jpeg
from voiceface.data.prepare.media.faces import FaceOptions, read_faces
from voiceface.data.prepare.media.file_stamps import stamp
from voiceface.data.prepare.media.frames import read_frames
from voiceface.data.prepare.media.rejected import Rejected, unchanged
from voiceface.data.prepare.media.speech import LONGEST_REGION, VoiceOptions, read_speech
from voiceface.data.prepare.sources.collect import Collection, Entry, Files, Material, collect_people
from voiceface.data.prepare.sources.people import Reading, Source, check_reading
from voiceface.data.prepare.sources.walk import check_shares
from voiceface.utils.errors import UserError

# fmt: off
EXTENSIONS = {
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
}
# fmt: on
READING = Reading(VoiceOptions(vad="silero"), FaceOptions(faces="detect"))
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


def collect_videos(source: Path, options: VideosOptions) -> Collection[VideosJob]:
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
    check_reading(options.reading)
    check_shares(options.shares)
    if not 0 < options.fps <= 60:
        raise UserError(f"--fps {options.fps:g}: give frames per second above 0, 60 at most")
    if options.reading.voice.minimum_seconds > LONGEST_REGION / 2:
        raise UserError(
            f"--minimum-seconds {options.reading.voice.minimum_seconds:g}: speech over {LONGEST_REGION:g} s is cut into"
            f" equal parts; give {LONGEST_REGION / 2:g} or less"
        )

    def job(identity: str, split: str, files: Files) -> VideosJob:
        # Without an id of its own a video is named as its clips are, within the identity.
        videos = (replace(v, video=v.video or v.key.removeprefix(f"{identity}/")) for v in files["video"])
        return VideosJob(identity, split, tuple(videos), options.reading, options.fps)

    return collect_people(source, MATERIAL, options.shares, options.seed, job)


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


def _entry(path: str) -> Entry | str:
    """A file of a folder, or why it is left out."""
    *above, name = path.split("/")
    if not above:
        return "not in an identity's folder"
    if PurePosixPath(name).suffix.lower() not in EXTENSIONS:
        return "no video by its file extension"
    return Entry(above[0], "video", path, "/".join(above[1:]))


MATERIAL = Material(
    ("identity", "path"), ("video",), "videos", "a folder of IDENTITY/*.mp4, or a CSV with identity, path", _entry
)
