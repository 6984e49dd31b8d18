"""Names of clips and of people: one form for all the ways in which lists and keys spell them."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voiceface.utils.errors import UserError

FOLDERS = {"voice": "voice", "face": "face", "1.6": "face"}  # they say what a clip is and no more
SUFFIXES = {
    **dict.fromkeys((".wav", ".flac", ".m4a", ".mp3", ".mp4", ".aac", ".ogg", ".opus"), "voice"),
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp", ".bmp"), "face"),
}
VIDEO_AND_NUMBER = re.compile(r"([0-9A-Za-z_-]{11})_00([0-9]{5})")


class Clip(NamedTuple):
    """A voice or a face that a list or a key names.

    Attributes:
        name: As it is written.
        person: Whose it is, in the canonical name; empty where the name does not say.
        kind: voice, face, or empty where the name does not say.
        full: What all names of the clip share, with the file suffix.
        stem: The same without the suffix.
    """

    name: str
    person: str
    kind: str
    full: str
    stem: str


def parse_clip(name: str, people: Mapping[str, str]) -> Clip:
    """Bring a clip's name into the form that both of VoxCeleb's naming schemes share.

    Of `PERSON/REST` the person gets the canonical name, a folder voice, face or 1.6 that begins REST is dropped, and a
    REST `<video>_00NNNNN` becomes `<video>/NNNNN` (a video id has 11 characters and may hold `_` and `-`). A name
    without a slash stays as it is.

    Args:
        name: A path or a key.
        people: Any alias of a person to the canonical name (`voiceface.evaluation.embeddings.people_aliases`).
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
    """Find clips among keys: by the whole name, else by the name without file suffix.

    Args:
        clips: What is looked for, C clips.
        keys: The keys of N embeddings.
        people: As in `parse_clip`.
        name: What the keys are, for messages.

    Returns:
        intp (C,): the number of each clip's key, -1 where there is none.

    Raises:
        UserError: Two keys name the same clip, or a clip's name fits two keys.
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
