"""The stream over a corpus: one deterministic order of batches.

Which bundles a training batch holds is a pure function of (seed, epoch, step, rank), and every crop of (seed, epoch, key): neither the number of
workers nor how they were started matters, and the state to resume from is one integer, the batches served.
"""

import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from voiceface.data.shards import SAMPLE_RATE, Bundle, Corpus, DamagedError, Member, seeded
from voiceface.errors import UserError

log = logging.getLogger(__name__)

Batch = dict[str, Any]
OnError = Literal["skip", "stop"]
MAX_SKIPPED = 0.01
SUBSTITUTES = 8


@dataclass(frozen=True)
class Sampling:
    """What a batch holds and how its clips are cut.

    Args:
        people: P, identities in a training batch of one rank.
        voices: Voices per identity.
        faces: Faces per identity.
        voice_seconds: Length of the training crop; shorter voices are repeated.
        face_size: Side of the faces that the encoder takes, pixels.
        face_margin: Face box scale that the encoder takes.
        flip: Mirror half of the training faces.
        seed: Seed of order and crops.
    """

    people: int
    voices: int
    faces: int
    voice_seconds: float
    face_size: int
    face_margin: float
    flip: bool
    seed: int


def steps_per_epoch(identities: NDArray[np.int64], people: int) -> int:
    """Largest number of batches of `people` distinct identities that one pass over the bundles can fill.

    Args:
        identities: Identity of each bundle, int64 of shape (bundles,).
        people: Identities in a batch over all ranks.

    Returns:
        Largest s with sum over identities of min(bundles of the identity, s) >= people * s; 0 where none.
    """
    counts = np.unique(identities, return_counts=True)[1]
    low, high = 0, len(identities) // people
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(counts, middle).sum() >= people * middle:
            low = middle
        else:
            high = middle - 1
    return low


