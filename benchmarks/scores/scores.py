"""What do the scores cost? All questions, one command, about ten minutes on two cores.

    python -m benchmarks.scores.scores
    python -m benchmarks.scores.scores --only growth               one question
    python -m benchmarks.scores.scores --size trinet --device cuda the whole TriNet test set on a GPU
    python -m benchmarks.scores.scores --table                     measures nothing, writes benchmarks/README.md
    python -m benchmarks.scores.scores --scale 0.1                 tries a tenth of the clips; writes nothing

    report     all scores of a model, beside one matrix product of the same size
    matching   triplets per second of the exact count, against a list of sampled trials
    retrieval  mAP over the full ranking, against scikit-learn's average precision of each query
    growth     time and memory of the full report with the pairs of a voice and a face
    trinet     the size of TriNet's whole test set (scores_trinet.py)

Each question writes benchmarks/results/scores_NAME.json; then the section of benchmarks/README.md and its plot are
written from those files. Each measurement is a process of its own.
"""

import os
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from benchmarks.common import in_turn, medians, parser, ratio, seconds, write
from benchmarks.docs import scores_docs
from benchmarks.scores.score_clips import (
    DIMENSIONS,
    THREADS,
    Clips,
    accuracy_of_trials,
    cost,
    draw_attributes,
    draw_clips,
    in_fresh_process,
    sample_trials,
)
from benchmarks.scores.scores_trinet import trinet
from voiceface.scores import score
from voiceface.scores.galleries import gallery_records
from voiceface.scores.joint import joint_records
from voiceface.scores.matching import accuracy, count
from voiceface.scores.ranking import rank
from voiceface.scores.similarity import similarity_rows
from voiceface.scores.verification import verify

PEOPLE = 250
VOICES, FACES = 10_000, 20_000
WHAT = {
    "report": "all tasks, 12 strata, both directions, intervals",
    "joint": "joint scores, means of 1 to 30 clips",
    "trinet": "TriNet's gallery, 30 draws",
    "kim": "Kim's galleries of 250, 1,000 and 5,000",
}
RUNS_OF_REPORT, RUNS = 3, 5
MATCHED = [(1_000, 2_000), (10_000, 20_000)]  # voices, faces
TRIALS = 1_000_000
RANKED = 20_000
SAMPLE = 200  # queries of which scikit-learn is timed
PAIRS = (1e6, 3e6, 1e7, 3e7, 1e8, 2e8, 5e8, 1e9)
MOST_SECONDS = 480.0
VERIFIED = (PEOPLE, 50, 10)  # people: fewer of them have more positive pairs

Report = dict[str, Any]


def compile_all() -> None:
    """Compile the kernels of the full report, or load what is compiled."""
    score(*draw_clips(48, 96, 12).named(), draw_attributes(12))


def report(scale: float) -> Report:
    """Cost of all scores of a model."""
    voices, faces = round(scale * VOICES), round(scale * FACES)
    rows = [in_fresh_process(measure_report, name, voices, faces) for name in WHAT]
    return {"voices": voices, "faces": faces, "people": PEOPLE, "runs": RUNS_OF_REPORT, "scores": rows}


def measure_report(name: str, voices: int, faces: int) -> Report:
    """Memory of a first run, then medians over runs, each with matrix products before and after it."""
    from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

    compile_all()
    clips, attributes = draw_clips(voices, faces, PEOPLE), draw_attributes(PEOPLE)
    named = clips.named()

    def call() -> list[Any]:
        if name == "report":
            return score(*named, attributes)
        return joint_records(*named) if name == "joint" else gallery_records(name, *named)

    found: dict[str, float] = {}
    first = cost(lambda: found.update(records=len(call())))
    out = np.empty((voices, faces), np.float32)

    def product() -> float:
        with threadpool_limits(THREADS, "blas"):
            return median(seconds(lambda: np.matmul(clips.voices, clips.faces.T, out=out)) for _ in range(3))

    with threadpool_limits(THREADS, "blas"):
        blas = max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
    product()  # touches the memory of its result
    times, products = [], [product()]
    for _ in range(RUNS_OF_REPORT):
        times.append(seconds(call))
        products.append(product())
    around = [(before + after) / 2 for before, after in pairwise(products)]
    return {
        "scores": name,
        "what": WHAT[name],
        "seconds": round(median(times), 3),
        "all_seconds": [round(time, 3) for time in times],
        "product_seconds": round(median(products), 4),
        "product_threads": blas,
        "all_product_seconds": [round(time, 4) for time in products],
        "times_the_product": ratio(times, around, 2),
        **found,
        "first_run": first,
    }


