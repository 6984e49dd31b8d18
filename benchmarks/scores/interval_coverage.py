"""Does a 95 % interval hold what it should, 95 % of the time? All kinds of intervals, one command.

    python -m benchmarks.scores.interval_coverage                 about a quarter of an hour on one core
    python -m benchmarks.scores.interval_coverage --only lists    one part anew; the others' results stay
    python -m benchmarks.scores.interval_coverage --scale 0.02    tries everything with few draws; writes nothing
    python -m benchmarks.scores.interval_coverage --table         measures nothing, writes the tables of the docs anew

People are drawn from a population (interval_population.py), their clips are drawn, they are scored with an interval;
this is repeated and the intervals that hold the truth are counted. Writes benchmarks/results/interval_coverage.json and
the tables of docs/scores.md, docs/trial-lists.md and docs/why-not-binomial.md.
"""

import argparse
import json
import time
from importlib import import_module
from pathlib import Path

from benchmarks.docs import interval_docs
from benchmarks.machine import describe
from benchmarks.scores.interval_population import LEVEL, SEED

PARTS = ("scores", "levels", "others", "models", "lists", "draws")
PATH = Path(__file__).parents[1] / "results" / "interval_coverage.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; may be given several times")
    parser.add_argument("--scale", type=float, default=1.0, help="a factor for the numbers of draws, to try a change")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    args = parser.parse_args()
    parts = json.loads(PATH.read_text())["parts"] if PATH.exists() else {}
    for part in () if args.table else args.only or PARTS:
        started = time.process_time()
        results = import_module(f"interval_{part}").measure(args.scale)
        seconds = round(time.process_time() - started)
        print(f"\n{part}, {seconds} s of processor time", flush=True)
        for result in results:
            print(line(result), flush=True)
        parts[part] = {"machine": describe(), "processor_seconds": seconds, "results": results}
        if args.scale == 1.0:
            report = {"level": LEVEL, "seed": SEED, "parts": {name: parts[name] for name in PARTS if name in parts}}
            PATH.parent.mkdir(exist_ok=True)
            PATH.write_text(json.dumps(report, indent=1) + "\n")
    if args.scale == 1.0:
        interval_docs.main()


def line(result: dict[str, object]) -> str:
    """What an interval is of, how many there were, and how many of them hold the truth."""
    names = list(result)
    what = " ".join(f"{result[key]}" for key in names[: names.index("draws")])
    coverage = f"{result['coverage']:7.1%} +- {result['standard_error']:.1%}" if "coverage" in result else "   none"
    return f"{what:70} {result['draws']:6} draws {result['intervals']:6} intervals {coverage}"


if __name__ == "__main__":
    main()
