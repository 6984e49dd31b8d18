"""Every recipe on the built-in corpus, side by side: the results that the package carries, and the page in docs.

python benchmarks/methods.py --runs RUNS     trains all (about two hours on two cores; stopped, it goes on)
python benchmarks/leaderboard.py RUNS        tests each checkpoint; writes voiceface/compare/reference and the page
voiceface compare --tasks 1:2,1:2/G,AUC,mAP --out docs/images/leaderboard.svg      draws the README's picture
"""

import argparse
import gzip
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from voiceface.compare.grouping import compare_results
from voiceface.compare.reading import REFERENCE, find_results
from voiceface.report.documents import to_markdown
from voiceface.results import read_results

PAGE = Path(__file__).parents[1] / "docs/leaderboard.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the runs")
    runs = parser.parse_args().runs
    for checkpoint in sorted(runs.glob("*/checkpoint/config.json")):
        name = checkpoint.parts[-3]
        out = Path("tested", name, "results.json")
        weights = json.loads(checkpoint.read_text())["sha256"]
        if not (runs / out).exists() or read_results(runs / out)["model"]["checkpoint"] != weights:
            words = ["-m", "voiceface", "test", f"{name}/checkpoint", "--out", str(out)]
            words += ["--sampled", "100000"] if name == "svhf_nway" else []  # it chooses among ten: slow
            subprocess.run([sys.executable, *words], cwd=runs, check=True, stdout=subprocess.DEVNULL)
            print(name, flush=True)
    found, left_out = find_results([runs / "tested"])
    for path, why in left_out:
        print(f"left out: {path}: {why}")
    shutil.rmtree(REFERENCE, ignore_errors=True)
    for one in found:
        (folder := REFERENCE / str(one.results["model"]["recipe"])).mkdir(parents=True)
        (folder / "results.json.gz").write_bytes(gzip.compress(one.path.read_bytes(), mtime=0))
        shutil.copy(one.path.with_name("results.effects.npz"), folder)
    table = to_markdown(compare_results(found))
    region = "<!-- leaderboard -->", "<!-- /leaderboard -->"
    text = re.sub(f"{region[0]}.*{region[1]}", lambda _: f"\n\n{table}\n".join(region), PAGE.read_text(), flags=re.S)
    PAGE.write_text(text)
    print(f"{len(found)} results; {PAGE.name}")


if __name__ == "__main__":
    main()
