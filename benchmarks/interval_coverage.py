"""Does a 95 % interval of the matching accuracy hold the population's accuracy 95 % of the time?

People are drawn from a population whose accuracy is known in closed form, their clips are drawn, and the 1:2 accuracy
is scored with its interval; this is repeated many times. Person a has a voice vector x ~ N(0, 1) in d dimensions and a
face vector y = r x + sqrt(1 - r^2) z; clips add N(0, 1) and the similarity is the inner product. Given a voice v,
<v, f+> is normal with mean r |v|^2 / 2 and variance |v|^2 (r^2/2 + 1 - r^2 + 1), <v, f-> with mean 0 and variance
2 |v|^2; |v| is sqrt(2) chi_d. So the accuracy is Student's distribution function with d degrees of freedom at
sqrt(d) r / sqrt(2 (r^2/2 + 4 - r^2)), in both directions. The numbers of clips (1 to 7 a person and modality) and the
gender do not depend on x and y, so every stratum and protocol has this accuracy too.

Run `python benchmarks/interval_coverage.py`; writes benchmarks/results/interval_coverage.json.
"""

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from scipy.special import stdtr

from voiceface.scores import score
from voiceface.scores.confidence import binomial_interval

DIMENSIONS = 8
AGREEMENT = 0.7
LEVEL = 0.95
SEED = 20
CASES = [(20, 2000), (60, 2000), (189, 2000)]  # identities, repeats
STRATA = ("U", "G", "male")


def true_accuracy() -> float:
    """The population's 1:2 accuracy, both ways and in every stratum."""
    spread = AGREEMENT**2 / 2 + (1 - AGREEMENT**2) + 1
    return float(stdtr(DIMENSIONS, math.sqrt(DIMENSIONS) * AGREEMENT / math.sqrt(2 * (spread + 2))))


def draw(identities: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The matching records of one draw of people and clips."""
    voice = rng.normal(size=(identities, DIMENSIONS))
    face = AGREEMENT * voice + math.sqrt(1 - AGREEMENT**2) * rng.normal(size=(identities, DIMENSIONS))
    voice_of, face_of = (np.repeat(np.arange(identities), rng.integers(1, 8, identities)) for _ in range(2))
    voices = voice[voice_of] + rng.normal(size=(len(voice_of), DIMENSIONS))
    faces = face[face_of] + rng.normal(size=(len(face_of), DIMENSIONS))
    people = {str(a): {"gender": "mf"[a % 2]} for a in range(identities)}
    similarity = (voices @ faces.T).astype(np.float32)
    names = [str(a) for a in voice_of], [str(a) for a in face_of]
    records = score(None, names[0], None, names[1], people, similarity, STRATA, LEVEL, candidates=(2,))
    return [r for r in records if r["task"] == "matching"]


def measure(identities: int, repeats: int) -> list[dict[str, Any]]:
    """Coverage and mean half-width of both intervals for each direction, stratum and protocol."""
    truth, rng = true_accuracy(), np.random.default_rng(SEED)
    totals: dict[tuple[str, str, str], dict[str, float]] = {}
    for _ in range(repeats):
        for r in draw(identities, rng):
            total = totals.setdefault((r["direction"], r["stratum"], r["protocol"]), defaultdict(float))
            low, high = binomial_interval(r["value"], r["trials"], LEVEL)
            total["value"] += r["value"]
            total["identity"] += r["ci_low"] <= truth <= r["ci_high"]
            total["binomial"] += low <= truth <= high
            total["identity_width"] += (r["ci_high"] - r["ci_low"]) / 2
            total["binomial_width"] += (high - low) / 2
    return [
        {
            "identities": identities,
            "repeats": repeats,
            "direction": direction,
            "stratum": stratum,
            "protocol": protocol,
            "true_accuracy": round(truth, 6),
            "mean_accuracy": round(total["value"] / repeats, 6),
            "coverage": {name: total[name] / repeats for name in ("identity", "binomial")},
            "mean_half_width": {name: round(total[f"{name}_width"] / repeats, 6) for name in ("identity", "binomial")},
        }
        for (direction, stratum, protocol), total in totals.items()
    ]


def main() -> None:
    print(f"{'identities':>10} {'direction':>9} {'stratum':>7} {'protocol':>13} {'identity':>9} {'binomial':>9}")
    results = []
    for case in CASES:
        for result in measure(*case):
            results.append(result)
            covered = result["coverage"]
            print(
                f"{result['identities']:10} {result['direction']:>9} {result['stratum']:>7} {result['protocol']:>13}"
                f" {covered['identity']:9.1%} {covered['binomial']:9.1%}",
                flush=True,
            )
    report = {"machine": describe(), "level": LEVEL, "seed": SEED, "results": results}
    path = Path(__file__).parent / "results" / "interval_coverage.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
