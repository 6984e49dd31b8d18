"""Recipes are found by their files, and stand on each other by their names."""

import re
import subprocess
import sys

import pytest
import yaml
from recipe_support import settings

from voiceface.methods.base import Method
from voiceface.methods.recipes import (
    FOLDER,
    equivalent_recipe,
    list_methods,
    list_recipes,
    load_recipe,
    nearest,
    recipe_files,
    title,
)
from voiceface.training.arguments import source_of
from voiceface.utils.errors import UserError


def names(recipe: str, preset: str, encoders: str = "paper") -> list[str]:
    return [file.name for file in recipe_files(recipe, preset, encoders)]


def test_a_recipe_stands_on_its_methods_and_the_presets_come_after():
    assert names("kim", "paper") == ["kim.yaml"]
    assert names("kim_f2v", "paper") == ["kim.yaml", "kim_f2v.yaml"]
    assert names("kim_f2v", "demo") == ["kim.yaml", "kim_f2v.yaml", "demo.yaml", "kim.demo.yaml"]
    assert names("dimnet_ig", "paper", "common") == ["dimnet.base.yaml", "dimnet_ig.yaml", "common.yaml"]
    assert names("trinet_s1", "demo") == [
        "trinet.yaml",
        "trinet_s1.yaml",
        "demo.yaml",
        "trinet.demo.yaml",
        "trinet_s1.demo.yaml",
    ]


def test_merged_settings_are_those_that_the_command_line_reads():
    for recipe, preset in (("kim_f2v", "paper"), ("trinet_s1", "demo")):
        wanted = settings(recipe, preset)
        found = load_recipe(recipe, preset)
        assert found["model"] == {"class_path": wanted["model"]["class_path"], **wanted["model"]["init_args"]}
        assert found["data"] == {k: v for k, v in wanted["data"].items() if k != "init_args"}


def test_recipes_that_a_preset_makes_the_same_are_named():
    assert equivalent_recipe("trinet_vggm", "demo") == equivalent_recipe("trinet_vggm", "paper", "common") == "trinet"
    assert equivalent_recipe("kim_vggvox", "demo") == "kim"
    for recipe, preset in (("trinet_vggm", "paper"), ("trinet_s1", "demo"), ("trinet", "demo"), ("dimnet_i", "demo")):
        assert equivalent_recipe(recipe, preset) is None


def test_a_base_is_no_recipe_and_presets_are_none():
    assert not {"dimnet", "dimnet.base", "demo", "common", "features", "kim.demo"} & set(list_recipes())
    assert len(list_recipes()) == len(set(list_recipes()))
    for file in FOLDER.glob("*.yaml"):
        name, *preset = file.stem.split(".")
        known = name in list_recipes() or name in ("demo", "common", "features")
        assert known or any(recipe.startswith(f"{name}_") for recipe in list_recipes()), file.name
        assert preset in ([], ["demo"], ["base"]), file.name


@pytest.mark.parametrize("recipe", list_recipes())
def test_every_recipe_names_a_method_and_says_what_it_is(recipe: str):
    found = source_of("model", recipe)
    assert found is not None
    assert found[0].stem in list_methods()
    assert found[0].stem == recipe.split("_")[0]
    assert 10 < len(title(recipe)) <= 120
    module = __import__(f"voiceface.methods.{found[0].stem}", fromlist=[found[1]])
    assert issubclass(getattr(module, found[1]), Method)


@pytest.mark.parametrize("recipe", list_recipes())
def test_the_demo_preset_is_small_and_trains_everything(recipe: str):
    chosen = settings(recipe, "demo")
    arguments = chosen["model"]["init_args"]
    assert (arguments["face_encoder"], arguments["voice_encoder"]) == ("face_small", "voice_small")
    assert (arguments["freeze_face"], arguments["freeze_voice"]) == (False, False)
    clips = chosen["data"]["people"] * (chosen["data"]["voices"] + chosen["data"]["faces"])
    assert chosen["trainer"]["max_steps"] * clips < 120_000, "that is no longer minutes on a CPU"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_recipe_file_opens_with_a_comment_and_holds_only_known_groups(file):
    text = file.read_text()
    assert re.match(r"# \S", text)
    assert set(yaml.safe_load(text)) <= {"model", "data", "trainer", "metrics"}


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"--model kim_v2f: no such recipe, did you mean kim_f2v\?; there are: .*drl"):
        recipe_files("kim_v2f", "paper")
    with pytest.raises(UserError, match="no such recipe; there are"):
        recipe_files("qqqqqq", "paper")
    assert nearest("svfh", ["svhf", "kim"]) == ", did you mean svhf?"
    assert nearest("zzz", ["svhf", "kim"]) == ""


def test_recipes_are_found_without_torch():
    code = "import sys; from voiceface.methods.recipes import *; list_recipes(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
