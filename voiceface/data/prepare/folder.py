"""`voiceface prepare folder`: collect people from a folder or from a CSV manifest, and read each of them.

Every file below the folder (every row of the manifest) ends up in the corpus or among the rejects; hidden files and
`identities.csv` excepted.
"""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from voiceface.data.corpus.bundles import Person
from voiceface.data.prepare.sources.collect import Collection, Entry, Files, Material, collect_people
from voiceface.data.prepare.sources.people import KINDS, Reading, Source, check_reading, make_person
from voiceface.data.prepare.sources.walk import check_shares

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


def collect(source: Path, options: FolderOptions) -> Collection[Job]:
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

    def job(identity: str, split: str, files: Files) -> Job:
        return Job(identity, split, files["voice"], files["face"], options.reading)

    return collect_people(source, MATERIAL, options.shares, options.seed, job)


def make_folder_person(job: Job) -> Person:
    """Read one person's files, see `voiceface.data.prepare.sources.people.make_person`."""
    return make_person(job.identity, job.split, job.voices, job.faces, job.reading)


def _entry(path: str) -> Entry | str:
    """A file of a folder, or why it is left out."""
    above = path.split("/")[:-1]
    identity, kind, *between = (*above, "", "")[: max(len(above), 2)]
    extension = PurePosixPath(path).suffix.lower()
    if not identity:
        return "not in an identity's folder"
    if kind not in KINDS:
        return "neither below voice/ nor below face/"
    if extension in EXTENSIONS[kind]:
        return Entry(identity, kind, path, "/".join(between))
    other = "image below voice/" if kind == "voice" else "sound or video below face/"
    return other if any(extension in known for known in EXTENSIONS.values()) else "unknown file extension"


MATERIAL = Material(
    ("identity", "path", "kind"),
    KINDS,
    "both voices and faces",
    "a folder of IDENTITY/voice/* and IDENTITY/face/*, or a CSV with rows of both kinds for each identity",
    _entry,
    times=True,
)
