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
    trinet     the size of TriNet's whole test set, 153,516 voices and 573,283 faces of 1,251 people: of a part of the
               people who ask, or on a GPU whole where a part says that it does not take too long

Each question writes benchmarks/results/scores_NAME.json; then the section of benchmarks/README.md and its plot are
written from those files. Each measurement is a process of its own.
"""

from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, Ways, in_turn, medians, parser, ratio, seconds, write
from benchmarks.docs import scores_docs
from benchmarks.scores.score_clips import (
    DIMENSIONS,
    THREADS,
    Clips,
    Side,
    accuracy_of_trials,
    cost,
    draw_attributes,
    draw_clips,
    in_fresh_process,
    sample_trials,
)
from voiceface.scores import score
from voiceface.scores.galleries import gallery_records
from voiceface.scores.joint import joint_records
from voiceface.scores.matching import count
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
VERIFIED = (PEOPLE, 50, 10)  # people: fewer of them have more positive pairs
TRINET = (153_516, 573_283, 1_251)  # voices, faces, people
PARTS = (1 / 128, 1 / 64, 1 / 32)  # of the people who ask
MOST_SECONDS = 540.0

Report = dict[str, Any]


def rounded(value: float) -> float:
    return float(f"{value:.3g}")


def report(scale: float) -> Report:
    """Cost of all scores of a model."""
    voices, faces = round(scale * VOICES), round(scale * FACES)
    rows = [in_fresh_process(measure_report, name, voices, faces) for name in WHAT]
    return {"voices": voices, "faces": faces, "people": PEOPLE, "runs": RUNS_OF_REPORT, "scores": rows}


def compile_all() -> None:
    """Compile the kernels of the full report, or load what is compiled."""
    score(*draw_clips(48, 96, 12).named(), draw_attributes(12))


def measure_report(name: str, voices: int, faces: int) -> Report:
    """Memory of a first run, then medians over runs, each with matrix products before and after it."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    compile_all()
    clips = draw_clips(voices, faces, PEOPLE)
    named, attributes = clips.named(), draw_attributes(PEOPLE)
    scores: dict[str, Callable[[], list[Any]]] = {
        "report": lambda: score(*named, attributes),
        "joint": lambda: joint_records(*named),
    }
    call = scores.get(name, lambda: gallery_records(name, *named))
    found: list[Any] = []
    first = cost(lambda: found.extend(call()))
    out = np.empty((voices, faces), np.float32)

    def product() -> float:
        with threadpool_limits(THREADS, "blas"):
            return median(seconds(lambda: np.matmul(clips.voices, clips.faces.T, out=out)) for _ in range(3))

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
        "product_seconds": round(median(products), 4),
        "product_threads": THREADS,
        "times_the_product": ratio(times, around, 2),
        "records": len(found),
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

    competitors: Ways = {
        "exact": lambda: exact(THREADS),
        "exact_one_thread": lambda: exact(1),
        "sampled_trials": lambda: accuracy_of_trials(clips.voices, clips.faces, trials),
    }
    times = in_turn(competitors, RUNS)
    triplets = int(exact(THREADS).triplets.sum())
    numbers = {"exact": triplets, "exact_one_thread": triplets, "sampled_trials": TRIALS}
    faster = {name: rounded(triplets / TRIALS * ratio(times["sampled_trials"], times[name], 9)) for name in times}
    return {
        "voices": voices,
        "faces": faces,
        "people": PEOPLE,
        "triplets": triplets,
        "seconds": medians(times, 4),
        "triplets_per_second": {name: rounded(n / median(times[name])) for name, n in numbers.items()},
        "times_sampled_trials": faster["exact"],
        "times_sampled_trials_one_thread": faster["exact_one_thread"],
    }


def retrieval(scale: float) -> Report:
    """Full ranking against scikit-learn."""
    found = in_fresh_process(measure_retrieval, round(scale * RANKED))
    return {"runs": RUNS, "packages": {"scikit-learn": version("scikit-learn")}, **found}


def measure_retrieval(clips_of_each: int) -> Report:
    """Medians over runs; the competitors take turns within a run.

    Scikit-learn is timed on its function alone (the similarities are given to it) and on a sample of the queries in
    which no relevant item ties with another person's: it takes tied items as one, here they are in random order.
    """
    from sklearn.metrics import average_precision_score

    clips = draw_clips(clips_of_each, clips_of_each, PEOPLE)
    sizes = np.bincount(clips.face_owner)

    def ours(threads: int) -> Any:
        return rank(similarity_rows(clips.voices, clips.faces), clips.voice_owner, sizes, threads=threads)[0]

    ranks = ours(THREADS).ranks
    sample = np.sort(np.random.default_rng(0).choice(np.flatnonzero(~ranks.open), SAMPLE, replace=False))
    scores = similarity_rows(clips.voices, clips.faces)(sample)
    relevant = clips.voice_owner[sample, None] == clips.face_owner

    def sklearn() -> list[float]:
        return [float(average_precision_score(*pair)) for pair in zip(relevant, scores, strict=True)]

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
        "largest_difference": float(np.abs(np.array(sklearn()) - ranks.average_precision[sample]).max()),
    }


