"""How long does it take to plan: a corpus before it is prepared, an epoch before its first batch?

    python -m benchmarks.data.plans cluster_plan  [--runs 5] [--epochs 8]
    python -m benchmarks.data.plans voxceleb_plan [--runs 3]

cluster_plan: what does a training process do before its first batch, on 64 GPUs with 8 workers each and a corpus of
10,000 shards? Two corpora without media, of the people and clips of VoxCeleb2's dev part and VGGFace2: 5,994 people,
1,092,009 utterances, 1,905,016 pictures (how many each person has is drawn around those means). One is dealt to bundles
as `voiceface prepare` deals by default, the other has one bundle per utterance, the most that there can be. `rank`
reads `corpus.json` and `index.csv`, plans the first epoch and looks up its first batch; `worker` is handed what the
rank pickles, as with the start method spawn, and does the same from there. The memory of each counts what comes on top
of the imports, at the peak. Then several epochs are dealt to all ranks and workers and checked.

voxceleb_plan: planning the whole of Vox-VGG-1 and Vox-VGG-2 from listings. All 1,251 and 6,114 people with every
utterance and picture, 3.8 million lines (`voxceleb_tree.py --listings --full`; made-up tables of people where
VOICEFACE_TEST_DATA is not set). The peak memory counts the interpreter and its libraries, and `plan` alone is given
beside it.

Each run is a process of its own; medians. Writes benchmarks/results/QUESTION.json.
"""

import argparse
import hashlib
import json
import os
import pickle
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.common import answer, load_average, parser
from benchmarks.data.voxceleb_tree import PEOPLE as OFFICIAL
from benchmarks.data.voxceleb_tree import lay_out

SHARDS, WORLD, WORKERS, PEOPLE = 10_000, 64, 8, 32
IDENTITIES, VOICES, FACES = 5_994, 1_092_009, 1_905_016
TREES = ("voxceleb1", "voxceleb2", "vggface1", "vggface2")


def spread(total: int, rng: np.random.Generator) -> np.ndarray:
    """How many clips each person has: log-normal around the mean, never fewer than 10, `total` in all."""
    weight = rng.lognormal(0, 0.5, IDENTITIES)
    clips = np.maximum(10, (total * weight / weight.sum()).astype(np.int64))
    clips[np.argmax(clips)] += total - clips.sum()
    return clips


