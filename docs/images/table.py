"""Draw what a command prints: `python docs/images/table.py runs/trinet/results.json docs/images/table.svg`."""

import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from voiceface.evaluation.results import read_results
from voiceface.evaluation.tables import ONE_TABLE, results_table, summary

# A sheet of paper instead of rich's terminal window; any monospaced font will do.
SHEET = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" class="rich-terminal">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
line-height: {line_height}px; }}
{styles}
</style>
<defs>{lines}</defs>
<rect width="100%" height="100%" fill="white"/>
<g transform="translate({terminal_x}, 20)">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""

results = read_results(Path(sys.argv[1]))
console = Console(record=True, width=ONE_TABLE, file=StringIO())
console.print(results_table(results, width=console.width))
console.print(f"\n{summary(results)}", style="bold", highlight=False)
svg = console.export_svg(theme=DEFAULT_TERMINAL_THEME, code_format=SHEET, unique_id="table")
Path(sys.argv[2]).write_text(svg)
