"""The stream over a corpus: one deterministic order of batches.

Which bundles a training batch holds is a pure function of (seed, epoch, step, rank), its voices' common length of
(seed, epoch, step), and every crop and augmentation of (seed, epoch, key): neither the number of workers nor how they
were started matters, and the state to resume from is one integer, the batches served.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voiceface.data.corpus.index import Bundle
from voiceface.data.corpus.shards import Corpus, DamagedError, Member
from voiceface.data.corpus.videos import shared_videos
from voiceface.data.stream.order import epoch_plan, steps_per_epoch
from voiceface.data.stream.reading import Batch as Batch
from voiceface.data.stream.reading import OnError as OnError
from voiceface.data.stream.reading import Reading
from voiceface.data.stream.sampling import Sampling
from voiceface.utils.errors import UserError
from voiceface.utils.seeds import seeded

SUBSTITUTES = 8


class TrainingBatches(Reading):
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
        self.identities = self.bundles.identity
        self.steps = steps_per_epoch(self.identities, sampling.people * world)
        self._planned: tuple[int, NDArray[np.int64]] | None = None

    def _batch(self, when: tuple[int, int]) -> Batch:
        epoch, step = when
        if self._planned is None or self._planned[0] != epoch:
            s = self.sampling
            self._planned = epoch, epoch_plan(self.identities, s.people, self.world, s.seed, epoch)
        plan = self._planned[1][step]
        skipped: list[str] = []
        people: list[tuple[Any, ...]] = []
        for number in plan[self.rank]:
            taken = [person[4] for person in people]
            people.append(self._person(int(number), when, plan, taken, skipped))
        voices, faces = (np.stack([clip for person in people for clip in person[kind]]) for kind in (0, 1))
        number_of = torch.tensor([person[4] for person in people])
        return {
            "voices": torch.from_numpy(voices),
            "voice_lengths": torch.full((len(voices),), voices.shape[1]),
            "voice_identity": number_of.repeat_interleave(self.sampling.voices),
            "voice_keys": [key for person in people for key in person[2]],
            "faces": _channels_first(faces),
            "face_identity": number_of.repeat_interleave(self.sampling.faces),
            "face_keys": [key for person in people for key in person[3]],
            "skipped": skipped,
        }

    def _person(
        self, number: int, when: tuple[int, int], plan: NDArray[np.int64], taken: list[int], skipped: list[str]
    ) -> tuple[Any, ...]:
        """Cut one person's clips, or those of a substitute who is neither planned for this step nor taken yet."""
        epoch = when[0]
        cut_voice = partial(self._voice, samples=self.sampling.voice_samples(*when))
        for candidate in self._candidates(number, epoch, plan, taken):
            bundle = self.bundles[candidate]
            try:
                voices, faces = self.corpus.members(self.split, bundle)
                if self.sampling.same_video:
                    voices, faces = self._one_video(voices, faces, epoch, bundle)
                heard = self._draw(voices, self.sampling.voices, epoch, bundle, cut_voice, skipped)
                seen = self._draw(faces, self.sampling.faces, epoch, bundle, self._face, skipped)
            except DamagedError as error:
                self._skip(error, skipped)
                continue
            return heard[0], seen[0], heard[1], seen[1], int(self.identities[candidate])
        raise DamagedError(f"{skipped[-1]}; so were {SUBSTITUTES} others tried in its place")

    def _one_video(
        self, voices: Sequence[Member], faces: Sequence[Member], epoch: int, bundle: Bundle
    ) -> tuple[list[Member], list[Member]]:
        """The clips of one random video of the bundle that has both kinds."""
        videos = shared_videos(voices, faces)
        if not videos:
            raise UserError(
                f"--data.same_video true: bundle {bundle.key} of {self.split}/{bundle.shard} ({bundle.identity}) holds "
                "no video with both voices and faces; prepare the corpus with `--bundle video`, from material that "
                "names its videos"
            )
        rng = np.random.default_rng(seeded(self.sampling.seed, "video", epoch, bundle.key))
        video = videos[int(rng.integers(len(videos)))]
        return [v for v in voices if v.video == video], [f for f in faces if f.video == video]

    def _candidates(self, number: int, epoch: int, plan: NDArray[np.int64], taken: Sequence[int]) -> Iterator[int]:
        yield number
        if self.on_error == "skip":
            free = ~np.isin(self.identities, [*self.identities[plan.ravel()], *taken])
            # Each rank takes substitutes from people of its own: the ranks do not know of each other's damage.
            others = np.flatnonzero(free & (self.identities % self.world == self.rank))
            rng = np.random.default_rng(seeded(self.sampling.seed, "substitute", epoch, number))
            yield from rng.permutation(others)[:SUBSTITUTES].tolist()

    def _draw(
        self, members: Sequence[Member], count: int, epoch: int, bundle: Bundle, cut: Any, skipped: list[str]
    ) -> tuple[list[NDArray[Any]], list[str]]:
        """Cut `count` random members; each once before any again, then with another crop unless crops are fixed."""
        rng = np.random.default_rng(seeded(self.sampling.seed, epoch, bundle.key, members[0].name[0]))
        clips: list[NDArray[Any]] = []
        keys: list[str] = []
        good = [members[i] for i in rng.permutation(len(members))]
        while len(clips) < count:
            member = good[len(clips) % len(good)]
            try:
                clips.append(cut(bundle, member, self._random(member, epoch, len(clips))))
                keys.append(member.key)
            except DamagedError as error:
                good.remove(member)
                if not good:
                    raise
                self._skip(error, skipped)
        return clips, keys


