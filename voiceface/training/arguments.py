"""The arguments of `voiceface fit`, validated before torch is imported."""

import ast
import contextlib
import importlib.util
import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from voiceface.encoders.pretrained.header import Pretrained, read_header
from voiceface.methods.own import import_encoders, own_method
from voiceface.methods.recipes import class_of, list_recipes, nearest, recipe_files, settings_of, shared_files
from voiceface.training.feature_words import features_fit, features_of, widths
from voiceface.utils.errors import UserError
from voiceface.utils.own_classes import is_own, search_here
from voiceface.utils.source import constructor, explanations, parameter_docs, parameters

SHORT = ("model", "data", "preset", "encoders", "pretrained", "gpus", "out", "wandb", "evaluation-seconds")
ENCODERS = ("paper", "common", "features")
# Options that stand alone, and LightningCLI's equivalents.
SWITCHES = {
    "sync-batchnorm": "--trainer.sync_batchnorm=true",
    "cache-frozen": "--data.cache_frozen=true",
    "compile": "--compile=true",
    "channels-last": "--channels_last=true",
}
PLAIN = (
    "config",
    "seed_everything",
    "save_every",
    "negatives",
    "non_finite",
    "compile",
    "channels_last",
    "evaluation_seconds",
    "ckpt_path",
    "weights_only",
    "print_config",
    "help",
    "help_all",
    "metrics",
)
GROUPS = ("model", "data", "trainer", "metrics")


@dataclass(frozen=True)
class RunChoice:
    """What the short words of `voiceface fit` choose.

    Attributes:
        recipe: Recipe, or name of the method; empty: a config file says it.
        preset: `paper` or `demo`.
        encoders: One of `ENCODERS`.
        out: Run folder; empty: the next free one.
        people: `preset` where the number of people in a batch is the demo preset's, not the user's; else `user`.
    """

    recipe: str = ""
    preset: str = "paper"
    encoders: str = "paper"
    out: str = ""
    people: str = "user"


