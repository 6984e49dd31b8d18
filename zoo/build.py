"""Make the zoo: train every recipe on the built-in corpus, halve and test its checkpoint, write the project of a wheel.

python zoo/build.py --runs runs/zoo                        all, about two hours on two cores; stopped, it goes on
python zoo/build.py --runs runs/zoo --models trinet,drl    these
python -m benchmarks.docs.leaderboard                           then: the results that voiceface itself carries

Recipes that differ in their networks alone are one with the small networks; their checkpoint is that one.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from voiceface.checkpoints.find import matching_scores
from voiceface.checkpoints.weights import add_results, halve, read_config
from voiceface.checkpoints.wheel import write_source, write_zoo
from voiceface.evaluation.results import read_results
from voiceface.methods.recipes import equivalent_recipe, list_recipes

ZOO = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trained runs")
    parser.add_argument("--models", help="recipes (default: all)")
    options = parser.parse_args()
    distinct = [name for name in list_recipes() if equivalent_recipe(name, "demo", "paper") is None]
    models = options.models.split(",") if options.models else distinct
    train = ["compare", "--models", ",".join(models), "--runs", str(options.runs), "--", "--metrics.trials", "100000"]
    subprocess.run([sys.executable, "-m", "voiceface", *train], check=True, stdout=subprocess.DEVNULL)
    for name in models:
        print(pack(options.runs / name / "seed-0/checkpoint", options.runs / name / "half"), flush=True)
    write_zoo(ZOO)
    write_table()


def pack(checkpoint: Path, half: Path) -> Path:
    """Write `zoo/NAME` from a trained checkpoint, in half precision and with the scores that it has so."""
    halve(checkpoint, half)
    tested = half.parent / "tested/results.json"
    if not tested.exists() or read_results(tested)["model"]["checkpoint"] != read_config(half)["sha256"]:
        words = [sys.executable, "-m", "voiceface", "test", half.name, "--out", "tested/results.json"]
        subprocess.run(words, cwd=half.parent, check=True, stdout=subprocess.DEVNULL)
    add_results(half, tested)
    shutil.rmtree(ZOO / read_config(half)["name"], ignore_errors=True)
    return write_source(half, ZOO)


def write_table() -> None:
    """Write the table of `zoo/README.md`, from the results of the zoo."""
    found = sorted(ZOO.glob("*/src/*/results.json"))
    rows = ["| checkpoint | 1:2 voice to face | 1:2 face to voice | MB | also that of |", "|---|---|---|---|---|"]
    for path in found:
        results = read_results(path)
        scores = matching_scores(results)
        values = [f"{100 * scores[way]:.1f}" if way in scores else "-" for way in ("v2f", "f2v")]
        size = path.with_name("model.safetensors").stat().st_size / 1e6
        same = [
            name for name in list_recipes() if equivalent_recipe(name, "demo", "paper") == results["model"]["recipe"]
        ]
        project = path.parents[2].name
        rows.append(
            f"| [`{project}`]({project}/src/{path.parent.name}/README.md) | {' | '.join(values)} | {size:.1f} | "
            f"{', '.join(f'`{name}`' for name in same)} |"
        )
    page = ZOO / "README.md"
    region = "<!-- zoo -->", "<!-- /zoo -->"
    table = "\n".join(["", "", *rows, "", ""])
    page.write_text(re.sub(f"{region[0]}.*{region[1]}", lambda _: table.join(region), page.read_text(), flags=re.S))


if __name__ == "__main__":
    main()
