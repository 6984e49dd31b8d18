"""docs/python.md: its blocks run one after the other, with fewer steps, on a small corpus in place of the built-in."""

import re
from pathlib import Path

import pytest
from tests_support import in_processes

PAGE = Path(__file__).parents[2] / "docs/python.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


def run_blocks(rank: int, corpus: str, folder: str) -> None:
    """Run the page in a process of its own."""
    import os

    import numpy as np

    os.chdir(folder)
    people = np.repeat([f"p{i}" for i in range(6)], 2).tolist()
    voices, faces = np.random.default_rng(0).normal(size=(2, 12, 4))
    names = {"voices": voices, "faces": faces, "voice_people": people, "face_people": people}
    for block in blocks():
        block = block.replace("steps=400", f'steps=4, data="{corpus}", preset="demo", data__people=6, data__workers=0')
        block = block.replace('evaluate("trinet-synthetic")', f'evaluate(run.checkpoint, "{corpus}", workers=0)')
        block = block.replace("max_steps=100", "max_steps=2")
        block = block.replace("VoxVGGDataModule(people=16)", f'VoxVGGDataModule("{corpus}", people=6, workers=0)')
        exec(block, names)
    assert {"curve.png", "results.json", "intervals.png"} <= set(os.listdir(folder))
    assert names["metrics"].results["scores"]


def test_the_page_has_the_blocks_that_the_test_changes():
    text = "".join(blocks())
    for part in ("steps=400", 'evaluate("trinet-synthetic")', "max_steps=100", "VoxVGGDataModule(people=16)"):
        assert part in text


@pytest.mark.slow(reason="two short trainings; tests/test_api.py has one")
def test_the_blocks_run(tones: Path, tmp_path: Path):
    in_processes(1, run_blocks, tones, tmp_path)
