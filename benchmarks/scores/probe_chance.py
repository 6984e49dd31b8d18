"""How often does a linear probe find an attribute that is not in the embeddings?

People are random points in 64 dimensions with 4 clips around each, so a person's clips lie close together, and an
attribute is dealt to them at random. Probes of 20 splits with 99 % intervals are marked as chance where the interval
comes within 5 points of chance. Counted: probes that escape the mark, with chance that of swapped labels (ours) and
with chance 50 % (the literature's); and intervals that hold the value of swapped labels.

Run `python -m benchmarks.scores.probe_chance`; writes benchmarks/results/probe_chance.json.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.machine import describe

from voiceface.scores.probes import is_chance, plan_probes, probe

DIMENSIONS, CLIPS, SPREAD = 64, 4, 0.7
CASES = [(40, 6), (40, 20), (150, 10), (150, 30), (150, 75), (400, 40), (400, 200)]  # people, those with the value
REPEATS = 200


def measure(people: int, having: int) -> dict[str, Any]:
    """Probe random attributes of `people` people, `having` of whom have the value."""
    identity = [f"p{i:03}" for i in range(people) for _ in range(CLIPS)]
    escaped = fixed = held = 0
    values, chances = [], []
    for seed in range(REPEATS):
        rng = np.random.default_rng(seed)
        clips = np.repeat(rng.standard_normal((people, DIMENSIONS)), CLIPS, axis=0)
        clips += SPREAD * rng.standard_normal(clips.shape)
        table = {
            f"p{i:03}": {"dealt": "yes" if place < having else "no"} for place, i in enumerate(rng.permutation(people))
        }
        planned = next(p for p in plan_probes(identity, table)[0] if p.value == "yes")
        found = probe(clips, identity, planned, "voice", seed=seed)
        escaped += not is_chance(found)
        fixed += not is_chance({**found, "chance": 0.5})
        held += found["ci_low"] <= found["chance"] <= found["ci_high"]
        values.append(found["value"])
        chances.append(found["chance"])
    return {
        "people": people,
        "having": having,
        "repeats": REPEATS,
        "mean_value": round(float(np.mean(values)), 4),
        "mean_chance": round(float(np.mean(chances)), 4),
        "spread_of_value": round(float(np.std(values, ddof=1)), 4),
        "escapes_the_mark": escaped / REPEATS,
        "escapes_a_mark_at_50": fixed / REPEATS,
        "interval_holds_chance": held / REPEATS,
    }


def main() -> None:
    results = []
    print(f"{'people':>6} {'having':>6} {'value':>6} {'chance':>6} {'escapes':>8} {'at 50 %':>8} {'holds':>8}")
    for case in CASES:
        r = measure(*case)
        results.append(r)
        shares = (r["escapes_the_mark"], r["escapes_a_mark_at_50"], r["interval_holds_chance"])
        line = f"{r['people']:6} {r['having']:6} {r['mean_value']:6.3f} {r['mean_chance']:6.3f}"
        print(line + "".join(f"{share:9.1%}" for share in shares), flush=True)
    path = Path(__file__).parents[1] / "results" / "probe_chance.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": describe(), "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
