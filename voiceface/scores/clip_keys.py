"""Names of clips and people: one canonical form for the spellings in lists and keys."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voiceface.utils.errors import UserError

FOLDERS = {"voice": "voice", "face": "face", "1.6": "face"}  # they give the kind of clip and nothing else
SUFFIXES = {
    **dict.fromkeys((".wav", ".flac", ".m4a", ".mp3", ".mp4", ".aac", ".ogg", ".opus"), "voice"),
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp", ".bmp"), "face"),
}
VIDEO_AND_NUMBER = re.compile(r"([0-9A-Za-z_-]{11})_00([0-9]{5})")


class Clip(NamedTuple):
    """A voice or a face named in a list or a key.

    Attributes:
        name: The name as written.
        person: Canonical name of the person; empty if the clip's name does not contain it.
        kind: voice, face, or empty if the name does not say.
        full: Canonical form of the name, with the file suffix.
        stem: The same without the suffix.
    """

    name: str
    person: str
    kind: str
    full: str
    stem: str


def parse_clip(name: str, people: Mapping[str, str]) -> Clip:
    """Convert a clip's name to the form shared by both of VoxCeleb's naming schemes.

    In `PERSON/REST` the person is replaced by the canonical name, a leading folder voice, face or 1.6 in REST is
    dropped, and a REST `<video>_00NNNNN` becomes `<video>/NNNNN` (a video id has 11 characters and may contain `_` and
    `-`). A name without a slash is unchanged.

    Args:
        name: A path or a key.
        people: Canonical name for each alias of a person (`voiceface.evaluation.embeddings.people_aliases`).
    """
    stem, suffix = name, ""
    dot = name.rfind(".")
    if dot >= 0 and name[dot:].lower() in SUFFIXES:
        stem, suffix = name[:dot], name[dot:].lower()
    person, _, rest = stem.partition("/")
    if not rest:
        return Clip(name, "", SUFFIXES.get(suffix, ""), stem + suffix, stem)
    person = people.get(person, person)
    folder, _, below = rest.partition("/")
    if below and folder in FOLDERS:
        rest = below
    else:
        folder = ""
    if video := VIDEO_AND_NUMBER.fullmatch(rest):
        rest = f"{video[1]}/{video[2]}"
    stem = f"{person}/{rest}"
    return Clip(name, person, SUFFIXES.get(suffix) or FOLDERS.get(folder, ""), stem + suffix, stem)


def locate(clips: Sequence[Clip], keys: Sequence[str], people: Mapping[str, str], name: str) -> NDArray[np.intp]:
    """Find clips among keys: by the full name, else by the name without the file suffix.

    Args:
        clips: C clips to look up.
        keys: The keys of N embeddings.
        people: As in `parse_clip`.
        name: What the keys are, for messages.

    Returns:
        intp (C,): index of each clip's key, -1 if there is none.

    Raises:
        UserError: Two keys name the same clip, or a clip's name matches two keys.
    """
    whole: dict[str, int] = {}
    stems: dict[str, int] = {}
    shared: dict[str, int] = {}
    for number, key in enumerate(keys):
        clip = parse_clip(key, people)
        other = whole.setdefault(clip.full, number)
        if other != number:
            raise UserError(f"{name}: duplicate key, {keys[other]!r} and {key!r} name one clip; keep one of the two")
        if stems.setdefault(clip.stem, number) != number:
            shared[clip.stem] = number
    found = np.full(len(clips), -1, np.intp)
    for index, clip in enumerate(clips):
        place = whole.get(clip.full)
        if place is None and clip.stem in shared:
            both = f"{keys[stems[clip.stem]]!r} and {keys[shared[clip.stem]]!r}"
            raise UserError(f"{name}: {clip.name!r} of the list could be {both}; drop one or give it that suffix")
        found[index] = stems.get(clip.stem, -1) if place is None else place
    return found