def write_corpus(root: Path, way: str) -> int:
    """Write a corpus that has everything but its media, and give its number of bundles."""
    rng = np.random.default_rng(0)
    voices, faces = spread(VOICES, rng), spread(FACES, rng)
    bundles = np.maximum(-(-voices // 8), -(-faces // 16)) if way == "as prepared" else voices
    people = rng.permutation(np.repeat(np.arange(IDENTITIES), bundles))
    of_shard = -(-len(people) // SHARDS)
    size = round(1.2e6 if way == "as prepared" else 1.5e5) // 512 * 512
    (root / "train").mkdir(parents=True)
    with (root / "train/index.csv").open("w") as file:
        file.write("shard,key,identity,offset,bytes,voices,faces\n")
        for number, person in enumerate(people.tolist()):
            shard, place = divmod(number, of_shard)
            heard = max(1, voices[person] // bundles[person])
            seen = max(1, faces[person] // bundles[person])
            file.write(
                f"{shard:06d}.tar,{person:07d}-{number % 997:03d},id{person:05d},{place * size},{size},{heard},{seen}\n"
            )
    shards = [
        {"name": f"{n:06d}.tar", "sha256": hashlib.sha256(b"%d" % n).hexdigest(), "bytes": of_shard * size}
        for n in range(SHARDS)
    ]
    described = {"shards": shards, "index_sha256": "0" * 64, "voices": VOICES, "faces": FACES}
    nothing = {"shards": [], "index_sha256": "0" * 64}
    description = {
        "schema": 1,
        "name": "media-free",
        "plan": {},
        "face_size": 224,
        "face_margin": 1.25,
        "identities_sha256": "0" * 64,
        "splits": {"train": described, "val": nothing, "test": nothing},
    }
    (root / "corpus.json").write_text(json.dumps(description, indent=1))
    return len(people)


def start(root: Path, role: str) -> dict[str, Any]:
    """Do in this process what a rank or a worker does before its first batch."""
    from voiceface.data.corpus.shards import Corpus
    from voiceface.data.stream.batches import TrainingBatches
    from voiceface.data.stream.order import epoch_plan
    from voiceface.data.stream.sampling import Sampling

    given = sys.stdin.buffer.read() if role == "worker" else b""
    before, begin = memory(), time.perf_counter()
    if role == "worker":
        batches = pickle.loads(given)
    else:
        corpus = Corpus(str(root))
        sampling = Sampling(PEOPLE, 2, 2, 2.5, 112, 1.0, False, 0)
        batches = TrainingBatches(corpus, "train", corpus.index("train").paired(), sampling, "skip", 5, WORLD)
    read = time.perf_counter() - begin
    plan = epoch_plan(batches.identities, PEOPLE, WORLD, batches.sampling.seed, 0)
    first = [batches.bundles[int(number)].key for number in plan[0, batches.rank]]
    seconds = time.perf_counter() - begin
    found = {
        "seconds": seconds,
        "read_seconds": read,
        "plan_seconds": seconds - read,
        "mib": (memory() - before) / 2**20,
        "first": hashlib.sha256(repr(first).encode()).hexdigest(),
        "plan": hashlib.sha256(plan.tobytes()).hexdigest(),
    }
    if role == "rank":
        (root / "batches.pickle").write_bytes(pickle.dumps(batches))
    return found


def memory() -> int:
    """Peak memory of this process, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def simulate(root: Path, epochs: int) -> dict[str, Any]:
    """Deal several epochs to all ranks and workers, and check each promise."""
    from voiceface.data.stream.order import epoch_plan

    batches = pickle.loads((root / "batches.pickle").read_bytes())
    identity, steps = batches.identities, batches.steps
    used = np.zeros(len(batches.bundles.names), np.int64)
    plans: set[str] = set()
    served: set[int] = set()
    for epoch in range(epochs):
        plan = epoch_plan(identity, PEOPLE, WORLD, 0, epoch)
        people = np.sort(identity[plan].reshape(steps, -1), axis=1)
        turns = np.bincount(plan.ravel(), minlength=len(identity))
        if plan.shape != (steps, WORLD, PEOPLE) or (np.diff(people) == 0).any() or turns.max() > 1:
            raise RuntimeError("a promise is broken")
        for rank in range(WORLD):
            for worker in range(WORKERS):
                own = plan[worker::WORKERS, rank]
                turns[own.ravel()] -= 1
                served.add(len(own))
        if turns.any():
            raise RuntimeError("the workers do not serve the plan exactly once")
        used += np.bincount(people.ravel(), minlength=len(used))
        plans.add(hashlib.sha256(plan.tobytes()).hexdigest())
    if len(plans) < epochs:
        raise RuntimeError("an epoch repeats another")
    can = np.minimum(np.bincount(identity), steps)
    expected = can * used.sum() / can.sum()
    return {
        "epochs": epochs,
        "steps_of_every_rank": steps,
        "bundles_of_an_epoch": int(used.sum()) // epochs,
        "bundles_used_twice_in_an_epoch": 0,
        "people_twice_in_a_step": 0,
        "batches_of_a_worker": [min(served), max(served)],
        "uses_of_a_person_over_expected": [round(float(f(used / expected)), 3) for f in (np.min, np.max)],
        "identities_never_used": int((used == 0).sum()),
        "chi_square_per_degree_of_freedom": round(
            float(((used - expected) ** 2 / expected).sum() / (len(used) - 1)), 3
        ),
    }


def plan_once(folder: Path) -> dict[str, Any]:
    """Plan Vox-VGG-1 and Vox-VGG-2 in this process."""
    from voiceface.data.prepare.voxceleb import VoxCelebOptions, plan

    before, begin = memory(), time.perf_counter()
    found = plan(VoxCelebOptions("trinet", **{tree: folder / tree / "files.txt" for tree in TREES}))
    seconds, peak = time.perf_counter() - begin, memory()
    kept = {job.identity for job in found.jobs}
    return {
        "seconds": round(seconds, 2),
        "peak_mib": round(peak / 2**20),
        "plan_mib": round((peak - before) / 2**20),
        "identities": len(found.jobs),
        "voices": sum(row.voices for row in found.there if row.identity in kept),
        "faces": sum(row.faces for row in found.there if row.identity in kept),
    }


def in_process(role: str, root: Path, given: Any = subprocess.DEVNULL) -> dict[str, Any]:
    """What `rank`, `worker` or `plan` finds in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.data.plans", "cluster_plan", "--role", role, "--root", str(root)]
    found: dict[str, Any] = json.loads(subprocess.run(words, stdin=given, stdout=subprocess.PIPE, check=True).stdout)
    return found


def cluster_plan(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    runs = options.runs or 5
    corpora: dict[str, Any] = {}
    for way in ("as prepared", "one utterance each"):
        root = folder / way.replace(" ", "_")
        bundles, index = write_corpus(root, way), root / "train/index.csv"
        found: dict[str, Any] = {"bundles": bundles, "shards": SHARDS, "index_bytes": index.stat().st_size}
        handed = root / "batches.pickle"
        ranks = [in_process("rank", root) for _ in range(runs)]
        workers = [in_process("worker", root, handed.open("rb")) for _ in range(runs)]
        if len({(run["plan"], run["first"]) for run in ranks + workers}) > 1:
            raise RuntimeError("two processes plan different batches")
        for role, own in (("rank", ranks), ("worker", workers)):
            found[role] = {
                name: round(median(run[name] for run in own), digits)
                for name, digits in (("seconds", 3), ("read_seconds", 3), ("plan_seconds", 3), ("mib", 1))
            }
        found["handed_to_a_worker_mib"] = round(handed.stat().st_size / 2**20, 1)
        found["dealt"] = simulate(root, options.epochs)
        corpora[way] = found
        print(way, found, flush=True)
    return {
        "question": "what a process does before its first batch on a cluster, and whether all are dealt the same",
        "ranks": WORLD,
        "workers_per_rank": WORKERS,
        "people_per_rank": PEOPLE,
        "identities": IDENTITIES,
        "corpora": corpora,
        "load_average": load_average(),
    }


def voxceleb_plan(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    data = os.environ.get("VOICEFACE_TEST_DATA")
    lay_out(folder, OFFICIAL[1], OFFICIAL[2], data=Path(data) if data else None, media=False)
    runs = [in_process("plan", folder) for _ in range(options.runs or 3)]
    return {
        "question": "seconds and peak memory of planning Vox-VGG-1 and Vox-VGG-2 whole, from listings",
        "people": "the official tables" if data else "made up",
        **{name: runs[0][name] for name in ("identities", "voices", "faces")},
        **{f"{name}_median": median(run[name] for run in runs) for name in ("seconds", "peak_mib", "plan_mib")},
        "runs": runs,
    }


QUESTIONS = {"cluster_plan": cluster_plan, "voxceleb_plan": voxceleb_plan}


def main() -> None:
    made = parser(__doc__, QUESTIONS)
    made.add_argument("--runs", type=int, help="default: 5 of cluster_plan, 3 of voxceleb_plan")
    made.add_argument("--epochs", type=int, default=8)
    made.add_argument("--role", choices=("rank", "worker", "plan"), help=argparse.SUPPRESS)
    made.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.role:
        found = plan_once(options.root) if options.role == "plan" else start(options.root, options.role)
        print(json.dumps(found))
    else:
        answer(options, QUESTIONS)


if __name__ == "__main__":
    main()