def split_words(args: Sequence[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Separate the short options from a command line.

    Args:
        args: Words after `voiceface fit`.

    Returns:
        The short options with their values, the values of `--pretrained`, which may be repeated, and all other words
        in order.

    Raises:
        UserError: A word is unknown or lacks its value.
    """
    short: dict[str, str] = {}
    pretrained: list[str] = []
    rest: list[str] = []
    words = list(args)
    while words:
        word = words.pop(0)
        name, has_value, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in SHORT:
            if not has_value:
                if not words or words[0].startswith("--"):
                    raise UserError(f"--{name}: a value is missing; see `voiceface fit --help`")
                value = words.pop(0)
            if not value:
                raise UserError(f"--{name}: the value is empty (an unset variable?); see `voiceface fit --help`")
            if name == "pretrained":
                pretrained.append(value)
            else:
                short[name] = value
        elif word in (f"--{switch}" for switch in SWITCHES):
            rest.append(SWITCHES[name])
        else:
            rest.append(word)
    return short, pretrained, rest


def expand(args: Sequence[str]) -> tuple[list[str], RunChoice]:
    """Turn the short words of the front door into LightningCLI's own.

    Args:
        args: Words after `voiceface fit`.

    Returns:
        Words for LightningCLI, and what was chosen.

    Raises:
        UserError: An option or a recipe is unknown (the message suggests the nearest one), or pretrained weights are
            not for this run's networks.
    """
    short, pretrained, rest = split_words(args)
    _known(rest, short.get("model"))
    root = short.get("data") or next((value for name, value in _given(rest) if name == "--data.root"), None)
    preset = short.get("preset") or ("demo" if root is None else "paper")
    if preset not in ("paper", "demo"):
        raise UserError(f"--preset {preset}: not a preset{nearest(preset, ('paper', 'demo'))}; there are: paper, demo")
    encoders = short.get("encoders", "paper")
    if encoders not in ENCODERS:
        raise UserError(
            f"--encoders {encoders}: not a choice{nearest(encoders, ENCODERS)}; there are: {', '.join(ENCODERS)}"
        )
    words = ["fit"]
    recipe = short.get("model", "")
    files: list[Path] = []
    if recipe:
        own = own_method(recipe)
        features = features_of(root) if root else None
        if features is not None:
            encoders = short.get("encoders", "features")
        features_fit(features, encoders, root or "the built-in corpus", rest)
        files = recipe_files(recipe, preset, encoders) if own is None else shared_files(preset, encoders)
        if own is not None:
            words.append(f"--model={own.__module__}.{own.__name__}")
            recipe = recipe.rpartition(".")[2].lower()
            if is_own(own) and recipe in list_recipes():  # or its results would pass for those of the recipe
                recipe = f"own_{recipe}"
        words += [f"--config={file}" for file in files]
        words += widths(features)
    elif encoders != "paper":
        raise UserError(f"--encoders {encoders}: needs --model")
    elif not any(w.startswith(("--config", "-c", "--help", "--print_config")) for w in rest):
        raise UserError(f"--model is missing; choose one of: {', '.join(list_recipes())}")
    if any(name in ("--config", "-c") for name, _ in _given(rest)):
        search_here()  # for the classes that it names
    import_encoders(_arguments(short.get("model"), files, rest)[0])
    if "data" in short:
        words.append(f"--data.root={short['data']}")
    if "wandb" in short:
        words.append(f"--wandb={short['wandb']}")
    if "evaluation-seconds" in short:
        words.append(f"--evaluation_seconds={short['evaluation-seconds']}")
    if "gpus" in short:
        if not short["gpus"].isdigit() or int(short["gpus"]) < 1:
            raise UserError(f"--gpus {short['gpus']}: give a number of GPUs, 1 or more")
        words += ["--trainer.accelerator=gpu", f"--trainer.devices={short['gpus']}"]
    words += _starts([read_header(path) for path in pretrained], short.get("model"), files, rest)
    people = "preset" if files and preset == "demo" and not _sets_people(rest) else "user"
    return words + rest, RunChoice(recipe, preset, encoders, short.get("out", ""), people)


def _given(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each of LightningCLI's words as an option, with its value, which may be the next word; None: there is none."""
    for index, word in enumerate(words):
        name, has_value, value = word.partition("=")
        yield name, value if has_value else next(iter(words[index + 1 :]), None)


def _sets_people(words: Sequence[str]) -> bool:
    """Whether LightningCLI's words, or a config file among them, set the number of people in a batch."""
    for name, value in _given(words):
        if name == "--data.people":
            return True
        if name in ("--config", "-c"):
            with contextlib.suppress(OSError, ValueError, TypeError, yaml.YAMLError, RecursionError):
                if "people" in (yaml.safe_load(Path(value or "").read_text())["data"] or ()):
                    return True
    return False


def _starts(
    pretrained: Sequence[Pretrained], recipe: str | None, files: Sequence[Path], rest: Sequence[str]
) -> list[str]:
    """Build the words that start a run from imported weights; reject weights for other networks."""
    words: list[str] = []
    arguments, given = _arguments(recipe, files, rest)
    for about in pretrained:
        used = {kind: arguments.get(f"{kind}_encoder") for kind in ("face", "voice")}
        kind = about.encoder.split("_")[0] if about.encoder else ""
        found = source_of("model", recipe)
        if about.method and found and found[0].stem != about.method:
            raise UserError(
                f"--pretrained {about.path}: weights of the whole method {about.method}, not of {recipe}; give others, "
                f"or --model {about.method}"
            )
        for one, wanted in ({kind: about.encoder} if kind else about.encoders).items():
            if used.get(one) not in (wanted, None):
                raise UserError(
                    f"--pretrained {about.path}: weights of {wanted}, but the {one} network of this run is "
                    f"{used[one]}; give others, or --model.{one}_encoder {wanted}, or another --preset or --encoders"
                )
        option = f"{kind}_weights" if kind else "weights"
        if option in given:
            raise UserError(f"--pretrained {about.path}: --model.{option} is given already; leave one of them out")
        given.add(option)
        words.append(f"--model.{option}={about.path}")
        if kind and about.options and f"{kind}_options" not in given:
            words.append(f"--model.{kind}_options={json.dumps(_merged(about, kind, arguments))}")
    _known(words, recipe)
    return words


def _merged(about: Pretrained, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Merge the recipe's encoder options with those that the weights need."""
    recipes = arguments.get(f"{kind}_options") or {}
    for name, value in about.options.items():
        if recipes.get(name, value) != value:
            raise UserError(
                f"--pretrained {about.path}: its weights need {name} {json.dumps(value)}, the recipe has "
                f"{json.dumps(recipes[name])}; import them with --options '{json.dumps({name: recipes[name]})}' if the "
                f"file has them, or give --model.{kind}_options"
            )
    return {**recipes, **about.options}


def _arguments(recipe: str | None, files: Sequence[Path], rest: Sequence[str]) -> tuple[dict[str, Any], set[str]]:
    """Return the final model arguments (defaults, recipe, then the user's words), and which ones the user gave."""
    arguments: dict[str, Any] = {}
    for name, default in _constructor("model", recipe).items():
        with contextlib.suppress(ValueError, SyntaxError):
            arguments[name] = ast.literal_eval(default) if default else None
    for file in files:
        arguments |= _model_arguments(file)
    given: set[str] = set()
    for name, value in _given(rest):
        if name in ("--config", "-c"):
            arguments |= _model_arguments(Path(value or ""))
        elif name.startswith("--model."):
            name, _, below = name.removeprefix("--model.").removeprefix("init_args.").partition(".")
            given.add(name.rstrip("+"))
            with contextlib.suppress(yaml.YAMLError):
                arguments[name] = arguments.get(name) if below else yaml.safe_load(value or "")
    return arguments, given


def _model_arguments(file: Path) -> dict[str, Any]:
    """Read the model's arguments from a config file; empty if unreadable, which LightningCLI will report."""
    try:
        model = yaml.safe_load(file.read_text())["model"]["init_args"]
        return dict(model)
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, RecursionError):
        return {}


def _known(words: Sequence[str], recipe: str | None) -> None:
    """Reject an option that no later parser knows."""
    for word in words:
        if not word.startswith("--"):
            continue
        name = word[2:].split("=", 1)[0]
        group, _, option = name.partition(".")
        if not option:
            if name not in PLAIN:
                raise UserError(
                    f"--{name}: no such option{nearest(name, (*SHORT, *PLAIN))}; see `voiceface fit --help`"
                )
            continue
        if group not in GROUPS:
            raise UserError(f"--{name}: no such option{nearest(group, GROUPS)}; see `voiceface fit --help`")
        options = _options(group, recipe)
        option = option.removeprefix("init_args.").split(".")[0].rstrip("+")
        if options and option not in (*options, "class_path", "init_args", "dict_kwargs", "help"):
            raise UserError(f"--{name}: no such option{nearest(option, options)}; see `voiceface fit --help_all`")


def _options(group: str, recipe: str | None) -> list[str]:
    """List the constructor arguments behind a group, read from the source; empty if they cannot be known yet."""
    if group == "trainer":
        spec = importlib.util.find_spec("pytorch_lightning")
        folders = list(spec.submodule_search_locations or []) if spec else []
        return list(constructor(Path(folders[0]) / "trainer/trainer.py", "Trainer")) if folders else []
    return list(_constructor(group, recipe))


def _constructor(group: str, recipe: str | None) -> dict[str, str]:
    """Arguments of the class behind a group, and their defaults as text."""
    if found := source_of(group, recipe):
        return constructor(*found)
    own = own_method(recipe) if group == "model" and recipe else None
    known = parameters(own) if own else {}
    return {name: "" if p.default is p.empty else repr(p.default) for name, p in known.items()}


def source_of(group: str, recipe: str | None) -> tuple[Path, str] | None:
    """Return the file and class behind one of voiceface's own option groups."""
    package = Path(__file__).parents[1]
    if group == "data":
        return package / "data/module.py", "VoxVGGDataModule"
    if group == "metrics":
        return package / "evaluation/callback.py", "CrossModalMetrics"
    return class_of(recipe) if recipe else None


def explain(group: str, recipe: str, preset: str, encoders: str) -> str:
    """Explain a group's options, one per line, from the docstring of the class behind it, with the values of a run."""
    found = source_of(group, recipe)
    own = own_method(recipe) if group == "model" and recipe and not found else None
    name, explained = (found[1], explanations(*found)) if found else ("", {})
    if own is not None:
        name, explained = own.__name__, parameter_docs(own)
    if not name:
        return ""
    files = recipe_files(recipe, preset, encoders) if recipe in list_recipes() else shared_files(preset, encoders)
    values = settings_of(files).get(group, {}) if recipe else {}
    where = f"values of {recipe} with --preset {preset}" if recipe else "defaults"
    lines = [f"\n{name} (--{group}.*), {where}:"]
    for option, default in _constructor(group, recipe).items():
        text = f"{explained.get(option, '')} [{values.get(option, default)}]"
        lines.append(textwrap.fill(text, 100, initial_indent=f"  --{group}.{option}  ", subsequent_indent=" " * 8))
    return "\n".join(lines)
