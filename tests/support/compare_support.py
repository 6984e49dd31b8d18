"""Small real result files: random embeddings of a few people, scored."""

from pathlib import Path
from typing import Any

import numpy as np

from voiceface.evaluation.embeddings import Embeddings
from voiceface.evaluation.results import write_results
from voiceface.evaluation.scoring import score_embeddings

PEOPLE = 12


def embeddings(noise: float, seed: int = 0, people: int = PEOPLE, clips: int = 0) -> Embeddings:
    """Embeddings of 3 voices and 2 faces of each person; the clips (`clips`) may be others, the noise always is."""
    rng = np.random.default_rng(1000 * clips + seed)
    centres = np.random.default_rng(clips).standard_normal((people, 8))
    made: dict[str, Any] = {}
    for kind, count in (("voice", 3), ("face", 2)):
        owner = np.repeat(np.arange(people), count)
        made[f"{kind}s"] = (centres[owner] + noise * rng.standard_normal((len(owner), 8))).astype(np.float32)
        made[f"{kind}_identity"] = np.array([f"p{i:02d}" for i in owner])
        made[f"{kind}_key"] = np.array([f"{clips}/p{i:02d}/{kind}{n % count}" for n, i in enumerate(owner)])
        made[f"{kind}_video"] = None
    return Embeddings(similarity="cosine", about={}, **made)


def identities(people: int = PEOPLE) -> dict[str, dict[str, str]]:
    return {
        f"p{i:02d}": {"identity": f"p{i:02d}", "gender": "mf"[i % 2], "nationality": "AB"[i // 6 % 2]}
        for i in range(people)
    }


def result(name: str, noise: float, seed: int = 0, clips: int = 0, **changed: dict[str, Any]) -> dict[str, Any]:
    """A result; `changed` goes over its sections."""
    made = score_embeddings(embeddings(noise, seed, clips=clips), name, identities(), note=lambda line: None)
    for section, values in changed.items():
        made[section] = {**made.get(section, {}), **values}
    return made


def write(path: Path, *of: Any, **options: Any) -> Path:
    """Write a result and give its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_results(path, result(*of, **options))
    return path
