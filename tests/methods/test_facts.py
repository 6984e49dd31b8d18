"""What is said of each setting is said of one that exists, and of every one; and the site shows it."""

import inspect
import re
import runpy
import shlex
from pathlib import Path
from typing import get_args

import pytest
import pytorch_lightning as pl
import yaml

from voiceface.methods.papers import UNVERIFIED, Mark, paper_of, read_facts
from voiceface.methods.recipes import FOLDER, METHODS, list_methods, list_recipes
from voiceface.training.arguments import expand, source_of
from voiceface.utils.source import constructor

ROOT = Path(__file__).parents[2]
COMMAND = "benchmarks/docs/recipes_docs.py"
DOCS = runpy.run_path(str(ROOT / COMMAND))

# Options of which no paper speaks, as far as is known; they exist because every method has them.
FREE = {"face_options", "voice_options", "face_weights", "voice_weights", "freeze_face", "freeze_voice"}
EXCEPTIONS = {
    "trinet": {"face_options"},
    "kim": set(),
    "drl": {"freeze_face", "freeze_voice"},
    "svhf": {"face_options", "freeze_face", "freeze_voice"},
    "dimnet": FREE,
    "pins": {"face_options", "voice_options", "freeze_face", "freeze_voice"},
    "horiguchi": {"face_options"},
}


def options(method: str) -> dict[str, list[str]]:
    """Options by group, for any recipe of a method."""
    found = {g: list(constructor(*source)) for g in ("model", "data") if (source := source_of(g, recipe(method)))}
    return found | {"trainer": list(inspect.signature(pl.Trainer).parameters)}


def recipe(method: str) -> str:
    return next(name for name in list_recipes() if (found := source_of("model", name)) and found[0].stem == method)


def test_every_method_has_a_file_and_no_other_is_there():
    found = sorted(path.name for path in (METHODS / "facts").iterdir())
    assert found == [f"{method}.yaml" for method in list_methods()], "add facts/METHOD.yaml as CONTRIBUTING.md says"
    assert set(EXCEPTIONS) <= set(list_methods())


@pytest.mark.parametrize("method", list_methods())
def test_facts_are_of_options_that_exist_and_of_all_of_them(method: str):
    facts, known = read_facts(method), options(method)
    names = [fact.option for fact in facts]
    assert len(set(names)) == len(names)
    for name in names:
        group, dot, option = name.partition(".")
        assert not dot or option in known[group], f"facts/{method}.yaml: there is no option {name}"
    said = {name.removeprefix("model.") for name in names if name.startswith("model.")}
    unsaid = set(known["model"]) - said
    assert unsaid <= FREE, f"facts/{method}.yaml: nothing is said of {sorted(unsaid - FREE)}"
    assert unsaid == EXCEPTIONS.get(method, unsaid), f"facts/{method}.yaml lacks options, or EXCEPTIONS is old"
    given = {f"{group}.{name}" for group in ("data", "trainer") for name in DOCS["merged"](recipe(method))[group]}
    when = {"trainer.val_check_interval", "trainer.check_val_every_n_epoch"}  # when to validate is ours
    assert given - when <= set(names), f"facts/{method}.yaml: nothing is said of {given - when - set(names)}"


@pytest.mark.parametrize("method", list_methods())
def test_facts_are_complete(method: str):
    for fact in read_facts(method):
        assert fact.mark in get_args(Mark), fact
        texts = [fact.option, fact.paper, fact.source]
        assert all(isinstance(text, str) and text == text.strip() != "" for text in [*texts, fact.here or "-"]), fact
        assert "." in fact.option or fact.here, f"{fact}: a setting without an option says what is done here"
        assert ("recalled" in fact.source) <= (fact.mark in UNVERIFIED), f"{fact}: what was recalled is unverified"


def test_numbers_of_the_paper_are_those_of_the_recipe():
    """A few settings that the papers state, by hand: the facts must not speak of other recipes than ours."""
    stated = {
        "trinet": {"model.scale": 128.0, "model.margin": 1.0, "trainer.max_steps": 70_000, "data.voice_seconds": 2.5},
        "kim": {"model.width": 128, "model.fc_rate": 1e-3, "model.encoder_rate": 1e-5, "trainer.max_steps": 240_000},
        "drl": {"model.alpha1": 0.6, "model.beta2": 0.2, "model.lambda2": 0.001, "model.lambda3": 0.1},
        "pins": {"model.margin": 0.6, "model.tau_start": 0.3, "model.tau_cap": 0.8},
        "svhf": {"model.hidden": [1024, 512], "data.people": 64, "trainer.max_steps": 10 * 1_200_000 // 64},
        "dimnet": {"model.rate": 0.1, "model.milestones": [16_000, 24_000], "trainer.max_steps": 28_000},
    }
    for method, values in stated.items():
        known = DOCS["settings"](DOCS["main_recipe"](method))
        assert {name: known[name] for name in values} == values


def test_the_main_recipes():
    known = ["drl", "horiguchi", "kim", "pins", "svhf", "trinet"]
    assert [DOCS["main_recipe"](method) for method in known] == known
    assert DOCS["main_recipe"]("dimnet") == "dimnet_ig"
    for method in list_methods():
        assert source_of("model", DOCS["main_recipe"](method))[0].stem == method  # type: ignore[index]


def test_settings_are_merged_in_the_order_of_the_files():
    known = DOCS["settings"]("kim_f2v")
    assert (known["model.anchor"], known["data.voices"], known["data.faces"]) == ("face", 2, 1)
    assert known["data.people"] == yaml.safe_load((FOLDER / "kim.yaml").read_text())["data"]["people"]
    assert known["data.flip"] is False


def test_the_page_shows_every_recipe_and_marks_what_is_unverified():
    shown = DOCS["folded"]()
    assert all(f"`{name}`" in shown for name in list_recipes())
    assert "<!-- settings -->" in (ROOT / "docs" / "methods.md").read_text()
    for method in list_methods():
        assert f'??? note "{paper_of(method).name}"' in shown
        for fact in read_facts(method):
            if fact.mark in UNVERIFIED:
                assert f"{fact.source} | {fact.mark}, **unverified** |" in shown


def test_the_commands_of_the_methods_page_are_understood():
    """Every `voiceface fit` of docs/methods.md names a recipe and options that exist; every recipe is on the page."""
    page = (ROOT / "docs" / "methods.md").read_text()
    commands = [shlex.split(line, comments=True) for line in page.splitlines() if line.startswith("voiceface fit")]
    assert len(commands) > len(list_methods())
    used = set()
    for words in commands:
        while "--pretrained" in words:  # the files are the reader's
            at = words.index("--pretrained")
            del words[at : at + 2]
        used.add(source_of("model", expand(words[2:])[1].recipe)[0].stem)  # type: ignore[index]
    assert used == set(list_methods()), "docs/methods.md: every method needs its command"
    named = set(re.findall(r"`(\w+)`", page))
    named |= {f"dimnet{tail}" for tail in re.findall(r"`(_\w+)`", page)}
    assert set(list_recipes()) <= named, set(list_recipes()) - named
