"""Prove that a corpus is whole: hashes, counts, headers, decodable members, and nothing of one split in another."""

import hashlib
from collections import Counter
from pathlib import Path

from voiceface.data.clips import cut_face, cut_voice
from voiceface.data.shards import SPLITS, Corpus, DamagedError
from voiceface.progress import progress


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_problems(corpus: Corpus) -> list[str]:
    """Compare every file of a local corpus with the hash that its description holds.

    Args:
        corpus: A corpus in a folder.

    Returns:
        One line per file that is missing or differs; empty for a whole corpus.
    """
    expected = {"identities.csv": corpus.description["identities_sha256"]}
    for split in SPLITS:
        described = corpus.description["splits"][split]
        expected[f"{split}/index.csv"] = described["index_sha256"]
        expected |= {f"{split}/{shard['name']}": shard["sha256"] for shard in described["shards"]}
    problems = []
    with progress("checking hashes", len(expected)) as advance:
        for name, digest in expected.items():
            path = Path(corpus.root) / name
            if not path.exists():
                problems.append(f"{name}: missing")
            elif _sha256(path) != digest:
                problems.append(f"{name}: its content is not what was prepared (sha256 differs)")
            advance()
    return problems


def corpus_problems(corpus: Corpus, deep: bool = False) -> list[str]:
    """Everything that is wrong with a corpus.

    Args:
        corpus: A corpus in a folder.
        deep: Decode every member as well.

    Returns:
        One line per problem, each naming its file; empty for a sound corpus.
    """
    problems = hash_problems(corpus)
    identities: dict[str, str] = {}
    sources: dict[str, str] = {}
    keys: Counter[str] = Counter()
    for split in SPLITS:
        described = corpus.description["splits"][split]
        if not described["shards"]:
            continue
        index = corpus.index(split)
        counts = {"bundles": len(index), "voices": sum(b.voices for b in index), "faces": sum(b.faces for b in index)}
        for kind, count in counts.items():
            if count != described[kind]:
                problems.append(f"{split}/index.csv: {count} {kind}, corpus.json says {described[kind]}")
        for bundle in index:
            if identities.setdefault(bundle.identity, split) != split:
                problems.append(f"{split}: identity {bundle.identity} stands in {identities[bundle.identity]} as well")
            if corpus.identities.get(bundle.identity, {}).get("split") != split:
                problems.append(f"identities.csv: identity {bundle.identity} is in {split}, the table says otherwise")
        with progress(f"reading {split}", len(index)) as advance:
            for bundle in index:
                try:
                    voices, faces = corpus.members(split, bundle)
                    if (len(voices), len(faces)) != (bundle.voices, bundle.faces):
                        raise DamagedError(
                            f"{split}/{bundle.shard}: bundle {bundle.key} holds other counts than the index says"
                        )
                    for member in voices + faces:
                        keys[member.key] += 1
                        if member.source and sources.setdefault(member.source, split) != split:
                            problems.append(
                                f"{split}: source {member.source} stands in {sources[member.source]} as well"
                            )
                        if deep:
                            data = corpus.read(split, bundle, member.offset, member.bytes)
                            try:
                                if member in voices:
                                    cut_voice(data, None, None)
                                else:
                                    cut_face(data, corpus.face_size, 1.0, corpus.face_size, 1.0)
                            except Exception as error:
                                problems.append(f"{split}/{bundle.shard}: {member.key} does not decode ({error})")
                except DamagedError as error:
                    problems.append(str(error))
                advance()
    problems += [f"clip {key} is stored {count} times" for key, count in keys.items() if count > 1]
    return list(dict.fromkeys(problems))


def environment_problems() -> list[str]:
    """Import the libraries that must be one matched release, and name what does not fit.

    Returns:
        One line per problem.
    """
    import importlib

    problems = []
    for name in (
        "torch",
        "torchvision",
        "torchaudio",
        "timm",
        "torchmetrics",
        "pytorch_lightning",
        "webdataset",
        "soundfile",
        "av",
    ):
        try:
            importlib.import_module(name)
        except Exception as error:
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            problems.append(
                f"{name} does not import ({line}); torch, torchvision and torchaudio must be one matched "
                "release: install voiceface into a fresh environment"
            )
    return problems