def epoch_plan(identities: NDArray[np.int64], people: int, world: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Deal the bundles of one epoch to steps and ranks.

    People stand in random order, each with their bundles one after another, and are dealt to the steps like cards: nobody has more bundles than
    there are steps, so no step holds a person twice, and no bundle is used twice.

    Args:
        identities: Identity of each bundle, int64 of shape (bundles,).
        people: Identities per batch and rank.
        world: Number of ranks.
        seed: Seed of the order.
        epoch: Number of the epoch, from 0.

    Returns:
        Bundle numbers, int64 of shape (steps, world, people).
    """
    rng = np.random.default_rng(seeded(seed, "epoch", epoch))
    per_step = people * world
    steps = steps_per_epoch(identities, per_step)
    place = rng.permutation(int(identities.max()) + 1)[identities]
    order = rng.permutation(len(identities))
    order = order[np.argsort(place[order], kind="stable")]
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    nth_of_person = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    kept = order[nth_of_person < steps]
    plan = kept[: per_step * steps].reshape(per_step, steps).T
    return plan[rng.permutation(steps)].reshape(steps, world, people)


def cut_face(data: bytes, stored_size: int, stored_margin: float, size: int, margin: float) -> NDArray[np.uint8]:
    """Decode a stored face and cut an encoder's own crop and size out of it.

    The JPEG decoder itself halves the picture as often as the size allows.

    Args:
        data: JPEG bytes.
        stored_size: Side of the stored picture, pixels.
        stored_margin: Face box scale of the stored picture.
        size: Side wanted, pixels.
        margin: Face box scale wanted, at most `stored_margin`.

    Returns:
        uint8 of shape (size, size, 3).
    """
    with Image.open(io.BytesIO(data)) as image:
        whole = round(size * stored_margin / margin)
        image.draft("RGB", (whole, whole))
        picture = image.convert("RGB")
    side = picture.width * margin / stored_margin
    edge = (picture.width - side) / 2
    if side != size or edge != int(edge):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC, box=(edge, edge, edge + side, edge + side))
    elif edge:
        picture = picture.crop((int(edge), int(edge), int(edge) + size, int(edge) + size))
    return np.asarray(picture)


def cut_voice(data: bytes, samples: int | None, rng: np.random.Generator | None) -> NDArray[np.int16]:
    """Decode a stored voice, whole or a random crop; a crop seeks and decodes no more than it needs.

    Args:
        data: FLAC bytes.
        samples: Length of the crop; a shorter voice is repeated. None: the whole voice.
        rng: Draws where the crop starts.

    Returns:
        int16 of shape (samples,).
    """
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        if samples is None or rng is None:
            voice = file.read(dtype="int16")
            if len(voice) < file.frames:
                raise ValueError(f"{len(voice)} of {file.frames} samples decoded")
            return np.asarray(voice)
        if file.frames > samples:
            file.seek(int(rng.integers(file.frames - samples + 1)))
            voice = file.read(samples, dtype="int16")
            if len(voice) < samples:
                raise ValueError(f"{len(voice)} of {samples} samples decoded")
            return np.asarray(voice)
        voice = file.read(dtype="int16")
    return np.resize(np.roll(voice, -int(rng.integers(len(voice)))), samples)


class _Batches(Dataset[Batch]):
    """What both streams share: reading members, and what happens to a damaged one."""

    def __init__(self, corpus: Corpus, split: str, bundles: Sequence[Bundle], sampling: Sampling, on_error: OnError) -> None:
        self.corpus, self.split, self.bundles, self.sampling, self.on_error = corpus, split, bundles, sampling, on_error

    def _face(self, bundle: Bundle, face: Member, rng: np.random.Generator | None) -> NDArray[np.uint8]:
        s = self.sampling
        data = self.corpus.read(self.split, bundle, face.offset, face.bytes)
        try:
            image = cut_face(data, self.corpus.face_size, self.corpus.face_margin, s.face_size, s.face_margin)
        except (OSError, ValueError, SyntaxError) as error:
            raise DamagedError(f"{self.split}/{bundle.shard}: face {face.key} is damaged ({error})") from None
        return image[:, ::-1] if rng is not None and s.flip and rng.random() < 0.5 else image

    def _voice(self, bundle: Bundle, voice: Member, rng: np.random.Generator | None) -> NDArray[np.int16]:
        data = self.corpus.read(self.split, bundle, voice.offset, voice.bytes)
        samples = None if rng is None else round(self.sampling.voice_seconds * SAMPLE_RATE)
        try:
            return cut_voice(data, samples, rng)
        except (soundfile.SoundFileError, ValueError) as error:
            raise DamagedError(f"{self.split}/{bundle.shard}: voice {voice.key} is damaged ({error})") from None


class TrainingBatches(_Batches):
    """Batches of P distinct identities x voices x faces, one per (epoch, step).

    Args:
        corpus: The corpus.
        split: Its split.
        bundles: Bundles to draw from: each has voices and faces.
        sampling: What a batch holds.
        on_error: `skip` takes another person in place of one whose bundle is damaged, `stop` stops.
        rank: This process among `world`.
        world: Number of processes.
    """

    def __init__(
        self, corpus: Corpus, split: str, bundles: Sequence[Bundle], sampling: Sampling, on_error: OnError, rank: int = 0, world: int = 1
    ) -> None:
        super().__init__(corpus, split, bundles, sampling, on_error)
        self.rank, self.world = rank, world
        names = sorted({b.identity for b in bundles})
        number = {name: i for i, name in enumerate(names)}
        self.identities = np.array([number[b.identity] for b in bundles], dtype=np.int64)
        self.steps = steps_per_epoch(self.identities, sampling.people * world)
        self._planned: tuple[int, NDArray[np.int64]] | None = None

    def __getitem__(self, when: tuple[int, int]) -> Batch:
        epoch, step = when
        if self._planned is None or self._planned[0] != epoch:
            s = self.sampling
            self._planned = epoch, epoch_plan(self.identities, s.people, self.world, s.seed, epoch)
        plan = self._planned[1][step]
        skipped: list[str] = []
        people = []
        try:
            for number in plan[self.rank]:
                people.append(self._person(int(number), epoch, step, plan, skipped))
        except DamagedError as error:
            return {"error": str(error)}
        voices, faces = (np.stack([clip for person in people for clip in person[kind]]) for kind in (0, 1))
        number_of = torch.tensor([person[4] for person in people])
        return {
            "voices": torch.from_numpy(voices),
            "voice_lengths": torch.full((len(voices),), voices.shape[1]),
            "voice_identity": number_of.repeat_interleave(self.sampling.voices),
            "voice_keys": [key for person in people for key in person[2]],
            "faces": torch.from_numpy(faces).permute(0, 3, 1, 2),
            "face_identity": number_of.repeat_interleave(self.sampling.faces),
            "face_keys": [key for person in people for key in person[3]],
            "skipped": skipped,
        }

    def _person(self, number: int, epoch: int, step: int, plan: NDArray[np.int64], skipped: list[str]) -> tuple[Any, ...]:
        """Cut one person's clips, or those of a substitute who is nowhere else in this step."""
        for candidate in self._candidates(number, epoch, plan):
            bundle = self.bundles[candidate]
            try:
                voices, faces = self.corpus.members(self.split, bundle)
                heard = self._draw(voices, self.sampling.voices, epoch, bundle, self._voice, skipped)
                seen = self._draw(faces, self.sampling.faces, epoch, bundle, self._face, skipped)
            except DamagedError as error:
                if self.on_error == "stop":
                    raise
                skipped.append(str(error))
                continue
            return heard[0], seen[0], heard[1], seen[1], int(self.identities[candidate])
        raise DamagedError(f"{skipped[-1]}; so were {SUBSTITUTES} others tried in its place")

    def _candidates(self, number: int, epoch: int, plan: NDArray[np.int64]) -> Iterator[int]:
        yield number
        if self.on_error == "skip":
            others = np.flatnonzero(~np.isin(self.identities, self.identities[plan]))
            rng = np.random.default_rng(seeded(self.sampling.seed, "substitute", epoch, number))
            yield from rng.permutation(others)[:SUBSTITUTES].tolist()

    def _draw(
        self, members: Sequence[Member], count: int, epoch: int, bundle: Bundle, cut: Any, skipped: list[str]
    ) -> tuple[list[NDArray[Any]], list[str]]:
        """Cut `count` random members; each is taken once before any is taken again, with another crop."""
        rng = np.random.default_rng(seeded(self.sampling.seed, epoch, bundle.key, members[0].name[0]))
        clips: list[NDArray[Any]] = []
        keys: list[str] = []
        good = [members[i] for i in rng.permutation(len(members))]
        while len(clips) < count:
            member = good[len(clips) % len(good)]
            try:
                clips.append(cut(bundle, member, np.random.default_rng(seeded(self.sampling.seed, epoch, member.key, len(clips)))))
                keys.append(member.key)
            except DamagedError as error:
                good.remove(member)
                if self.on_error == "stop" or not good:
                    raise
                skipped.append(str(error))
        return clips, keys


class EvaluationBatches(_Batches):
    """All voices and faces of a split, each exactly once over all ranks, in the order of the shards.

    Args:
        corpus: The corpus.
        split: Its split.
        bundles: All bundles of the split.
        sampling: Size and margin of the faces.
        on_error: `stop` stops at a damaged member, `skip` leaves it out and counts it.
        bundles_per_batch: Bundles that make a batch.
    """

    def __init__(
        self, corpus: Corpus, split: str, bundles: Sequence[Bundle], sampling: Sampling, on_error: OnError, bundles_per_batch: int
    ) -> None:
        super().__init__(corpus, split, bundles, sampling, on_error)
        self.bundles_per_batch = bundles_per_batch
        self.names = sorted({b.identity for b in bundles})
        self._number = {name: i for i, name in enumerate(self.names)}

    def __len__(self) -> int:
        return -(-len(self.bundles) // self.bundles_per_batch)

    def __getitem__(self, number: int) -> Batch:
        clips: dict[str, list[Any]] = {"voices": [], "faces": []}
        members: dict[str, list[Member]] = {"voices": [], "faces": []}
        identity: dict[str, list[int]] = {"voices": [], "faces": []}
        skipped: list[str] = []
        start = number * self.bundles_per_batch
        try:
            for bundle in self.bundles[start : start + self.bundles_per_batch]:
                try:
                    voices, faces = self.corpus.members(self.split, bundle)
                except DamagedError as error:
                    if self.on_error == "stop":
                        raise
                    skipped += [str(error)] * (bundle.voices + bundle.faces)
                    continue
                for kind, found, cut in (("voices", voices, self._voice), ("faces", faces, self._face)):
                    for member in found:
                        try:
                            clips[kind].append(cut(bundle, member, None))  # type: ignore[operator]
                        except DamagedError as error:
                            if self.on_error == "stop":
                                raise
                            skipped.append(str(error))
                            continue
                        members[kind].append(member)
                        identity[kind].append(self._number[bundle.identity])
        except DamagedError as error:
            return {"error": str(error)}
        lengths = [len(v) for v in clips["voices"]]
        voices_padded = np.zeros((len(lengths), max(lengths, default=0)), np.int16)
        for row, voice in zip(voices_padded, clips["voices"], strict=True):
            row[: len(voice)] = voice
        size = self.sampling.face_size
        pictures = np.stack(clips["faces"]) if clips["faces"] else np.zeros((0, size, size, 3), np.uint8)
        return {
            "voices": torch.from_numpy(voices_padded),
            "voice_lengths": torch.tensor(lengths, dtype=torch.int64),
            "voice_identity": torch.tensor(identity["voices"], dtype=torch.int64),
            "voice_keys": [m.key for m in members["voices"]],
            "voice_observed": [m.observed for m in members["voices"]],
            "faces": torch.from_numpy(pictures).permute(0, 3, 1, 2),
            "face_identity": torch.tensor(identity["faces"], dtype=torch.int64),
            "face_keys": [m.key for m in members["faces"]],
            "face_observed": [m.observed for m in members["faces"]],
            "skipped": skipped,
        }


class _Endless(Sampler[tuple[int, int]]):
    """(epoch, step) from a given number of served batches on, without end."""

    def __init__(self, steps: int, served: int) -> None:
        self.steps, self.served = steps, served

    def __iter__(self) -> Iterator[tuple[int, int]]:
        served = self.served
        while True:
            yield divmod(served, self.steps)
            served += 1


class Loader:
    """A sized, resumable loader over `TrainingBatches` or `EvaluationBatches`.

    Workers live as long as the loader and hold no state. The training order goes on from pass to pass; an evaluation pass is finite.

    Args:
        batches: What to load.
        workers: Worker processes; 0 loads in this process.
        start_method: `fork`, `spawn`, `forkserver` or None for Python's default.
        pin_memory: Copy batches to page-locked memory, for a GPU.
        rank: This process among `world`, for evaluation.
        world: Number of processes, for evaluation.
    """

    def __init__(
        self,
        batches: TrainingBatches | EvaluationBatches,
        workers: int = 0,
        start_method: str | None = None,
        pin_memory: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.batches = batches
        self._options: dict[str, Any] = {"batch_size": None, "num_workers": workers, "pin_memory": pin_memory}
        if workers:
            self._options |= {"multiprocessing_context": start_method, "prefetch_factor": 4, "persistent_workers": True}
        self._mine = None if isinstance(batches, TrainingBatches) else range(rank, len(batches), world)
        self._loader: DataLoader[Batch] | None = None
        self._iterator: Iterator[Batch] | None = None
        self.served = 0
        self.skipped = 0
        self._seen = 0

    def __len__(self) -> int:
        return self.batches.steps if isinstance(self.batches, TrainingBatches) else len(self._mine or ())

    def state_dict(self) -> dict[str, int]:
        """The state to resume from: batches served."""
        return {"served": self.served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after `state["served"]` batches."""
        self.served = state["served"]
        self._iterator = None

    def __iter__(self) -> Iterator[Batch]:
        if self._mine is None:
            if self._iterator is None:
                endless = _Endless(self.batches.steps, self.served)  # type: ignore[union-attr]
                self._iterator = iter(DataLoader(self.batches, sampler=endless, **self._options))
            for _ in range(len(self)):
                batch = next(self._iterator)
                self.served += 1
                yield self._checked(batch)
        else:
            if self._loader is None:
                self._loader = DataLoader(self.batches, sampler=self._mine, **self._options)
            self.skipped = self._seen = 0
            for batch in self._loader:
                yield self._checked(batch)

    def _checked(self, batch: Batch) -> Batch:
        """Stop at an error that a worker met; name, count and bound what it skipped."""
        if "error" in batch:
            raise UserError(f"{self.batches.corpus.root}: {batch['error']}; run `voiceface check` on it, or go on with --on-error skip")
        self._seen += len(batch["voice_keys"]) + len(batch["face_keys"])
        for what in batch["skipped"]:
            log.warning("skipped: %s", what)
        self.skipped += len(batch["skipped"])
        if self.skipped > max(MAX_SKIPPED * self._seen, 10):
            raise UserError(
                f"{self.batches.corpus.root}: {self.skipped} of {self._seen} clips are damaged, more than {MAX_SKIPPED:.0%}; run `voiceface check` on it"
            )
        return batch
