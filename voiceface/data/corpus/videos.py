"""Clips of one video: which videos have both a voice and a face, and bundles that keep a video together."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from voiceface.data.corpus.bundles import Person, deal


class FromVideo(Protocol):
    """A voice or face, stored or not, that may know its video; an empty string is an unknown one."""

    @property
    def video(self) -> str:
        """Name of the video."""


def shared_videos(voices: Sequence[FromVideo], faces: Sequence[FromVideo]) -> list[str]:
    """Videos that have both voices and faces, in the order of their names; clips of unknown video have none."""
    return sorted(({v.video for v in voices} & {f.video for f in faces}) - {""})


def deal_videos(person: Person, max_voices: int, max_faces: int, seed: int) -> list[Person]:
    """Deal a person's clips to bundles of one video each.

    A video that is larger than a bundle makes several, dealt by `voiceface.data.corpus.shards.deal`, each with both
    kinds. Clips whose video has no clip of the other kind, or is unknown, make bundles of voices alone and of faces
    alone: evaluation reads them, training does not.

    Args:
        person: The person to deal.
        max_voices: Voices that a bundle should hold at most.
        max_faces: Faces that a bundle should hold at most.
        seed: Seed of the order.

    Returns:
        One `Person` per bundle.
    """
    videos = shared_videos(person.voices, person.faces)
    groups = [
        replace(
            person,
            voices=tuple(v for v in person.voices if v.video == video),
            faces=tuple(f for f in person.faces if f.video == video),
        )
        for video in videos
    ]
    # What is left stays apart by kind: a bundle with both kinds always holds a video with both.
    groups.append(replace(person, voices=tuple(v for v in person.voices if v.video not in videos), faces=()))
    groups.append(replace(person, voices=(), faces=tuple(f for f in person.faces if f.video not in videos)))
    filled = [group for group in groups if group.voices or group.faces]
    return [part for group in filled for part in deal(group, max_voices, max_faces, seed)]
