"""docs/add-a-method.md: its package trains, is tested and loaded, outside of the project and installed by nobody.

And CONTRIBUTING's way to a published method: three files in a copy of the project, found by their name.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from own_package import METHOD, PAGE, VOICE, write_package
from tests_support import tone_corpus, voiceface

from voiceface.checkpoints.config import read_config

ROOT = Path(__file__).parents[2]
TESTS = (
    "methods/test_facts.py",
    "cli/test_list.py",
    "methods/test_methods.py",
    "methods/test_methods_negatives.py",
    "methods/test_methods_paper.py",
)
ANEW = pytest.mark.slow(reason="an interpreter of its own imports all of it from the copy")
TRAINING = pytest.mark.slow(reason="all tests of every recipe, which train it, in an interpreter of their own")
PEOPLE = [("train", 2, 2)] * 6 + [("val", 2, 2)] * 3 + [("test", 2, 2)] * 3
SHORT = ["--preset", "demo", "--data.people", 4, "--data.workers", 0, "--trainer.accelerator", "cpu"]
SHORT += ["--trainer.max_steps", 2, "--trainer.val_check_interval", 1]


def test_the_page_names_the_commands_that_are_tried_here():
    commands = re.findall(r"^(voiceface .+?)(?:  +#.*)?$", PAGE, re.M)
    assert {c.split()[1] for c in commands} == {"fit", "test", "match", "compare", "list", "pack"}
    for words in (f"fit --model {METHOD}", f"--model {METHOD}", f"--model.voice_encoder {VOICE}", f"--model {VOICE}"):
        assert any(words in command for command in commands)


@pytest.mark.slow(reason="two short trainings and six commands; tests/checkpoints/test_own_classes.py has the rules")
def test_the_pages_package_trains_and_is_tested_loaded_and_compared(tmp_path: Path):
    """Of a folder that is on no path: the command line finds it in the current one."""
    site, corpus = write_package(tmp_path / "site"), tone_corpus(tmp_path / "tones", PEOPLE)
    words = ["--data", corpus, *SHORT]
    done = voiceface("fit", "--model", METHOD, "--out", "run", *words, cwd=site, status=0)
    config = read_config(site / "run" / "checkpoint")
    assert (config["method"], config["class"], config["distributions"]) == ("my_package", "MyMethod", {})
    assert config["arguments"]["face_encoder"] == "face_small"
    assert "mymethod, preset demo: " in done.stderr
    said = voiceface("fit", "--model", METHOD, "--help", cwd=site, status=0).stdout
    assert "--model.temperature  Softmax temperature, above 0. [0.07]" in said
    assert "--model.freeze_face  Keep the face network as it is. [False]" in said
    refused = voiceface("test", "run/checkpoint", "--data", corpus, cwd=site, status=2).stderr
    assert refused.startswith(f"voiceface: run/checkpoint: needs the class {METHOD}, ")
    assert len(refused.splitlines()) == 1
    voiceface("test", "run/checkpoint", "--data", corpus, "--model", METHOD, cwd=site, status=0)
    own = ["--model", "trinet", "--model.voice_encoder", VOICE, "--model.voice_options", '{"filters": 8}']
    voiceface("fit", *own, "--out", "own", *words, cwd=site, status=0)
    voiceface("test", "own/checkpoint", "--data", corpus, "--model", VOICE, cwd=site, status=0)
    table = voiceface("compare", "run/results.json", "own/results.json", cwd=site, status=0).stdout
    assert "mymethod" in table
    assert "trinet" in table


SCRIPT = """
import sys, voiceface
from my_package import MyMethod

class Here(MyMethod):
    pass

