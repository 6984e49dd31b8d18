"""Methods and recipes are found by their files; nothing here imports torch."""

import re
from pathlib import Path
from typing import Any

import yaml

from voiceface.utils.errors import UserError
from voiceface.utils.own_classes import METHOD_GROUP, installed
from voiceface.utils.text import nearest as nearest

FOLDER = Path(__file__).parent
METHODS = FOLDER.parent
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, and quick where LibYAML is there
SHARED = ("demo", "common", "features")


def list_methods() -> list[str]:
    """Names of the method files: those with a recipe of their own, or with a base for their recipes."""
    own = {path.name.removesuffix(".yaml").removesuffix(".base") for path in FOLDER.glob("*.yaml")}
    return sorted(path.stem for path in METHODS.glob("*.py") if path.stem in own)


def list_recipes() -> list[str]:
    """Names that `--model` takes: the recipe files. Those of presets, such as `NAME.demo.yaml`, are none."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem not in SHARED and "." not in path.stem)


def recipe_files(name: str, preset: str, encoders: str = "paper") -> list[Path]:
    """The YAML files of a recipe; later ones win.

    `trinet_euclidean` holds only what differs from `trinet`: a recipe stands on that of its name's first word, or on
    `WORD.base.yaml`, which is no recipe itself.

    Args:
        name: Recipe.
        preset: `paper` or `demo`.
        encoders: `paper`, those of the recipe; `common`, one pair of paper-size encoders for all methods; `features`,
            none, for a corpus of features.

    Raises:
        UserError: No such recipe; the message holds the nearest name and the list.
    """
    if name not in list_recipes():
        known = [*list_recipes(), *installed(METHOD_GROUP)]
        raise UserError(f"--model {name}: no such recipe{nearest(name, known)}; there are: {', '.join(known)}")
    first = name.split("_")[0]
    names = list(dict.fromkeys([first, name]))
    files = [f"{first}.base.yaml", *(f"{n}.yaml" for n in names)]
    if preset == "demo":
        files += ["demo.yaml", *(f"{n}.demo.yaml" for n in names)]
    if encoders != "paper":
        files.append(f"{encoders}.yaml")
    return [FOLDER / file for file in files if (FOLDER / file).exists()]


def shared_files(preset: str, encoders: str = "paper") -> list[Path]:
    """The YAML files of a preset and of a choice of encoders that hold for every method, whatever its package."""
    names = (["demo"] if preset == "demo" else []) + ([encoders] if encoders != "paper" else [])
    return [FOLDER / f"{name}.yaml" for name in names]


def class_of(recipe: str) -> tuple[Path, str] | None:
    """File and class of the method that a recipe trains; None where it names none of ours."""
    file = FOLDER / f"{recipe}.yaml"
    found = re.search(r"class_path: voiceface\.methods\.(\w+)\.(\w+)", file.read_text()) if file.is_file() else None
    return (METHODS / f"{found[1]}.py", found[2]) if found else None


def load_recipe(name: str, preset: str, encoders: str = "paper") -> dict[str, dict[str, Any]]:
    """The settings of a recipe under a preset: `model` (with `class_path`), `data`, `trainer`, by their names."""
    settings: dict[str, dict[str, Any]] = {}
    for file in recipe_files(name, preset, encoders):
        for group, values in yaml.load(file.read_text(), LOADER).items():
            inner = values.pop("init_args", {})
            settings.setdefault(group, {}).update({**values, **inner})
    return settings


def equivalent_recipe(name: str, preset: str, encoders: str = "paper") -> str | None:
    """The recipe on which this one stands, where preset and encoders leave no difference between the two."""
    first = name.split("_")[0]
    if first == name or first not in list_recipes():
        return None
    return first if load_recipe(name, preset, encoders) == load_recipe(first, preset, encoders) else None


def title(name: str) -> str:
    """The first line of a recipe's file: what it is, in a few words."""
    return (FOLDER / f"{name}.yaml").read_text().splitlines()[0].lstrip("# ")
