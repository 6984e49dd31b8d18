"""Draw architecture.svg, task.svg and people.svg with clips of the built-in synthetic corpus.

python docs/images/diagrams.py
"""

from base64 import b64encode
from html import escape
from pathlib import Path
from typing import NamedTuple

from voiceface.compare.render.pictures import shown_voice, shrunk
from voiceface.data.builtin import builtin_corpus
from voiceface.data.corpus.shards import Corpus

HERE = Path(__file__).parent
BLUE, ORANGE, PURPLE, GREEN = "#0072b2", "#d55e00", "#a8408a", "#00754f"
INK, SOFT, LINE = "#1c1e21", "#565b61", "#c9cdd1"
SAID = {"f": "female", "m": "male"}


class Person(NamedTuple):
    """A person of the test split: attributes, spectrograms of voices as WebP, faces as JPEG."""

    words: dict[str, str]
    voices: list[bytes]
    faces: list[bytes]


def people() -> list[Person]:
    """The first person of each age in the test split."""
    corpus, found = Corpus(builtin_corpus()), {}
    for bundle in corpus.index("test"):
        words = corpus.identities[bundle.identity]
        if words["age"] in found:
            continue
        voices, faces = (
            [corpus.read("test", bundle, m.offset, m.bytes) for m in members[:2]]
            for members in corpus.members("test", bundle)
        )
        shown = [shrunk(face, 112, quality=85) for face in faces]
        found[words["age"]] = Person(words, [shown_voice(voice)[0] for voice in voices], shown)
    return [found[age] for age in sorted(found)]


def image(data: bytes, x: float, y: float, width: float, height: float, frame: str = LINE) -> str:
    """A picture in a frame."""
    kind = "jpeg" if data[:2] == b"\xff\xd8" else "webp"
    place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    return (
        f'<image {place} preserveAspectRatio="none" href="data:image/{kind};base64,{b64encode(data).decode()}"/>'
        f'<rect {place} rx="3" fill="none" stroke="{frame}" stroke-width="3"/>'
    )


def text(
    words: str, x: float, y: float, size: int = 15, anchor: str = "middle", colour: str = INK, bold: bool = False
) -> str:
    """A line of text."""
    weight = ' font-weight="700"' if bold else ""
    place = f'x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}"{weight}>{escape(words)}</text>'


def box(words: str, x: float, y: float, width: float, height: float) -> str:
    """A named box."""
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="#f1f2f4" '
        f'stroke="{SOFT}" stroke-width="1.5"/>' + text(words, x + width / 2, y + height / 2 + 5, bold=True)
    )


def arrow(x1: float, y1: float, x2: float, y2: float, colour: str = SOFT, more: str = "") -> str:
    """A line with a head at its second end."""
    ends = f'x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"'
    return f'<line {ends} stroke="{colour}" stroke-width="2" marker-end="url(#head)"{more}/>'


def circle(x: float, y: float, colour: str) -> str:
    """A voice in the space."""
    return f'<circle cx="{x}" cy="{y}" r="7" fill="{colour}"/>'


def triangle(x: float, y: float, colour: str) -> str:
    """A face in the space."""
    return f'<path d="M{x} {y - 8} l8 14 h-16 z" fill="{colour}"/>'


