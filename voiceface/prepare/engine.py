"""Build a corpus from people: in parallel, resumable after a kill at any moment, and never half written.

The work goes on in `OUT.partial`: one finished tar per person, then the shards, then the description, and at the end
one rename to `OUT`.
"""

import csv
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from voiceface import __version__
from voiceface.data.shards import SAMPLE_RATE, SCHEMA, SPLITS, Bundle, Person, Reject, deal, seeded, write_bundles
from voiceface.data.videos import deal_videos
from voiceface.errors import UserError
from voiceface.files import atomic, write_atomic
from voiceface.processes import end_with_parent
from voiceface.progress import progress

Bundling = Literal["random", "video"]
Job = TypeVar("Job")
END_OF_TAR = bytes(1024)


@dataclass(frozen=True)
class CorpusOptions:
    """How a corpus is laid out.

    Args:
        name: Name of the corpus, shown in every result.
        licence: Licence of the material.
        face_size: Side of the stored faces, pixels.
        face_margin: Stored box over face box.
        max_voices: Voices per bundle at most.
        max_faces: Faces per bundle at most.
        shard_bytes: Size after which a shard is closed.
        seed: Seed of the dealing and of the order of the bundles.
        bundle: `random` deals a person's clips to bundles at random, `video` keeps those of one video together, so
            that a batch can take a person's clips from one video.
    """

    name: str
    licence: str = ""
    face_size: int = 224
    face_margin: float = 1.0
    max_voices: int = 8
    max_faces: int = 16
    shard_bytes: int = 256_000_000
    seed: int = 0
    bundle: Bundling = "random"


@dataclass(frozen=True)
class Summary:
    """What preparation did: per split the numbers of people, voices and faces, and the number of rejects by reason."""

    splits: dict[str, dict[str, int]]
    rejects: dict[str, int]
    already_there: bool = False


def build(
    out: Path,
    jobs: Sequence[Job],
    make: Callable[[Job], Person],
    identities: Mapping[str, Mapping[str, str]],
    options: CorpusOptions,
    made_by: Mapping[str, Any],
    rejects: Sequence[Reject] = (),
    workers: int | None = None,
) -> Summary:
    """Make every person, pack them into shards, and put the finished corpus at `out`.

    Args:
        out: Folder of the corpus; must not exist, or hold the corpus of the same command.
        jobs: One job per person.
        make: Pure function of one job, called in worker processes.
        identities: Attributes of every identity.
        options: Layout of the corpus.
        made_by: What makes this corpus (command, options, versions): another run goes on only where this is the same.
        rejects: What was left out before.
        workers: Processes; default one per core.

    Raises:
        UserError: `out` is taken or cannot be written, another run is at work there, the disk is full, or too little
            was kept.
    """
    digest = hashlib.sha256("\n".join(map(repr, [*jobs, *sorted(identities.items()), *rejects])).encode()).hexdigest()
    layout = asdict(options)
    if options.bundle == "random":
        del layout["bundle"]  # corpora of version 0.1.0 do not name it: they stay the corpus of the same command
    plan = {
        "schema": SCHEMA,
        "options": layout,
        "made_by": dict(made_by),
        "people": len(jobs),
        "input_sha256": digest,
    }
    finished = _finished(out, plan)
    if finished is not None:
        return finished
    work = out.with_name(out.name + ".partial")
    try:
        with _only_run(work):
            _same_plan(work, plan)
            people = work / "people"
            people.mkdir(exist_ok=True)
            todo = [i for i in range(len(jobs)) if not (people / f"{i:07d}.json").exists()]
            _make_people(people, [(i, jobs[i]) for i in todo], make, options, len(jobs), workers)
            summary = _pack(work, people, len(jobs), identities, options, plan, rejects)
            shutil.rmtree(people)
            for name in ("plan.json", "lock"):
                (work / name).unlink()
            if out.exists():
                out.rmdir()
            os.rename(work, out)
            return summary
    except OSError as error:
        if error.errno is None:
            raise
        raise UserError(
            f"{work}: {os.strerror(error.errno).lower()}; what is done is kept there: make room or mend "
            "it, then run the same command again"
        ) from error


