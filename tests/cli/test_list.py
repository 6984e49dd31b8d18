"""`voiceface list`: every recipe below its method's paper, with the parameters that its networks really have."""

import io
import runpy
import shutil
from pathlib import Path

import pytest
from rich.console import Console

import voiceface.cli.listing as listing
from voiceface.checkpoints.find import zoo_names
from voiceface.cli.listing import DEMO, print_list, short, shortened
from voiceface.compare.reading import reference_results
from voiceface.encoders import list_encoders
from voiceface.methods.papers import Paper, Parameters, paper_of, read_paper, read_parameters, recipes_of
from voiceface.methods.recipes import FOLDER, METHODS, list_methods, list_recipes

COMMAND = "benchmarks/docs/recipes_docs.py"
DOCS = runpy.run_path(str(Path(__file__).parents[2] / COMMAND))


def printed(width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    print_list(console)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("recipe", list_recipes())
def test_a_recipes_second_line_is_what_its_networks_have(recipe: str):
    line = DOCS["parameters_line"](recipe)
    assert (FOLDER / f"{recipe}.yaml").read_text().splitlines()[1] == line, (
        f"{recipe}.yaml: its second line should be\n{line}\nor run: python {COMMAND} --write"
    )


def test_published_sizes():
    """Counts that are known from elsewhere: the papers' networks, and sums of layers by hand."""
    assert read_parameters("trinet") == Parameters(43_590_848, 7_656_200, 2 * (512 * 128 + 128))
    kim = read_parameters("kim")
    assert kim is not None
    assert sum(kim) == 14_796_864 + 855_248
    assert read_parameters("drl") == Parameters(23_482_624, 3_832_384, 512 * 256 + 256)
    svhf = read_parameters("svhf")
    assert svhf is not None
    assert svhf.rest == 3_672_578 + 4096 * 1024 + 1024


@pytest.mark.parametrize("width", [80, 100, 160])
def test_each_recipe_stands_once_below_its_paper(width: int):
    lines = printed(width)
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    names = {recipe: paper_of(method).name for method in list_methods() for recipe in recipes_of(method)}  # type: ignore[union-attr]
    flat = " ".join(" ".join(lines).split())
    starts = [line.split()[0] if line.strip() else "" for line in lines]
    for method in list_methods():
        paper = paper_of(method)
        assert paper is not None, f"{method}.py: write its paper as CONTRIBUTING.md says"
        assert f'{paper.name}: "{paper.title}" ({paper.year}) {paper.link}' in flat
        heading = next(i for i, line in enumerate(lines) if line.startswith(f"{paper.name}: "))
        below = starts[heading:]
        below = below[: below.index("")]
        assert [word for word in below if word in list_recipes()] == recipes_of(method)
    for recipe in list_recipes():
        (at,) = (i for i, start in enumerate(starts) if start == recipe)
        line = lines[at]
        size = read_parameters(recipe)
        assert size is not None
        words = f"{recipe} {' + '.join(map(short, size))}"
        assert " ".join(line.split()).startswith(words)
        text = shortened(recipe, names[recipe])
        assert text.split()[0] == (lines[at + 1] if width < 100 else line.split("  ")[-1]).split()[0]
        assert (" ".join(line.split()) == words) == (width < 100), "below 100 columns a text stands below its name"
        assert text in " ".join(" ".join(lines[at : at + 4]).split())
        assert line.endswith(f"  {text}") or width < 160
    assert sorted(r for method in list_methods() for r in recipes_of(method)) == list_recipes()
    assert all(starts.count(name) == 1 for names in list_encoders().values() for name in names)


def test_checkpoints_come_first_then_those_of_the_zoo(no_installed_checkpoints: None):
    lines = printed(160)
    assert lines[0] == "Checkpoints: none is installed"
    assert lines[2] == "Checkpoints of the zoo that are not installed: `pip install ./zoo/NAME`"
    below = " ".join(lines[3 : lines.index("", 3)]).replace(",", "").split()
    assert below == zoo_names()
    assert lines[lines.index("", 3) + 1].startswith("Recipes, by method. ")
    assert not any("recalled" in line or "not stated" in line for line in lines)


def test_the_sizes_of_the_demo_preset():
    sizes = {short(one.results["model"]["parameters"]) for one in reference_results()}
    assert sizes == {"0.8 M", "0.9 M"}
    assert "0.8 to 0.9 M" in DEMO


def test_a_recipe_or_method_that_says_less_is_still_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    methods, folder = tmp_path / "methods", tmp_path / "methods/recipes"
    shutil.copytree(METHODS, methods)
    (methods / "own.py").write_text('"""Own: nothing published."""\n\n\nclass Own:\n    pass\n')
    (folder / "own.yaml").write_text("# Own [bold]recipe\nmodel:\n  class_path: voiceface.methods.own.Own\n")
    for module in ("recipes", "papers"):
        monkeypatch.setattr(f"voiceface.methods.{module}.FOLDER", folder)
        monkeypatch.setattr(f"voiceface.methods.{module}.METHODS", methods)
    assert listing.read_parameters("own") is None
    lines = [" ".join(line.split()) for line in printed(160)]
    assert lines[lines.index("own") + 1] == "own Own [bold]recipe"


@pytest.mark.parametrize(
    ("recipe", "name", "text"),
    [
        ("trinet_vggm", "TriNet", "VGG-M faces"),
        ("svhf", "SVHF-Net", "a voice and two faces seen together, static"),
        ("dimnet_g", "DIMNet", "DIMNet-G: shared classifier of gender, no pairs"),
        ("kim_classifier", "Kim", "Kim's alternative: binary classification of pairs"),
        ("trinet_vggm", "", "TriNet, VGG-M faces"),
    ],
)
def test_a_title_lacks_the_name_of_the_heading(recipe: str, name: str, text: str):
    assert shortened(recipe, name) == text


@pytest.mark.parametrize(
    ("docstring", "paper"),
    [
        (
            'X: does y.\n\n"A title:\nwith a part" (Wen, Li, ICLR\n2019; https://a.org/1).\n\nMore "of" (it 2001; http://b).',
            Paper("X", "A title: with a part", "2019", "https://a.org/1"),
        ),
        (
            'Two words: z.\n\n"T" (ICLR 2021 submission; earlier version https://a.org/2).',
            Paper("Two words", "T", "2021", "https://a.org/2"),
        ),
        ('X: y.\n\n"T" (Somebody, 2020).', None),
        ('X: y.\n\n"T" (Somebody; https://a.org/2020).', None),
        ("X: y.", None),
        ("", None),
    ],
)
def test_the_paper_is_read_from_the_docstring(docstring: str, paper: Paper | None):
    assert read_paper(docstring) == paper


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1 k"),
        (73_984, "74 k"),
        (99_499, "99 k"),
        (99_500, "0.1 M"),
        (43_590_848, "43.6 M"),
    ],
)
def test_numbers_are_short(number: int, words: str):
    assert short(number) == words
