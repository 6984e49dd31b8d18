"""`--cache-frozen`: what a frozen network makes of every clip, computed once, kept in the cache folder, and read.

Any number of processes and runs may make the same cache at once. Each takes chunks that nobody is at work on, by
locks that the kernel drops when a process ends, and goes on when all chunks are there.
"""

import fcntl
import hashlib
import json
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voiceface.data.corpus.remote import cache_folder
from voiceface.data.stream.batches import EvaluationBatches
from voiceface.data.stream.cached_rows import FeatureRows, chunk_path, is_whole, write_chunk
from voiceface.data.stream.loader import Loader
from voiceface.data.stream.reading import Reading
from voiceface.encoders.base import FaceEncoder, VoiceEncoder
from voiceface.encoders.pretrained.frozen import FeatureExtractor, Frozen, not_finite, weights_hash
from voiceface.utils.errors import UserError, reason
from voiceface.utils.files import write_atomic
from voiceface.utils.progress import progress
from voiceface.utils.version import __version__

if TYPE_CHECKING:
    from voiceface.methods.base import Method

CHUNK = 128  # bundles whose clips are one file: what a kill can cost
PART = 8  # bundles that are read at once
CLIPS = 16  # per pass through a network; the largest ones take 4 GB for as many voices of 10 s


def frozen_kinds(method: "Method") -> tuple[str, ...]:
    """Which of `voices` and `faces` a method embeds by a network that stays as it is.

    Raises:
        UserError: Neither.
    """
    kinds = tuple(f"{part}s" for part, _, _, frozen in method._pretrained if frozen)
    if not kinds:
        raise UserError(
            "--cache-frozen: no network of this run is frozen; leave it out, or freeze one with pretrained weights: "
            "--model.freeze_voice true --model.voice_weights FILE (or face)"
        )
    return kinds


def encoder_of(method: "Method", kind: str) -> VoiceEncoder | FaceEncoder:
    """The network of a kind of clips."""
    return method.voice_encoder if kind == "voices" else method.face_encoder


def cached_rows(
    method: "Method", of: Reading, crops: bool, workers: int = 0, start_method: str | None = None, rank: int = 0
) -> dict[str, FeatureRows]:
    """What the frozen networks make of every clip that a stream reads; computed where it is not kept yet.

    Args:
        method: Holds the networks, in eval mode and on its device.
        of: The stream: its bundles, crops, and what to do about a damaged clip: `skip` leaves it out (named, at most
            1 %), `stop` stops.
        crops: Clips are cut and changed as in training with fixed crops; else voices are whole, faces unchanged.
        workers: Processes that read the clips.
        start_method: How they start.
        rank: This process among those of the run; 0 tells the user.

    Returns:
        For `voices`, `faces` or both the rows by key, without those of damaged clips. None of whole voices where the
        method cuts them itself (`test_seconds`).

    Raises:
        UserError: A clip is damaged, an output is not finite, or the folder cannot be written.
    """
    whole = crops or method.hparams.get("test_seconds") is None
    kinds = [kind for kind in frozen_kinds(method) if whole or kind == "faces"]
    return {kind: _rows(kind, method, of, crops, workers, start_method, rank) for kind in kinds}


