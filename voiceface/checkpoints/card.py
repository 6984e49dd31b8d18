"""The model card in each checkpoint folder."""

import ast
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from voiceface.checkpoints.card_scores import code, scores_text
from voiceface.checkpoints.config import SCHEMA, read_config
from voiceface.evaluation.results import read_results
from voiceface.methods.papers import UNVERIFIED, Fact, read_facts, read_paper
from voiceface.methods.recipes import METHODS, list_methods, list_recipes, load_recipe, title
from voiceface.utils.errors import UserError
from voiceface.utils.source import constructor

if TYPE_CHECKING:
    pass

SYNTHETIC = "synthetic"  # the name of every corpus that `prepare synthetic` makes

WEIGHTS = {"face_weights": "the face network", "voice_weights": "the voice network", "weights": "the whole method"}

SCORES = {
    "cosine": "the cosine of two embeddings",
    "euclidean": "minus the Euclidean distance of two embeddings",
    "pairwise": "a network of each pair of embeddings",
    "relative": "a network that compares candidates with each other; there is no score of a single pair",
}


def card(config: Mapping[str, Any], results: Mapping[str, Any] | None) -> str:
    """Write the model card of a checkpoint: description, intended use, training data, scores, limits and licence.

    Args:
        config: Content of `config.json`, of this version's schema.
        results: Content of `results.json`; None: not tested yet.

    Returns:
        Markdown with the front matter that the Hugging Face hub reads; deterministic.
    """
    data, recipe = config["data"], config["recipe"]
    synthetic, started = data.get("corpus") == SYNTHETIC, _started(config)
    ours = synthetic and not started
    paper = read_paper(_docstring(config))
    face, voice = config["encoders"]["face"], config["encoders"]["voice"]
    rest = config["parameters"] - face["parameters"] - voice["parameters"]
    # Third-party data and weights have their own terms.
    other = {"license": "other", "license_name": "that-of-the-training-data"}
    front = {
        **({"license": "apache-2.0"} if ours else other),
        "library_name": "voiceface",
        "tags": ["voice-face-association", "cross-modal-matching", "cross-modal-retrieval"],
    }
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {config['name']}",
        (
            "**Trained on synthetic voices and faces: these numbers say nothing about real people.**\n\n"
            if synthetic
            else ""
        )
        + _title(config)
        + "A model of voice-face association: given a voice, which of some faces fits it best, or the reverse."
        + _one_way(config["directions"]),
        _table(
            {
                "recipe": code(recipe) if recipe else "none",
                "method": _class(config),
                "paper": f'["{paper.title}"]({paper.link}), {paper.year}' if paper else "none named",
                "score": SCORES[config["space"]],
                "face network": f"{code(face['name'])}, {face['parameters']:,} parameters",
                "voice network": f"{code(voice['name'])}, {voice['parameters']:,} parameters",
                "rest": f"{rest:,} parameters",
                "weights": f"`model.safetensors`, {config['dtype']}; every setting is in `config.json`",
                "voiceface": code(config["requires"]),
            }
        ),
        "## Intended use\n\nResearch on the statistical agreement between voices and faces, and comparison of methods "
        "for finding it.",
        "## Trained on\n\n" + _trained_on(data, synthetic, started),
        "## Scores\n\n" + scores_text(config, results),
        "## Use\n\n" + _use(config),
        "## What is unverified\n\n" + _unverified(config),
        "## Limits and ethics\n\nVoice-face association does not identify people and must not be used to identify or "
        "screen them: not in hiring, lending, policing, border control or any decision about a person. Much of what "
        "such models use is gender, age and origin; read scores within strata, such as among people of the same "
        "gender, beside the overall ones. Scores hold for people and recordings like those of the test; of others "
        "nothing is known.",
        "## Licence\n\nThe code of voiceface is under Apache-2.0. "
        + (
            "So is the synthetic corpus; these weights may be used likewise."
            if ours
            else "These weights are under what the training data and any pretrained weights allow."
        )
        + " Please cite the paper of the method.",
    ]
    return "\n\n".join(parts) + "\n"


def check_schema(folder: Path, config: Mapping[str, Any]) -> None:
    """Reject a checkpoint of an earlier schema, which has no card.

    Args:
        folder: Checkpoint folder, for the message.
        config: Content of its `config.json`.

    Raises:
        UserError: The checkpoint is of an earlier schema.
    """
    if config["schema"] != SCHEMA:
        raise UserError(
            f"{folder}: of checkpoint schema {config['schema']}, whose config.json says too little for a "
            "card; load it and save it again"
        )


def card_of(folder: Path) -> str:
    """Write the card of a checkpoint folder, using only its `config.json` and, if present, `results.json`.

    Args:
        folder: Checkpoint folder.

    Raises:
        UserError: The folder is not a checkpoint of this version's schema, or the result is of other weights.
    """
    config, path = read_config(folder), folder / "results.json"
    check_schema(folder, config)
    results = read_results(path) if path.exists() else None
    if results is not None and results["model"]["checkpoint"] != config["sha256"]:
        raise UserError(f"{path}: scores of other weights than those in {folder}; test this checkpoint")
    return card(config, results)


def _ours(config: Mapping[str, Any]) -> bool:
    """Return whether the method is one of voiceface's own, whose files say more."""
    return config["method"] in list_methods()


