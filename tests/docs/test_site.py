"""The documentation: its size, its links, and the site, which asks nothing of other hosts."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from voiceface.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BESIDE = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "UPGRADING.md", "benchmarks/README.md")
]
MADE = {"leaderboard.html", "published.html"}  # by the hook, when the site is built


def test_the_pages_are_few_and_short():
    assert len(PAGES) <= 24
    assert sum(len(page.read_text().split()) for page in PAGES) <= 35_000
    assert len((ROOT / "README.md").read_text().split()) <= 900


def test_every_page_is_in_the_navigation():
    nav = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(nav) == [page.relative_to(ROOT / "docs").as_posix() for page in PAGES]


@pytest.mark.parametrize("page", [*PAGES, *BESIDE], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page: Path):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.S)
    links = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text)
    for link in (one or other for one, other in links):
        target, _, anchor = link.partition("#")
        if "://" in link or Path(target).name in MADE:
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        assert page in BESIDE or file.is_relative_to(ROOT / "docs"), f"{link}: the site has no such page"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
            slugs = {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower()) for head in heads}
            assert anchor in slugs, link


def test_the_commands_page_has_every_command():
    text = runpy.run_path(str(ROOT / "benchmarks/docs/mkdocs_hook.py"))["commands"]()
    heads = re.findall(r"^## voiceface ([\w-]+)", text, re.M)
    assert set(heads) == set(COMMANDS)
    assert "--face-margin" in text


@pytest.mark.slow(reason="builds the whole site")
def test_the_site_is_whole_and_asks_nothing_of_other_hosts(tmp_path: Path):
    pytest.importorskip("material", reason="needs the extra docs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = {path: path.read_text() for path in tmp_path.rglob("*") if path.suffix in (".html", ".css")}
    assert len(text) > len(PAGES)
    for path, content in text.items():
        assert not re.findall(
            r"<(?:script|img|iframe|source|link)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//", content
        ), path
        assert not re.findall(r"url\([\"']?(?:https?:)?//|@import", content), path
        assert "<!-- commands -->" not in content
        assert "<!-- settings -->" not in content
    reference = text[tmp_path / "reference" / "python" / "index.html"]
    assert all(name in reference for name in ("voiceface.fit", "Results", "CrossModalScores", "embed_voice"))
    assert (tmp_path / "search" / "search_index.json").stat().st_size > 100_000
    assert all((tmp_path / "reference" / name).exists() for name in MADE)
