"""Leaderboards as a terminal table, a page, a document, data files and pictures."""

from pathlib import Path

FORMATS = {"table": "txt", "md": "md", "latex": "tex", "csv": "csv", "json": "json", "html": "html", "svg": "svg"}
"""The endings of files by format."""


def format_of(path: Path) -> str | None:
    """The format that the ending of a file says; None: none."""
    return next((form for form, ending in FORMATS.items() if path.suffix.lower() == f".{ending}"), None)
