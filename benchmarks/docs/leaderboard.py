"""Every recipe on the built-in corpus, side by side: the results that the package carries.

python zoo/build.py --runs runs/zoo          trains and tests all (about two hours on two cores; stopped, it goes on)
python -m benchmarks.docs.leaderboard             from the zoo: voiceface/compare/reference
python -m docs.images.methods                      draws docs/images/leaderboard.svg of them
"""

import gzip
import shutil

from benchmarks.common import ROOT
from voiceface.compare.reading import REFERENCE, find_results

ZOO = ROOT / "zoo"


def main() -> None:
    found, left_out = find_results(sorted(ZOO.glob("*/src/*")))
    for path, why in left_out:
        print(f"left out: {path}: {why}")
    shutil.rmtree(REFERENCE, ignore_errors=True)
    for one in found:
        (folder := REFERENCE / str(one.results["model"]["recipe"])).mkdir(parents=True)
        (folder / "results.json.gz").write_bytes(gzip.compress(one.path.read_bytes(), mtime=0))
        shutil.copy(one.path.with_name("results.effects.npz"), folder)
    print(f"{len(found)} results")


if __name__ == "__main__":
    main()
