"""Each setting of each recipe beside what its paper says, for the site; and the recipes' lines of parameters.

`python -m benchmarks.docs.recipes_docs` says which lines are out of date; with `--write` it writes them. With a METHOD,
or `all`, it prints the settings.
"""

import argparse
import ast
import importlib
import sys
import textwrap
from pathlib import Path
from typing import Any

import torch
import yaml

from voiceface.methods.base import Method
from voiceface.methods.papers import PARAMETERS, UNVERIFIED, Fact, count, paper_of, read_facts, recipes_of
from voiceface.methods.recipes import FOLDER, list_methods, list_recipes, recipe_files, title
from voiceface.training.arguments import source_of
from voiceface.utils.errors import UserError
from voiceface.utils.source import constructor

ROOT = Path(__file__).parents[2]
GROUPS = ("model", "data", "trainer")
PREFIXES = tuple(f"{group}." for group in GROUPS)
Settings = dict[str, Any]


def merged(recipe: str) -> dict[str, Settings]:
    """The paper preset of a recipe, without the constructors' defaults, by group."""
    found: dict[str, Settings] = {group: {} for group in GROUPS}
    for file in recipe_files(recipe, "paper"):
        read = yaml.safe_load(file.read_text())
        found["model"] |= read.get("model", {}).get("init_args", {})
        for group in GROUPS[1:]:
            found[group] |= read.get(group, {})
    return found


def defaults(group: str, recipe: str) -> Settings:
    """Defaults of the constructor behind a group of options; none for Lightning's Trainer."""
    source = source_of(group, recipe)
    return {name: ast.literal_eval(value) for name, value in constructor(*source).items() if value} if source else {}


def settings(recipe: str) -> dict[str, Any]:
    """Every setting of a recipe's paper preset, `GROUP.NAME`: value."""
    given = merged(recipe)
    return {f"{g}.{name}": plain(v) for g in GROUPS for name, v in (defaults(g, recipe) | given[g]).items()}


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def main_recipe(method: str) -> str:
    """The recipe whose arguments are nearest to the constructor's defaults.

    Raises:
        UserError: No recipe trains the method.
    """

    def apart(recipe: str) -> tuple[int, int]:
        known = defaults("model", recipe)
        return sum(plain(known[n]) != plain(v) for n, v in merged(recipe)["model"].items()), len(recipe)

    recipes = recipes_of(method)
    if not recipes:
        raise UserError(f"{method}.py: no recipe trains it; add {method}.yaml as CONTRIBUTING.md says")
    return min(recipes, key=apart)


def build(recipe: str) -> Method:
    """The paper preset of a recipe, without memory for its weights."""
    source = source_of("model", recipe)
    assert source is not None
    module = importlib.import_module(f"voiceface.methods.{source[0].stem}")
    with torch.device("meta"):
        method: Method = getattr(module, source[1])(**merged(recipe)["model"])
    return method


def parameters_line(recipe: str) -> str:
    """The second line that a recipe's file should have."""
    size = count(build(recipe))
    return f"# Parameters: face {size.face:,}, voice {size.voice:,}, rest {size.rest:,}"


def with_parameters(recipe: str) -> str:
    """A recipe's file with the right second line."""
    first, *rest = (FOLDER / f"{recipe}.yaml").read_text().splitlines()
    rest = [line for line in rest if not PARAMETERS.match(line)]
    return "\n".join([first, parameters_line(recipe), *rest]) + "\n"


def shown(value: Any) -> str:
    """A value as a user would give it."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {shown(v)}" for name, v in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def here(fact: Fact, known: Settings) -> str:
    """What a recipe has in a fact's place."""
    value = known.get(fact.option)
    said = [f"`{shown(value)}`"] if value is not None else []
    said += [fact.here] if fact.here else []
    return "; ".join(said) or "none"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def of_method(method: str) -> str:
    """The settings of a method's main recipe, and how its other recipes differ.

    Raises:
        UserError: No recipe trains it, or its docstring names no paper.
    """
    main = main_recipe(method)
    known, paper = settings(main), paper_of(method)
    if paper is None:
        raise UserError(f"{method}.py: its docstring names no paper; write it as CONTRIBUTING.md says")
    rows = []
    for fact in read_facts(method):
        option = f"`{fact.option}`" if fact.option in known or fact.option.startswith(PREFIXES) else fact.option
        mark = f"{fact.mark}, **unverified**" if fact.mark in UNVERIFIED else fact.mark
        rows.append([option, here(fact, known), fact.paper, fact.source, mark])
    parts = [
        f'"[{paper.title}]({paper.link})" ({paper.year}). The table is of `{main}`.',
        table(["setting", f"`{main}`", "the paper", "source", "mark"], rows),
    ]
    others = [name for name in recipes_of(method) if name != main]
    if others:
        parts.append(table(["recipe", "what it is", f"differs from `{main}` by"], [differs(n, known) for n in others]))
    return "\n\n".join(parts)


def differs(recipe: str, known: Settings) -> list[str]:
    own = settings(recipe)
    changes = [f"`{name}` {shown(value)}" for name, value in own.items() if known.get(name) != value]
    return [f"`{recipe}`", title(recipe), "; ".join(changes) or "weights or corpus alone"]


def folded() -> str:
    """The settings of all methods, a folded block each, for docs/methods.md."""
    blocks = []
    for method in list_methods():
        paper = paper_of(method)
        blocks.append(f'??? note "{paper.name if paper else method}"\n{textwrap.indent(of_method(method), "    ")}')
    return "\n\n".join(blocks)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("method", nargs="?", choices=[*list_methods(), "all"], help="print the settings of a method")
    parser.add_argument("--write", action="store_true", help="write the lines that are out of date")
    options = parser.parse_args()
    methods = list_methods() if options.method in (None, "all") else [options.method]
    try:
        settings = "\n\n".join(map(of_method, methods))
        wanted = {FOLDER / f"{recipe}.yaml": with_parameters(recipe) for recipe in list_recipes()}
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    if options.method:
        print(settings)
        return 0
    stale = {file: text for file, text in wanted.items() if file.read_text() != text}
    for file, text in stale.items():
        if options.write:
            file.write_text(text)
        print(f"{file.relative_to(ROOT)}: {'written' if options.write else 'out of date'}")
    return 1 if stale and not options.write else 0


if __name__ == "__main__":
    sys.exit(main())