def matching(scale: float) -> Report:
    """Exact count against sampled trials."""
    cases = [in_fresh_process(measure_matching, *(round(scale * clips) for clips in sides)) for sides in MATCHED]
    return {"trials": TRIALS, "runs": RUNS, "cases": cases}


def measure_matching(voices: int, faces: int) -> Report:
    """Medians over runs; the competitors take turns within a run."""
    clips = draw_clips(voices, faces, PEOPLE)
    sizes = np.bincount(clips.face_owner)
    trials = sample_trials(clips.voice_owner, clips.face_owner, TRIALS, np.random.default_rng(0))

    def exact(threads: int) -> Any:
        return count(similarity_rows(clips.voices, clips.faces), clips.voice_owner, sizes, threads)

    counts = exact(THREADS)  # compiles
    triplets = int(counts.triplets.sum())
    value = accuracy(counts.win_rates, counts.triplets)
    assert value is not None
    sampled = accuracy_of_trials(clips.voices, clips.faces, trials)
    assert abs(sampled - value) < 5 * (value * (1 - value) / TRIALS) ** 0.5, (sampled, value)
    competitors: dict[str, Callable[[], Any]] = {
        "exact": lambda: exact(THREADS),
        "exact_one_thread": lambda: exact(1),
        "sampled_trials": lambda: accuracy_of_trials(clips.voices, clips.faces, trials),
    }
    times = in_turn(competitors, RUNS)
    numbers = {"exact": triplets, "exact_one_thread": triplets, "sampled_trials": TRIALS}

    def speedup(name: str) -> float:
        return float(f"{triplets / TRIALS * ratio(times['sampled_trials'], times[name], 9):.3g}")

    return {
        "voices": voices,
        "faces": faces,
        "people": PEOPLE,
        "triplets": triplets,
        "seconds": medians(times, 4),
        "triplets_per_second": {name: float(f"{n / median(times[name]):.3g}") for name, n in numbers.items()},
        "times_sampled_trials": speedup("exact"),
        "times_sampled_trials_one_thread": speedup("exact_one_thread"),
        "accuracy": {"exact": round(value, 6), "sampled_trials": round(sampled, 6)},
    }


def retrieval(scale: float) -> Report:
    """Full ranking against scikit-learn."""
    found = in_fresh_process(measure_retrieval, round(scale * RANKED))
    return {"runs": RUNS, "packages": {"scikit-learn": version("scikit-learn")}, **found}


def measure_retrieval(clips_of_each: int) -> Report:
    """Medians over runs; the competitors take turns within a run.

    Scikit-learn is timed on its function alone (the similarities are given to it) and on a sample of the queries in
    which no relevant item ties with another person's: there both give the same value, asserted to 1e-9; scikit-learn
    takes tied items as one, here they are in random order.
    """
    from sklearn.metrics import average_precision_score

    clips = draw_clips(clips_of_each, clips_of_each, PEOPLE)
    sizes = np.bincount(clips.face_owner)

    def ours(threads: int) -> Any:
        return rank(similarity_rows(clips.voices, clips.faces), clips.voice_owner, sizes, threads=threads)

    ranking = ours(THREADS)[0]  # compiles
    assert ranking is not None
    untied = np.flatnonzero(~ranking.ranks.open)
    sample = np.sort(np.random.default_rng(0).choice(untied, SAMPLE, replace=False))
    scores = similarity_rows(clips.voices, clips.faces)(sample)
    relevant = clips.voice_owner[sample, None] == clips.face_owner

    def sklearn() -> list[float]:
        return [float(average_precision_score(*pair)) for pair in zip(relevant, scores, strict=True)]

    difference = float(np.abs(np.array(sklearn()) - ranking.ranks.average_precision[sample]).max())
    assert difference < 1e-9, difference
    times = in_turn({"two": lambda: ours(THREADS), "one": lambda: ours(1), "sklearn": sklearn}, RUNS)
    whole = [taken * clips_of_each / SAMPLE for taken in times["sklearn"]]
    return {
        "voices": clips_of_each,
        "faces": clips_of_each,
        "people": PEOPLE,
        "seconds": round(median(times["two"]), 3),
        "seconds_one_thread": round(median(times["one"]), 3),
        "sklearn_seconds_scaled": round(median(whole), 2),
        "sklearn_sample": SAMPLE,
        "times_sklearn": ratio(whole, times["two"], 1),
        "times_sklearn_one_thread": ratio(whole, times["one"], 1),
        "largest_difference": difference,
        "queries_with_ties": int(ranking.ranks.open.sum()),
    }


