"""The stream over a corpus: one deterministic order of batches.

Which bundles a training batch holds is a pure function of (seed, epoch, step, rank), and every crop of (seed, epoch,
key): neither the number of
workers nor how they were started matters, and the state to resume from is one integer, the batches served.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from voiceface.data.clips import cut_face, cut_voice
from voiceface.data.shards import SAMPLE_RATE, Bundle, Corpus, DamagedError, Member, seeded

Batch = dict[str, Any]
OnError = Literal["skip", "stop"]
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

    People stand in random order, each with their bundles one after another, and are dealt to the steps like cards:
    nobody has more bundles than
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


class _Batches(Dataset[Batch]):
    """What both streams share: reading members, and what happens to a damaged one."""

    def __init__(
        self, corpus: Corpus, split: str, bundles: Sequence[Bundle], sampling: Sampling, on_error: OnError
    ) -> None:
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
        self,
        corpus: Corpus,
        split: str,
        bundles: Sequence[Bundle],
        sampling: Sampling,
        on_error: OnError,
        rank: int = 0,
        world: int = 1,
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
        people: list[tuple[Any, ...]] = []
        try:
            for number in plan[self.rank]:
                taken = [person[4] for person in people]
                people.append(self._person(int(number), epoch, plan, taken, skipped))
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

    def _person(
        self, number: int, epoch: int, plan: NDArray[np.int64], taken: list[int], skipped: list[str]
    ) -> tuple[Any, ...]:
        """Cut one person's clips, or those of a substitute who is neither planned for this step nor taken yet."""
        for candidate in self._candidates(number, epoch, plan, taken):
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

    def _candidates(self, number: int, epoch: int, plan: NDArray[np.int64], taken: Sequence[int]) -> Iterator[int]:
        yield number
        if self.on_error == "skip":
            others = np.flatnonzero(~np.isin(self.identities, [*self.identities[plan.ravel()], *taken]))
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
                clips.append(
                    cut(
                        bundle, member, np.random.default_rng(seeded(self.sampling.seed, epoch, member.key, len(clips)))
                    )
                )
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
        self,
        corpus: Corpus,
        split: str,
        bundles: Sequence[Bundle],
        sampling: Sampling,
        on_error: OnError,
        bundles_per_batch: int,
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
                            clips[kind].append(cut(bundle, member, None))
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
