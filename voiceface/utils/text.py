"""Text for messages: safe for a terminal, and with the nearest word."""

import difflib
from collections.abc import Iterable


def clean(text: str) -> str:
    """Put text on one line and remove control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def printable(text: str) -> str:
    """Replace each control character in a text by a question mark, so that none is hidden."""
    return "".join(c if c.isprintable() else "?" for c in text)


def nearest(word: str, words: Iterable[str]) -> str:
    """`, did you mean X?` where a word is near to one of a list, else nothing."""
    match = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f", did you mean {match[0]}?" if match else ""
