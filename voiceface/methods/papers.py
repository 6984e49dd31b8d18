"""The papers of the methods: what each method's file and its facts say of them; nothing here imports torch."""

import ast
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

import yaml

from voiceface.methods.recipes import FOLDER, METHODS, class_of, list_recipes

if TYPE_CHECKING:
    from voiceface.methods.base import Method

PARAMETERS = re.compile(r"# Parameters: face ([\d,]+), voice ([\d,]+), rest ([\d,]+)$")


class Paper(NamedTuple):
    """A method's paper, as the docstring of the method's file names it."""

    name: str
    """The method's name in the literature: the first words of the docstring."""
    title: str
    year: str
    link: str


class Parameters(NamedTuple):
    """Parameters of a recipe at paper size."""

    face: int
    """Of the face network."""
    voice: int
    """Of the voice network."""
    rest: int
    """All else that is deployed; classifiers that only training needs are not."""


def read_paper(docstring: str) -> Paper | None:
    """Find the paper in a method's docstring: `NAME: ...`, a blank line, `"TITLE" (AUTHORS, VENUE YEAR; LINK)`.

    Args:
        docstring: Of the method's module.

    Returns:
        The paper, or None where the docstring has none in this form.
    """
    text = " ".join(docstring.split())
    found = re.search(r'^([^:]+): .*?"([^"]+)" \(([^)]*?)\b((?:19|20)\d\d)\b([^)]*)\)', text)
    link = re.search(r"https?://[^\s;,)]+", found[5]) if found else None
    return Paper(found[1], found[2], found[4], link[0]) if found and link else None


def paper_of(method: str) -> Paper | None:
    """The paper of a method of ours, without importing it; see `read_paper`."""
    return read_paper(ast.get_docstring(ast.parse((METHODS / f"{method}.py").read_text())) or "")


def recipes_of(method: str) -> list[str]:
    """The recipes that train a method."""
    return [name for name in list_recipes() if (found := class_of(name)) and found[0].stem == method]


def read_parameters(recipe: str) -> Parameters | None:
    """The second line of a recipe's file, which `benchmarks/docs/recipes_docs.py` writes; None where there is none."""
    found = PARAMETERS.match("".join((FOLDER / f"{recipe}.yaml").read_text().splitlines()[1:2]))
    return Parameters(*(int(number.replace(",", "")) for number in found.groups())) if found else None


Mark = Literal["paper", "code", "port", "inferred", "recalled", "not stated"]


UNVERIFIED: tuple[Mark, ...] = ("port", "inferred", "recalled")


class Fact(NamedTuple):
    """What is known of one setting of a method."""

    option: str
    """`model.NAME`, `data.NAME` or `trainer.NAME`; or a few words, where the setting is no option."""
    paper: str
    """What the source says."""
    source: str
    """Section, table or equation of the paper, or the other source."""
    mark: Mark
    """`paper`: read there. `code`: the authors' own code or data. `port`: somebody else's code. `inferred`: follows
    from what stands beside it. `recalled`: from memory of the paper. `not stated`: the choice is ours."""
    here: str = ""
    """What this project does, where the option's value does not say it."""

    @property
    def verified(self) -> str:
        """The mark, and whether it leaves the setting unverified."""
        return f"{self.mark}, unverified" if self.mark in UNVERIFIED else self.mark


def read_facts(method: str) -> list[Fact]:
    """What is known of a method's settings, from `methods/facts/METHOD.yaml`; empty where there is no such file."""
    file = METHODS / "facts" / f"{method}.yaml"
    return [Fact(**fact) for fact in yaml.safe_load(file.read_text())] if file.exists() else []


def count(method: "Method") -> Parameters:
    """Parameters of the deployed model: face network, voice network and the rest."""
    face, voice = (sum(p.numel() for p in part.parameters()) for part in (method.face_encoder, method.voice_encoder))
    return Parameters(face, voice, method.count_parameters() - face - voice)
