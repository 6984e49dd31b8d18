"""Untrusted text, made safe for a terminal."""


def clean(text: str) -> str:
    """Put text on one line and remove control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def printable(text: str) -> str:
    """Replace each control character in a text by a question mark, so that none is hidden."""
    return "".join(c if c.isprintable() else "?" for c in text)
