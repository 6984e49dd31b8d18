"""`voiceface extract`: the features of frozen networks as a corpus of the same layout, on which heads train in seconds.

The features stand in the very bundles of the corpus they are of, in the same order: a method draws the same clips from
both. The work goes on in `OUT.partial`: a few bundles at a time, each piece whole or not there, then the shards, then
the description, and at the end one rename to `OUT`.
"""

import csv
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Literal

from voiceface import __version__
from voiceface.data.loader import Loader
from voiceface.data.sampling import Sampling
from voiceface.data.shards import SAMPLE_RATE, SCHEMA, SPLITS, Bundle, Clip, Corpus, Member, Person, write_bundles
from voiceface.data.stream import EvaluationBatches
from voiceface.errors import UserError
from voiceface.files import atomic, write_atomic
from voiceface.frozen import Embedding, Frozen
from voiceface.prepare.engine import Summary
from voiceface.prepare.packing import END_OF_TAR
from voiceface.progress import progress

PIECE = 8  # bundles that are read, embedded and written at once: what a kill can cost
SHARD_BYTES = 256_000_000


def extract(
    out: Path,
    corpus: Corpus,
    frozen: Frozen,
    dtype: Literal["float32", "float16"] = "float32",
    batch: int = 64,
    workers: int = 2,
    device: str = "cpu",
) -> Summary:
    """Write the features of every voice (whole) and every face of every split as a corpus.

    Killed at any moment, the same call goes on and leaves the same bytes as one that was not.

    Args:
        out: Folder; must not exist, or hold what the same call made.
        corpus: Voices and faces.
        frozen: The networks.
        dtype: Type that features are stored in.
        batch: Clips per pass through a network at most; a voice counts for as many as it has tens of seconds, and all
            count like the longest beside them.
        workers: Processes that read the corpus.
        device: `cpu` or `cuda`.

    Returns:
        Counts per split.

    Raises:
        UserError: `out` is taken or cannot be written; another run is at work there; the corpus holds features, is
            damaged, or stores less margin than the face network is given; or a feature is not finite.
    """
    if corpus.description.get("features"):
        raise UserError(f"--data {corpus.root}: holds features already; give the corpus that they are of")
    size, margin = int(frozen.face.size), float(frozen.face.margin)
    if margin > corpus.face_margin:
        raise UserError(
            f"--data {corpus.root}: stores faces with margin {corpus.face_margin}, the face network is given {margin}; "
            f"give --face-margin {corpus.face_margin} or less, or a corpus with more"
        )
    made_by = corpus.description["plan"]["made_by"]
    features = {"of": {"name": corpus.name, "version": corpus.version}, "dtype": dtype, **frozen.about}
    plan = {
        "schema": SCHEMA,
        # What is synthetic stays so, and scores keep their ideal observer.
        "made_by": {"command": "extract"} | {k: made_by[k] for k in ("synthetic",) if k in made_by},
        "features": features,
        "batch": batch,
        "device": device,
    }
    splits = [split for split in SPLITS if corpus.description["splits"].get(split, {}).get("shards")]
    if (out / "corpus.json").exists():
        described = json.loads((out / "corpus.json").read_text())
        if described.get("plan") == json.loads(json.dumps(plan)):
            return _summary(described["splits"], already_there=True)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and holds something else; choose another OUT or delete it")
    sampling = Sampling(2, 1, 1, 1.0, size, margin, False, 0)
    embed = Embedding(frozen, dtype, batch, device)
    work = out.with_name(out.name + ".partial")
    try:
        with _only_run(work):
            _same_plan(work, plan)
            if not (work / "corpus.json").exists():
                for split in splits:
                    _make_pieces(work / "pieces" / split, corpus, split, sampling, embed, workers)
                _pack(work, corpus, plan)
            described = json.loads((work / "corpus.json").read_text())
            if (work / "pieces").exists():
                shutil.rmtree(work / "pieces")
            for name in ("plan.json", "lock"):
                (work / name).unlink()
            if out.exists():
                out.rmdir()
            os.rename(work, out)
    except OSError as error:
        if error.errno is None:
            raise
        raise UserError(
            f"{work}: {os.strerror(error.errno).lower()}; what is done is kept there: make room or mend it, then run "
            "the same command again"
        ) from error
    return _summary(described["splits"])


