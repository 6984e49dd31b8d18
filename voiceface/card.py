"""The model card that lies in each checkpoint folder, and what is known of each method's settings."""

import inspect
import json
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import yaml

from voiceface.listing import Parameters, read_paper
from voiceface.recipes import FOLDER, list_recipes, merged, title

if TYPE_CHECKING:
    from voiceface.method import Method

Mark = Literal["paper", "code", "port", "inferred", "recalled", "not stated"]
UNVERIFIED: tuple[Mark, ...] = ("port", "inferred", "recalled")
SYNTHETIC = "synthetic"  # the name of every corpus that `prepare synthetic` makes

WEIGHTS = {"face_weights": "the face network", "voice_weights": "the voice network", "weights": "the whole method"}

SCORES = {
    "cosine": "the cosine of two embeddings",
    "euclidean": "minus the Euclidean distance of two embeddings",
    "pairwise": "a network of each pair of embeddings",
    "relative": "a network that compares candidates with each other; there is no score of a single pair",
}


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
    file = FOLDER / "facts" / f"{method}.yaml"
    return [Fact(**fact) for fact in yaml.safe_load(file.read_text())] if file.exists() else []


def count(method: "Method") -> Parameters:
    """Parameters of the deployed model: face network, voice network and the rest."""
    face, voice = (sum(p.numel() for p in part.parameters()) for part in (method.face_encoder, method.voice_encoder))
    return Parameters(face, voice, method.count_parameters() - face - voice)


def card(method: "Method", recipe: str, data: Mapping[str, Any]) -> str:
    """Write the model card of a checkpoint: what it is, what is unverified, what it was trained on, its limits.

    Args:
        method: The trained method.
        recipe: Name of the recipe; empty: that of the method's class.
        data: What it was trained on: `corpus`, `version`, `split`.

    Returns:
        Markdown with the front matter that the Hugging Face hub reads; the same for the same arguments.
    """
    synthetic, started = data.get("corpus") == SYNTHETIC, _started(method)
    ours = synthetic and not started
    paper = read_paper(_docstring(method))
    size = count(method)
    name = recipe or type(method).__name__
    # Others' data and weights have terms of their own.
    other = {"license": "other", "license_name": "that-of-the-training-data"}
    front = {
        **({"license": "apache-2.0"} if ours else other),
        "library_name": "voiceface",
        "tags": ["voice-face-association", "cross-modal-matching", "cross-modal-retrieval"],
    }
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {name}",
        _title(method, recipe)
        + "A model of voice-face association: given a voice, which of some faces fits it best, or the reverse.",
        _table(
            {
                "recipe": f"`{recipe}`" if recipe else "none",
                "method": f"`{type(method).__name__}`",
                "paper": f'["{paper.title}"]({paper.link}), {paper.year}' if paper else "none named",
                "score": SCORES[method.space],
                "face network": f"`{_argument(method, 'face_encoder')}`, {size.face:,} parameters",
                "voice network": f"`{_argument(method, 'voice_encoder')}`, {size.voice:,} parameters",
                "rest": f"{size.rest:,} parameters",
                "weights": "`model.safetensors`; every setting is in `config.json`",
            }
        ),
        "## Trained on\n\n" + _trained_on(data, synthetic, started),
        "## Use\n\n" + _use(method),
        "## What is unverified\n\n" + _unverified(method, recipe),
        "## Intended use and limits\n\nResearch on the statistical agreement between voices and faces, and comparison "
        "of methods for finding it. Voice-face association does not identify people and must not be used to identify "
        "or screen them. Much of what such models use is gender, age and origin; read scores within strata, such as "
        "among people of the same gender, beside the overall ones.",
        "## Licence\n\nThe code of voiceface is under Apache-2.0. "
        + (
            "So is the synthetic corpus; these weights may be used likewise."
            if ours
            else "These weights are under what the training data and any pretrained weights allow."
        )
        + " Please cite the paper of the method.",
    ]
    return "\n\n".join(parts) + "\n"


def _docstring(method: "Method") -> str:
    return sys.modules[type(method).__module__].__doc__ or ""


def _title(method: "Method", recipe: str) -> str:
    """What the recipe is; of a recipe or a method that is not ours, what the docstring says."""
    said = title(recipe) if _preset(method, recipe) else (_docstring(method).splitlines() or [""])[0]
    return f"{said.rstrip('.')}.\n\n" if said else ""


