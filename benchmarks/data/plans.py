"""How long does it take to plan: a corpus before it is prepared, an epoch before its first batch?

    python -m benchmarks.data.plans cluster_plan  [--runs 5] [--epochs 8]
    python -m benchmarks.data.plans voxceleb_plan [--runs 3]

cluster_plan: what does a training process do before its first batch, on 64 GPUs with 8 workers each and a corpus of
10,000 shards? Two corpora without media, of the people and clips of VoxCeleb2's dev part and VGGFace2: 5,994 people,
1,092,009 utterances, 1,905,016 pictures (how many each person has is drawn around those means). One is dealt to bundles
as `voiceface prepare` deals by default, the other has one bundle per utterance, the most that there can be. `rank`
reads `corpus.json` and `index.csv`, plans the first epoch and looks up its first batch; `worker` is handed what the
rank pickles, as with the start method spawn, and does the same from there. The memory of each counts what comes on top
of the imports, at the peak. Then several epochs are planned, and each person's turns counted.

voxceleb_plan: planning the whole of Vox-VGG-1 and Vox-VGG-2 from listings. All 1,251 and 6,114 people with every
utterance and picture, 3.8 million lines (`voxceleb_tree.py --listings --full`; made-up tables of people where
VOICEFACE_TEST_DATA is not set). The peak memory counts the interpreter and its libraries, and `plan` alone is given
beside it.

Each run is a process of its own; medians. Writes benchmarks/results/QUESTION.json.
"""

import argparse
import json
import pickle
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.common import answer, memory_mib, python
from benchmarks.data.voxceleb_tree import DATA, lay_out
from benchmarks.data.voxceleb_tree import PEOPLE as OFFICIAL

SHARDS, WORLD, WORKERS, PEOPLE = 10_000, 64, 8, 32
IDENTITIES, VOICES, FACES = 5_994, 1_092_009, 1_905_016
TREES = ("voxceleb1", "voxceleb2", "vggface1", "vggface2")
ONE_PROCESS = "from benchmarks.data import plans; plans.{}({!r})"


def spread(total: int, rng: np.random.Generator) -> np.ndarray:
    """How many clips each person has: log-normal around the mean, never fewer than 10, `total` in all."""
    weight = rng.lognormal(0, 0.5, IDENTITIES)
    clips = np.maximum(10, (total * weight / weight.sum()).astype(np.int64))
    clips[np.argmax(clips)] += total - clips.sum()
    return clips


