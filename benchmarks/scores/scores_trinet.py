"""How long does the whole TriNet test set take: 153,516 voices, 573,283 faces, 1,251 people?

On a GPU the whole set is counted, ranked and verified, if a part says that it fits in `MOST_SECONDS`. On the CPU the
clips of the first few people are counted against the whole gallery; rows are independent, so the time of all of them
lies on the straight line through the parts.

Part of `python -m benchmarks.scores.scores`; writes benchmarks/results/scores_trinet_DEVICE.json.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import seconds
from benchmarks.scores.score_clips import THREADS, Clips, cost, draw_clips, in_fresh_process

VOICES, FACES, PEOPLE = 153_516, 573_283, 1_251
PARTS = (1 / 128, 1 / 64, 1 / 32)  # of the people who ask
MOST_SECONDS = 540.0

Side = tuple[NDArray[Any], NDArray[np.int64]]


def directions(clips: Clips) -> dict[str, tuple[Side, Side]]:
    voices, faces = (clips.voices, clips.voice_owner), (clips.faces, clips.face_owner)
    return {"v2f": (voices, faces), "f2v": (faces, voices)}


def queries_of(side: Side, part: float) -> Side:
    """The clips of the first people."""
    table, owner = side
    number = int(np.searchsorted(owner, max(2, round(part * (owner[-1] + 1)))))
    return table[:number], owner[:number]


def triplets_of(queries: Side, items: Side) -> int:
    """All triplets of these queries, their identity's items and the other items."""
    asking, sizes = np.bincount(queries[1]), np.bincount(items[1])
    own = sizes[: len(asking)]
    return int((asking * own * (sizes.sum() - own)).sum())


def measure_cpu(voices: int, faces: int, people: int, direction: str) -> dict[str, Any]:
    """Time of parts, extrapolated."""
    from voiceface.scores.matching import count
    from voiceface.scores.similarity import similarity_rows

    queries, items = directions(draw_clips(voices, faces, people))[direction]
    sizes = np.bincount(items[1])

    def work(part: float) -> None:
        table, owner = queries_of(queries, part)
        count(similarity_rows(table, items[0]), owner, sizes)

    work(0.0)
    parts: list[dict[str, Any]] = []
    for part in PARTS:
        asking = len(queries_of(queries, part)[0])
        parts.append({"queries": asking, "items": len(items[0]), **cost(lambda part=part: work(part))})  # type: ignore[misc]
    whole = np.polyval(np.polyfit([p["queries"] for p in parts], [p["seconds"] for p in parts], 1), len(queries[0]))
    triplets = triplets_of(queries, items)
    return {
        "measured": False,
        "seconds": round(float(whole), 1),
        "triplets": triplets,
        "triplets_per_second": float(f"{triplets / whole:.3g}"),
        "parts": parts,
    }


def measure_device(voices: int, faces: int, people: int, device: str) -> dict[str, Any]:
    """Time and device memory of the whole set, or where that is too long of a part of it, extrapolated."""
    import torch

    from voiceface.scores.matching import accuracy
    from voiceface.scores.on_device import count_on_device, verify_on_device
    from voiceface.scores.retrieval import mean_average_precision

    def counted(clips: Clips, direction: str, part: float = 1.0) -> dict[str, float]:
        queries, items = directions(clips)[direction]
        table, owner = queries_of(queries, part)
        counts, ranks = count_on_device(table, items[0], owner, np.bincount(items[1]), device=device)
        value = accuracy(counts.win_rates, (counts.triplets > 0).astype(np.float64))
        assert value is not None
        return {"accuracy": round(value, 6), "mAP": round(mean_average_precision(ranks)[0], 6)}

    def verified(clips: Clips) -> dict[str, float]:
        face_counts = np.bincount(clips.face_owner)
        curve = verify_on_device(clips.voices, clips.faces, clips.voice_owner, face_counts, device=device)
        return {"AUC": round(curve.auc, 6), "AUC_bound": float(f"{curve.auc_bound:.2g}"), "EER": round(curve.eer, 6)}

    small = draw_clips(48, 96, 12)
    counted(small, "v2f")
    verified(small)
    clips = draw_clips(voices, faces, people)
    part = PARTS[0]
    first = seconds(lambda: counted(clips, "v2f", part))
    projected = 3 * first / part
    print(f"{part:.3f} of the voices: {first:.1f} s; all and verification may take {projected:.0f} s", flush=True)
    measured = projected < MOST_SECONDS
    results: dict[str, Any] = {"measured": measured, "part_seconds": round(first, 3), "part": part}
    for direction, (queries, items) in directions(clips).items():
        triplets = triplets_of(queries, items)
        found: dict[str, Any] = {"triplets": triplets}
        if measured:
            taken = seconds(lambda found=found, direction=direction: found.update(counted(clips, direction)))  # type: ignore[misc]
        else:
            taken = seconds(lambda direction=direction: counted(clips, direction, part)) / part  # type: ignore[misc]
        results[direction] = {
            **found,
            "seconds": round(taken, 2),
            "triplets_per_second": float(f"{triplets / taken:.3g}"),
        }
        print(direction, results[direction], flush=True)
    if measured:
        found = {}
        found["seconds"] = round(seconds(lambda: found.update(verified(clips))), 2)
        results["verification"] = found
        print("verification", found, flush=True)
    if torch.device(device).type == "cuda":
        results["device"] = torch.cuda.get_device_name(device)
        results["device_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
    return results


def trinet(scale: float, device: str) -> dict[str, Any]:
    """Cost on a device, measured or extrapolated."""
    voices, faces, people = (max(2, round(scale * number)) for number in (VOICES, FACES, PEOPLE))
    found: dict[str, Any] = {"voices": voices, "faces": faces, "people": people}
    if device != "cpu":
        return found | in_fresh_process(measure_device, voices, faces, people, device)
    found |= {"measured": False, "device": "cpu", "threads": THREADS}
    for direction in ("v2f", "f2v"):
        found[direction] = in_fresh_process(measure_cpu, voices, faces, people, direction)
    return found