def _finished(out: Path, plan: Mapping[str, Any]) -> Summary | None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    described = out / "corpus.json"
    if described.exists():
        corpus = json.loads(described.read_text())
        if corpus.get("plan") == json.loads(json.dumps(plan)):
            splits = {s: {k: d[k] for k in ("identities", "voices", "faces")} for s, d in corpus["splits"].items()}
            return Summary(splits, corpus["rejects"], already_there=True)
        raise UserError(f"{out}: holds a corpus made by another command; choose another OUT or delete it")
    raise UserError(f"{out}: exists and is not a corpus; choose another OUT")


@contextmanager
def _only_run(work: Path) -> Iterator[None]:
    """Hold the work folder's lock; the kernel drops it when the process ends, however it ends."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{work}: another `voiceface prepare` is at work there; wait for it or choose another OUT"
            ) from None
        yield


def _same_plan(work: Path, plan: Mapping[str, Any]) -> None:
    path = work / "plan.json"
    text = json.dumps(plan, indent=1, sort_keys=True)
    if path.exists() and path.read_text() != text:
        raise UserError(
            f"{work}: holds the unfinished work of another command; finish that one, choose another OUT, or delete it"
        )
    write_atomic(path, text.encode())


def _make_people(
    folder: Path,
    jobs: Sequence[tuple[int, Job]],
    make: Callable[[Job], Person],
    options: CorpusOptions,
    total: int,
    workers: int | None,
) -> None:
    workers = min(workers or os.cpu_count() or 1, max(len(jobs), 1))
    work = partial(_make_person, folder, make, options)
    with progress("preparing people", total, done=total - len(jobs)) as advance:
        if workers == 1:
            for job in jobs:
                work(job)
                advance()
            return
        with ProcessPoolExecutor(workers, get_context("forkserver"), end_with_parent("forkserver")) as pool:
            rest = iter(jobs)
            running = [pool.submit(work, job) for job in islice(rest, 4 * workers)]
            while running:
                try:
                    running.pop(0).result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
                advance()
                running += [pool.submit(work, job) for job in islice(rest, 1)]


def _make_person(
    folder: Path, make: Callable[[Job], Person], options: CorpusOptions, numbered: tuple[int, Job]
) -> None:
    number, job = numbered
    person = make(job)
    dealt = deal_videos if options.bundle == "video" else deal
    parts = dealt(person, options.max_voices, options.max_faces, options.seed) if person.voices or person.faces else []
    stream = io.BytesIO()
    rows = write_bundles(stream, [(f"{number:07d}-{i:03d}", part) for i, part in enumerate(parts)])
    if rows:
        write_atomic(folder / f"{number:07d}.tar", stream.getvalue())
    done = {
        "identity": person.identity,
        "split": person.split,
        "bundles": [asdict(row) for row in rows],
        "rejects": [asdict(r) for r in person.rejects],
    }
    write_atomic(folder / f"{number:07d}.json", json.dumps(done).encode())


def _pack(
    work: Path,
    folder: Path,
    people: int,
    identities: Mapping[str, Mapping[str, str]],
    options: CorpusOptions,
    plan: Mapping[str, Any],
    rejects: Sequence[Reject],
) -> Summary:
    """Copy the bundles, shuffled, into shards and describe them."""
    bundles: dict[str, list[tuple[Path, Bundle]]] = {split: [] for split in SPLITS}
    split_of: dict[str, str] = {}
    all_rejects = list(rejects)
    for number in range(people):
        done = json.loads((folder / f"{number:07d}.json").read_text())
        all_rejects += [Reject(**r) for r in done["rejects"]]
        if done["bundles"]:
            split_of[done["identity"]] = done["split"]
            bundles[done["split"]] += [(folder / f"{number:07d}.tar", Bundle(**b)) for b in done["bundles"]]
    reasons: dict[str, int] = {}
    for reject in all_rejects:
        reasons[reject.reason] = reasons.get(reject.reason, 0) + 1
    if len(split_of) < 2:
        shutil.rmtree(work)
        why = "; ".join(f"{n} x {reason}" for reason, n in sorted(reasons.items(), key=lambda r: -r[1])[:3])
        raise UserError(
            f"{work.stem}: {len(split_of)} identities with a usable voice or face, matching needs two or "
            f"more ({why or 'no input'})"
        )
    splits = {split: _pack_split(work, split, rows, options) for split, rows in bundles.items()}
    _write_identities(work, split_of, identities)
    _write_rejects(work, all_rejects)
    description = {
        "schema": SCHEMA,
        "name": options.name,
        "licence": options.licence,
        "sample_rate": SAMPLE_RATE,
        "face_size": options.face_size,
        "face_margin": options.face_margin,
        "splits": splits,
        "identities_sha256": hashlib.sha256((work / "identities.csv").read_bytes()).hexdigest(),
        "rejects": reasons,
        "voiceface": __version__,
        "plan": plan,
    }
    write_atomic(work / "corpus.json", json.dumps(description, indent=1).encode())
    return Summary({s: {k: d[k] for k in ("identities", "voices", "faces")} for s, d in splits.items()}, reasons)


def _pack_split(work: Path, split: str, rows: Sequence[tuple[Path, Bundle]], options: CorpusOptions) -> dict[str, Any]:
    (work / split).mkdir(exist_ok=True)
    order = np.random.default_rng(seeded(options.seed, "shards", split)).permutation(len(rows))
    shards: list[dict[str, Any]] = []
    index: list[Bundle] = []
    batch: list[tuple[Path, Bundle]] = []
    size = 0
    with progress(f"packing {split}", len(rows)) as advance:
        for position, i in enumerate(order):
            batch.append(rows[i])
            size += rows[i][1].bytes
            if size >= options.shard_bytes or position == len(order) - 1:
                name = f"{len(shards):06d}.tar"
                placed, described = _pack_shard(work / split / name, batch)
                index += placed
                shards.append({"name": name, **described})
                advance(len(batch))
                batch, size = [], 0
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Bundle)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in index)
    write_atomic(work / split / "index.csv", text.getvalue().encode())
    return {
        "shards": shards,
        "index_sha256": hashlib.sha256(text.getvalue().encode()).hexdigest(),
        "identities": len({row.identity for row in index}),
        "bundles": len(index),
        "voices": sum(row.voices for row in index),
        "faces": sum(row.faces for row in index),
    }


def _pack_shard(path: Path, rows: Sequence[tuple[Path, Bundle]]) -> tuple[list[Bundle], dict[str, Any]]:
    placed = []
    digest = hashlib.sha256()
    with atomic(path) as shard:
        for source, row in rows:
            placed.append(replace(row, shard=path.name, offset=shard.tell()))
            with source.open("rb") as file:
                file.seek(row.offset)
                data = file.read(row.bytes)
            digest.update(data)
            shard.write(data)
        digest.update(END_OF_TAR)
        shard.write(END_OF_TAR)
        size = shard.tell()
    counts = {"voices": sum(r.voices for r in placed), "faces": sum(r.faces for r in placed)}
    return placed, {"sha256": digest.hexdigest(), "bytes": size, "bundles": len(placed), **counts}


def _write_identities(work: Path, split_of: Mapping[str, str], identities: Mapping[str, Mapping[str, str]]) -> None:
    attributes = list(
        dict.fromkeys(name for row in identities.values() for name in row if name not in ("identity", "split"))
    )
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ["identity", "split", *attributes], restval="", extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    for identity in sorted(split_of):
        writer.writerow({**identities.get(identity, {}), "identity": identity, "split": split_of[identity]})
    write_atomic(work / "identities.csv", text.getvalue().encode())


def _write_rejects(work: Path, rejects: Sequence[Reject]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Reject)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(r) for r in sorted(rejects, key=lambda r: (r.path, r.stage, r.reason)))
    write_atomic(work / "rejects.csv", text.getvalue().encode())
