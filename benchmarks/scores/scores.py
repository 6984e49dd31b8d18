"""What do the scores cost? All questions, one command, about ten minutes on two cores.

    python -m benchmarks.scores.scores

Each question is a program of its own (scores_NAME.py) and writes benchmarks/results/scores_NAME.json; then the section
of docs/speed.md and its plot are written from those files.

    python -m benchmarks.scores.scores --only growth               one question
    python -m benchmarks.scores.scores --size trinet --device cuda the whole TriNet test set on a GPU
    python -m benchmarks.scores.scores --table                     measures nothing, writes docs/speed.md and plot
    python -m benchmarks.scores.scores --scale 0.1                 tries a tenth of the clips; writes nothing
"""

import argparse
from importlib import import_module

QUESTIONS = ("report", "matching", "retrieval", "growth", "trinet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=QUESTIONS, action="append", help="a question; may be given several times")
    parser.add_argument("--size", choices=["trinet"], help="the same as --only trinet")
    parser.add_argument("--device", default="cpu", help="of --size trinet: cpu, or a torch device such as cuda")
    parser.add_argument("--scale", type=float, default=1.0, help="a factor for the numbers of clips, to try a change")
    parser.add_argument("--table", action="store_true", help="only write the tables and the plot")
    args = parser.parse_args()
    chosen = ["trinet"] if args.size else args.only or QUESTIONS
    if args.device != "cpu" and chosen != ["trinet"]:
        parser.error("--device is for --size trinet; the other questions are about the CPU")
    # Imported one by one: what a question imports would otherwise be in the memory of all.
    for question in () if args.table else chosen:
        print(f"\n{question}", flush=True)
        module = import_module(f"benchmarks.scores.scores_{question}")
        if question == "trinet":
            module.main(args.scale, args.device)
        else:
            module.main(args.scale)
    if args.scale == 1.0:
        import_module("benchmarks.docs.scores_docs").main()


if __name__ == "__main__":
    main()