def _rows(
    kind: str, method: "Method", of: Reading, crops: bool, workers: int, start_method: str | None, rank: int
) -> FeatureRows:
    encoder = encoder_of(method, kind)
    about = _about(kind, encoder, of, crops)
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder() / "frozen" / f"{kind}-{of.split}-{name}"
    chunks = -(-len(of.bundles) // CHUNK)
    if rank == 0:
        crop = ", of one fixed crop each" if crops and kind == "voices" else ", unchanging" if crops else ""
        print(f"--cache-frozen: {kind} of {of.split} are read as features{crop}: {folder}", file=sys.stderr)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = [i for i in range(chunks) if not is_whole(chunk_path(folder, i), encoder.dim)]
        if missing:
            stream = _Stream(kind, method, of, crops, workers, start_method)
            with stream.computing():
                _make(folder, about, missing, stream, rank)
        return FeatureRows(folder, encoder.dim, chunks)
    except OSError as error:
        raise UserError(
            f"--cache-frozen: {folder}: {reason(error)}; make room, or set VOICEFACE_CACHE to another folder"
        ) from None


def _about(kind: str, encoder: VoiceEncoder | FaceEncoder, of: Reading, crops: bool) -> dict[str, Any]:
    """Everything that the rows depend on."""
    s = of.sampling
    about: dict[str, Any] = {
        "voiceface": __version__,
        "corpus": of.corpus.version,
        "kind": kind,
        "split": of.split,
        "network": type(encoder).__qualname__,
        "built": encoder.built,
        "weights": weights_hash(encoder),
        "crops": crops,
        "chunk": CHUNK,
    }
    if kind == "faces":
        about |= {"size": s.face_size, "margin": s.face_margin}
    if crops:
        changes = {"seconds": s.voice_seconds, "speed": s.voice_speed}
        about |= {"seed": s.seed, **(changes if kind == "voices" else {"flip": s.flip, "jitter": s.face_jitter})}
    return about


class _Stream:
    """The clips of one kind through their network, chunk by chunk."""

    def __init__(
        self, kind: str, method: "Method", of: Reading, crops: bool, workers: int, start_method: str | None
    ) -> None:
        self.kind, self.crops, self.workers, self.start_method = kind, crops, workers, start_method
        self.batches = EvaluationBatches(
            of.corpus, of.split, of.bundles, of.sampling, of.on_error, PART, kinds=(kind,), crops=crops
        )
        self.encoder = encoder_of(method, kind)
        self.dim = self.encoder.dim
        networks = Frozen(method.voice_encoder, method.face_encoder, {})
        self.embed = FeatureExtractor(networks, "float32", CLIPS, str(method.device))

    def numbers(self, chunk: int) -> range:
        """The batches of a chunk."""
        first = chunk * CHUNK // PART
        return range(first, min(first + CHUNK // PART, len(self.batches)))

    def chunks(self, order: Iterable[int], taken: Sequence[int]) -> Iterator[tuple[NDArray[np.float32], list[str]]]:
        """Rows and keys of chunk after chunk.

        Args:
            order: Numbers of batches; whole chunks.
            taken: The chunks that they are of; the first one is the next.
        """
        loader = Loader(self.batches, self.workers, self.start_method, order=order)
        rows: list[NDArray[np.float32]] = []
        keys: list[str] = []
        try:
            for batch in loader:
                found = self.embed.features(batch)[0 if self.kind == "voices" else 1].numpy()
                names = batch[f"{self.kind[:-1]}_keys"]
                if (broken := not_finite(found)) is not None:
                    raise UserError(
                        f"--cache-frozen: {names[broken]}: what the frozen {self.kind[:-1]} network makes of it is not "
                        "finite; give other weights"
                    )
                rows.append(found)
                keys += names
                if len(rows) == len(self.numbers(taken[0])):
                    yield np.concatenate(rows), keys
                    rows, keys = [], []
        finally:
            loader.close()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Have the network compute, on training crops or on whole utterances, and leave it as it was."""
        encoder = self.encoder
        given, encoder.precomputed = encoder.precomputed, False
        crops = getattr(encoder, "crops", None)
        if isinstance(encoder, VoiceEncoder):
            encoder.crops = self.crops
        try:
            yield
        finally:
            encoder.precomputed = given
            if isinstance(encoder, VoiceEncoder):
                encoder.crops = crops


def _make(folder: Path, about: Mapping[str, Any], missing: Sequence[int], stream: _Stream, rank: int) -> None:
    """Compute chunks until all are there: those that nobody else is at work on, then wait for the others."""
    clips = stream.batches.bundles.voices if stream.kind == "voices" else stream.batches.bundles.faces
    sizes = {i: int(clips[i * CHUNK : (i + 1) * CHUNK].sum()) for i in missing}
    total, start = sum(sizes.values()), time.monotonic()
    what = f"{stream.kind} of {about['split']}"
    if rank == 0:
        print(f"--cache-frozen: computing {total:,} {what}, once", file=sys.stderr)
    # Processes start at places of their own, so that they seldom meet.
    left = deque([*missing[rank % len(missing) :], *missing[: rank % len(missing)]])
    with (folder / "lock").open("ab") as lock, progress(f"caching {what}", total, shown=rank == 0) as advance:

        def done(chunk: int) -> None:
            fcntl.lockf(lock, fcntl.LOCK_UN, 1, chunk)
            advance(sizes[chunk])

        def take(taken: deque[int]) -> Iterator[int]:
            """Lock chunks of those that are left as their batches are asked for; those that others hold stay left."""
            for _ in range(len(left)):
                chunk = left.popleft()
                try:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, chunk)
                except (BlockingIOError, PermissionError):
                    left.append(chunk)
                    continue
                if is_whole(chunk_path(folder, chunk), stream.dim):  # another process was faster
                    done(chunk)
                    continue
                taken.append(chunk)
                yield from stream.numbers(chunk)

        while left:
            taken: deque[int] = deque()
            batches = take(taken)
            first = next(batches, None)
            if first is not None:
                for rows, keys in stream.chunks(chain([first], batches), taken):
                    if taken[0] == 0:
                        write_atomic(folder / "about.json", json.dumps(about, indent=1).encode())
                    write_chunk(chunk_path(folder, taken[0]), keys, rows)
                    done(taken.popleft())
            elif left:
                time.sleep(0.2)
    if rank == 0:
        seconds = time.monotonic() - start
        print(
            f"--cache-frozen: {total:,} {what} in {seconds:.1f} s ({total / seconds:.0f} per second)", file=sys.stderr
        )
