"""What MkDocs fills in when it builds the site: commands, settings of the methods, leaderboards. A hook of mkdocs.yml.

A mark such as `<!-- commands -->` in a page is replaced by what the code says, so nothing generated is kept. The two
leaderboards are pages of their own, as `voiceface compare --out page.html` writes them; the ranked examples of one show
faces where the built-in corpus is in the cache.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


def commands() -> str:
    """The help of every command, from its parser."""
    from voiceface.cli import build_parser

    parts = []
    for parser in leaves(build_parser()):
        parser.formatter_class = partial(parser.formatter_class, width=92)  # type: ignore[assignment]
        parts.append(f"## {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```")
    return "\n\n".join(parts)


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers that have no commands below them."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for one in dict.fromkeys(action.choices.values()):
            yield from leaves(one)


def settings() -> str:
    """Each setting of each recipe beside what its paper says, folded up by method."""
    from benchmarks.docs.recipes_docs import folded

    return folded()


MARKS = {"<!-- commands -->": commands, "<!-- settings -->": settings}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page."""
    for mark, fill in MARKS.items():
        if mark in markdown:
            markdown = markdown.replace(mark, fill())
    return markdown


def on_files(files: "Files", config: Any) -> "Files":
    """Add the two leaderboards."""
    from mkdocs.structure.files import File

    from voiceface.compare.grouping import compare_results
    from voiceface.compare.published import published
    from voiceface.compare.reading import reference_results
    from voiceface.compare.render.page import to_html
    from voiceface.compare.table import Comparison

    pages = {
        "leaderboard": compare_results(reference_results()),
        "published": Comparison(tuple(published())),
    }
    for name, comparison in pages.items():
        files.append(File.generated(config, f"reference/{name}.html", content=to_html(comparison)))
    return files