def write(name: str, width: int, height: int, title: str, *parts: str) -> None:
    """A drawing on white, so that it reads on a dark page too."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f"font-family=\"system-ui, 'DejaVu Sans', sans-serif\"><title>{escape(title)}</title>"
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="context-stroke"/></marker></defs>'
        '<rect width="100%" height="100%" fill="white"/>'
    )
    (HERE / name).write_text(f"{head}{''.join(parts)}</svg>\n")
    print(f"{name}: {(HERE / name).stat().st_size:,} bytes")


def architecture(first: Person) -> None:
    """Two encoders, one space, and a loss that moves points in it."""
    rows = ((60, "voice", first.voices[0], 120, circle), (220, "face", first.faces[0], 96, triangle))
    parts = []
    for y, word, clip, width, point in rows:
        parts += [image(clip, 90 - width / 2, y, width, 96), text(f"a {word}", 90, y + 116, colour=SOFT)]
        parts += [arrow(160, y + 48, 198, y + 48), box(f"{word} encoder", 205, y + 18, 150, 60)]
        parts += [
            arrow(362, y + 48, 400, y + 48),
            point(418, y + 48, SOFT),
            text("vector", 418, y + 76, 13, colour=SOFT),
        ]
    parts += [arrow(436, 108, 522, 150), arrow(436, 268, 522, 222)]
    parts += [f'<circle cx="630" cy="186" r="122" fill="none" stroke="{LINE}" stroke-width="2"/>']
    parts += [text("one space for both", 630, 44, bold=True)]
    for x, y, colour in ((580, 150, BLUE), (672, 122, ORANGE), (640, 262, PURPLE)):
        parts += [circle(x, y, colour), triangle(x + 44, y + 22, colour)]
        parts += [arrow(x + 9, y + 5, x + 32, y + 17, colour)]
    parts += [arrow(612, 182, 632, 240, LINE, ' stroke-dasharray="4 3" marker-start="url(#head)"')]
    parts += [box("loss", 790, 156, 90, 60), arrow(786, 186, 758, 186)]
    for i, words in enumerate(("pulls a person's voice", "and face together,", "pushes others apart")):
        parts.append(text(words, 835, 240 + 19 * i, 13, colour=SOFT))
    parts.append(text("circle: a voice, triangle: a face; a colour for each person", 630, 338, 13, colour=SOFT))
    title = (
        "A voice encoder and a face encoder map clips into one space; a loss pulls a person's voice and face together"
    )
    write("architecture.svg", 920, 360, title, *parts)


def task(right: Person, other: Person) -> None:
    """A voice, two faces, one answer."""
    parts = [text("Whose voice is this?", 120, 38, 17, bold=True), image(right.voices[1], 40, 60, 160, 128)]
    parts += [text("? ", 250, 138, 44, colour=SOFT)]
    for x, person, words, colour in ((300, right, "the speaker ✓", GREEN), (480, other, "somebody else", SOFT)):
        parts += [image(person.faces[0], x, 60, 128, 128, colour if person is right else LINE)]
        parts += [text(words, x + 64, 216, 15, colour=colour, bold=person is right)]
    parts += [text("One voice, two faces.", 650, 100, 15, "start")]
    parts += [text("A model takes the face that is", 650, 126, 15, "start", SOFT)]
    parts += [text("more similar to the voice.", 650, 147, 15, "start", SOFT)]
    parts += [text("Guessing is right 50 % of the time.", 650, 173, 15, "start", SOFT)]
    write("task.svg", 930, 240, "The 1:2 task: a voice and two faces, one of which is the speaker's", *parts)


def sheet(shown: list[Person]) -> None:
    """Two faces and a voice of each person."""
    parts = []
    for i, person in enumerate(shown):
        x, y = 20 + 310 * (i % 3), 20 + 180 * (i // 3)
        parts += [image(person.faces[0], x, y, 90, 90), image(person.faces[1], x + 96, y, 90, 90)]
        parts.append(image(person.voices[0], x + 192, y, 98, 90))
        of = person.words
        parts.append(text(f"{SAID[of['gender']]}, {of['age']} years", x, y + 114, 14, "start", bold=True))
        parts.append(text(f"{of['nationality']}, speaks {of['first_language']}", x, y + 134, 14, "start", SOFT))
    title = "Six people of the synthetic corpus: two faces and the spectrogram of a voice of each"
    write("people.svg", 950, 2 * 180, title, *parts)


def main() -> None:
    """Draw all three."""
    shown = people()
    architecture(shown[0])
    right = shown[1]
    task(right, next(one for one in shown if one is not right and one.words["gender"] == right.words["gender"]))
    sheet(shown[:6])


if __name__ == "__main__":
    main()
