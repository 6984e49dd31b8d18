"""The scripts that draw the docs' pictures."""

import runpy
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from compare_support import write

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def test_the_picture_of_a_result_holds_its_table_and_its_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    result = write(tmp_path / "results.json", "mine", 0.6, data={"corpus": "made", "split": "test"})
    monkeypatch.setattr(sys, "argv", ["table.py", str(result), str(tmp_path / "table.svg")])
    runpy.run_path(str(IMAGES / "table.py"))
    svg = ET.parse(tmp_path / "table.svg").getroot()
    words = " ".join("".join(svg.itertext()).replace("\N{NO-BREAK SPACE}", " ").split())
    assert "mine on made (test: 12 people, 36 voices, 24 faces)" in words
    assert "A voice finds its face among two" in words
    assert not {element.tag.rpartition("}")[2] for element in svg.iter()} & {"circle", "image", "script"}
