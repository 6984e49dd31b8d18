"""Packing of people's bundles into shuffled shards, and the files that describe them."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from voiceface.data.corpus.bundles import Reject
from voiceface.data.corpus.index import COLUMNS, Bundle
from voiceface.data.corpus.shards import SCHEMA, SPLITS
from voiceface.utils.audio import SAMPLE_RATE
from voiceface.utils.errors import UserError
from voiceface.utils.files import atomic, csv_bytes, sha256_of, write_atomic
from voiceface.utils.progress import pace
from voiceface.utils.seeds import seeded
from voiceface.utils.version import __version__

Bundling = Literal["random", "video"]
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
class Made:
    """What is done of one person: the bundles in the person's tar, and what was left out."""

    identity: str
    split: str
    tar: Path | None
    bundles: list[Bundle]
    rejects: list[Reject]


def pack(
    work: Path,
    people: Sequence[Made],
    identities: Mapping[str, Mapping[str, str]],
    options: CorpusOptions,
    plan: Mapping[str, Any],
    rejects: Sequence[Reject] = (),
    notes: Sequence[Reject] = (),
) -> None:
    """Copy the bundles, shuffled, into shards and describe them; `corpus.json` comes last.

    It starts from nothing each time: what an interrupted packing left is deleted. The tars stay until the end, since
    the shuffled bundles of most people reach to the last shards: this needs room for everything twice.

    Args:
        work: Folder of the unfinished corpus.
        people: What was made of every person.
        identities: Attributes of every identity.
        options: Layout of the corpus.
        plan: What made the corpus.
        rejects: What was left out before.
        notes: What is strange about what was kept.

    Raises:
        UserError: Fewer than two people have something usable.
    """
    bundles: dict[str, list[tuple[Path, Bundle]]] = {split: [] for split in SPLITS}
    split_of: dict[str, str] = {}
    for made in people:
        if made.tar:
            split_of[made.identity] = made.split
            bundles[made.split] += [(made.tar, bundle) for bundle in made.bundles]
    all_rejects = [*rejects, *(reject for made in people for reject in made.rejects)]
    reasons = Counter(reject.reason for reject in all_rejects)
    if len(split_of) < 2:
        shutil.rmtree(work)
        why = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(3))
        raise UserError(
            f"{work.stem}: {len(split_of)} identities with a usable voice or face, matching needs two or "
            f"more ({why or 'no input'})"
        )
    splits = {}
    for split, rows in bundles.items():
        order = np.random.default_rng(seeded(options.seed, "shards", split)).permutation(len(rows))
        splits[split] = pack_split(work, split, [rows[i] for i in order], options.shard_bytes)
    write_identities(work, split_of, identities)
    _write_table(work / "rejects.csv", all_rejects)
    _write_table(work / "notes.csv", notes)
    description = {
        "schema": SCHEMA,
        "name": options.name,
        "licence": options.licence,
        "sample_rate": SAMPLE_RATE,
        "face_size": options.face_size,
        "face_margin": options.face_margin,
        "splits": splits,
        "identities_sha256": sha256_of(work / "identities.csv"),
        "rejects": reasons,
        "notes": len(notes),
        "voiceface": __version__,
        "plan": plan,
    }
    write_atomic(work / "corpus.json", json.dumps(description, indent=1).encode())


def pack_split(work: Path, split: str, rows: Sequence[tuple[Path, Bundle]], shard_bytes: int) -> dict[str, Any]:
    """Copy bundles into the shards of a split, in their order, from nothing, and write its index.

    Args:
        work: Folder of the unfinished corpus.
        split: The split.
        rows: Bundles, each with the tar that holds it.
        shard_bytes: Size after which a shard is closed.

    Returns:
        What `corpus.json` says of the split.
    """
    if (work / split).exists():
        shutil.rmtree(work / split)
    (work / split).mkdir()
    shards: list[dict[str, Any]] = []
    index: list[Bundle] = []
    batch: list[tuple[Path, Bundle]] = []
    size = 0
    with pace(f"packing {split}", len(rows), "bundles") as advance:
        for position, row in enumerate(rows, 1):
            batch.append(row)
            size += row[1].bytes
            if size >= shard_bytes or position == len(rows):
                name = f"{len(shards):06d}.tar"
                placed, described = _pack_shard(work / split / name, batch)
                index += placed
                shards.append({"name": name, **described})
                advance(len(batch))
                batch, size = [], 0
    table = csv_bytes(COLUMNS, map(astuple, index))
    write_atomic(work / split / "index.csv", table)
    return {
        "shards": shards,
        "index_sha256": hashlib.sha256(table).hexdigest(),
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


def write_identities(work: Path, split_of: Mapping[str, str], identities: Mapping[str, Mapping[str, str]]) -> None:
    """Write the identity table of the people with a split; columns in the order in which they are met."""
    columns = dict.fromkeys(["identity", "split", *(name for row in identities.values() for name in row)])
    people = [{**identities.get(i, {}), "identity": i, "split": split_of[i]} for i in sorted(split_of)]
    rows = ([person.get(name, "") for name in columns] for person in people)
    write_atomic(work / "identities.csv", csv_bytes(list(columns), rows))


def _write_table(path: Path, rows: Sequence[Reject]) -> None:
    write_atomic(path, csv_bytes(("path", "stage", "reason"), sorted(map(astuple, rows))))
