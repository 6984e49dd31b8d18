"""Foreign text, made safe for a terminal."""


def clean(text: str) -> str:
    """Text on one line, without characters that would act on a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def printable(text: str) -> str:
    """Text with each character that would act on a terminal as a question mark, so that none goes unseen."""
    return "".join(c if c.isprintable() else "?" for c in text)
