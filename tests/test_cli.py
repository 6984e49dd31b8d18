"""The front door: help without torch, and one line with exit status 2 for every mistake."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests_support import voiceface

from voiceface.recipes import list_recipes
from voiceface.words import expand


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["list"],
        ["--version"],
        *([c, "--help"] for c in ("fit", "test", "embed", "score", "analyze", "prepare", "check")),
        ["fit", "--modle", "x"],
        ["--print_completion", "bash"],
    ],
    ids=" ".join,
)
def test_answers_without_importing_torch(words: list[str]):
    program = (
        f"import sys; from voiceface.__main__ import main\ntry: main({words!r})\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'pytorch_lightning', 'numba', 'scipy', 'timm', 'matplotlib', 'pyarrow'} & set(sys.modules)\n"
        "print('HEAVY', heavy)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "HEAVY set()" in done.stdout


def test_every_help_has_an_example():
    for command in ("fit", "test", "embed", "score", "analyze", "prepare", "check", "list"):
        done = voiceface(command, "--help")
        assert done.returncode == 0
        assert f"voiceface {command}" in done.stdout.split("example")[1]


def test_help_with_a_model_explains_every_option_of_it():
    shown = voiceface("fit", "--model", "trinet", "--help").stdout
    for words in (
        "--model.margin  Margin of the triplet loss. [1.0]",
        "--data.people  Identities per batch and rank. [32]",
    ):
        assert words in shown
    from voiceface.words import constructor, source_of

    for group in ("model", "data"):
        assert all(f"--{group}.{option}  " in shown for option in constructor(*source_of(group, "trinet")))
    assert voiceface("fit", "--model", "trinte", "--help").returncode == 2


def test_list_names_recipes_and_encoders():
    listed = voiceface("list").stdout
    assert all(name in listed for name in [*list_recipes(), "face_small", "voice_thin_resnet34"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit"], "--model is missing; choose one of: "),
        (["fit", "--model", "trinte"], "--model trinte: no such recipe, did you mean trinet?"),
        (["fit", "--modle", "trinet"], "--modle: no such option, did you mean model?"),
        (["fit", "--model", "trinet", "--model.marign", "3"], "--model.marign: no such option, did you mean margin?"),
        (["fit", "--model", "trinet", "--data.peple", "3"], "--data.peple: no such option, did you mean people?"),
        (["fit", "--model", "trinet", "--trainer.max_step", "3"], "did you mean max_steps?"),
        (["fit", "--model", "trinet", "--preset", "papre"], "did you mean paper?"),
        (["fit", "--model", "trinet", "--gpus", "two"], "--gpus two: give a number"),
        (["fit", "--model"], "--model: a value is missing"),
        (["fit", "--model", "trinet", "--data", ""], "--data: the value is empty"),
        (["fit", "--model", "trinet", "--help_all", "--data"], "--data: a value is missing"),
        (["prepare", "synthetic", ""], "the value is empty"),
        (["prepare", "synthetic", "x", "--identities", "3"], "--identities 3: each of three splits needs two people"),
        (["fit", "--model", "trinet", "--data", "nowhere"], "--data nowhere: no such folder"),
        (["fit", "--model", "trinet", "--data", "."], "--data .: not a corpus"),
        (["fti"], "fti: not known here, did you mean fit?"),
        (["prepare", "synthetic", "x", "--identites", "3"], "did you mean --identities?"),
        (["prepare", "synthetic", "x", "--identities", "0"], "identities is 0"),
        (["prepare", "synthetic", "x", "--workers", "0"], "--workers 0"),
        (["prepare", "folder", "nowhere", "x"], "nowhere"),
        (["prepare", "folder", ".", "x"], "."),
        (["check", "nowhere"], "nowhere: no such folder"),
        (["test", "nowhere"], "nowhere: not a checkpoint folder"),
        (["embed", "nowhere"], "--out"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_a_mistake_gets_one_line_and_status_2(tmp_path: Path, words: list[str], message: str):
    done = voiceface(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout in ("", "environment: sound\n")
    assert not list(tmp_path.iterdir())


def test_mistakes_that_need_the_corpus(make_corpus, tmp_path: Path):
    good = make_corpus([("train", 3, 3)] * 8 + [("val", 2, 2)] * 2 + [("test", 2, 2)] * 2, name="good")
    one = make_corpus([("train", 3, 3)] * 4 + [("val", 2, 2)] * 2 + [("test", 2, 0)] * 2, name="one")
    fit = [
        "fit",
        "--model",
        "trinet",
        "--preset",
        "demo",
        "--data.people",
        "4",
        "--data.workers",
        "0",
        "--out",
        tmp_path / "run",
    ]
    unwritable = tmp_path / "file"
    unwritable.touch()
    cases = [
        ([*fit, "--data", good, "--gpus", "4"], "--gpus 4: this machine has"),
        ([*fit, "--data", one], "the test split has no faces"),
        ([*fit, "--data", good, "--data.people", "99"], "--data.people 99: the train split has 8 people"),
        ([*fit, "--data", good, "--model.face_encoder", "face_smal"], "face_smal"),
        ([*fit, "--data", good, "--model.margin", "wide"], "margin"),
        ([*fit, "--data", good, "--model.face_margin", "1.5"], "stores faces with margin 1.25"),
        ([*fit, "--data", good, "--ckpt_path", "last"], "last.ckpt: no such file"),
        (["fit", "--model", "trinet", "--data", good, "--out", tmp_path / "p"], "--model.voice_weights"),
        ([*fit[:-1], unwritable / "run", "--data", good], "cannot be written (not a directory)"),
    ]
    for words, message in cases:
        done = voiceface(*words)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("trinet, preset")]
        assert done.returncode == 2, (words, done.stderr)
        assert message in done.stderr, (words, done.stderr)
        assert len(lines) == 1, (words, done.stderr)


def test_a_truncated_shard_stops_the_test_by_name(make_corpus, tmp_path: Path):
    root = make_corpus([("train", 3, 3)] * 4 + [("val", 2, 2)] * 2 + [("test", 3, 3)] * 3)
    shard = root / "test/000000.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    checked = voiceface("check", root)
    assert checked.returncode == 2
    assert "test/000000.tar: its content is not what was prepared" in checked.stdout
    assert checked.stderr == f"voiceface: {root}: 2 problems, listed above\n"


def test_short_words_become_lightnings_own():
    words, chosen = expand(["--trainer.max_steps", "5", "--model=trinet", "--gpus", "4", "--data", "x", "--out=y"])
    assert words[0] == "fit"
    assert [Path(w.removeprefix("--config=")).name for w in words if w.startswith("--config")] == ["trinet.yaml"]
    assert "--trainer.devices=4" in words
    assert "--trainer.accelerator=gpu" in words
    assert "--data.root=x" in words
    assert words[-2:] == ["--trainer.max_steps", "5"]
    assert chosen == {"recipe": "trinet", "preset": "paper", "out": "y"}
    words, chosen = expand(["--model", "trinet"])
    assert chosen["preset"] == "demo"
    assert [Path(w.removeprefix("--config=")).name for w in words[1:]] == [
        "trinet.yaml",
        "demo.yaml",
        "trinet.demo.yaml",
    ]


def test_print_config_shows_recipe_and_overrides(tmp_path: Path):
    done = voiceface(
        "fit", "--model", "trinet", "--preset", "paper", "--model.margin", "0.25", "--print_config", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "max_steps: 70000" in done.stdout
    assert "margin: 0.25" in done.stdout
    assert not list(tmp_path.iterdir())
