"""Every checkpoint of the zoo is what its card says: its project is whole, and a test of it gives the same numbers."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from voiceface.checkpoints.card import card_of
from voiceface.checkpoints.config import canonical
from voiceface.checkpoints.find import matching_scores, zoo_names
from voiceface.checkpoints.weights import load_checkpoint, read_config
from voiceface.data.module import VoxVGGDataModule
from voiceface.data.prepare.engine.build import Summary, build
from voiceface.data.prepare.synthetic import SyntheticJob, prepare_synthetic
from voiceface.data.synthetic import SyntheticOptions
from voiceface.evaluation.callback import CrossModalMetrics
from voiceface.methods.recipes import equivalent_recipe, list_recipes

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo"
PACKAGES = sorted(ZOO.glob("*/src/*"))
DISTINCT = [name for name in list_recipes() if equivalent_recipe(name, "demo", "paper") is None]
TRIALS = 50_000  # of methods that are scored on drawn trials; the cards are of a million
SAME = 5e-4  # of scores in [0, 1]: other processors round the embeddings otherwise


def name_of(package: Path) -> str:
    return package.parents[1].name


def test_every_recipe_has_one():
    assert zoo_names() == sorted(map(name_of, PACKAGES))
    assert sorted(read_config(package)["recipe"] for package in PACKAGES) == sorted(DISTINCT)
    needed = (ZOO / "voiceface-zoo/pyproject.toml").read_text()
    assert all(f'"voiceface-{canonical(name)}-synthetic==' in needed for name in DISTINCT)
    table = (ZOO / "README.md").read_text()
    for name in list_recipes():
        same = equivalent_recipe(name, "demo", "paper")
        assert f"`{name}`" in table if same else f"[`{name}-synthetic`]" in table


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in corpus without its training and validation people, of whom a test reads nothing."""
    out = tmp_path_factory.mktemp("corpora") / "synthetic"

    def of_the_test(out: Path, jobs: list[SyntheticJob], *arguments: Any, **options: Any) -> Summary:
        return build(out, [job for job in jobs if job.split == "test"], *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("voiceface.data.prepare.synthetic.build", of_the_test)
        prepare_synthetic(out, SyntheticOptions(), workers=1)
    return out


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_a_checkpoint_and_its_card_are_whole(package: Path):
    config = read_config(package)
    assert config["name"] == package.parents[1].name == f"{config['recipe']}-synthetic"
    assert (package / "model.safetensors").stat().st_size < 5_000_000
    assert config["dtype"] == "float16"
    assert (package / "README.md").read_text() == card_of(package)
    title, _, first = (package / "README.md").read_text().partition("\n---\n")[2].strip().splitlines()[:3]
    assert "synthetic" in title
    assert "synthetic" in first
    assert matching_scores(json.loads((package / "results.json").read_text())), "the card has numbers"
    load_checkpoint(package)


@pytest.mark.slow(reason="all voices and faces of the test split are rendered and embedded; the quick one is README's")
@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_a_checkpoint_gives_the_numbers_of_its_card(package: Path, corpus: Path):
    config, said = read_config(package), json.loads((package / "results.json").read_text())
    method = load_checkpoint(package)
    metrics = CrossModalMetrics(recipe=config["recipe"], trials=TRIALS)
    data = VoxVGGDataModule(str(corpus), workers=0)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[metrics],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.test(method, datamodule=data, verbose=False)
    assert metrics.results is not None
    found = {key(record): record for record in metrics.results["scores"]}
    assert found.keys() == {key(record) for record in said["scores"]}
    for record in said["scores"]:
        again = found[key(record)]
        drawn = record["error_bound"] + again["error_bound"]
        for end in ("value", "ci_low", "ci_high"):
            if record[end] is None:
                assert again[end] is None
            else:
                assert again[end] == pytest.approx(record[end], rel=SAME, abs=SAME + 2 * drawn), key(record)


def key(record: dict[str, object]) -> tuple[object, ...]:
    return tuple(record[name] for name in ("protocol", "task", "direction", "stratum", "n", "metric"))


@pytest.mark.slow(reason="a fresh process; test_inference.py and test_wheel.py do the same in parts")
def test_the_five_lines_of_the_readme(tmp_path: Path):
    """An installed checkpoint is found by its name, listed, and matches."""
    install = [
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(tmp_path),
    ]
    subprocess.run([sys.executable, *install, str(ZOO / "trinet-synthetic")], check=True)
    found = re.search(r"<!-- five lines -->\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found
    assert len([line for line in found[1].splitlines() if line]) == 5

    def run(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert re.fullmatch(r"docs/example/b\.jpg: similarity 0\.\d\d, probability 0\.9\d\n", run("-c", found[1]))
    assert re.search(
        r"^ trinet-synthetic 0\.1\.0 +1:2 79\.\d / 78\.\d %, trinet on synthetic", run("-m", "voiceface", "list"), re.M
    )