def growth(scale: float) -> Report:
    """The full report, each size once, left out if it would take too long.

    The memory of the positive pairs, which the verification pass keeps, is the slope over numbers of people at one
    size.
    """
    rows: list[Report] = []
    left_out = []
    for pairs in PAIRS:
        voices = round(scale * (pairs / 2) ** 0.5)
        if rows and rows[-1]["seconds"] * 2 * voices**2 / rows[-1]["pairs"] > MOST_SECONDS:
            left_out.append(pairs)
        else:
            rows.append(in_fresh_process(measure_growth, voices, 2 * voices))
    kept = [in_fresh_process(measure_verification, round(scale * VOICES), round(scale * FACES), n) for n in VERIFIED]
    large = rows[len(rows) // 2 :]
    found = {
        "seconds_exponent": exponent(large, "seconds"),
        "memory_exponent": exponent(large, "mib"),
        "exponents_from_pairs": large[0]["pairs"],
        "bytes_per_pair": round(slope(large, "pairs"), 3),
        "verification_bytes_per_positive_pair": round(slope(kept, "positive_pairs"), 1),
    }
    sizes = {"sizes": rows, "left_out_pairs": left_out}
    return {"people": PEOPLE, "runs": 1, **sizes, "growth": found, "verification_alone": kept}


def measure_growth(voices: int, faces: int) -> Report:
    """Cost of the full report."""
    compile_all()
    clips, attributes = draw_clips(voices, faces, PEOPLE).named(), draw_attributes(PEOPLE)
    return {"voices": voices, "faces": faces, "pairs": voices * faces, **cost(lambda: score(*clips, attributes))}


def measure_verification(voices: int, faces: int, people: int) -> Report:
    """Memory of verification alone, one stratum."""

    def verified(clips: Clips) -> None:
        sizes = np.bincount(clips.face_owner)
        masks = ~np.eye(len(sizes), dtype=np.bool_)[None]
        verify(similarity_rows(clips.voices, clips.faces), clips.voice_owner, sizes, masks)

    verified(draw_clips(48, 96, 12))
    clips = draw_clips(voices, faces, people)
    pairs = int((np.bincount(clips.voice_owner) * np.bincount(clips.face_owner)).sum())
    return {"people": people, "positive_pairs": pairs, "mib": cost(lambda: verified(clips))["mib"]}


def slope(rows: list[Report], name: str) -> float:
    """Bytes of memory for each one more."""
    return float(np.polyfit([row[name] for row in rows], [row["mib"] for row in rows], 1)[0]) * 2**20


def exponent(rows: list[Report], name: str) -> float:
    """Slope of the straight line through the points on logarithmic scales."""
    steepness = np.polyfit(np.log([row["pairs"] for row in rows]), np.log([row[name] for row in rows]), 1)[0]
    return round(float(steepness), 3)


QUESTIONS = {"report": report, "matching": matching, "retrieval": retrieval, "growth": growth}


def main() -> None:
    options = parser(__doc__)
    questions = [*QUESTIONS, "trinet"]
    options.add_argument("--only", choices=questions, action="append", help="a question; may be given several times")
    options.add_argument("--size", choices=["trinet"], help="the same as --only trinet")
    options.add_argument("--device", default="cpu", help="of --size trinet: cpu, or a torch device such as cuda")
    options.add_argument("--scale", type=float, default=1.0, help="a factor for the numbers of clips, to try a change")
    options.add_argument("--table", action="store_true", help="only write the tables and the plot")
    args = options.parse_args()
    chosen = ["trinet"] if args.size else args.only or questions
    if args.device != "cpu" and chosen != ["trinet"]:
        options.error("--device is for --size trinet; the other questions are about the CPU")
    for question in () if args.table else chosen:
        print(f"\n{question}", flush=True)
        name, load = question, os.getloadavg()[0]
        if question == "trinet":
            name, found = f"trinet_{args.device.split(':')[0]}", trinet(args.scale, args.device)
        else:
            found = {"threads": THREADS, **QUESTIONS[question](args.scale)}
        if args.scale == 1.0:
            write(f"scores_{name}", {"dimensions": DIMENSIONS, "load_average": load, **found})
    if args.scale == 1.0:
        scores_docs.main()


if __name__ == "__main__":
    main()