def _make_pieces(folder: Path, corpus: Corpus, split: str, sampling: Sampling, embed: Embedding, workers: int) -> None:
    """Write the features of every `PIECE` bundles as a tar, and after it what stands where in it as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    bundles = corpus.index(split)
    pieces = -(-len(bundles) // PIECE)
    done = next((i for i in range(pieces) if not (folder / f"{i:07d}.json").exists()), pieces)
    if done == pieces:
        return
    rest = bundles[done * PIECE :]
    loader = Loader(EvaluationBatches(corpus, split, rest, sampling, "stop", PIECE), workers)
    total = sum(b.voices + b.faces for b in bundles)
    try:
        with progress(f"extracting {split}", total, total - sum(b.voices + b.faces for b in rest)) as advance:
            for number, batch in enumerate(loader, done):
                voices, faces = embed(batch)
                stream = io.BytesIO()
                parts = []
                for bundle in bundles[number * PIECE : (number + 1) * PIECE]:
                    heard, seen = corpus.members(split, bundle)
                    parts.append((bundle.key, _person(bundle, split, heard, voices, seen, faces)))
                rows = write_bundles(stream, parts, ("npy", "npy"))
                write_atomic(folder / f"{number:07d}.tar", stream.getvalue())
                write_atomic(folder / f"{number:07d}.json", json.dumps([asdict(row) for row in rows]).encode())
                advance(len(voices) + len(faces))
    finally:
        loader.close()


def _person(
    bundle: Bundle,
    split: str,
    heard: Sequence[Member],
    voices: Mapping[str, bytes],
    seen: Sequence[Member],
    faces: Mapping[str, bytes],
) -> Person:
    """A bundle with features in place of its voices and faces; all else is kept."""
    kept = [f.name for f in fields(Clip) if f.name != "data"]

    def clips(members: Sequence[Member], stored: Mapping[str, bytes]) -> tuple[Clip, ...]:
        return tuple(Clip(data=stored[m.key], **{name: getattr(m, name) for name in kept}) for m in members)

    return Person(bundle.identity, split, clips(heard, voices), clips(seen, faces))


def _pack(work: Path, corpus: Corpus, plan: Mapping[str, Any]) -> None:
    """Join the pieces to shards, in their order, and describe the corpus."""
    splits = {split: _pack_split(work, split) for split in SPLITS}
    text = io.StringIO()
    attributes = list(dict.fromkeys(name for row in corpus.identities.values() for name in row))
    writer = csv.DictWriter(text, ["identity", *attributes], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"identity": identity, **row} for identity, row in corpus.identities.items())
    write_atomic(work / "identities.csv", text.getvalue().encode())
    faces = plan["features"]["faces"]
    description = {
        "schema": SCHEMA,
        "name": corpus.name,
        "licence": corpus.description.get("licence", ""),
        "features": plan["features"],
        "sample_rate": SAMPLE_RATE,
        "face_size": faces["size"],
        "face_margin": faces["margin"],
        "splits": splits,
        "identities_sha256": hashlib.sha256(text.getvalue().encode()).hexdigest(),
        "rejects": {},
        "voiceface": __version__,
        "plan": plan,
    }
    write_atomic(work / "corpus.json", json.dumps(description, indent=1).encode())


def _pack_split(work: Path, split: str) -> dict[str, Any]:
    (work / split).mkdir(exist_ok=True)
    journals = sorted((work / "pieces" / split).glob("*.json"))
    shards: list[dict[str, Any]] = []
    index: list[Bundle] = []
    with progress(f"packing {split}", len(journals)) as advance:
        while journals:
            name = f"{len(shards):06d}.tar"
            placed, described, taken = _pack_shard(work / split / name, journals)
            index += placed
            shards.append({"name": name, **described})
            journals = journals[taken:]
            advance(taken)
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


def _pack_shard(path: Path, journals: Sequence[Path]) -> tuple[list[Bundle], dict[str, Any], int]:
    """Join pieces until the shard is large enough; its bundles, its description, and how many pieces it took."""
    placed: list[Bundle] = []
    taken, digest = 0, hashlib.sha256()
    with atomic(path) as shard:
        while taken < len(journals) and shard.tell() < SHARD_BYTES:
            journal = journals[taken]
            start, data = shard.tell(), journal.with_suffix(".tar").read_bytes()
            rows = [Bundle(**row) for row in json.loads(journal.read_text())]
            placed += [replace(row, shard=path.name, offset=start + row.offset) for row in rows]
            digest.update(data)
            shard.write(data)
            taken += 1
        digest.update(END_OF_TAR)
        shard.write(END_OF_TAR)
        size = shard.tell()
    counts = {"voices": sum(r.voices for r in placed), "faces": sum(r.faces for r in placed)}
    return placed, {"sha256": digest.hexdigest(), "bytes": size, "bundles": len(placed), **counts}, taken


@contextmanager
def _only_run(work: Path) -> Iterator[None]:
    """Hold the work folder's lock; the kernel drops it when the process ends, however it ends."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{work}: another `voiceface extract` is at work there; wait for it or choose another OUT"
            ) from None
        yield


def _same_plan(work: Path, plan: Mapping[str, Any]) -> None:
    path = work / "plan.json"
    text = json.dumps(plan, indent=1, sort_keys=True)
    if path.exists() and path.read_text() != text:
        raise UserError(
            f"{work}: holds the unfinished work of another command (other data, weights or options); finish that one, "
            "choose another OUT, or delete it"
        )
    write_atomic(path, text.encode())


def _summary(splits: Mapping[str, Mapping[str, int]], already_there: bool = False) -> Summary:
    counts = {s: {k: d[k] for k in ("identities", "voices", "faces")} for s, d in splits.items()}
    return Summary(counts, {}, already_there)
