"""Draw the README's picture: `python docs/images/table.py runs/trinet/results.json docs/images/table.svg`."""

import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console

from voiceface.evaluation.results import read_results
from voiceface.evaluation.tables import results_table

console = Console(record=True, width=112, file=StringIO())
console.print(results_table(read_results(Path(sys.argv[1]))))
svg = console.export_svg(title="voiceface fit --model trinet")
# No fonts from the network: any monospaced one will do.
Path(sys.argv[2]).write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S))
