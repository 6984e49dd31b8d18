"""docs/paper-weights.md: its commands are ones that exist, in an order that works; its hours follow from counts."""

import ast
import importlib
import json
import re
import shlex
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from checkpoint_support import save
from safetensors.torch import load_file
from torch import nn

from voiceface.checkpoints import load_checkpoint
from voiceface.cli import build_parser
from voiceface.methods.recipes import load_recipe
from voiceface.training.arguments import expand, source_of, split_words
from voiceface.utils.source import constructor

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "paper-weights.md").read_text()
CHAINS = (ROOT / "docs" / "reference" / "paper-checkpoints.sh").read_text().splitlines()


def commands() -> list[list[str]]:
    """Words after `voiceface` of each command of the chains, in order."""
    return [shlex.split(line)[1:] for line in CHAINS if line.startswith("voiceface ")]


def fits() -> list[tuple[str, dict[str, str], list[str], list[str]]]:
    """Recipe, short words, pretrained files and other words of each `voiceface fit`."""
    split = [split_words(words[1:]) for words in commands() if words[0] == "fit"]
    return [(short["model"], short, pretrained, rest) for short, pretrained, rest in split]


PARSER = build_parser()


def parsed(kind: str) -> list[Namespace]:
    return [PARSER.parse_args(words) for words in commands() if words[0] == kind]


