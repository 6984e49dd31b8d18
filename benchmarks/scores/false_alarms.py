"""How often is something found that is not there: a difference of models, an attribute in embeddings?

    python -m benchmarks.scores.false_alarms models [--scale 0.1]      writes benchmarks/results/paired.json
    python -m benchmarks.scores.false_alarms probes [--scale 0.1]      writes benchmarks/results/probe_chance.json

models: does the paired test of `voiceface compare` call equally good models different as seldom as it says? Two models
see parts of the same clips, 8 dimensions each, 4 of which they share: equally good in every score, but different. The
share of draws of people with p < 0.05, before the correction for many models, should be 5 %. A third one sees all 12
dimensions; the share there is the power.

probes: how often does a linear probe find an attribute that is not in the embeddings? People are random points in 64
dimensions with 4 clips around each, so a person's clips lie close together, and an attribute is dealt to them at
random. Probes of 20 splits with 99 % intervals are marked as chance where the interval comes within 5 points of chance.
Counted: probes that escape the mark, with chance that of swapped labels (ours) and with chance 50 % (the literature's);
and intervals that hold the value of swapped labels.
"""

from typing import Any

import numpy as np

from benchmarks.common import parser, write
from benchmarks.scores.interval_population import SEED, SEES, WIDE, draw, genders
from voiceface.compare.scored import column_of
from voiceface.compare.significance import pair_p_values
from voiceface.scores import score
from voiceface.scores.probes import is_chance, plan_probes, probe

MODELS_CASES = [(30, 2000), (100, 800)]  # people, draws
SCORES = ("1:2/U/v2f", "1:2/G/v2f", "1:10/U/v2f", "AUC/U", "AUC/G", "EER/U", "mAP/U/v2f", "R@1/U/v2f", "R@10/U/v2f")
DIMENSIONS, CLIPS, SPREAD = 64, 4, 0.7
PROBES_CASES = [(40, 6), (40, 20), (150, 10), (150, 30), (150, 75), (400, 40), (400, 200)]  # people, with the value
REPEATS = 200


def models(scale: float) -> None:
    rows = [row for people, draws in MODELS_CASES for row in of_people(people, max(2, round(draws * scale)))]
    print(f"{'people':>6} {'draws':>6} {'score':12} {'alike, p < 0.05':>16} {'better, p < 0.05':>17}")
    for r in rows:
        print(f"{r['people']:6} {r['draws']:6} {r['score']:12} {100 * r['alike']:16.1f} {100 * r['better']:17.1f}")
    write("paired", {"rows": rows})


def of_people(people: int, draws: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng([SEED, people])
    found: dict[str, list[tuple[bool, bool]]] = {name: [] for name in SCORES}
    for _ in range(draws):
        drawn = draw(people, rng, dimensions=WIDE)
        names = None, drawn.voice_names, None, drawn.face_names
        models = []
        for sees in SEES.values():
            records = score(*names, genders(people), drawn.similarity(*sees), ["U", "G"], candidates=[10])
            models.append({column_of(r).name: r for r in records if r["protocol"] in ("exact", "whole_split")})
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


def probes(scale: float) -> None:
    results = []
    print(f"{'people':>6} {'having':>6} {'value':>6} {'chance':>6} {'escapes':>8} {'at 50 %':>8} {'holds':>8}")
    for case in PROBES_CASES:
        r = of_dealt(*case, max(2, round(REPEATS * scale)))
        results.append(r)
        shares = (r["escapes_the_mark"], r["escapes_a_mark_at_50"], r["interval_holds_chance"])
        line = f"{r['people']:6} {r['having']:6} {r['mean_value']:6.3f} {r['mean_chance']:6.3f}"
        print(line + "".join(f"{share:9.1%}" for share in shares), flush=True)
    write("probe_chance", {"results": results})


def of_dealt(people: int, having: int, repeats: int) -> dict[str, Any]:
    """Probe random attributes of `people` people, `having` of whom have the value."""
    identity = [f"p{i:03}" for i in range(people) for _ in range(CLIPS)]
    escaped = fixed = held = 0
    values, chances = [], []
    for seed in range(repeats):
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
        "repeats": repeats,
        "mean_value": round(float(np.mean(values)), 4),
        "mean_chance": round(float(np.mean(chances)), 4),
        "spread_of_value": round(float(np.std(values, ddof=1)), 4),
        "escapes_the_mark": escaped / repeats,
        "escapes_a_mark_at_50": fixed / repeats,
        "interval_holds_chance": held / repeats,
    }


QUESTIONS = {"models": models, "probes": probes}


def main() -> None:
    options = parser(__doc__, QUESTIONS)
    options.add_argument("--scale", type=float, default=1.0, help="share of the draws")
    args = options.parse_args()
    QUESTIONS[args.question](args.scale)


if __name__ == "__main__":
    main()
