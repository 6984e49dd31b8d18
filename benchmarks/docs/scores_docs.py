"""Write the section on the scores of benchmarks/README.md, and its plot, from benchmarks/results/scores_*.json.

Run `python -m benchmarks.scores.scores --table`.
"""

import json
import textwrap
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT, drawing, replace_section, table

START, END = "<!-- scores: written by `python -m benchmarks.scores.scores --table` -->", "<!-- /scores -->"

Result = dict[str, Any]


def read(name: str) -> Result | None:
    path = RESULTS / f"scores_{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def power(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def prose(*parts: str) -> str:
    return textwrap.fill(" ".join(parts), 180, break_long_words=False, break_on_hyphens=False)


def of_report(found: Result) -> str:
    rows = [
        f"| {row['what']} | {row['records']} | {row['seconds']:.1f} | {row['times_the_product']:.0f} "
        f"| {row['first_run']['mib']:,.0f} | {row['first_run']['mib_peak']:,.0f} |"
        for row in found["scores"]
    ]
    product, threads = found["scores"][0]["product_seconds"], found["scores"][0]["product_threads"]
    return (
        prose(
            f"{found['voices']:,} voices and {found['faces']:,} faces of {found['people']} people,",
            f"{found['dimensions']} dimensions, {found['threads']} threads, medians of {found['runs']} runs. Products:",
            f"the time in float32 matrix products of voices and faces with {threads} threads in the same process, of",
            f"which one takes {product:.2f} s. Memory: what the scores add to the process, and its peak with Python,",
            "the libraries and the embeddings.",
        )
        + "\n\n"
        + table("| | records | seconds | products | MiB added | MiB peak |", rows)
    )


def of_speed(matching: Result, retrieval: Result) -> str:
    rows = []
    for case in matching["cases"]:
        rate, size = case["triplets_per_second"], f"{case['voices']:,} x {case['faces']:,}"
        rows.append(
            f"| 1:2 matching, {power(case['triplets'])} triplets of {size} | {case['seconds']['exact']:.3f} s, "
            f"{power(rate['exact'])} triplets/s | sampled trials, {power(rate['sampled_trials'])}/s "
            f"| {case['times_sampled_trials']:,.0f} | {case['times_sampled_trials_one_thread']:,.0f} |"
        )
    rows.append(
        f"| mAP, {retrieval['voices']:,} x {retrieval['faces']:,} | {retrieval['seconds']:.2f} s "
        f"| scikit-learn, {retrieval['sklearn_seconds_scaled']:.0f} s | {retrieval['times_sklearn']:.0f} "
        f"| {retrieval['times_sklearn_one_thread']:.0f} |"
    )
    return (
        prose(
            "Against what is usually done, on one thread: a list of sampled trials whose embeddings are gathered and",
            "compared in numpy (`benchmarks/scores/score_clips.py`), and `average_precision_score` of each query.",
            f"The latter is timed on {retrieval['sklearn_sample']} queries, without the similarities that it needs,",
            "and scaled to all; where nothing ties its values differ by at most",
            f"{retrieval['largest_difference']:.0e}.",
        )
        + "\n\n"
        + table("| one direction | voiceface | usual | times as fast | with one thread |", rows)
    )


def of_growth(found: Result) -> str:
    rows = [
        f"| {row['voices']:,} x {row['faces']:,} | {power(row['pairs'])} | {row['seconds']:,.1f} | {row['mib']:,.0f} "
        f"| {row['mib_peak']:,.0f} | {row['pairs'] * 4 / 2**20:,.0f} |"
        for row in found["sizes"]
    ]
    growth = found["growth"]
    return (
        "The full report again, one run of each size:\n\n"
        + table("| voices x faces | pairs | seconds | MiB added | MiB peak | MiB of the float32 matrix |", rows)
        + "\n\n"
        + prose(
            f"From {power(growth['exponents_from_pairs'])} pairs on, time grows as",
            f"pairs^{growth['seconds_exponent']:.2f} and memory as pairs^{growth['memory_exponent']:.2f},",
            f"{growth['bytes_per_pair']:.2f} bytes for each pair:",
            "similarities are made and used a block at a time. What grows are copies of the embeddings, the ranks of",
            "each query in each stratum, and the pairs of one person, which verification keeps:",
            f"{growth['verification_bytes_per_positive_pair']:.0f} bytes for each of them at its peak.",
        )
        + "\n\n![Time and memory of the full report](../docs/images/scores_cost.svg)"
    )


def of_trinet(cpu: Result | None, cuda: Result | None) -> str:
    rows = []
    for found in filter(None, (cpu, cuda)):
        name = "CPU, 2 threads" if found["device"] == "cpu" else found["device"]
        how = "measured" if found["measured"] else "extrapolated from parts"
        for direction in ("v2f", "f2v"):
            row = found[direction]
            rate = power(row["triplets_per_second"])
            rows.append(f"| {name} | 1:2, {direction} | {row['seconds']:,.0f} | {rate} triplets/s | {how} |")
        if "verification" in found:
            rows.append(f"| {name} | verification | {found['verification']['seconds']:,.0f} | | {how} |")
    size = cpu or cuda
    assert size is not None
    return (
        prose(
            f"A set of the size of TriNet's whole test set, {size['voices']:,} voices and {size['faces']:,} faces of",
            f"{size['people']:,} people ({power(size['v2f']['triplets'])} triplets in v2f). A GPU counts and ranks in",
            "one pass: `python -m benchmarks.scores.scores --size trinet --device cuda`.",
        )
        + "\n\n"
        + table("| on | scores | seconds | rate | |", rows)
    )


def section() -> str:
    report, matching, retrieval, growth = map(read, ("report", "matching", "retrieval", "growth"))
    parts = ["## Scores: `python -m benchmarks.scores.scores`"]
    if report:
        parts.append(of_report(report))
    if matching and retrieval:
        parts.append(of_speed(matching, retrieval))
    if growth:
        parts.append(of_growth(growth))
    cpu, cuda = read("trinet_cpu"), read("trinet_cuda")
    if cpu or cuda:
        parts.append(of_trinet(cpu, cuda))
    return "\n\n".join(parts)


def plot(found: Result, path: Path) -> None:
    with drawing(path, 2, figsize=(8.4, 3.2)) as (left, right):
        pairs = [row["pairs"] for row in found["sizes"]]
        left.loglog(pairs, [row["seconds"] for row in found["sizes"]], "o-", color="#1f5fa8")
        last = found["sizes"][-1]
        left.loglog(pairs, [last["seconds"] * n / last["pairs"] for n in pairs], ":", color="#888888")
        left.text(pairs[1], last["seconds"] * pairs[1] / last["pairs"], "in proportion", color="#666666", va="top")
        left.set(title="Time of the full report", xlabel="voices x faces", ylabel="seconds")
        right.loglog(pairs, [row["mib"] for row in found["sizes"]], "o-", color="#1f5fa8", label="added by the report")
        right.loglog(pairs, [4 * n / 2**20 for n in pairs], ":", color="#888888", label="the float32 matrix alone")
        right.set(title="Peak memory", xlabel="voices x faces", ylabel="MiB")
        right.legend(frameon=False)


def main() -> None:
    replace_section(ROOT / "benchmarks" / "README.md", START, END, section())
    found = read("growth")
    if found:
        plot(found, ROOT / "docs" / "images" / "scores_cost.svg")


if __name__ == "__main__":
    main()
