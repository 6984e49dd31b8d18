"""Trial lists: predefined pairings of voices and faces, read from published files.

The truth comes from a label column or from the people's identities; the order of rows and of candidates has no
meaning.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from voiceface.scores.trial_formats import Table, Trials, read_file, retrieval
from voiceface.utils.errors import UserError

__all__ = ["Trials", "disagreements", "read_trial_files", "read_trials"]

DIRECTIONS: tuple[Literal["v2f", "f2v"], ...] = ("v2f", "f2v")


def read_trials(path: Path, people: Mapping[str, str] | None = None) -> Trials:
    """Read one trial list.

    Args:
        path: The file, in any of the formats of docs/protocols.md; recognised by its content.
        people: Canonical name for each alias of a person (`voiceface.evaluation.embeddings.people_aliases`); needed if
            voices and faces name people differently.

    Returns:
        The list.

    Raises:
        UserError: The file cannot be read or has no known format, a line does not match the format, a label contradicts
            the identities, a matching row does not have exactly one candidate of the probe's person, or the file is one
            half of a retrieval task (see `read_trial_files`).
    """
    found = read_file(path, people or {})
    if isinstance(found, Table):
        raise UserError(_unpaired([found]))
    return found


def read_trial_files(paths: Iterable[Path], people: Mapping[str, str] | None = None) -> list[Trials]:
    """Read trial lists; a table of voices and a table of faces among them form a retrieval task together.

    Each of the two tables provides queries for the other. Clips of a person missing from the other table are not
    queries; they stay in the gallery as distractors.

    Args:
        paths: The files.
        people: As in `read_trials`.

    Returns:
        The lists in the order of their files, then retrieval v2f and f2v of the two tables.

    Raises:
        UserError: As `read_trials`, or the tables are not one of voices and one of faces.
    """
    found = [read_file(path, people or {}) for path in paths]
    lists = [item for item in found if isinstance(item, Trials)]
    tables = sorted((item for item in found if isinstance(item, Table)), key=lambda table: table.kind)
    if not tables:
        return lists
    if [table.kind for table in tables] != ["face", "voice"]:
        raise UserError(_unpaired(tables))
    faces, voices = tables
    source, name = f"{voices.path} and {faces.path}", f"{voices.path.stem}+{faces.path.stem}"
    return lists + [retrieval(source, name, direction, voices.clips, faces.clips) for direction in DIRECTIONS]


def disagreements(trials: Trials, attributes: Mapping[str, Mapping[str, str]], attribute: str) -> list[tuple[str, str]]:
    """List negative pairs whose two people differ in an attribute that the list's stratum says they share.

    Args:
        trials: A verification or matching list.
        attributes: Attributes of each person, by canonical name.
        attribute: The attribute, such as gender.

    Returns:
        The two people of each such pair, once per row; people whose value is unknown are skipped.
    """
    row, column = np.nonzero(~trials.labels)
    pairs = [
        (trials.queries[query].person, trials.gallery[item].person)
        for query, item in zip(trials.query[row], trials.candidates[row, column], strict=True)
    ]
    value = {person: attributes.get(person, {}).get(attribute) for pair in pairs for person in pair}
    return [(a, b) for a, b in pairs if value[a] and value[b] and value[a] != value[b]]


def _unpaired(tables: Sequence[Table]) -> str:
    files = ", ".join(f"{table.path} ({table.kind}s)" for table in tables)
    return f"{files}: such a table is one half of a retrieval task; give one table of voices and one of faces together"
