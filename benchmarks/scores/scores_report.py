"""What do all scores of a model cost, beside one matrix product of the same size?

Run `python -m benchmarks.scores.scores_report`; writes benchmarks/results/scores_report.json.
"""

import os
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from benchmarks.scores.score_clips import (
    DIMENSIONS,
    THREADS,
    cost,
    draw_attributes,
    draw_clips,
    in_fresh_process,
    seconds,
    write,
)
from voiceface.scores import score
from voiceface.scores.galleries import gallery_records
from voiceface.scores.joint import joint_records

VOICES, FACES, PEOPLE = 10_000, 20_000, 250
RUNS = 3
WHAT = {
    "report": "all tasks, 12 strata, both directions, intervals",
    "joint": "joint scores, means of 1 to 30 clips",
    "trinet": "TriNet's gallery, 30 draws",
    "kim": "Kim's galleries of 250, 1,000 and 5,000",
}


Named = tuple[NDArray[Any], list[str], NDArray[Any], list[str]]


def call(name: str, clips: Named, attributes: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    if name == "report":
        return score(*clips, attributes)
    if name == "joint":
        return joint_records(*clips)
    return gallery_records(name, *clips)


def measure(name: str, voices: int, faces: int, people: int) -> dict[str, Any]:
    """Memory of a first run, then medians over runs, each with matrix products before and after it."""
    call("report", draw_clips(48, 96, 12).named(), draw_attributes(12))  # compiles, or loads what is compiled
    clips, attributes = draw_clips(voices, faces, people), draw_attributes(people)
    named = clips.named()
    found: dict[str, float] = {}
    first = cost(lambda: found.update(records=len(call(name, named, attributes))))
    out = np.empty((voices, faces), np.float32)

    def product() -> float:
        with threadpool_limits(THREADS, "blas"):
            return median(seconds(lambda: np.matmul(clips.voices, clips.faces.T, out=out)) for _ in range(3))

    with threadpool_limits(THREADS, "blas"):
        blas = max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
    product()  # touches the memory of its result
    times, products = [], [product()]
    for _ in range(RUNS):
        times.append(seconds(lambda: call(name, named, attributes)))
        products.append(product())
    ratios = [time / ((before + after) / 2) for time, before, after in zip(times, products, products[1:], strict=False)]
    return {
        "scores": name,
        "what": WHAT[name],
        "seconds": round(median(times), 3),
        "all_seconds": [round(time, 3) for time in times],
        "product_seconds": round(median(products), 4),
        "product_threads": blas,
        "all_product_seconds": [round(time, 4) for time in products],
        "times_the_product": round(median(ratios), 2),
        **found,
        "first_run": first,
    }


def main(scale: float = 1.0) -> None:
    voices, faces = round(scale * VOICES), round(scale * FACES)
    load = os.getloadavg()[0]
    print(f"{'scores':>8} {'records':>7} {'seconds':>8} {'x product':>9} {'MiB':>7}   of {voices} x {faces}")
    rows = []
    for name in WHAT:
        row = in_fresh_process(measure, name, voices, faces, PEOPLE)
        rows.append(row)
        print(
            f"{name:>8} {row['records']:7} {row['seconds']:8.2f} {row['times_the_product']:9.1f}"
            f" {row['first_run']['mib']:7.0f}",
            flush=True,
        )
    size = {"voices": voices, "faces": faces, "people": PEOPLE, "dimensions": DIMENSIONS, "threads": THREADS}
    write("scores_report", {**size, "runs": RUNS, "load_average": load, "scores": rows}, scale)


if __name__ == "__main__":
    main()