def default(recipe: str, name: str) -> Any:
    """A default of the constructor behind a recipe."""
    source = source_of("model", recipe)
    assert source is not None
    return ast.literal_eval(constructor(*source)[name])


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder where `import-weights` of the page has left its files: their headers, which `fit` reads."""
    monkeypatch.chdir(tmp_path)
    for options in parsed("import-weights"):
        header = json.dumps({"__metadata__": {"encoder": options.target, "options": options.options}}).encode()
        Path(options.out).write_bytes(len(header).to_bytes(8, "little") + header)


@pytest.fixture
def hours() -> ModuleType:
    return importlib.import_module("benchmarks.training.paper_hours")


@pytest.mark.usefixtures("imported")
def test_commands_parse_and_weights_are_for_the_networks_of_their_run():
    assert {words[0] for words in commands()} >= {"prepare", "import-weights", "fit", "check", "test", "pack", "push"}
    for words in commands():
        if words[0] != "fit":
            PARSER.parse_args(words)
            continue
        chosen = expand(words[1:])[1]
        assert chosen.preset == "paper"
        assert chosen.out


def test_every_recipe_of_a_paper_has_its_command(hours: ModuleType):
    assert {recipe for recipe, *_ in fits()} == set(hours.paper_recipes())
    runs = [short["out"] for _, short, *_ in fits()]
    assert len(set(runs)) == len(runs), "one run per folder"


def test_what_a_command_takes_was_made_before_it():
    made: set[str] = set()
    for line in CHAINS:
        program, *words = shlex.split(line, comments=True) or [""]
        if program == "python":
            script, run, kind, out = words
            assert (script, kind in ("face", "voice"), run in made) == ("take_network.py", True, True)
            made.add(out)
        if program != "voiceface":
            continue
        options = PARSER.parse_args(words) if words[0] != "fit" else None
        taken: list[str] = []
        if options is None:
            short, pretrained, rest = split_words(words[1:])
            own = [rest[i + 1] for i, word in enumerate(rest) if word.endswith("_weights")]
            taken, makes = [short["data"], *pretrained, *own], [short["out"], f"{short['out']}/checkpoint"]
        elif options.command in ("prepare", "import-weights"):
            makes = [options.out]
        else:
            places = ("corpus", "against", "checkpoint", "embeddings", "data")
            taken = [v for name in places if isinstance(v := getattr(options, name, None), str) and v != "paper"]
            taken += getattr(options, "results", [])
            makes = [options.out] if options.command in ("test", "embed", "score") else []
        assert set(taken) <= made, f"{' '.join(words)}: nothing above makes {set(taken) - made}"
        made |= set(makes)


def test_every_recipe_finds_in_its_corpus_what_it_needs():
    corpora = {options.out: options for options in parsed("prepare")}
    for recipe, short, pretrained, rest in fits():
        settings, corpus = load_recipe(recipe, "paper"), corpora[short["data"]]
        stated = {w: rest[i + 1] for i, w in enumerate(rest) if w.startswith("--model.")}
        wanted = settings["model"].get("face_margin", default(recipe, "face_margin"))
        assert (corpus.margin or 1.0) >= wanted, f"{recipe}: the corpus stores less than the recipe's box"
        assert corpus.bundle == "video" or not settings["data"].get("same_video"), recipe
        for kind in ("face", "voice"):
            if settings["model"].get(f"freeze_{kind}", default(recipe, f"freeze_{kind}")):
                encoder = settings["model"].get(f"{kind}_encoder", default(recipe, f"{kind}_encoder"))
                given = [o for o in parsed("import-weights") if o.out in pretrained and o.target == encoder]
                assert given or f"--model.{kind}_weights" in stated, f"{recipe}: a frozen network without weights"


def test_public_files_are_those_of_the_page():
    sources = {options.source for options in parsed("import-weights")} - {"LRESNET50_VGGFACE2.pth"}
    assert sources
    assert {name for name in sources if name not in PAGE} == set()


def test_the_chain_of_the_page_is_one_of_the_file():
    (block,) = (block for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) if "prepare" in block)
    assert [line for line in block.splitlines() if line not in CHAINS] == []


def test_the_script_takes_a_network_out_of_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (code,) = re.findall(r"(import sys\n.*?)```", PAGE, re.DOTALL)
    out = tmp_path / "face.safetensors"
    monkeypatch.setattr("sys.argv", ["take_network.py", str(tmp_path), "face", str(out)])
    own = load_checkpoint(save(tmp_path / "checkpoint")).face_encoder.state_dict()
    exec(code, {})
    assert {name: value.shape for name, value in load_file(out).items()} == {n: v.shape for n, v in own.items()}


def test_the_tables_are_those_of_the_result_file_and_of_the_recipes(hours: ModuleType):
    result = json.loads(hours.RESULT.read_text())
    assert hours.with_tables(PAGE, result) == PAGE, "run: python -m benchmarks.training.paper_hours --table"
    rows = result["recipes"]
    assert sorted(name for first, row in rows.items() for name in (first, *row["same"])) == hours.paper_recipes()
    for name, row in rows.items():
        assert sum(phase["steps"] for phase in row["phases"]) == load_recipe(name, "paper")["trainer"]["max_steps"], (
            name
        )


def test_hours_are_operations_over_the_assumed_rate(hours: ModuleType):
    rows = json.loads(hours.RESULT.read_text())["recipes"]
    svhf = rows["svhf"]
    (phase,) = svhf["phases"]
    seconds = 187_500 * max(phase["teraflop"] / (0.3 * 989.4), phase["operators"] * 20e-6)
    assert svhf["hours"]["H100 bf16"] == pytest.approx(seconds / 3600)
    assert svhf["evaluation"]["validations"] == 37
    # 37 times 112 people and once 189, of 153,516 / 1,251 utterances each.
    assert svhf["evaluation"]["voices"] == pytest.approx((37 * 112 + 189) * 153_516 / 1251, rel=1e-4)
    assert svhf["decoding_hours"] == pytest.approx(187_500 * svhf["decoding_milliseconds"] / 1000 / 16 / 3600)
    assert svhf["cores"] == pytest.approx(svhf["decoding_milliseconds"] / 1000 / (seconds / 187_500))


def test_operations_are_those_of_the_layers_and_nothing_is_multiplied(hours: ModuleType):
    """A convolution and a linear layer by hand: backward twice as much, less the gradient of the first input."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(8 * 6 * 6, 5, bias=False))
    with hours.counted() as counter:
        made = layers(torch.randn(2, 3, 6, 6))
        made.sum().backward()
    convolution, linear = 2 * 2 * 8 * 36 * 3 * 9, 2 * 2 * 8 * 36 * 5
    assert counter.get_total_flops() == 2 * convolution + 3 * linear
    assert not made.any()
    assert layers[2].weight.grad.shape == (5, 8 * 36)