def _class(config: Mapping[str, Any]) -> str:
    """The class; of another package, with its module and the distribution that has it."""
    if "distributions" not in config:
        return f"`{config['class']}`"
    needed = ", ".join(f"{code(name)} {version}" for name, version in config["distributions"].items())
    module = "" if _ours(config) else f"{config['method']}."
    return f"`{module}{config['class']}`; needs {needed or 'code of its own that no distribution has'}"


def _docstring(config: Mapping[str, Any]) -> str:
    """Return the docstring of a method's file, which is parsed and not run."""
    if not _ours(config):
        return ""
    return ast.get_docstring(ast.parse((METHODS / f"{config['method']}.py").read_text())) or ""


def _title(config: Mapping[str, Any]) -> str:
    """Title of the recipe; for a third-party recipe or method, the first line of its docstring."""
    said = title(config["recipe"]) if _preset(config) else (_docstring(config).splitlines() or [""])[0]
    return f"{said.rstrip('.')}.\n\n" if said else ""


def _table(rows: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _started(config: Mapping[str, Any]) -> list[str]:
    """List the parts of the method that started from pretrained weights."""
    return [part for name, part in WEIGHTS.items() if isinstance(config["arguments"].get(name), str)]


def _one_way(directions: Sequence[str]) -> str:
    """Describe the limits of a model trained to choose in one direction."""
    if len(directions) != 1:
        return ""
    asking, asked = ("voice", "faces") if directions[0] == "v2f" else ("face", "voices")
    return f" **This one was trained to choose among {asked} for a {asking}**, not for the reverse, nor to retrieve."


def _trained_on(data: Mapping[str, Any], synthetic: bool, started: list[str]) -> str:
    named = ", ".join(" ".join([*re.findall(r"\w+", key), _plain(value)]) for key, value in data.items())
    text = f"{named[0].upper()}{named[1:]}." if named else "Not recorded."
    if synthetic:
        text = (
            f"**Synthetic voices and faces**: {named}. They are rendered from shared traits, not recorded: no number "
            "on them is one about people. The corpus is made by voiceface and under its licence, Apache-2.0."
        )
    else:
        text += " Its licence is that of its recordings and pictures; the checkpoint does not change it."
    return text + (f" Pretrained weights started {' and '.join(started)}." if started else "")


def _plain(value: Any) -> str:
    if isinstance(value, (str, dict, list)):
        return code(value if isinstance(value, str) else json.dumps(value))
    return json.dumps(value)


def _use(config: Mapping[str, Any]) -> str:
    lines = [
        "voiceface match CHECKPOINT VOICE FACE FACE               # which of two faces fits a voice best",
        "voiceface test CHECKPOINT --data CORPUS                  # its scores on the test people of a corpus",
    ]
    if config["space"] != "relative":
        lines.append("voiceface embed CHECKPOINT --data CORPUS --out emb.npz   # embeddings of its voices and faces")
    return "\n".join(["```bash", *lines, "```", "", "`CHECKPOINT` is this folder, or its name where it is installed."])


def _preset(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model's settings in the paper preset; empty if this method's class has no such recipe."""
    recipe = config["recipe"]
    found = load_recipe(recipe, "paper").get("model", {}) if recipe in list_recipes() else {}
    ours = found.get("class_path") == f"voiceface.methods.{config['method']}.{config['class']}"
    return found if ours else {}


def _defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor's literal defaults, parsed from the method's file."""
    found = {}
    for name, default in constructor(METHODS / f"{config['method']}.py", config["class"]).items():
        with contextlib.suppress(ValueError):
            found[name] = ast.literal_eval(default)
    return found


def _changed(config: Mapping[str, Any]) -> list[str]:
    """List model options, as `model.NAME`, that differ from the recipe's paper preset; file paths are ignored."""
    preset = _defaults(config) | _preset(config)
    changed = []
    for name, value in config["arguments"].items():
        wanted = preset.get(name, value)
        filled_in = wanted is None and isinstance(value, (list, tuple))  # by the constructor
        if name not in WEIGHTS and not filled_in and _as_list(value) != _as_list(wanted):
            changed.append(f"model.{name}")
    return changed


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _of_others(fact: Fact, recipe: str) -> bool:
    """Return whether a fact names recipes in parentheses, but not this one."""
    named = set(re.findall(r"\((\w+)\)", f"{fact.option} {fact.paper}")) & set(list_recipes())
    return bool(named) and recipe not in named


def _line(fact: Fact) -> str:
    """Format an unverified fact: option, what the source says, what is done here, how it is known."""
    if "." in fact.option:
        said = f"`{fact.option}`: {fact.paper}"
    elif fact.paper == "the same":
        said = f"{fact.option}: {fact.here}"
    else:
        said = f"{fact.option}: {fact.paper}" + (f"; here: {fact.here}" if fact.here != fact.paper else "")
    known = fact.source if fact.source.startswith(fact.mark) else f"{fact.mark}: {fact.source}"
    return f"- {said} ({known})"


def _unverified(config: Mapping[str, Any]) -> str:
    facts = read_facts(config["method"]) if _ours(config) else []
    if not facts:
        return "Nothing is recorded of how this method's settings relate to its paper."
    changed = _changed(config)
    facts = [fact for fact in facts if fact.option not in changed and not _of_others(fact, config["recipe"])]
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
