"""Leaderboards as a terminal table, a page, a document, data files and pictures."""

FORMATS = {"table": "txt", "md": "md", "latex": "tex", "csv": "csv", "json": "json", "html": "html", "svg": "svg"}
"""The endings of files by format."""