class EvaluationBatches(Reading):
    """All voices and faces of a split, each exactly once over all ranks, in the order of the shards.

    Args:
        corpus: The corpus.
        split: Its split.
        bundles: All bundles of the split.
        sampling: Size and margin of the faces.
        on_error: `stop` stops at a damaged member, `skip` leaves it out and counts it.
        bundles_per_batch: Bundles that make a batch.
        kinds: Kinds of clips to read; the other one is left out.
        crops: Voices and faces are cut and changed as in training with fixed crops.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: str,
        bundles: Sequence[Bundle],
        sampling: Sampling,
        on_error: OnError,
        bundles_per_batch: int,
        kinds: Sequence[str] = ("voices", "faces"),
        crops: bool = False,
    ) -> None:
        super().__init__(corpus, split, bundles, sampling, on_error)
        self.bundles_per_batch, self.kinds, self.crops = bundles_per_batch, kinds, crops
        self.names = self.bundles.names
        self._number = {name: i for i, name in enumerate(self.names)}

    def __len__(self) -> int:
        return -(-len(self.bundles) // self.bundles_per_batch)

    def _batch(self, number: int) -> Batch:
        clips: dict[str, list[NDArray[Any]]] = {"voices": [], "faces": []}
        origins: dict[str, list[tuple[Member, int]]] = {"voices": [], "faces": []}
        skipped: list[str] = []
        cut_voice = partial(self._voice, samples=self.sampling.voice_samples(0, 0) if self.crops else None)
        start = number * self.bundles_per_batch
        for bundle in self.bundles[start : start + self.bundles_per_batch]:
            try:
                voices, faces = self.corpus.members(self.split, bundle)
            except DamagedError as error:
                self._skip(error, skipped, sum(getattr(bundle, kind) for kind in self.kinds))
                continue
            for kind, found, cut in (("voices", voices, cut_voice), ("faces", faces, self._face)):
                for member in found if kind in self.kinds else ():
                    try:
                        rng = self._random(member, 0, 0) if self.crops else None
                        clips[kind].append(cut(bundle, member, rng))
                        origins[kind].append((member, self._number[bundle.identity]))
                    except DamagedError as error:
                        self._skip(error, skipped)
        lengths = [len(v) for v in clips["voices"]]
        kind_of_voice = np.int16 if self.features is None and "voices" not in self.cached else np.float32
        voices_padded = np.zeros((len(lengths), max(lengths, default=0)), kind_of_voice)
        for row, voice in zip(voices_padded, clips["voices"], strict=True):
            row[: len(voice)] = voice
        size = self.sampling.face_size
        pictures = np.stack(clips["faces"]) if clips["faces"] else np.zeros((0, size, size, 3), np.uint8)
        batch: Batch = {
            "voices": torch.from_numpy(voices_padded),
            "voice_lengths": torch.tensor(lengths, dtype=torch.int64),
            "faces": _channels_first(pictures),
            "skipped": skipped,
        }
        for kind, of in (("voice", origins["voices"]), ("face", origins["faces"])):
            batch[f"{kind}_identity"] = torch.tensor([person for _, person in of], dtype=torch.int64)
            batch[f"{kind}_keys"] = [member.key for member, _ in of]
            batch[f"{kind}_observed"] = [member.observed for member, _ in of]
        return batch


def _channels_first(faces: NDArray[Any]) -> torch.Tensor:
    """Pictures (N, H, W, 3) as (N, 3, H, W); features (N, D) as they are."""
    tensor = torch.from_numpy(faces)
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor
