"""docs/add-a-method.md, followed to the letter in a copy of the project: the method trains, is listed, is tested."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests_support import tone_corpus, voiceface

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add-a-method.md").read_text()
FILES = ("x.py", "recipes/x.yaml", "facts/x.yaml")
TESTS = (
    "methods/test_facts.py",
    "cli/test_list.py",
    "methods/test_methods.py",
    "methods/test_methods_negatives.py",
    "methods/test_methods_paper.py",
)
ANEW = pytest.mark.slow(reason="an interpreter of its own imports all of it from the copy")
TRAINING = pytest.mark.slow(reason="all tests of every recipe, which train it, in an interpreter of their own")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the page's three files, each below the line that names it."""
    root = tmp_path_factory.mktemp("copy")
    for folder in ("voiceface", "tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "results", "data.*"))
    shutil.copy(ROOT / "pyproject.toml", root)
    blocks = re.findall(r"^`voiceface/methods/(\S+)`.*?^```\w+\n(.*?)^```$", PAGE, re.M | re.S)
    assert [name for name, _ in blocks] == list(FILES)
    for name, text in blocks:
        (root / "voiceface" / "methods" / name).write_text(text)
    return root


def python(copy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the copy's package before any installed one."""
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, cwd=copy, check=False
    )


@pytest.mark.slow(reason="a copy of the package, and a fresh process that trains")
def test_the_demo_preset_trains_and_tests_it(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # compiling the copy's loops takes longer than these few scores
    corpus = tone_corpus(tmp_path / "tones", [("train", 2, 2)] * 6 + [("val", 2, 2)] * 3 + [("test", 2, 2)] * 3)
    words = ["--data", corpus, "--out", tmp_path / "run", "--data.people", 4, "--data.workers", 0]
    words += ["--trainer.max_steps", 2, "--trainer.val_check_interval", 1, "--trainer.accelerator", "cpu"]
    voiceface("fit", "--model", "x", "--preset", "demo", *words, cwd=copy, status=0, fresh=True)
    (config,) = (tmp_path / "run").rglob("config.json")
    assert json.loads(config.read_text())["recipe"] == "x"
    text = (config.parent / "README.md").read_text()
    assert "# x-tones\n\nX: cross entropy over the voices and faces of a batch.\n" in text
    assert '["Title of the paper"](https://example.org/x), 2024' in text
    assert "- `data.voices`: one voice per person (inferred: reading of equation 3)" in text


def test_it_is_listed_below_its_paper(copy: Path):
    lines = voiceface("list", cwd=copy, status=0, fresh=True).stdout.splitlines()
    assert all(line == line.rstrip() for line in lines)
    at = lines.index('X: "Title of the paper" (2024) https://example.org/x')
    words = " ".join(lines[at + 1].split())
    assert words == "x 98.8 M + 7.7 M + 0.6 M cross entropy over the voices and faces of a batch"


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
    assert "| `model.temperature` | `0.07` | 0.07 | equation 3 | paper |" in done.stdout


@ANEW
def test_a_docstring_without_a_paper_is_told_in_one_line(copy: Path):
    file = copy / "voiceface" / "methods" / "x.py"
    text = file.read_text()
    try:
        file.write_text(text.replace('"Title of the paper"', "A paper"))
        helped, done = (python(copy, "benchmarks/docs/recipes_docs.py", *words) for words in (["--help"], []))
    finally:
        file.write_text(text)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "--write" in helped.stdout
    assert done.returncode == 1
    assert done.stderr == "x.py: its docstring names no paper; write it as docs/add-a-method.md says\n"
