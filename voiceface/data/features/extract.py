"""`voiceface extract`: the features of frozen networks as a corpus of the same layout, on which heads train in seconds.

The features stand in the very bundles of the corpus they are of, in the same order: a method draws the same clips from
both. The work goes on in `OUT.partial`: a few bundles at a time, each piece whole or not there, then the shards, then
the description, and at the end one rename to `OUT`.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Literal

from voiceface.data.corpus.bundles import Clip, Person, write_bundles
from voiceface.data.corpus.index import Bundle
from voiceface.data.corpus.shards import SCHEMA, SPLITS, Corpus, Member
from voiceface.data.prepare.engine.output_folder import Summary, make_once
from voiceface.data.prepare.engine.packing import CorpusOptions, pack_split, write_identities
from voiceface.data.prepare.engine.provenance import Plan
from voiceface.data.stream.batches import EvaluationBatches
from voiceface.data.stream.loader import Loader
from voiceface.data.stream.sampling import Sampling
from voiceface.encoders.pretrained.frozen import FeatureExtractor, Frozen
from voiceface.utils.audio import SAMPLE_RATE
from voiceface.utils.errors import UserError
from voiceface.utils.files import sha256_of, write_atomic
from voiceface.utils.progress import progress
from voiceface.utils.version import __version__

PIECE = 8  # bundles that are read, embedded and written at once: what a kill can cost
PIECES = "pieces"
SHARD_BYTES = CorpusOptions.shard_bytes


def extract(
    out: Path,
    corpus: Corpus,
    frozen: Frozen,
    dtype: Literal["float32", "float16"] = "float32",
    batch: int = 64,
    workers: int = 2,
    device: str = "cpu",
    evaluation_seconds: float | None = None,
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
        evaluation_seconds: Seconds of voices in one pass, padding included; None: 640, and on a CPU what fits into
            1.5 GiB.

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
    plan: Plan = {
        "schema": SCHEMA,
        # What is synthetic stays so, and scores keep their ideal observer.
        "made_by": {"command": "extract"} | {k: made_by[k] for k in ("synthetic",) if k in made_by},
        "features": json.loads(json.dumps(features)),
        "batch": batch,
        "device": device,
        **({} if evaluation_seconds is None else {"evaluation_seconds": evaluation_seconds}),
    }
    splits = [split for split in SPLITS if corpus.description["splits"].get(split, {}).get("shards")]
    sampling = Sampling(2, 1, 1, 1.0, size, margin, False, 0)
    embed = FeatureExtractor(frozen, dtype, batch, device, evaluation_seconds)

    def make(work: Path) -> None:
        for split in splits:
            _make_pieces(work / PIECES / split, corpus, split, sampling, embed, workers)
        _pack(work, corpus, plan)

    return make_once(out, plan, {}, PIECES, make)


def _make_pieces(
    folder: Path, corpus: Corpus, split: str, sampling: Sampling, embed: FeatureExtractor, workers: int
) -> None:
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


def _pack(work: Path, corpus: Corpus, plan: Plan) -> None:
    """Join the pieces to shards, in their order, and describe the corpus."""
    splits = {split: pack_split(work, split, _bundles(work / PIECES / split), SHARD_BYTES) for split in SPLITS}
    write_identities(work, {identity: row["split"] for identity, row in corpus.identities.items()}, corpus.identities)
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
        "identities_sha256": sha256_of(work / "identities.csv"),
        "rejects": {},
        "voiceface": __version__,
        "plan": plan,
    }
    write_atomic(work / "corpus.json", json.dumps(description, indent=1).encode())


def _bundles(pieces: Path) -> list[tuple[Path, Bundle]]:
    """The bundles of all pieces in a folder, in their order, each with its piece's tar."""
    return [
        (journal.with_suffix(".tar"), Bundle(**row))
        for journal in sorted(pieces.glob("*.json"))
        for row in json.loads(journal.read_text())
    ]
