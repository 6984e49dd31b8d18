"""Scores of a study that the result of a training lacks: a paper's own protocol, means of several clips, probes.

In each run folder comes a folder `study` with `embeddings.npz`, `scores.json` and, where the study asks for it,
`analysis`; not beside `results.json`, where `voiceface compare` would take the scores for those of another model.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voiceface.compare.experiments.plans import Plan
from voiceface.compare.experiments.runs import to_stderr
from voiceface.compare.experiments.study import Study, read_study, results_of
from voiceface.evaluation.embeddings import Embeddings, read_embeddings
from voiceface.evaluation.results import read_results, write_results
from voiceface.utils.errors import UserError, reason

Record = Mapping[str, Any]

EMBEDDINGS, SCORES, ANALYSIS = "study/embeddings.npz", "study/scores.json", "study/analysis"


@dataclass(frozen=True)
class Scored:
    """All scores of one training.

    Attributes:
        path: Its result file.
        results: The content.
        records: Its scores and those made for the study.
        absent: Why a protocol has no scores, by protocol and direction.
        probes: Of `voiceface analyze`.
    """

    path: Path
    results: Mapping[str, Any]
    records: Sequence[Record]
    absent: Mapping[tuple[str, str], str] = field(default_factory=dict)
    probes: Sequence[Record] = ()


def read_scored(path: Path) -> Scored:
    """Read a run's result, and beside it the scores and the analysis that a study made."""
    results = read_results(path)
    records, absent, probes = list(results["scores"]), {}, []
    if (path.parent / SCORES).exists():
        scored = read_results(path.parent / SCORES)
        if scored["model"]["checkpoint"] == results["model"]["checkpoint"]:
            records = [*scored["scores"], *records]
            absent = {(one["protocol"], one["direction"]): one["reason"] for one in scored["absent"]}
    if (path.parent / ANALYSIS / "analysis.json").exists():
        probes = json.loads((path.parent / ANALYSIS / "analysis.json").read_text())["scores"]
    return Scored(path, results, records, absent, probes)


def score_study(name: str, plan: Plan, note: Callable[[str], None] = to_stderr, level: float = 0.95) -> tuple[str, ...]:
    """Embed, score and analyse the test people with each model of a study; what was done before is left alone.

    Args:
        name: Study.
        plan: What was trained; a run without a result is passed over.
        note: Takes a line for each model.
        level: Confidence level of the scores, in (0, 1).

    Returns:
        A line for each model that could not be embedded.
    """
    study = read_study(name)
    failed = []
    if study.score:
        paths = dict.fromkeys(path for run in study.runs for path in results_of(plan, run.name))
        for number, path in enumerate(paths, 1):
            trained = read_results(path)
            made = _made_of(study, trained, level)
            # A model that compares candidates with each other has embeddings without scores of their own.
            relative = {record["protocol"] for record in trained["scores"]} == {"sampled"}
            if relative or _is_done(study, path.parent, made):
                continue
            note(f"[{number}/{len(paths)}] {path.parent}: scoring as the paper does")
            try:
                _score(study, plan, path.parent, trained, made)
            except UserError as error:
                failed.append(f"{path.parent}: not scored as the paper does: {error}")
    return tuple(failed)


def _made_of(study: Study, trained: dict[str, Any], level: float) -> dict[str, Any]:
    """What scores depend on: those made of the same need not be made again."""
    return {
        "checkpoint": trained["model"]["checkpoint"],
        "clips_sha256": trained["data"]["clips_sha256"],
        "protocol": study.score,
        "grid": list(study.grid),
        "level": level,
    }


def _is_done(study: Study, folder: Path, made: dict[str, Any]) -> bool:
    try:
        done = read_results(folder / SCORES).get("study") == made
        if study.analysis:
            about = json.loads((folder / ANALYSIS / "analysis.json").read_text())["about"]
            done = done and about["model"]["checkpoint"] == made["checkpoint"]
    except (UserError, OSError, ValueError, KeyError):
        return False
    return done


def _score(study: Study, plan: Plan, folder: Path, trained: dict[str, Any], made: dict[str, Any]) -> None:
    from voiceface.evaluation.scoring import score_embeddings

    try:
        (folder / SCORES).parent.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {reason(error)}; make room, or let it be written") from None
    _embed(plan, folder)
    embeddings = read_embeddings(folder / EMBEDDINGS, None, None)
    scores = score_embeddings(
        embeddings, trained["model"]["recipe"], protocols=[study.score], level=made["level"], note=lambda _: None
    )
    if study.grid:
        scores["scores"] = [*scores["scores"], *_of_grid(study, embeddings, made["level"])]
    if study.analysis:
        from voiceface.evaluation.analysis import analyze

        analyze(embeddings, embeddings.about["identities"], folder / ANALYSIS)
    write_results(folder / SCORES, {**scores, "study": made})


def _of_grid(study: Study, embeddings: Embeddings, level: float) -> list[dict[str, Any]]:
    """Joint scores of the study's own numbers of clips; those of the paper already exist."""
    from voiceface.scores.joint import joint_records

    similarity = embeddings.similarity
    if not isinstance(similarity, str):
        return []
    rows = embeddings.voices, embeddings.voice_identity.tolist(), embeddings.faces, embeddings.face_identity.tolist()
    records = joint_records(*rows, similarity, study.grid, level)  # type: ignore[arg-type]
    return [record for record in records if not record["protocol"].startswith("trinet_gallery")]


def _embed(plan: Plan, folder: Path) -> None:
    """`voiceface embed` in a process of its own, as training is."""
    words = [str(folder / "checkpoint"), "--out", str(folder / EMBEDDINGS), "--workers", "1"]
    words += [] if plan.data is None else ["--data", plan.data]
    words += [] if plan.gpus is None else ["--gpus", "1"]
    command = [sys.executable, "-m", "voiceface", "embed", *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing said"]
        raise UserError(said[-1].removeprefix("voiceface: "))
