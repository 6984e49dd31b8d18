"""Escaping of any text, such as a model's name, for Markdown, LaTeX and spreadsheets."""

import re
import unicodedata

from voiceface.compare.render.blocks import SIGMA
from voiceface.utils.text import clean

LATEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: f"${c}$" for c in "<>|"},
    '"': "''",
    "`": "{`}",
    # After the end of a row these would be read as arguments of it.
    **{c: f"{{{c}}}" for c in "[]*"},
    "→": r"$\to$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    SIGMA: r"$\sigma$",
    "·": r"$\cdot$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "…": r"\ldots{}",
    "\N{EN DASH}": "--",
    "—": "---",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
    "¶": r"\P{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
}
ACCENTS = dict(zip(map(chr, (0x300, 0x301, 0x302, 0x303, 0x308, 0x304, 0x307)), "`'^~\"=.", strict=True))
ACCENTS |= dict(zip(map(chr, (0x30A, 0x30C, 0x306, 0x30B, 0x327)), "rvuHc", strict=True))
FORMULA = (
    "=+-@\t\r\n'\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)


def markdown(text: str) -> str:
    """Text that GitHub's Markdown shows as it is, within a line or a table."""
    return re.sub(r"([\\`*_\[\]<>|~&$#])", r"\\\1", clean(text))


def markdown_line(text: str) -> str:
    """The same for a line of its own, which must not begin a list."""
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", markdown(text))


def latex(text: str) -> str:
    """Text that LaTeX sets as it is, in ASCII alone; a character beyond Latin letters becomes its number, `U+4E2D`."""
    # Two of these in a row would be set as one dash or quotation mark.
    plain = re.sub(r"([-',])(?=\1)", "\\1\0", clean(text))
    return "".join(map(_latex_character, plain)).replace("\0", "{}")


def spreadsheet(text: str) -> str:
    """Text that no spreadsheet takes for a formula: what begins like one is led by an apostrophe.

    So is what begins with an apostrophe; to have the text back, take one away where there is one.
    """
    return f"'{text}" if text[:1] and text[0] in FORMULA else text


def _latex_character(character: str) -> str:
    if character in LATEX:
        return LATEX[character]
    if character.isascii():
        return character
    letter, *accents = list(unicodedata.normalize("NFD", character))
    if letter.isascii() and letter.isalpha() and len(accents) == 1 and accents[0] in ACCENTS:
        return f"\\{ACCENTS[accents[0]]}{{{letter}}}"
    return f"U+{ord(character):04X}"
