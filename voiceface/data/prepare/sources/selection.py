"""Selection of people from a large collection: named ones, or the first few of each split."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Protocol, TypeVar

from voiceface.data.prepare.sources.tables import read_csv_rows
from voiceface.utils.errors import UserError


class OfPerson(Protocol):
    """A job of preparation: whose it is, and the split."""

    @property
    def identity(self) -> str:
        """The person."""

    @property
    def split(self) -> str:
        """The person's split."""


PersonJob = TypeVar("PersonJob", bound=OfPerson)


def chosen(jobs: Sequence[PersonJob], limit: int | None = None, only: str = "") -> list[PersonJob]:
    """Choose some of the people.

    Args:
        jobs: One job per person.
        limit: So many people at most, taken from the splits in turn, so that a small trial has people in each.
        only: These people only: their identities with commas in between, or a file of them, see `named`.

    Returns:
        The jobs that are left, in their order.

    Raises:
        UserError: An identity is unknown, or the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: give 1 or more people")
    left = list(jobs)
    if only:
        wanted = dict.fromkeys(named(only))
        unknown = wanted.keys() - {job.identity for job in jobs}
        if unknown:
            first = next(identity for identity in wanted if identity in unknown)
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise UserError(
                f"--only-identities: {first}{more} not among the {len(jobs)} people of the material; "
                "give identities as they appear there"
            )
        left = [job for job in left if job.identity in wanted]
    if limit is None:
        return left
    places: dict[str, Iterator[int]] = defaultdict(count)
    order = sorted((next(places[job.split]), number) for number, job in enumerate(left))
    return [left[number] for number in sorted(number for _, number in order[:limit])]


def named(only: str) -> list[str]:
    """The identities that `--only-identities` names.

    Args:
        only: `a,b,c`; or a file: a CSV with a column `identity`, or a text with one identity per line.

    Raises:
        UserError: The file cannot be read, or no identity is named.
    """
    path = Path(only)
    if path.is_file():
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--only-identities {only}: cannot be read ({error}); give a text or CSV file") from None
        if any(name.strip().lower() == "identity" for line in lines[:1] for name in _cells(line)):
            identities = [row["identity"] for _, row in read_csv_rows(path, ("identity",))]
        else:
            identities = [line.strip() for line in lines]
    else:
        identities = [identity.strip() for identity in only.split(",")]
    found = [identity for identity in identities if identity]
    if not found:
        raise UserError(f"--only-identities {only}: names nobody; give `a,b` or a file with one identity per line")
    return found


def _cells(line: str) -> list[str]:
    return line.replace(";", ",").replace("\t", ",").replace("|", ",").split(",")
