"""How well does each method learn? Every recipe on the built-in corpus in the demo preset, beside the ideal observer.

`python -m benchmarks.training.methods` trains every recipe by `voiceface fit --model RECIPE`, as many at once as
`--jobs` says, and writes benchmarks/results/methods.json and the table in docs/results-synthetic.md. What is finished
in `--runs` is not run again, so the command can be stopped and given once more; recipes that the demo preset makes the
same share a run. `--only a,b` trains some of them; `--table` writes the table alone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, ROOT, parser, replace_section, write
from voiceface.data.builtin import builtin_corpus
from voiceface.data.corpus.shards import Corpus
from voiceface.data.synthetic import log_likelihood_ratio
from voiceface.methods.recipes import list_recipes, load_recipe
from voiceface.scores import score

RESULT = RESULTS / "methods.json"
PAGE = ROOT / "docs" / "results-synthetic.md"
START, END = "<!-- methods: written by `python -m benchmarks.training.methods --table` -->", "<!-- /methods -->"
BAR = 0.6  # share of the ideal observer's excess over chance on 1:2 U
SIGMAS = 3.0  # standard errors above chance on 1:2 G

# What a method that learns from these covariates alone can know of the corpus's traits.
KNOWN = {"dimnet_g": ["gender"], "dimnet_n": ["origin"], "dimnet_gn": ["gender", "origin"]}
# Methods that train one direction; the others are held to the bar in both.
ONE_WAY = {
    **dict.fromkeys(("kim", "kim_classifier", "kim_siamese", "svhf", "svhf_nway", "trinet_euclidean"), "v2f"),
    **dict.fromkeys(("kim_f2v", "svhf_f2v"), "f2v"),
}

Records = Sequence[Mapping[str, Any]]


def alike(recipes: Sequence[str]) -> dict[str, list[str]]:
    """The first recipe of each kind, and the others of which the demo preset makes the same."""
    kinds: dict[str, list[str]] = {}
    for recipe in recipes:
        kinds.setdefault(json.dumps(load_recipe(recipe, "demo"), sort_keys=True), []).append(recipe)
    return {same[0]: same[1:] for same in kinds.values()}


def train(recipe: str, runs: Path) -> None:
    """Train and test one recipe in a process of its own, unless that is done; go on with a run that was stopped."""
    folder = runs / recipe
    if not (folder / "results.json").exists():
        resume = ["--ckpt_path", "last"] if (folder / "last.ckpt").exists() else []
        command = [sys.executable, "-m", "voiceface", "fit", "--model", recipe, "--out", str(folder), *resume]
        done = subprocess.run(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{recipe}: {done.stderr.strip().splitlines()[-1]}")
    print(f"{recipe}: done", file=sys.stderr, flush=True)


def value(records: Records, **wanted: Any) -> Mapping[str, Any] | None:
    """The record of a headline score; where it was not counted exactly, the sampled one."""
    for protocol in ("exact", "sampled", "whole_split"):
        for record in records:
            if record["protocol"] == protocol and all(record[k] == v for k, v in wanted.items()):
                return record
    return None


def matching(records: Records, direction: str, stratum: str) -> dict[str, float] | None:
    """1:2 accuracy with the standard error that its interval stands for."""
    found = value(records, task="matching", metric="accuracy", n=2, direction=direction, stratum=stratum)
    if found is None or found["value"] is None:
        return None
    return {"value": found["value"], "error": (found["ci_high"] - found["ci_low"]) / (2 * 1.96)}


def both_ways(records: Records) -> dict[str, dict[str, dict[str, float] | None]]:
    return {d: {stratum: matching(records, d, stratum) for stratum in ("U", "G")} for d in ("v2f", "f2v")}


def summary(recipe: str, results: Mapping[str, Any], ceiling: Records) -> dict[str, Any]:
    """What the table says of a recipe."""
    row: dict[str, Any] = {"parameters": results["model"]["parameters"], "directions": {}}
    for direction, scores in both_ways(results["scores"]).items():
        best = matching(ceiling, direction, "U")
        if scores["U"] is None or scores["G"] is None or best is None:
            continue
        row["directions"][direction] = {
            "U": scores["U"],
            "G": scores["G"],
            "share": (scores["U"]["value"] - 0.5) / (best["value"] - 0.5),
            "sigmas": (scores["G"]["value"] - 0.5) / max(scores["G"]["error"], 1e-9),
        }
    for name, wanted in (
        ("AUC", {"task": "verification", "metric": "AUC", "stratum": "U"}),
        ("mAP_v2f", {"task": "retrieval", "metric": "mAP", "direction": "v2f", "stratum": "U"}),
        ("mAP_f2v", {"task": "retrieval", "metric": "mAP", "direction": "f2v", "stratum": "U"}),
    ):
        found = value(results["scores"], **wanted)
        row[name] = None if found is None else found["value"]
    held = [ONE_WAY[recipe]] if recipe in ONE_WAY else list(row["directions"])
    row["held_to"] = held
    row["meets"] = all(
        row["directions"][d]["share"] >= BAR and (recipe in KNOWN or row["directions"][d]["sigmas"] > SIGMAS)
        for d in held
    )
    return row


def ceilings() -> dict[str, Records]:
    """Scores of observers that know only some of the traits, on the test split of the built-in corpus."""
    corpus = Corpus(builtin_corpus())
    strength = float(corpus.description["plan"]["made_by"]["synthetic"]["strength"])
    clips: dict[str, list[Any]] = {"voices": [], "faces": []}
    for bundle in corpus.index("test"):
        for kind, members in zip(clips, corpus.members("test", bundle), strict=True):
            clips[kind] += [(bundle.identity, member.observed) for member in members]
    observed = {kind: np.array([seen for _, seen in found]) for kind, found in clips.items()}
    names = {kind: [name for name, _ in found] for kind, found in clips.items()}
    made = {}
    for recipe, groups in KNOWN.items():
        ratio = log_likelihood_ratio(observed["voices"], observed["faces"], strength, groups)
        made[recipe] = score(
            None, names["voices"], None, names["faces"], identities=corpus.identities, similarity=ratio
        )
    return made


def percent(cell: Mapping[str, float]) -> str:
    return f"{100 * cell['value']:.1f} ± {196 * cell['error']:.1f}"


def table(result: Mapping[str, Any]) -> str:
    """The page's table."""
    head = ["recipe", "1:2 v→f", "same gender", "1:2 f→v", "same gender", "share v→f, f→v", "AUC", "mAP v→f, f→v"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for recipe, row in result["recipes"].items():
        cells = []
        for direction in ("v2f", "f2v"):
            found = row["directions"].get(direction)
            untrained = direction not in row["held_to"]
            for stratum in ("U", "G"):
                text = percent(found[stratum]) if found else ""
                cells.append(f"({text})" if text and untrained else text)
        shares = [
            f"{100 * row['directions'][d]['share']:.0f}" if d in row["directions"] else "" for d in ("v2f", "f2v")
        ]
        auc = "" if row["AUC"] is None else f"{100 * row['AUC']:.1f}"
        precision = "" if row["mAP_v2f"] is None else f"{100 * row['mAP_v2f']:.1f}, {100 * row['mAP_f2v']:.1f}"
        name = f"`{recipe}`" + ("" if row["meets"] else " (below the bar)") + (" ¹" if recipe in KNOWN else "")
        lines.append("| " + " | ".join([name, *cells, ", ".join(s for s in shares if s), auc, precision]) + " |")
    ideal = [percent(result["ideal"][d][s]) for d in ("v2f", "f2v") for s in ("U", "G")]
    lines.append("| ideal observer | " + " | ".join([*ideal, "100, 100", "", ""]) + " |")
    if result["missing"]:
        lines += ["", "Not run: " + ", ".join(f"`{recipe}`" for recipe in result["missing"]) + "."]
    lines += ["", "Recipes that the demo preset makes the same: "]
    same = [f"`{first}` = " + ", ".join(f"`{o}`" for o in others) for first, others in result["same"].items() if others]
    lines[-1] += "; ".join(same) + "."
    lines += ["", "¹ Shares are of the best score of an observer who knows these covariates alone:", ""]
    for recipe, by in result["known"].items():
        what = ", ".join(
            f"{d[0]}→{d[2]} {100 * by[d]['U']['value']:.1f}, same gender {100 * by[d]['G']['value']:.1f}" for d in by
        )
        lines.append(f"- `{recipe}`: {what}")
    return "\n".join(lines)


def write_table(result: Mapping[str, Any]) -> None:
    replace_section(PAGE, START, END, f"\n{table(result)}\n")


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--runs", type=Path, default=Path("runs/methods"), help="folder of the runs")
    made.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1)), help="runs at a time")
    made.add_argument("--only", default="", help="recipes, separated by commas")
    made.add_argument("--finished", action="store_true", help="train nothing: take the runs that are finished")
    made.add_argument("--table", action="store_true", help="write the table from the JSON alone")
    options = made.parse_args()
    if options.table:
        write_table(json.loads(RESULT.read_text()))
        return
    recipes = options.only.split(",") if options.only else list_recipes()
    builtin_corpus()
    same = alike(recipes)
    if not options.finished:
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda recipe: train(recipe, options.runs), same))
    missing = [recipe for recipe in same if not (options.runs / recipe / "results.json").exists()]
    known = ceilings()
    rows, ideal = {}, {}
    for recipe in set(same) - set(missing):
        results = json.loads((options.runs / recipe / "results.json").read_text())
        ideal = both_ways(results["ideal_observer"])
        rows[recipe] = summary(recipe, results, known.get(recipe, results["ideal_observer"]))
    found = {
        "recipes": {recipe: rows[recipe] for recipe in same if recipe in rows},
        "missing": missing,
        "same": same,
        "ideal": ideal,
        "known": {recipe: both_ways(records) for recipe, records in known.items()},
    }
    if options.only:
        print(table(found))
        return
    write("methods", found)
    write_table(found)


if __name__ == "__main__":
    main()
