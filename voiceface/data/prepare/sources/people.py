"""Read one person's voices and faces from their files; what every kind of `prepare` shares."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voiceface.data.corpus.bundles import Clip, Person, Reject, encode_flac, encode_jpeg
from voiceface.data.prepare.media.faces import FaceOptions, read_faces
from voiceface.data.prepare.media.file_stamps import stamp
from voiceface.data.prepare.media.rejected import Rejected
from voiceface.data.prepare.media.speech import VoiceOptions, read_voice
from voiceface.utils.errors import UserError

KINDS = ("voice", "face")
# A batch for a detector on a GPU.
FACES_AT_ONCE = 64
# What a slip of the pen exceeds, and memory would not hold: the square that is cut grows with its square.
LARGEST_FACE, LARGEST_MARGIN = 4096, 10


@dataclass(frozen=True)
class Source:
    """One file to read.

    Args:
        path: Its path below `root`, which the corpus and `rejects.csv` show.
        key: Key of its clip.
        video: Name of its video, empty where unknown.
        time: Its place in the video, seconds.
        root: Folder of the raw material.
    """

    path: str
    key: str
    video: str = ""
    time: float | None = None
    root: str = ""


@dataclass(frozen=True)
class Reading:
    """How voices and faces are read from their files."""

    voice: VoiceOptions = field(default_factory=VoiceOptions)
    face: FaceOptions = field(default_factory=FaceOptions)


def check_reading(reading: Reading) -> None:
    """Refuse options that cannot be meant.

    Raises:
        UserError: Names the option.
    """
    voice, face = reading.voice, reading.face
    if not 16 <= face.size <= LARGEST_FACE:
        raise UserError(f"--face-size {face.size}: give 16 to {LARGEST_FACE:,} pixels")
    if not 0 < face.margin <= LARGEST_MARGIN:
        raise UserError(f"--margin {face.margin}: give a number above 0, {LARGEST_MARGIN} at most")
    if face.minimum_side < 0:
        raise UserError(f"--minimum-face {face.minimum_side}: give 0 pixels or more")
    if not all(0 <= threshold <= 1 for threshold in face.thresholds):
        raise UserError(f"--thresholds {' '.join(map(str, face.thresholds))}: give three from 0 to 1")
    if not voice.minimum_seconds >= 0:
        raise UserError(f"--minimum-seconds {voice.minimum_seconds}: give 0 or more")
    if not voice.maximum_seconds > voice.minimum_seconds:
        raise UserError(f"--maximum-seconds {voice.maximum_seconds}: give more than --minimum-seconds")


def make_person(
    identity: str, split: str, voices: Sequence[Source], faces: Sequence[Source], reading: Reading
) -> Person:
    """Read one person's files. A person of whom no voice or no face is usable is left out whole.

    What is strange about voices that are kept (clipped, DC offset) goes to `Person.notes`.

    Args:
        identity: The person.
        split: The person's split.
        voices: Files of voices.
        faces: Files of faces.
        reading: How they are read.
    """
    rejects: list[Reject] = []
    notes: list[Reject] = []
    stamps = tuple(stamp(Path(s.root, s.path)) for s in (*voices, *faces))
    heard, seen = _voices(voices, reading.voice, rejects, notes), _faces(faces, reading.face, rejects)
    if heard and seen:
        return Person(identity, split, tuple(heard), tuple(seen), tuple(rejects), tuple(notes), stamps)
    reason = f"identity has no usable {'face' if heard else 'voice'}"
    rejects += [Reject(clip.source, "collect", reason) for clip in heard + seen]
    return Person(identity, split, rejects=tuple(rejects), stamps=stamps)


def _voices(sources: Sequence[Source], options: VoiceOptions, rejects: list[Reject], notes: list[Reject]) -> list[Clip]:
    clips = []
    for source in sources:
        try:
            waveform, warnings = read_voice(Path(source.root, source.path), options)
        except Rejected as rejected:
            rejects.append(Reject(source.path, rejected.stage, rejected.reason))
            continue
        notes += [Reject(source.path, "voice", warning) for warning in warnings]
        clips.append(Clip(source.key, encode_flac(waveform), source.video, source.time, source.path))
    return clips


def _faces(sources: Sequence[Source], options: FaceOptions, rejects: list[Reject]) -> list[Clip]:
    clips = []
    for start in range(0, len(sources), FACES_AT_ONCE):
        part = sources[start : start + FACES_AT_ONCE]
        for source, face in zip(part, read_faces([Path(s.root, s.path) for s in part], options), strict=True):
            if isinstance(face, Rejected):
                rejects.append(Reject(source.path, face.stage, face.reason))
            else:
                data = encode_jpeg(face.pixels)
                clips.append(Clip(source.key, data, source.video, source.time, source.path, landmarks=face.landmarks))
    return clips