options = {"data__people": 4, "data__workers": 0, "trainer__val_check_interval": 1, "trainer__accelerator": "cpu"}
run = voiceface.fit(Here, data=sys.argv[1], preset="demo", steps=2, out="here", model__dim=8, **options)
print(type(voiceface.load(run.checkpoint).method).__name__)
voiceface.evaluate(run.checkpoint, sys.argv[1], workers=0)
"""


@pytest.mark.slow(reason="a fresh process that trains")
def test_a_class_of_a_script_is_trained_and_later_named(tmp_path: Path):
    site, corpus = write_package(tmp_path / "site"), tone_corpus(tmp_path / "tones", PEOPLE)
    (site / "train.py").write_text(SCRIPT)
    done = python(site, "train.py", str(corpus), path=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Here"
    assert read_config(site / "here" / "checkpoint")["method"] == "__main__"
    (site / "again.py").write_text("from my_package import MyMethod\n\n\nclass Here(MyMethod):\n    pass\n")
    words = ["here/checkpoint", "--data", corpus, "--workers", 0]
    voiceface("test", *words, "--model", "again.Here", cwd=site, status=0)
    assert "needs the class __main__.Here" in voiceface("test", *words, cwd=site, status=2).stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with another method, `x`, made of the files of `infonce`."""
    root = tmp_path_factory.mktemp("copy")
    for folder in ("voiceface", "tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "results", "data.*"))
    shutil.copy(ROOT / "pyproject.toml", root)
    methods = root / "voiceface" / "methods"
    for name in ("infonce.py", "recipes/infonce.yaml", "recipes/infonce.demo.yaml", "facts/infonce.yaml"):
        text = re.sub('"Representation .+?"', '"Title of the paper"', (methods / name).read_text())
        text = text.replace("https://arxiv.org/abs/1807.03748", "https://example.org/x")
        text = text.replace("infonce", "x").replace("InfoNCE", "X")
        (methods / name.replace("infonce", "x")).write_text(text)
    return root


def python(copy: Path, *words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a copy with its package, or that of a path, before any installed one."""
    environment = os.environ | {"PYTHONPATH": str(path or copy), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, cwd=copy, check=False
    )


@pytest.mark.slow(reason="a copy of the package, and a fresh process that trains")
def test_the_demo_preset_trains_and_tests_it(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # compiling the copy's loops takes longer than these few scores
    words = ["--data", tone_corpus(tmp_path / "tones", PEOPLE), "--out", tmp_path / "run", *SHORT]
    voiceface("fit", "--model", "x", *words, cwd=copy, status=0, fresh=True)
    (config,) = (tmp_path / "run").rglob("config.json")
    assert read_config(config.parent)["recipe"] == "x"
    text = (config.parent / "README.md").read_text()
    assert "# x-tones\n\nX: symmetric, with a learned temperature" in text
    assert '["Title of the paper"](https://example.org/x), 2018' in text
    assert "- `data.voices`: one pair for each example (recalled from Radford 2021)" in text


def test_it_is_listed_below_its_paper(copy: Path):
    lines = voiceface("list", cwd=copy, status=0, fresh=True).stdout.splitlines()
    assert all(line == line.rstrip() for line in lines)
    at = lines.index('X: "Title of the paper" (2018) https://example.org/x')
    words = " ".join(lines[at + 1].split())
    assert words.startswith("x 43.6 M + 7.7 M + 0.1 M symmetric, with a learned temperature")


@TRAINING
def test_the_tests_of_every_recipe_run_on_it_or_say_what_to_add(copy: Path):
    files = [f"tests/{name}" for name in TESTS]
    words = ["-rs", "-n", "0", "-m", "", "-p", "no:cacheprovider", "-k", "[x] or [x- or -x]"]
    done = python(copy, "-m", "pytest", *words, *files)
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = re.findall(r"^SKIPPED \[\d+\] (\S+?):\d+: (.*)$", done.stdout, re.M)
    assert len(skipped) >= 3
    assert all(reason.startswith("x: add it") for _, reason in skipped)
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 12


@ANEW
def test_its_settings_stand_on_the_page_of_settings(copy: Path):
    code = "import runpy; print(runpy.run_path('benchmarks/docs/recipes_docs.py')['of_method']('x'))"
    done = python(copy, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "| `model.temperature` | `0.07` | learned, from 0.07 | recalled from Radford 2021" in done.stdout


@ANEW
def test_a_docstring_without_a_paper_is_told_in_one_line(copy: Path):
    file = copy / "voiceface" / "methods" / "x.py"
    text = file.read_text()
    try:
        file.write_text(text.replace('"Title of the paper"', "A paper").replace('"Learning', "Learning"))
        helped, done = (python(copy, "benchmarks/docs/recipes_docs.py", *words) for words in (["--help"], []))
    finally:
        file.write_text(text)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "--write" in helped.stdout
    assert done.returncode == 1
    assert done.stderr == "x.py: its docstring names no paper; write it as CONTRIBUTING.md says\n"
