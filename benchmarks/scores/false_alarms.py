"""How often is something found that is not there: a difference of models, an attribute in embeddings?

    python -m benchmarks.scores.false_alarms paired       [--scale 0.1]
    python -m benchmarks.scores.false_alarms probe_chance [--scale 0.1]

paired: does the paired test of `voiceface compare` call equally good models different as seldom as it says? Two models
see parts of the same clips, 8 dimensions each, 4 of which they share: equally good in every score, but different. The
share of draws of people with p < 0.05, before the correction for many models, should be 5 %. A third one sees all 12
dimensions; the share there is the power.

probe_chance: how often does a linear probe find an attribute that is not in the embeddings? People are random points in
64 dimensions with 4 clips around each, so a person's clips lie close together, and an attribute is dealt to them at
random. Probes of 20 splits with 99 % intervals are marked as chance where the interval comes within 5 points of chance.
Counted: probes that escape the mark, with chance that of swapped labels (ours) and with chance 50 % (the literature's);
and intervals that hold the value of swapped labels.

Writes benchmarks/results/QUESTION.json.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import answer
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


def paired(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    cases = [(people, max(2, round(draws * options.scale))) for people, draws in MODELS_CASES]
    return {"rows": [row for case in cases for row in of_people(*case)]}


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
    shares = {name: np.round(np.mean(tests, axis=0), 4).tolist() for name, tests in found.items() if tests}
    return [
        {"people": people, "draws": len(found[name]), "score": name, "alike": alike, "better": better}
        for name, (alike, better) in shares.items()
    ]


def probe_chance(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    return {"results": [of_dealt(*case, max(2, round(REPEATS * options.scale))) for case in PROBES_CASES]}


def of_dealt(people: int, having: int, repeats: int) -> dict[str, Any]:
    """Probe random attributes of `people` people, `having` of whom have the value."""
    identity = [f"p{i:03}" for i in range(people) for _ in range(CLIPS)]
    rows = []
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        clips = np.repeat(rng.standard_normal((people, DIMENSIONS)), CLIPS, axis=0)
        clips += SPREAD * rng.standard_normal(clips.shape)
        dealt = enumerate(rng.permutation(people))
        table = {f"p{i:03}": {"dealt": "yes" if place < having else "no"} for place, i in dealt}
        planned = next(p for p in plan_probes(identity, table)[0] if p.value == "yes")
        found = probe(clips, identity, planned, "voice", seed=seed)
        rows.append(
            {
                "mean_value": found["value"],
                "mean_chance": found["chance"],
                "escapes_the_mark": not is_chance(found),
                "escapes_a_mark_at_50": not is_chance({**found, "chance": 0.5}),
                "interval_holds_chance": found["ci_low"] <= found["chance"] <= found["ci_high"],
            }
        )
    means = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}
    return {"people": people, "having": having, "repeats": repeats, **means}


QUESTIONS = {"paired": paired, "probe_chance": probe_chance}

if __name__ == "__main__":
    answer(__doc__, QUESTIONS, scale=1.0)
