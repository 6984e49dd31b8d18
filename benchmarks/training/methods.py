"""How well does each method learn? Every recipe on the built-in corpus in the demo preset, beside the ideal observer.

    python -m benchmarks.training.methods            prints the table
    python -m benchmarks.training.methods --table    writes it into docs/results-synthetic.md

The results are those that the package carries: `python zoo/build.py --runs runs/zoo` trains and tests every recipe,
`python -m benchmarks.docs.leaderboard` puts its results into the package.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.common import ROOT, parser, replace_section, table
from voiceface.compare.reading import REFERENCE, find_results
from voiceface.data.builtin import builtin_corpus
from voiceface.data.corpus.shards import Corpus
from voiceface.data.synthetic import log_likelihood_ratio
from voiceface.methods.recipes import equivalent_recipe, list_recipes
from voiceface.scores import score

PAGE = ROOT / "docs" / "results-synthetic.md"
START, END = "<!-- methods: written by `python -m benchmarks.training.methods --table` -->", "<!-- /methods -->"
BAR = 0.6  # share of the ideal observer's excess over chance on 1:2 U
ERRORS = 3.0  # standard errors above chance on 1:2 G
DIRECTIONS, STRATA = ("v2f", "f2v"), ("U", "G")

# What a method that learns from these covariates alone can know of the corpus's traits.
KNOWN = {"dimnet_g": ["gender"], "dimnet_n": ["origin"], "dimnet_gn": ["gender", "origin"]}
# Methods that train one direction; the others are held to the bar in both.
ONE_WAY = {
    **dict.fromkeys(("kim", "kim_classifier", "kim_siamese", "svhf", "svhf_nway", "trinet_euclidean"), "v2f"),
    **dict.fromkeys(("kim_f2v", "svhf_f2v"), "f2v"),
}

Records = Sequence[Mapping[str, Any]]


def of(records: Records, metric: str, direction: str | None, stratum: str = "U") -> Mapping[str, Any] | None:
    """The record of 1:2 accuracy, AUC or mAP; where it was not counted exactly, the sampled one."""
    for protocol in ("exact", "sampled", "whole_split"):
        for r in records:
            if (r["protocol"], r["metric"], r["stratum"]) != (protocol, metric, stratum) or r["value"] is None:
                continue
            if direction in (None, r["direction"]) and (metric != "accuracy" or r["n"] == 2):
                return r
    return None


def share(found: Mapping[str, Any], best: Records, direction: str) -> float:
    """Share of the best observer's excess over chance."""
    ceiling = of(best, "accuracy", direction)
    assert ceiling is not None
    return (found["value"] - 0.5) / (ceiling["value"] - 0.5)


def accuracy(r: Mapping[str, Any]) -> str:
    return f"{100 * r['value']:.1f} ± {50 * (r['ci_high'] - r['ci_low']):.1f}"


def row(recipe: str, records: Records, best: Records) -> str:
    """A recipe's line of the table."""
    cells, shares, meets = [], [], True
    for direction in DIRECTIONS:
        held = ONE_WAY.get(recipe, direction) == direction
        found = [of(records, "accuracy", direction, stratum) for stratum in STRATA]
        cells += [(accuracy(r) if held else f"({accuracy(r)})") if r else "" for r in found]
        everybody, same_gender = found
        if everybody and same_gender:
            shares.append(share(everybody, best, direction))
            error = max((same_gender["ci_high"] - same_gender["ci_low"]) / (2 * 1.96), 1e-9)
            above = recipe in KNOWN or same_gender["value"] - 0.5 > ERRORS * error
            meets &= not held or (shares[-1] >= BAR and above)
    cells.append(", ".join(f"{100 * value:.0f}" for value in shares))
    for metric, directions in (("AUC", (None,)), ("mAP", DIRECTIONS)):
        found = [r for r in (of(records, metric, direction) for direction in directions) if r]
        cells.append(", ".join(f"{100 * r['value']:.1f}" for r in found))
    name = f"`{recipe}`" + ("" if meets else " (below the bar)") + (" ¹" if recipe in KNOWN else "")
    return f"| {name} | {' | '.join(cells)} |"


def observers() -> dict[str, Records]:
    """Scores of observers that know only some of the traits, on the test split of the built-in corpus."""
    corpus = Corpus(builtin_corpus())
    strength = float(corpus.description["plan"]["made_by"]["synthetic"]["strength"])
    clips: list[list[Any]] = [[], []]
    for bundle in corpus.index("test"):
        for side, members in zip(clips, corpus.members("test", bundle), strict=True):
            side += [(bundle.identity, member.observed) for member in members]
    (voices, heard), (faces, seen) = (zip(*side, strict=True) for side in clips)
    ratios = {r: log_likelihood_ratio(np.array(heard), np.array(seen), strength, known) for r, known in KNOWN.items()}
    sides = None, list(voices), None, list(faces)
    return {r: score(*sides, identities=corpus.identities, similarity=ratio) for r, ratio in ratios.items()}


def page() -> str:
    """The table and what stands below it."""
    known = observers()
    found, _ = find_results(sorted(REFERENCE.glob("*")))
    results = {one.results["model"]["recipe"]: one.results for one in found}
    ideal: Records = next(iter(results.values()))["ideal_observer"]
    rows = [row(name, results[name]["scores"], known.get(name, ideal)) for name in sorted(results)]
    best = [of(ideal, "accuracy", direction, stratum) for direction in DIRECTIONS for stratum in STRATA]
    rows.append(f"| ideal observer | {' | '.join(accuracy(r) for r in best if r)} | 100, 100 |  |  |")
    header = "| recipe | 1:2 v→f | same gender | 1:2 f→v | same gender | share v→f, f→v | AUC | mAP v→f, f→v |"
    same: dict[str, list[str]] = {}
    for name in list_recipes():
        first = equivalent_recipe(name, "demo")
        if first:
            same.setdefault(first, []).append(f"`{name}`")
    alike = "; ".join(f"`{first}` = {', '.join(others)}" for first, others in same.items())
    lines = [table(header, rows), "", f"Recipes that the demo preset makes the same: {alike}.", ""]
    lines += ["¹ Shares are of the best score of an observer who knows these covariates alone:", ""]
    for recipe, records in known.items():
        values = {(d, s): of(records, "accuracy", d, s) for d in DIRECTIONS for s in STRATA}
        text = {key: f"{100 * r['value']:.1f}" for key, r in values.items() if r}
        both = ", ".join(f"{d[0]}→{d[2]} {text[d, 'U']}, same gender {text[d, 'G']}" for d in DIRECTIONS)
        lines.append(f"- `{recipe}`: {both}")
    return "\n".join(lines)


def main() -> None:
    write = parser(__doc__, table=False).parse_args().table
    if write:
        replace_section(PAGE, START, END, f"\n{page()}\n")
    else:
        print(page())


if __name__ == "__main__":
    main()