def growth(scale: float) -> Report:
    """The full report, each size once.

    The memory of the positive pairs, which the verification pass keeps, is the slope over numbers of people at one
    size.
    """
    sizes = [round(scale * (pairs / 2) ** 0.5) for pairs in PAIRS]
    rows: list[Report] = [in_fresh_process(measure_growth, voices, 2 * voices) for voices in sizes]
    kept = [in_fresh_process(measure_verification, round(scale * VOICES), round(scale * FACES), n) for n in VERIFIED]
    large = rows[len(rows) // 2 :]
    found = {
        "seconds_exponent": exponent(large, "seconds"),
        "memory_exponent": exponent(large, "mib"),
        "exponents_from_pairs": large[0]["pairs"],
        "bytes_per_pair": round(slope(large, "pairs"), 3),
        "verification_bytes_per_positive_pair": round(slope(kept, "positive_pairs"), 1),
    }
    return {"people": PEOPLE, "runs": 1, "sizes": rows, "growth": found, "verification_alone": kept}


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


def trinet(scale: float, device: str) -> Report:
    """Cost of TriNet's whole test set on a device, measured or extrapolated."""
    voices, faces, people = (max(2, round(scale * number)) for number in TRINET)
    found: Report = {"voices": voices, "faces": faces, "people": people, "measured": False, "device": device}
    return found | in_fresh_process(measure_trinet, voices, faces, people, device)


def measure_trinet(voices: int, faces: int, people: int, device: str) -> Report:
    """Rows are independent, so the time of all lies on the straight line through the parts."""
    import torch

    from voiceface.scores.on_device import count_on_device, verify_on_device

    cuda = torch.device(device).type == "cuda"

    def counted(queries: Side, items: Side) -> None:
        (table, owner), sizes = queries, np.bincount(items[1])
        if cuda:
            count_on_device(table, items[0], owner, sizes, device=device)
        else:
            count(similarity_rows(table, items[0]), owner, sizes)

    def verified(clips: Clips) -> None:
        owners = clips.voice_owner, np.bincount(clips.face_owner)
        verify_on_device(clips.voices, clips.faces, *owners, device=device)

    counted(*draw_clips(48, 96, 12).sides())  # compiles
    clips = draw_clips(voices, faces, people)
    found: Report = {}
    for direction, (queries, items) in (("v2f", clips.sides()), ("f2v", clips.sides()[::-1])):
        parts = [first_people(queries, part) for part in PARTS]
        sizes = [len(part[0]) for part in parts]
        times = [seconds(lambda part=part, items=items: counted(part, items)) for part in parts]  # type: ignore[misc]
        whole = float(np.polyval(np.polyfit(sizes, times, 1), len(queries[0])))
        if cuda and whole < MOST_SECONDS / 3:
            found["measured"] = True
            whole = seconds(lambda queries=queries, items=items: counted(queries, items))  # type: ignore[misc]
        asking, own = np.bincount(queries[1]), np.bincount(items[1])
        triplets = int((asking * own * (own.sum() - own)).sum())
        found[direction] = {"triplets": triplets, "seconds": round(whole, 2)}
        found[direction] |= {
            "triplets_per_second": rounded(triplets / whole),
            "parts": dict(zip(sizes, times, strict=True)),
        }
    if found.get("measured"):
        verified(draw_clips(48, 96, 12))
        found["verification"] = {"seconds": round(seconds(lambda: verified(clips)), 2)}
    if cuda:
        found["device"] = torch.cuda.get_device_name(device)
        found["device_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
    return found


def first_people(side: Side, part: float) -> Side:
    """The clips of the first people."""
    table, owner = side
    number = int(np.searchsorted(owner, max(2, round(part * (owner[-1] + 1)))))
    return table[:number], owner[:number]


QUESTIONS = {"report": report, "matching": matching, "retrieval": retrieval, "growth": growth}


def main() -> None:
    made = parser(__doc__, device="cpu", scale=1.0, table=False, out=RESULTS)
    made.add_argument("--only", choices=[*QUESTIONS, "trinet"], action="append", help="may be given several times")
    made.add_argument("--size", choices=["trinet"], help="the same as --only trinet")
    options = made.parse_args()
    chosen = ["trinet"] if options.size else options.only or [*QUESTIONS, "trinet"]
    if options.device != "cpu" and chosen != ["trinet"]:
        made.error("--device is for --size trinet; the other questions are about the CPU")
    for question in () if options.table else chosen:
        if question == "trinet":
            name, found = f"trinet_{options.device.split(':')[0]}", trinet(options.scale, options.device)
        else:
            name, found = question, QUESTIONS[question](options.scale)
        if options.scale == 1.0:
            write(f"scores_{name}", {"dimensions": DIMENSIONS, "threads": THREADS, **found}, options.out)
    if options.scale == 1.0:
        scores_docs.main()


if __name__ == "__main__":
    main()
