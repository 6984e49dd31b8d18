"""Trial list formats: the content of one file, recognised automatically (docs/protocols.md shows each format)."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from voiceface.scores.clip_keys import Clip, parse_clip
from voiceface.utils.errors import UserError

Line = tuple[int, list[str]]  # line number in the file, values


@dataclass(frozen=True)
class Trials:
    """A trial list.

    Attributes:
        source: The file or files, for messages.
        name: The list's name: its file name, without the suffix.
        kind: verification, matching or retrieval.
        direction: v2f (voices are the queries), f2v (faces are the queries), or both in verification.
        voices: Distinct voices named in the list.
        faces: Distinct faces named in the list.
        query: intp (R,): the query of each row, as its place in `queries`.
        candidates: intp (R, C): the row's candidates, as places in `gallery`: one in verification, N >= 2 in matching;
            (R, 0) in retrieval, where each query is compared with the whole gallery.
        labels: bool (R, C): which candidates are of the query's person; exactly one per row in matching.
    """

    source: str
    name: str
    kind: Literal["verification", "matching", "retrieval"]
    direction: Literal["v2f", "f2v", "both"]
    voices: list[Clip]
    faces: list[Clip]
    query: NDArray[np.intp]
    candidates: NDArray[np.intp]
    labels: NDArray[np.bool_]

    @property
    def queries(self) -> list[Clip]:
        """The query clips; the voices in verification."""
        return self.faces if self.direction == "f2v" else self.voices

    @property
    def gallery(self) -> list[Clip]:
        """The candidate clips; the faces in verification."""
        return self.voices if self.direction == "f2v" else self.faces


@dataclass(frozen=True)
class Table:
    """One half of a retrieval task.

    Attributes:
        path: The file.
        kind: voice or face.
        clips: The clips with their persons.
    """

    path: Path
    kind: str
    clips: list[Clip]


def read_file(path: Path, people: Mapping[str, str]) -> Trials | Table:
    """Read one file.

    Args:
        path: A list in any of the formats, or a table of voices or faces.
        people: Canonical name for each alias of a person.

    Raises:
        UserError: As `voiceface.scores.trial_lists.read_trials`.
    """
    return _File(path, people).read()


def retrieval(
    source: str, name: str, direction: Literal["v2f", "f2v"], voices: list[Clip], faces: list[Clip]
) -> Trials:
    """Build a retrieval task from voices and faces.

    Args:
        source: The file or files, for messages.
        name: Name of the list.
        direction: v2f: voices are the queries; f2v: faces. Clips of a person missing from the other side are not
            queries.
        voices: Voices with their persons.
        faces: Faces with their persons.

    Raises:
        UserError: A clip is named twice, the gallery has one item, or the sides have no person in common.
    """
    queries, gallery = (voices, faces) if direction == "v2f" else (faces, voices)
    for clips in (queries, gallery):
        clip, times = Counter(clip.full for clip in clips).most_common(1)[0]
        if times > 1:
            raise UserError(f"{source}: {clip!r} is there {times} times; name each clip once")
    if len(gallery) < 2:
        raise UserError(f"{source}: {gallery[0].name!r} is the whole gallery; give it two items or more")
    known = {clip.person for clip in gallery}
    asking = np.array([place for place, clip in enumerate(queries) if clip.person in known], np.intp)
    if not len(asking):
        raise UserError(
            f"{source}: voices and faces have no person in common; give vox1_meta.csv as the table of identities"
        )
    nothing = np.zeros((len(asking), 0), np.intp)
    return Trials(source, name, "retrieval", direction, voices, faces, asking, nothing, nothing.astype(np.bool_))


class _Distinct:
    """Distinct clips, in order of first occurrence."""

    def __init__(self) -> None:
        self.clips: list[Clip] = []
        self._place: dict[str, int] = {}

    def add(self, clip: Clip) -> int:
        place = self._place.setdefault(clip.full, len(self.clips))
        if place == len(self.clips):
            self.clips.append(clip)
        return place


class _File:
    def __init__(self, path: Path, people: Mapping[str, str]) -> None:
        self._path = path
        self._people = people
        self._canonical = set(people.values())
        self._hint = (
            ""
            if people
            else "; if voices and faces name people in two ways, give vox1_meta.csv as the table of identities"
        )
        self._known: dict[str, Clip] = {}

    def read(self) -> Trials | Table:
        lines = _split(self._path)
        header: list[str] = []
        if lines and not any(self._kinds(lines[0])):
            header = [value.lower().replace("_", "-") for value in lines.pop(0)[1]]
        if not lines:
            raise UserError(f"{self._path}: holds no trial; docs/protocols.md shows what a list looks like")
        if [set(self._kinds(line)) for line in lines[:3]] in ([{"voice"}, {"face"}], [{"face"}, {"voice"}]):
            return self._two_lines(lines)
        (number, first), kinds = lines[0], self._kinds(lines[0])
        for other, values in lines:
            if len(values) != len(first):
                self._fail(other, f"{len(values)} values, but line {number} has {len(first)}; give all rows as many")
        if {"voice-path", "face-path"} <= set(header):
            return self._verification(lines, header)
        if sorted(filter(None, kinds)) == ["face", "voice"] and len(kinds) in (2, 3, 6):
            rest = iter(["label"] if len(kinds) == 3 else ["id", "voice-speaker-id", "face-speaker-id", "label"])
            return self._verification(lines, [f"{kind}-path" if kind else next(rest) for kind in kinds])
        if len(kinds) > 2 and kinds[0] and set(kinds[1:]) == {"voice", "face"} - {kinds[0]}:
            return self._matching(lines, kinds)
        if len(kinds) == 2 and not kinds[0] and kinds[1]:
            return self._table(lines, kinds[1])
        self._fail(
            number,
            "no known kind of trial; a voice is a file such as .wav or PERSON/voice/CLIP, a face one such as .jpg or"
            " PERSON/face/CLIP, and docs/protocols.md shows the formats",
        )

    def _verification(self, lines: Sequence[Line], columns: Sequence[str]) -> Trials:
        at = {name: column for column, name in enumerate(columns)}
        voices, faces = _Distinct(), _Distinct()
        places, labels = [], []
        for number, values in lines:
            voice, face = self._clip(values[at["voice-path"]]), self._clip(values[at["face-path"]])
            if voice.kind == "face" or face.kind == "voice":
                self._fail(number, f"{voice.name!r} is no voice or {face.name!r} no face; correct the columns")
            same = {voice.person == face.person} if voice.person and face.person else set()
            if "voice-speaker-id" in at and "face-speaker-id" in at:
                same.add(values[at["voice-speaker-id"]] == values[at["face-speaker-id"]])
            if "label" in at:
                label = values[at["label"]]
                if label not in ("0", "1"):
                    self._fail(number, f"label {label!r}; give 1 for one person, 0 for two")
                same.add(label == "1")
            elif (voice.person in self._canonical) != (face.person in self._canonical):
                unknown = face if voice.person in self._canonical else voice
                self._fail(
                    number, f"the person of {unknown.name!r} is not in the table of identities; add them, or labels"
                )
            if not same:
                self._fail(number, f"{voice.name!r} or {face.name!r} does not say whose it is; write PERSON/CLIP")
            if len(same) > 1:
                self._fail(
                    number, f"the label, the speaker ids and the people of {voice.name!r} and {face.name!r} disagree"
                )
            places.append([voices.add(voice), faces.add(face)])
            labels.append([*same])
        if len({label for (label,) in labels}) == 1:
            people = "one person" if labels[0][0] else "two people"
            raise UserError(f"{self._path}: all pairs are of {people}; give pairs of both kinds{self._hint}")
        return self._trials("verification", "both", voices, faces, places, labels)

    def _matching(self, lines: Sequence[Line], kinds: list[str]) -> Trials:
        queries, gallery = _Distinct(), _Distinct()
        places, labels = [], []
        for number, values in lines:
            if self._kinds((number, values)) != kinds:
                self._fail(number, f"not a {kinds[0]} and then {kinds[1]}s, as the first row is; correct it")
            probe, *candidates = (self._clip(value) for value in values)
            own = [clip.person == probe.person != "" for clip in candidates]
            if sum(own) != 1:
                self._fail(number, f"{sum(own)} candidates are of the person of {probe.name!r}; give exactly one")
            places.append([queries.add(probe), *(gallery.add(clip) for clip in candidates)])
            labels.append(own)
        if kinds[0] == "voice":
            return self._trials("matching", "v2f", queries, gallery, places, labels)
        return self._trials("matching", "f2v", gallery, queries, places, labels)

    def _trials(
        self,
        kind: Literal["verification", "matching"],
        direction: Literal["v2f", "f2v", "both"],
        voices: _Distinct,
        faces: _Distinct,
        places: list[list[int]],
        labels: list[list[bool]],
    ) -> Trials:
        source, name, table, truth = str(self._path), self._path.stem, np.array(places, np.intp), np.array(labels)
        return Trials(source, name, kind, direction, voices.clips, faces.clips, table[:, 0], table[:, 1:], truth)

    def _two_lines(self, lines: Sequence[Line]) -> Trials:
        queries, gallery = ([self._clip(value) for value in values] for _, values in lines)
        known = {clip.person for clip in gallery} - {""}
        for clip in queries:
            if clip.person not in known:
                self._fail(lines[1][0], f"the gallery lacks the person of the query {clip.name!r}; add or drop them")
        if queries[0].kind == "voice":
            return retrieval(str(self._path), self._path.stem, "v2f", queries, gallery)
        return retrieval(str(self._path), self._path.stem, "f2v", gallery, queries)

    def _table(self, lines: Sequence[Line], kind: str) -> Table:
        clips = []
        for number, (identity, name) in lines:
            clip, person = self._clip(name), self._people.get(identity, identity)
            if clip.kind != kind:
                self._fail(number, f"{name!r} is no {kind}, as the first row's is; correct it")
            if clip.person != person and {clip.person, person} <= self._canonical:
                self._fail(number, f"{name!r} is not of {identity!r}; correct one of the two")
            clips.append(clip._replace(person=person))
        return Table(self._path, kind, clips)

    def _clip(self, name: str) -> Clip:
        if name not in self._known:
            self._known[name] = parse_clip(name, self._people)
        return self._known[name]

    def _kinds(self, line: Line) -> list[str]:
        return [self._clip(value).kind for value in line[1]]

    def _fail(self, number: int, message: str) -> NoReturn:
        raise UserError(f"{self._path}, line {number}: {message}{self._hint}")


def _split(path: Path) -> list[Line]:
    """Return the numbers and values of the non-blank lines."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error}); check the name, save it as UTF-8") from None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    delimiter = next((mark for mark in "\t," if lines and mark in lines[0][1]), None)
    if delimiter is None:
        return [(number, line.split()) for number, line in lines]
    split = []
    for number, line in lines:
        try:
            values = next(csv.reader([line], delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise UserError(f"{path}, line {number}: {error}; save it as a plain CSV") from None
        split.append((number, [value.strip() for value in values]))
    return split
