"""The CSV tables that come with raw material: manifests, and what is known of each identity."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from voiceface.utils.errors import UserError, reason

IDENTITIES = "identities.csv"
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
GENDERS = {"m": "m", "male": "m", "f": "f", "female": "f"}


def identity_table(source: Path, manifest: Sequence[str] = ("identity", "path", "kind")) -> dict[str, dict[str, str]]:
    """Read what is known of each identity, from a folder's `identities.csv` or from a manifest.

    Args:
        source: Folder or CSV.
        manifest: Columns that a manifest must have.

    Returns:
        Identity to attributes, all strings, empty where unknown, and `split` where the table has it; gender as m or f.

    Raises:
        UserError: A column is missing, an identity has two rows (in `identities.csv`) or two values (in a manifest).
    """
    path = source / IDENTITIES if source.is_dir() else source
    table: dict[str, dict[str, str]] = {}
    for number, row in read_csv_rows(path, ("identity",) if source.is_dir() else manifest):
        identity = row.pop("identity")
        if not identity:
            if source.is_dir():
                raise UserError(f"{path}, line {number}: no identity; fill it in or delete the line")
            continue
        if not source.is_dir():
            row = {k: v for k, v in row.items() if k not in ("path", "kind", "video", "time")}
        elif identity in table:
            raise UserError(f"{path}, line {number}: identity {identity} appears twice; keep one row")
        if "gender" in row:
            row["gender"] = GENDERS.get(row["gender"].lower(), row["gender"])
        known = table.setdefault(identity, row)
        for column, value in row.items():
            if value != known[column] and value and known[column]:
                raise UserError(
                    f"{path}, line {number}: {column} of {identity} is {value}, above {known[column]}; make them one"
                )
            known[column] = known[column] or value
    return table


def read_csv_rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV: commas, semicolons, tabs or bars, with or without byte order mark and spaces."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}); name a CSV file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error}); save it as a CSV in UTF-8") from None
    # csv.Sniffer guesses from the values and errs on short tables; no column name holds a delimiter.
    reader = csv.reader(
        io.StringIO(text), delimiter=max(",;\t|", key=text.partition("\n")[0].count), skipinitialspace=True
    )
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        missing = [name for name in needed if name not in names]
        if missing or len(set(names)) < len(names):
            wrong = f"no column {', '.join(missing)}" if missing else "a column appears twice"
            raise UserError(f"{path}: {wrong} (there are: {', '.join(names) or 'none'}); needed: {', '.join(needed)}")
        for values in reader:
            if len(values) > len(names):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(values)} values, {len(names)} columns; quote such values"
                )
            row = dict(zip(names, [v.strip() for v in values] + [""] * (len(names) - len(values)), strict=True))
            row.pop("", None)
            if CONTROL.search(row.get("identity", "")):
                raise UserError(
                    f"{path}, line {reader.line_num}: identity {row['identity']!r} holds control characters; correct it"
                )
            if any(row.values()):
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; save it as a plain CSV") from None
