"""Methods and recipes are found by their files; nothing here imports torch."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from voiceface.errors import UserError

FOLDER = Path(__file__).parent / "methods"


def list_methods() -> list[str]:
    """Names of the method files."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def list_recipes() -> list[str]:
    """Names that `--model` takes: the recipe files. `NAME.demo.yaml` and `demo.yaml` are presets, not recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.stem.endswith("demo"))


def recipe_files(name: str, preset: str) -> list[Path]:
    """The YAML files of a recipe under a preset; later ones win.

    Args:
        name: Recipe.
        preset: `paper` or `demo`.

    Raises:
        UserError: No such recipe; the message holds the nearest name and the list.
    """
    if name not in list_recipes():
        raise UserError(
            f"--model {name}: no such recipe{nearest(name, list_recipes())}; there are: {', '.join(list_recipes())}"
        )
    files = [FOLDER / f"{name}.yaml"]
    if preset == "demo":
        files += [FOLDER / "demo.yaml", FOLDER / f"{name}.demo.yaml"]
    return [file for file in files if file.exists()]


def nearest(word: str, words: Iterable[str]) -> str:
    """`, did you mean X?` where a word is near to one of a list, else nothing."""
    match = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f", did you mean {match[0]}?" if match else ""
