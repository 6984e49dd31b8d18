"""Who is who in VoxCeleb: `vox1_meta.csv` and `vox2_meta.csv`, in every dialect that is about."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from voiceface.data.prepare.sources.tables import CONTROL, GENDERS, read_csv_rows
from voiceface.utils.errors import UserError

IDENTITY = re.compile(r"id\d{5}")
VGGFACE2 = re.compile(r"n\d{6}")
META = {1: "vox1_meta.csv", 2: "vox2_meta.csv"}
NOT_ATTRIBUTES = {"name", "set"}  # a name is nobody's attribute; the set is kept as `official_set`


@dataclass(frozen=True)
class VoxPerson:
    """One row of the metadata.

    Attributes:
        identity: The VoxCeleb id.
        dataset: 1 or 2.
        face: The VGGFace1 name (VoxCeleb1) or the VGGFace2 id (VoxCeleb2), the name of the folder of faces.
        official_set: dev or test.
        attributes: gender (m or f), nationality, ..., and for VoxCeleb2 vggface2; no names.
    """

    identity: str
    dataset: int
    face: str
    official_set: str
    attributes: dict[str, str] = field(default_factory=dict)


def read_metadata(path: Path, dataset: int) -> list[VoxPerson]:
    """Read `vox1_meta.csv` or `vox2_meta.csv`.

    Commas or tabs, with or without a byte order mark, spaces at the ends of values, `_` in column names, a column of
    names: all dialects give the same people. Voices and faces are joined by the row alone; the digits of a VoxCeleb2 id
    and of its VGGFace2 id differ for 4,883 people.

    Args:
        path: The table.
        dataset: 1 or 2: which of the two it must be.

    Returns:
        The people in the order of their ids.

    Raises:
        UserError: The table is not of that data set, or a row has an id or a name that is twice there or could not be
            the name of a folder.
    """
    people: dict[str, VoxPerson] = {}
    owners: dict[str, str] = {}
    for line, row in read_csv_rows(path, ()):
        plain = {"".join(c for c in name if c.isalnum()): name for name in row}
        identity, face = (
            next((plain[name] for name in names if name in plain), None)
            for names in ((f"voxceleb{dataset}id", "voxcelebid"), (f"vggface{dataset}id", "vggfaceid"))
        )
        if identity is None or face is None:
            raise UserError(
                f"{path}: no columns `VoxCeleb{dataset} ID` and `VGGFace{dataset} ID` (there are: {', '.join(row)}); "
                f"give VoxCeleb{dataset}'s own {META[dataset]}"
            )
        person = VoxPerson(
            row[identity],
            dataset,
            row[face],
            row.get(plain.get("set", ""), "").lower(),
            {
                name.replace(" ", "_"): GENDERS.get(value.lower(), value) if name == "gender" else value
                for name, value in row.items()
                if name not in (identity, face) and name not in NOT_ATTRIBUTES
            }
            | ({"vggface2": row[face]} if dataset == 2 else {}),
        )
        _check(path, line, person)
        owner = owners.setdefault(person.face, person.identity)
        if person.identity in people or owner != person.identity:
            twice = person.identity if person.identity in people else person.face
            raise UserError(f"{path}, line {line}: {twice} appears twice; keep one row")
        people[person.identity] = person
    if not people:
        raise UserError(f"{path}: lists nobody; give VoxCeleb{dataset}'s own {META[dataset]}")
    return [people[identity] for identity in sorted(people)]


def aliases(people: Iterable[VoxPerson]) -> dict[str, str]:
    """Every name of a person to the VoxCeleb id; a VGGFace1 name also without the full stops at its end."""
    people = list(people)
    names = {person.face.rstrip("."): person.identity for person in people}
    return names | {name: person.identity for person in people for name in (person.face, person.identity)}


def find_beside(name: str, given: Path | None, option: str, places: Iterable[Path]) -> Path:
    """The table that the user gave, or the one of that name in or beside the folders that the user gave.

    Raises:
        UserError: There is none; the message names the option.
    """
    if given is not None:
        return given
    for place in places:
        inside = place.absolute() if place.is_dir() else place.absolute().parent
        for folder in (inside, inside.parent):
            if (folder / name).is_file():
                return folder / name
    raise UserError(f"{option} is missing: no {name} in or beside the folders given; name it by {option} FILE")


def _check(path: Path, line: int, person: VoxPerson) -> None:
    """Ids and names become parts of paths, and attributes cells of a table."""
    if not IDENTITY.fullmatch(person.identity):
        raise UserError(f"{path}, line {line}: {person.identity!r} is no VoxCeleb id such as id10001; correct it")
    if person.dataset == 2 and not VGGFACE2.fullmatch(person.face):
        raise UserError(f"{path}, line {line}: {person.face!r} is no VGGFace2 id such as n000012; correct it")
    if person.face.strip(".") == "" or "/" in person.face or "\\" in person.face:
        raise UserError(f"{path}, line {line}: {person.face!r} cannot be the name of a folder of faces; correct it")
    for value in (person.face, person.official_set, *person.attributes.values()):
        if CONTROL.search(value):
            raise UserError(f"{path}, line {line}: {value!r} holds control characters; correct it")