def write_corpus(root: Path, prepared: bool) -> int:
    """Write a corpus that has everything but its media, and give its number of bundles."""
    rng = np.random.default_rng(0)
    voices, faces = spread(VOICES, rng), spread(FACES, rng)
    bundles = np.maximum(-(-voices // 8), -(-faces // 16)) if prepared else voices
    people = rng.permutation(np.repeat(np.arange(IDENTITIES), bundles))
    of_shard, size = -(-len(people) // SHARDS), 1_199_616 if prepared else 149_504
    heard, seen = (np.maximum(1, clips // bundles)[people] for clips in (voices, faces))
    (root / "train").mkdir(parents=True)
    with (root / "train/index.csv").open("w") as file:
        file.write("shard,key,identity,offset,bytes,voices,faces\n")
        for number, person in enumerate(people.tolist()):
            shard, place = divmod(number, of_shard)
            row = f"{shard:06d}.tar,{person:07d}-{number % 997:03d},id{person:05d},{place * size},{size}"
            file.write(f"{row},{heard[number]},{seen[number]}\n")
    shards = [{"name": f"{n:06d}.tar", "sha256": f"{n:064x}", "bytes": of_shard * size} for n in range(SHARDS)]
    nothing = {"shards": [], "index_sha256": "0" * 64}
    train = {**nothing, "shards": shards, "voices": VOICES, "faces": FACES}
    about = {"schema": 1, "name": "media-free", "plan": {}, "face_size": 224, "face_margin": 1.25}
    about |= {"identities_sha256": "0" * 64, "splits": {"train": train, "val": nothing, "test": nothing}}
    (root / "corpus.json").write_text(json.dumps(about, indent=1))
    return len(people)


def rank(root: str) -> None:
    """What a rank does in this process before its first batch."""
    from voiceface.data.corpus.shards import Corpus
    from voiceface.data.stream.batches import TrainingBatches
    from voiceface.data.stream.sampling import Sampling

    before, begin = memory_mib(), time.perf_counter()
    corpus = Corpus(root)
    sampling = Sampling(PEOPLE, 2, 2, 2.5, 112, 1.0, False, 0)
    batches = TrainingBatches(corpus, "train", corpus.index("train").paired(), sampling, "skip", 5, WORLD)
    first_batch(batches, before, begin)
    Path(root, "batches.pickle").write_bytes(pickle.dumps(batches))


def worker(root: str) -> None:
    """What a worker does, which is handed the pickled batches."""
    import voiceface.data.stream.batches  # noqa: F401

    given = Path(root, "batches.pickle").read_bytes()
    before, begin = memory_mib(), time.perf_counter()
    first_batch(pickle.loads(given), before, begin)


def first_batch(batches: Any, before: float, begin: float) -> None:
    from voiceface.data.stream.order import epoch_plan

    read = time.perf_counter() - begin
    plan = epoch_plan(batches.identities, PEOPLE, WORLD, batches.sampling.seed, 0)
    _ = [batches.bundles[int(number)].key for number in plan[0, batches.rank]]
    seconds = time.perf_counter() - begin
    found = {"seconds": seconds, "read_seconds": read, "plan_seconds": seconds - read, "mib": memory_mib() - before}
    print(json.dumps(found))


def plan_voxceleb(folder: str) -> None:
    """Plan Vox-VGG-1 and Vox-VGG-2 in this process."""
    from voiceface.data.prepare.voxceleb import VoxCelebOptions, plan

    before, begin = memory_mib(), time.perf_counter()
    found = plan(VoxCelebOptions("trinet", **{tree: Path(folder, tree, "files.txt") for tree in TREES}))
    seconds, peak = time.perf_counter() - begin, memory_mib()
    kept = {job.identity for job in found.jobs}
    clips = {
        kind: sum(getattr(row, kind) for row in found.there if row.identity in kept) for kind in ("voices", "faces")
    }
    costs = {"seconds": seconds, "peak_mib": peak, "plan_mib": peak - before}
    print(json.dumps({"identities": len(found.jobs), **clips, **costs}))


def in_processes(function: Any, root: Path, runs: int) -> dict[str, float]:
    """Medians of what a function finds in processes of their own."""
    code = ONE_PROCESS.format(function.__name__, str(root))
    found = [json.loads(python("-c", code)) for _ in range(runs)]
    return {name: round(median(one[name] for one in found), 3) for name in found[0]}


def turns(root: Path, epochs: int) -> dict[str, Any]:
    """How often each person comes up in several epochs, over the share that is theirs by number of bundles."""
    from voiceface.data.stream.order import epoch_plan

    batches = pickle.loads((root / "batches.pickle").read_bytes())
    identity = batches.identities
    plans = [epoch_plan(identity, PEOPLE, WORLD, 0, epoch) for epoch in range(epochs)]
    used = sum(np.bincount(identity[plan].ravel(), minlength=len(batches.bundles.names)) for plan in plans)
    can = np.minimum(np.bincount(identity), batches.steps)
    share = used / (can * used.sum() / can.sum())
    return {
        "epochs": epochs,
        "steps_of_every_rank": batches.steps,
        "uses_of_a_person_over_expected": [round(float(share.min()), 3), round(float(share.max()), 3)],
        "identities_never_used": int((used == 0).sum()),
    }


def cluster_plan(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    corpora = {}
    for way in ("as prepared", "one utterance each"):
        root = folder / way.replace(" ", "_")
        corpora[way] = {
            "bundles": write_corpus(root, way == "as prepared"),
            "rank": in_processes(rank, root, options.runs or 5),
            "worker": in_processes(worker, root, options.runs or 5),
            "dealt": turns(root, options.epochs),
        }
        print(way, corpora[way], file=sys.stderr, flush=True)
    sizes = {"ranks": WORLD, "workers_per_rank": WORKERS, "people_per_rank": PEOPLE, "shards": SHARDS}
    return {**sizes, "identities": IDENTITIES, "corpora": corpora}


def voxceleb_plan(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    lay_out(folder, OFFICIAL[1], OFFICIAL[2], data=DATA, media=False)
    found = in_processes(plan_voxceleb, folder, options.runs or 3)
    return {"people": "the official tables" if DATA else "made up", **found}


if __name__ == "__main__":
    answer(__doc__, {"cluster_plan": cluster_plan, "voxceleb_plan": voxceleb_plan}, runs=int, epochs=8)