def _argument(method: "Method", name: str) -> str:
    return str(method.hparams.get(name, type(getattr(method, name)).__name__))


def _table(rows: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _started(method: "Method") -> list[str]:
    """Parts of the method that started from pretrained weights."""
    return [part for name, part in WEIGHTS.items() if isinstance(method.hparams.get(name), str)]


def _trained_on(data: Mapping[str, Any], synthetic: bool, started: list[str]) -> str:
    named = ", ".join(f"{key} {_plain(value)}" for key, value in data.items())
    text = f"{named[0].upper()}{named[1:]}." if named else "Not recorded."
    if synthetic:
        text = (
            f"**Synthetic voices and faces**: {named}. They are rendered from shared traits, not recorded: no number "
            "on them is one about people."
        )
    return text + (f" Pretrained weights started {' and '.join(started)}." if started else "")


def _plain(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else json.dumps(value)


def _use(method: "Method") -> str:
    lines = ["voiceface test CHECKPOINT --data CORPUS                  # its scores on the test people of a corpus"]
    if method.space != "relative":
        lines.append("voiceface embed CHECKPOINT --data CORPUS --out emb.npz   # embeddings of its voices and faces")
    return "\n".join(["```bash", *lines, "```", "", "`CHECKPOINT` is this folder."])


def _preset(method: "Method", recipe: str) -> dict[str, Any]:
    """The model's settings in the paper preset; empty where there is no such recipe of this method's class."""
    found = merged(recipe, "paper").get("model", {}) if recipe in list_recipes() else {}
    ours = found.get("class_path") == f"{type(method).__module__}.{type(method).__name__}"
    return found if ours else {}


def _changed(method: "Method", recipe: str) -> list[str]:
    """Options of the model, `model.NAME`, whose value is not that of the recipe's paper preset. Files are no values."""
    preset = {name: argument.default for name, argument in inspect.signature(type(method).__init__).parameters.items()}
    preset |= _preset(method, recipe)
    changed = []
    for name, value in method.hparams.items():
        wanted = preset.get(name, value)
        filled_in = wanted is None and isinstance(value, (list, tuple))  # by the constructor
        if name not in WEIGHTS and not filled_in and _as_list(value) != _as_list(wanted):
            changed.append(f"model.{name}")
    return changed


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _of_others(fact: Fact, recipe: str) -> bool:
    """Whether a fact names recipes in parentheses, and not this one."""
    named = set(re.findall(r"\((\w+)\)", f"{fact.option} {fact.paper}")) & set(list_recipes())
    return bool(named) and recipe not in named


def _line(fact: Fact) -> str:
    """A fact that is unverified: option, what the source says, what is done here, how it is known."""
    if "." in fact.option:
        said = f"`{fact.option}`: {fact.paper}"
    elif fact.paper == "the same":
        said = f"{fact.option}: {fact.here}"
    else:
        said = f"{fact.option}: {fact.paper}" + (f"; here: {fact.here}" if fact.here != fact.paper else "")
    known = fact.source if fact.source.startswith(fact.mark) else f"{fact.mark}: {fact.source}"
    return f"- {said} ({known})"


def _unverified(method: "Method", recipe: str) -> str:
    module = type(method).__module__
    facts = read_facts(module.removeprefix("voiceface.methods.")) if module.startswith("voiceface.methods.") else []
    if not facts:
        return "Nothing is recorded of how this method's settings relate to its paper."
    changed = _changed(method, recipe)
    facts = [fact for fact in facts if fact.option not in changed and not _of_others(fact, recipe)]
    lines = [_line(fact) for fact in facts if fact.mark in UNVERIFIED]
    chosen = [f"`{f.option}`" if "." in f.option else f.option for f in facts if f.mark == "not stated"]
    parts = ["This card claims no published number. The settings of this checkpoint are in `config.json`."]
    if lines:
        parts.append("Settings of the paper preset that were not read in the paper or in its authors' code:")
        parts.append("\n".join(lines))
    if chosen:
        parts.append(f"Not stated in the paper, or not known, so chosen: {', '.join(chosen)}.")
    if changed:
        parts.append(f"Set otherwise than in the paper preset: {', '.join(f'`{name}`' for name in changed)}.")
    return "\n\n".join(parts)
