"""Corpus verification: hashes, counts, headers, decodable members, no overlap of splits."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import NamedTuple

from voiceface.data.corpus.clips import cut_face, cut_feature, cut_voice
from voiceface.data.corpus.index import Bundle, Index
from voiceface.data.corpus.shards import SPLITS, Corpus, DamagedError
from voiceface.utils.errors import UserError
from voiceface.utils.files import sha256_of
from voiceface.utils.processes import cores, end_with_parent
from voiceface.utils.progress import progress

SMALL = 200_000_000  # bytes of a corpus that is read before other processes have started


class StoredClip(NamedTuple):
    """A voice or face as it lies in a corpus.

    Attributes:
        split: Its split.
        kind: voice or face.
        identity: Whose it is.
        key: Its name.
        source: The file that it was made of; empty where it was made of none.
        content: blake2b of its bytes, 16 bytes long.
    """

    split: str
    kind: str
    identity: str
    key: str
    source: str
    content: bytes


@dataclass
class Findings:
    """What a look at a whole corpus finds.

    Attributes:
        problems: One line each, naming its file.
        clips: Every clip that could be read.
    """

    problems: list[str] = field(default_factory=list)
    clips: list[StoredClip] = field(default_factory=list)


def hash_problems(corpus: Corpus) -> list[str]:
    """Compare every file of a corpus with the hash that its description holds.

    Args:
        corpus: A corpus; the files of a remote one are fetched.

    Returns:
        One line per file that is missing or differs; empty for a whole corpus.
    """
    problems = []
    with progress("checking hashes", len(corpus.files), transient=True) as advance:
        for name in corpus.files:
            problems += _hash_problem(corpus, name)
            advance()
    return problems


def _hash_problem(corpus: Corpus, name: str) -> list[str]:
    try:
        path = corpus.path(name)
        digest = sha256_of(path)
    except FileNotFoundError:
        return [f"{name}: missing"]
    except (UserError, OSError) as error:
        return [str(error)]
    if digest == corpus.files[name][0]:
        return []
    if corpus.remote:
        path.unlink(missing_ok=True)
        return [f"{name}: its copy in the cache was damaged and is removed; check again"]
    return [f"{name}: its content is not what was prepared (sha256 differs)"]


def corpus_problems(corpus: Corpus, deep: bool = False) -> list[str]:
    """Everything that is wrong with a corpus; see `check_corpus`."""
    return check_corpus(corpus, deep).problems


def check_corpus(corpus: Corpus, deep: bool = False, workers: int | None = None) -> Findings:
    """Read a whole corpus: every file's hash, every bundle's header, every clip's bytes.

    Args:
        corpus: The corpus.
        deep: Decode every clip as well.
        workers: Processes, each of which takes shard after shard; None: one per core, or none for a small corpus.

    Returns:
        What is wrong, and the clips.
    """
    found = Findings()
    identities: dict[str, str] = {}
    jobs: list[Job] = []
    for split in SPLITS:
        described = corpus.description["splits"][split]
        if not described["shards"]:
            continue
        damaged = _hash_problem(corpus, f"{split}/index.csv")
        found.problems += damaged
        try:
            index = corpus.index(split)
        except UserError as error:
            found.problems += [] if damaged else [str(error)]
            continue
        found.problems += _index_problems(corpus, split, index, identities)
        of_shard: dict[str, list[Bundle]] = {shard["name"]: [] for shard in described["shards"]}
        for bundle in index:
            of_shard[bundle.shard].append(bundle)
        jobs += [(corpus, split, shard, bundles, deep) for shard, bundles in of_shard.items()]
    found.problems += _hash_problem(corpus, "identities.csv")
    sources: dict[str, str] = {}
    keys: Counter[str] = Counter()
    with progress("reading shards", len(jobs)) as advance:
        for problems, clips in _run(jobs, workers):
            found.problems += problems
            found.clips += clips
            for clip in clips:
                keys[clip.key] += 1
                if clip.source and (other := sources.setdefault(clip.source, clip.split)) != clip.split:
                    found.problems.append(f"{clip.split}: source {clip.source} is also in {other}")
            advance()
    found.problems += [f"clip {key} is stored {count} times" for key, count in keys.items() if count > 1]
    found.problems = list(dict.fromkeys(found.problems))
    return found


def _index_problems(corpus: Corpus, split: str, index: Index, identities: dict[str, str]) -> Iterator[str]:
    """What is wrong with an index; `identities` collects who was met in which split."""
    counts = {
        "bundles": len(index),
        "voices": index.voices.sum(),
        "faces": index.faces.sum(),
        "identities": len(index.names),
    }
    described = corpus.description["splits"][split]
    for kind, count in counts.items():
        if count != described[kind]:
            yield f"{split}/index.csv: {count} {kind}, corpus.json says {described[kind]}"
    try:
        table = corpus.identities
    except UserError as error:
        yield str(error)
        return
    for identity in index.names:
        if (other := identities.setdefault(identity, split)) != split:
            yield f"{split}: identity {identity} is also in {other}"
        if table.get(identity, {}).get("split") != split:
            yield f"identities.csv: identity {identity} is in {split}, the table says otherwise"


Job = tuple[Corpus, str, str, list[Bundle], bool]


def _run(jobs: list[Job], workers: int | None) -> Iterator[tuple[list[str], list[StoredClip]]]:
    if workers is None:
        small = sum(bundle.bytes for job in jobs for bundle in job[3]) < SMALL
        workers = 1 if small else cores()
    if workers == 1:
        yield from map(_check_shard, jobs)
        return
    with ProcessPoolExecutor(workers, get_context("forkserver"), end_with_parent("forkserver")) as pool:
        yield from pool.map(_check_shard, jobs)


def _check_shard(job: Job) -> tuple[list[str], list[StoredClip]]:
    """What is wrong with one shard, and its clips."""
    corpus, split, shard, bundles, deep = job
    problems, clips = _hash_problem(corpus, f"{split}/{shard}"), []
    for bundle in bundles:
        try:
            voices, faces = corpus.members(split, bundle)
            if (len(voices), len(faces)) != (bundle.voices, bundle.faces):
                problems.append(f"{split}/{shard}: bundle {bundle.key} holds other counts than the index says")
            for kind, members in (("voice", voices), ("face", faces)):
                for member in members:
                    data = corpus.read(split, bundle, member.offset, member.bytes)
                    content = hashlib.blake2b(data, digest_size=16).digest()
                    clips.append(StoredClip(split, kind, bundle.identity, member.key, member.source, content))
                    if deep and (why := _decoding_problem(corpus, kind, data)):
                        problems.append(f"{split}/{shard}: {member.key} does not decode ({why})")
        except (DamagedError, UserError) as error:
            problems.append(str(error))
            if bundle.offset + bundle.bytes > _size(corpus, f"{split}/{shard}"):
                break  # nothing behind can be read either
    return problems, clips


def _size(corpus: Corpus, name: str) -> int:
    with suppress(UserError, OSError):
        return corpus.path(name).stat().st_size
    return 0


def _decoding_problem(corpus: Corpus, kind: str, data: bytes) -> str:
    features = corpus.description.get("features")
    try:
        if features is not None:
            cut_feature(data, features[f"{kind}s"]["dim"], features["dtype"])
        elif kind == "voice":
            cut_voice(data, None, None)
        else:
            cut_face(data, corpus.face_size, 1.0, corpus.face_size, 1.0)
    except Exception as error:  # whatever a decoder makes of damaged bytes
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def attribute_coverage(corpus: Corpus) -> dict[str, dict[str, float]]:
    """How much is known of the people of a corpus.

    Returns:
        For each split, for each attribute (gender, nationality, ...), the share of its identities whose value is known.
    """
    coverage: dict[str, dict[str, float]] = {}
    for split in SPLITS:
        people = [person for person in corpus.identities.values() if person["split"] == split]
        names = [name for name in (people[0] if people else ()) if name != "split"]
        coverage[split] = {name: sum(bool(person[name]) for person in people) / len(people) for name in names}
    return coverage
