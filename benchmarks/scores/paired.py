"""Does the paired test of `voiceface compare` call equally good models different as seldom as it says?

Two models see parts of the same clips, 8 dimensions each, 4 of which they share: equally good in every score, but
different. The share of draws of people with p < 0.05, before the correction for many models, should be 5 %. A third one
sees all 12 dimensions; the share there is the power.

    python -m benchmarks.scores.paired [--scale 0.1]        writes benchmarks/results/paired.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.machine import describe
from benchmarks.scores.interval_models import DIMENSIONS, SEES

from benchmarks.scores.interval_population import SEED, draw, genders
from voiceface.compare.scored import column_of
from voiceface.compare.significance import pair_p_values
from voiceface.scores import score

OUT = Path(__file__).parents[1] / "results/paired.json"
CASES = [(30, 2000), (100, 800)]  # people, draws
SCORES = ("1:2/U/v2f", "1:2/G/v2f", "1:10/U/v2f", "AUC/U", "AUC/G", "EER/U", "mAP/U/v2f", "R@1/U/v2f", "R@10/U/v2f")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the draws")
    scale = parser.parse_args().scale
    rows = [row for people, draws in CASES for row in of_people(people, max(2, round(draws * scale)))]
    OUT.write_text(json.dumps({"machine": describe(), "rows": rows}, indent=1) + "\n")
    print(f"{'people':>6} {'draws':>6} {'score':12} {'alike, p < 0.05':>16} {'better, p < 0.05':>17}")
    for r in rows:
        print(f"{r['people']:6} {r['draws']:6} {r['score']:12} {100 * r['alike']:16.1f} {100 * r['better']:17.1f}")


def of_people(people: int, draws: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng([SEED, people])
    found: dict[str, list[tuple[bool, bool]]] = {name: [] for name in SCORES}
    for _ in range(draws):
        drawn = draw(people, rng, dimensions=DIMENSIONS)
        models = []
        for sees in SEES.values():
            records = score(
                None, drawn.voice_names, None, drawn.face_names, genders(people), drawn.similarity(*sees), ["U", "G"],
                candidates=[10],
            )  # fmt: skip
            named = {column_of(r).name: r for r in records if r["protocol"] in ("exact", "whole_split")}
            models.append(named)
        for name, tests in found.items():
            same = [model[name] for model in models if name in model and model[name].effects is not None]
            if len(same) == len(models):
                p = pair_p_values(np.array([r["value"] for r in same]), np.stack([r.effects for r in same]))
                tests.append((bool(p[0, 1] < 0.05), bool(p[0, 2] < 0.05)))
    return [
        {
            "people": people,
            "draws": len(tests),
            "score": name,
            "alike": round(float(np.mean([a for a, _ in tests])), 4),
            "better": round(float(np.mean([b for _, b in tests])), 4),
        }
        for name, tests in found.items()
        if tests
    ]


if __name__ == "__main__":
    main()
