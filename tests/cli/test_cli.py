"""The front door: help without torch, and one line with exit status 2 for every mistake."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests_support import voiceface

from voiceface.methods.recipes import list_recipes, load_recipe
from voiceface.training.arguments import RunChoice, expand
from voiceface.utils.errors import UserError

LIGHT = [
    ["--help"],
    ["list"],
    ["--version"],
    *(
        [c, "--help"]
        for c in ("fit", "test", "embed", "score", "analyze", "clips", "prepare", "check", "import-weights")
    ),
    ["fit", "--modle", "x"],
    ["fit", "--model", "trinet", "--pretrained", "nowhere"],
    ["--print_completion", "bash"],
]
# Each in a fork of a process that has imported nothing.
FORKS = """
import os, sys
for words in eval(sys.argv[1]):
    sys.stdout.flush()
    if os.fork():
        os.wait()
        continue
    from voiceface.cli import main
    try:
        main(words)
    except SystemExit:
        pass
    heavy = {'torch', 'pytorch_lightning', 'numba', 'scipy', 'timm', 'matplotlib', 'pyarrow'} & set(sys.modules)
    print('\\nHEAVY', heavy, 'AFTER', words)
    sys.stdout.flush()
    os._exit(0)
"""


@pytest.fixture(scope="module")
def imported() -> list[str]:
    """What each of `LIGHT` says last: which heavy packages it imported."""
    done = subprocess.run([sys.executable, "-c", FORKS, repr(LIGHT)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_answers_without_importing_torch(words: list[str], imported: list[str]):
    assert f"HEAVY set() AFTER {words}" in imported


def test_mistakes_are_answered_without_importing_torch(tmp_path: Path):
    mistakes = (
        "test nosuch",
        "embed nosuch --out x.npz",
        "embed nosuch missing.wav --out x.npz",
        "match nosuch missing.wav missing.png",
        "convert nosuch out",
        "export nosuch out",
        "pack nosuch",
        "push nosuch owner/name",
    )
    program = (
        f"import sys; from voiceface.cli import main\nfound = [main(words.split()) for words in {mistakes!r}]\n"
        "print(found, {'torch', 'pytorch_lightning', 'numba', 'timm', 'matplotlib', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == f"{[2] * len(mistakes)} set()\n"
    assert len(done.stderr.splitlines()) == len(mistakes)


def test_no_word_at_all_prints_the_help():
    done = voiceface(status=0)
    assert done.stdout == voiceface("--help").stdout
    assert done.stderr == ""


def test_every_help_has_an_example():
    for command in ("fit", "test", "embed", "score", "analyze", "clips", "prepare", "check", "list", "import-weights"):
        done = voiceface(command, "--help")
        assert done.returncode == 0
        assert f"voiceface {command}" in done.stdout.split("example")[1]


def test_help_with_a_model_explains_every_option_of_it():
    shown = voiceface("fit", "--model", "trinet", "--help").stdout
    for words in (
        "--model.margin  Margin of the triplet loss. [1.0]",
        "--data.people  Identities per batch and rank. [32]",
        "values of trinet with --preset demo:",
    ):
        assert words in shown
    paper = voiceface("fit", "--model", "trinet", "--data", "CORPUS", "--help").stdout
    for option in ("model.scale", "model.face_rate", "data.people", "model.freeze_voice", "model.face_encoder"):
        group, _, name = option.partition(".")
        for preset, text in (("demo", shown), ("paper", paper)):
            (default,) = re.findall(rf"--{option}  [^\[]*\[([^\]]*)\]", text)
            wanted = load_recipe("trinet", preset)[group].get(name)
            assert default == str(wanted) or (wanted is None and preset == "paper"), (option, preset)
    from voiceface.training.arguments import source_of
    from voiceface.utils.source import constructor

    for group in ("model", "data"):
        assert all(f"--{group}.{option}  " in shown for option in constructor(*source_of(group, "trinet")))
    assert voiceface("fit", "--model", "trinte", "--help").returncode == 2


def test_list_names_recipes_and_encoders():
    listed = voiceface("list", fresh=True, status=0).stdout
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
        (["fit", "--model", "trinet", "--evaluation-seconds", "0"], "--evaluation_seconds 0.0: give a number above 0"),
        (["match", ".", "v.wav", "a.jpg", "--evaluation-seconds", "-1"], "--evaluation-seconds"),
        (["fit", "--model", "trinet", "--encoders", "comon"], "--encoders comon: not a choice, did you mean common?"),
        (["fit", "--config", "x.yaml", "--encoders", "common"], "--encoders common: needs --model"),
        (["fit", "--model", "nowhere.Own"], "--model nowhere.Own: there is no module nowhere"),
        (["fit", "--model", "trinet", "--pretrained", "nowhere"], "--pretrained nowhere: no such file; check its name"),
        (["fit", "--model", "trinet", "--pretrained", "."], "--pretrained .: is a folder; name a file"),
        (["import-weights", "face_vggm", ".", "out"], ".: is a folder; name a file"),
        (["fit", "--model", "trinet", "--pretrained"], "--pretrained: a value is missing"),
        (["import-weights", "face_vggm", "nowhere", "out"], "nowhere: no such file"),
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
        (["test", "nowhere"], "nowhere: no such folder, and no checkpoint of this name is installed"),
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
        ([*fit, "--data", good, "--ckpt_path", "last"], "last.ckpt: no such file; leave --ckpt_path out"),
        ([*fit, "--data", good, "--trainer.strategy", "nowhere"], "--trainer: You selected an invalid strategy name"),
        ([*fit, "--data", good, "--negatives", "all"], "--negatives all: expected batch or rank"),
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
    assert chosen == RunChoice(recipe="trinet", preset="paper", encoders="paper", out="y", people="user")
    words, chosen = expand(["--model", "trinet"])
    assert chosen.preset == "demo"
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


def pretrained(folder: Path, name: str, **metadata: str) -> Path:
    path = folder / f"{name}.safetensors"
    save_file({"x": np.zeros(3, np.float32)}, path, metadata or None)
    return path


def paper(*words: object) -> list[str]:
    """What the user's words add to those of TriNet's paper preset."""
    start = ["--model", "trinet", "--preset", "paper"]
    common = len(expand(start)[0])
    return expand([*start, *map(str, words)])[0][common:]


def test_pretrained_weights_go_to_their_encoder(tmp_path: Path):
    face = pretrained(tmp_path, "face", encoder="face_lresnet50_ir", options="{}")
    voice = pretrained(tmp_path, "v=1 ", encoder="voice_thin_resnet34", options='{"clusters": 8, "ghosts": 2}')
    assert paper("--pretrained", face, f"--pretrained={voice}", "--model.margin", 3) == [
        f"--model.face_weights={face}",
        f"--model.voice_weights={voice}",
        '--model.voice_options={"clusters": 8, "ghosts": 2}',
        "--model.margin",
        "3",
    ]
    for own in (["--model.voice_options", "{clusters: 9}"], ["--model.voice_options.clusters=9"]):
        assert paper("--pretrained", voice, *own) == [f"--model.voice_weights={voice}", *own]


def test_options_of_the_recipe_are_kept_beside_those_of_the_weights(tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text("model: {init_args: {voice_options: {clusters: 8, ghosts: 0}}}")
    good = pretrained(tmp_path, "good", encoder="voice_thin_resnet34", options='{"clusters": 8}')
    added = paper("--pretrained", good, "--config", own)
    assert json.loads(added[1].removeprefix("--model.voice_options=")) == {"clusters": 8, "ghosts": 0}
    bad = pretrained(tmp_path, "bad", encoder="voice_thin_resnet34", options='{"ghosts": 2}')
    with pytest.raises(UserError, match="its weights need ghosts 2, the recipe has 0"):
        paper("--pretrained", bad, f"--config={own}")


def test_pretrained_weights_of_a_whole_method(tmp_path: Path):
    said = {"method": "trinet", "face_encoder": "face_lresnet50_ir", "voice_encoder": "voice_thin_resnet34"}
    with pytest.raises(UserError, match=r"model\.weights: no such option"):
        paper("--pretrained", pretrained(tmp_path, "trinet", **said))
    whole = pretrained(tmp_path, "kim", method="kim", face_encoder="face_vgg16", voice_encoder="voice_soundnet8")
    with pytest.raises(UserError, match=r"weights of the whole method kim, not of trinet; give others, or --model kim"):
        paper("--pretrained", whole)
    words = expand(["--model", "kim", "--preset", "paper", "--pretrained", str(whole)])[0]
    assert words[-1] == f"--model.weights={whole}"
    with pytest.raises(UserError, match="weights of face_vgg16, but the face network of this run is face_small"):
        expand(["--model", "kim", "--pretrained", str(whole)])


def test_pretrained_weights_of_another_network_are_refused(tmp_path: Path):
    face = pretrained(tmp_path, "face", encoder="face_vggm", options="{}")
    refused = "weights of face_vggm, but the face network of this run is face_lresnet50_ir"
    for words, message in (
        ([], refused),
        (["--model.face_encoder", "face_small"], "of this run is face_small"),
        (["--model.init_args.face_encoder=face_small"], "of this run is face_small"),
        (["--model.face_encoder", "face_vggm", "--pretrained", face], "model.face_weights is given already"),
        (["--model.face_encoder", "face_vggm", "--model.face_weights=x"], "model.face_weights is given already"),
    ):
        with pytest.raises(UserError, match=message):
            paper("--pretrained", face, *words)
    assert paper("--pretrained", face, "--model.face_encoder=face_vggm")[0] == f"--model.face_weights={face}"
    with pytest.raises(UserError, match=r"this run is face_small.*--preset"):
        expand(["--model", "trinet", "--pretrained", str(face)])
    other = pretrained(tmp_path, "other")
    content = face.read_bytes()
    damaged = [b"", b"short", content[:40], content[:-1], b"\xff" * 40, (8).to_bytes(8, "little") + b"[1,2,3] "]
    damaged += [(2).to_bytes(8, "little") + b"{}x", (14).to_bytes(8, "little") + b'{"a":{"b":[]}}']
    for index, data in enumerate(damaged):
        (tmp_path / f"damaged{index}").write_bytes(data)
        with pytest.raises(UserError, match=f"damaged{index}: (not a safetensors file, or )?damaged"):
            paper("--pretrained", tmp_path / f"damaged{index}")
    with pytest.raises(UserError, match=r"does not say which network it is for.*--model\.face_weights"):
        paper("--pretrained", other)


def test_common_encoders_come_last():
    words, chosen = expand(["--model", "trinet", "--encoders", "common"])
    files = [Path(word).name for word in words if word.startswith("--config=")]
    assert files[-1] == "common.yaml"
    assert files[:-1] == [Path(w).name for w in expand(["--model", "trinet"])[0] if w.startswith("--config=")]
    assert chosen.encoders == "common"
    assert expand(["--model", "trinet", "--encoders=paper"])[0] == expand(["--model", "trinet"])[0]


def test_a_run_takes_the_words_of_pretrained_weights(tmp_path: Path):
    voice = pretrained(tmp_path, "voice", encoder="voice_thin_resnet34", options='{"clusters": 8, "ghosts": 2}')
    words = ["--model", "trinet", "--encoders", "common", "--pretrained", voice, "--print_config"]
    shown = voiceface("fit", *words, cwd=tmp_path, status=0).stdout
    assert f"voice_weights: {voice}" in shown
    assert "ghosts: 2" in shown
    assert "face_encoder: face_lresnet50_ir" in shown
