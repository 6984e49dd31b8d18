"""VoxVGGDataModule, the one data module: every method trains and is evaluated on the same stream."""

import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch

from voiceface.data.builtin import builtin_corpus
from voiceface.data.corpus.index import Index
from voiceface.data.corpus.shards import Corpus
from voiceface.data.features.cache import cached_rows, encoder_of, frozen_kinds
from voiceface.data.features.corpus import check_features
from voiceface.data.stream.batches import EvaluationBatches, OnError, TrainingBatches
from voiceface.data.stream.cached_rows import FeatureRows
from voiceface.data.stream.loader import Loader
from voiceface.data.stream.sampling import Sampling
from voiceface.utils.errors import UserError
from voiceface.utils.processes import cores

StartMethod = Literal["fork", "spawn", "forkserver"]

MOST_WORKERS = 16  # by default

# Options that checkpoints of version 0.1.0 do not name; their runs had them so.
OFF: dict[str, Any] = {
    "voice_seconds_max": None,
    "voice_speed": 0.0,
    "face_jitter": 0.0,
    "same_video": False,
    "fixed_crops": False,
    "cache_frozen": False,
}


class VoxVGGDataModule(pl.LightningDataModule):
    """Stream a corpus: identity batches for training, every clip once for evaluation.

    A training batch holds `people` distinct identities on each rank, with `voices` voice crops and `faces` faces each.
    Face size and margin are those that the method's face encoder asks for.

    Args:
        root: Folder or address of the corpus. None: the built-in synthetic corpus, made on first use.
        people: Identities per batch and rank.
        voices: Voices per identity.
        faces: Faces per identity.
        voice_seconds: Length of the training crops, seconds. Features (`voiceface extract`) are of whole voices.
        flip: Mirror half of the training faces.
        workers: Worker processes per rank; 0 loads in the training process. None: the cores at hand, divided by the
            ranks of this machine, 16 at most.
        start_method: How workers start; None: Python's default.
        evaluation_bundles: Bundles per evaluation batch.
        on_error: What to do about a damaged clip in training: skip it (named, counted, at most 1 %) or stop.
        evaluation_on_error: The same for evaluation.
        seed: Seed of order, crops and augmentations. None: that of `--seed_everything`.
        voice_seconds_max: Where given, the crops of a batch have one common length, the same on all ranks, drawn
            uniformly from `voice_seconds` to this, seconds (DIMNet: 300 to 800 frames).
        voice_speed: Each training voice is played at a random speed from 1 - this to 1 + this, in steps of 0.01, its
            pitch with it, before the crop (SVHF-Net: 0.05, unverified). 0: as it is.
        face_jitter: Brightness and saturation of each training face are multiplied by random factors from 1 - this to
            1 + this (SVHF-Net; the amount is not published). 0: as it is.
        same_video: Take a person's clips of a batch from one video that has both voices and faces (Learnable PINs).
            The corpus must be prepared with `--bundle video`.
        fixed_crops: Cut and change a training clip always alike, as the seed and its key say, not anew each time.
        cache_frozen: Compute what a frozen network makes of each clip once, keep it in the cache folder, and train on
            that: the same training, without the network's cost. Clips of that kind then have fixed crops. Testing runs
            the network.

    Raises:
        UserError: The corpus is missing, damaged, or too small for the batch; or stores less margin than the face
            encoder wants; or holds features where the method takes voices and faces, or the reverse.
    """

    test_split = predict_split = "test"
    """The splits that `test_dataloader` and `predict_dataloader` read."""

    def __init__(
        self,
        root: str | None = None,
        people: int = 32,
        voices: int = 2,
        faces: int = 2,
        voice_seconds: float = 2.5,
        flip: bool = False,
        workers: int | None = None,
        start_method: StartMethod | None = None,
        evaluation_bundles: int = 8,
        on_error: OnError = "skip",
        evaluation_on_error: OnError = "stop",
        seed: int | None = None,
        voice_seconds_max: float | None = None,
        voice_speed: float = 0.0,
        face_jitter: float = 0.0,
        same_video: bool = False,
        fixed_crops: bool = False,
        cache_frozen: bool = False,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("people", people, 2),
            ("voices", voices, 1),
            ("faces", faces, 1),
            ("workers", workers, 0),
            ("evaluation_bundles", evaluation_bundles, 1),
        ):
            if value is not None and value < least:
                raise UserError(f"--data.{name} {value}: must be {least} or more")
        if voice_seconds < 0.1:
            raise UserError(f"--data.voice_seconds {voice_seconds}: must be 0.1 or more")
        if voice_seconds_max is not None and not voice_seconds <= voice_seconds_max:
            raise UserError(
                f"--data.voice_seconds_max {voice_seconds_max}: must be {voice_seconds} (--data.voice_seconds) or more"
            )
        if voice_speed and not 0.01 <= voice_speed <= 0.5:
            raise UserError(f"--data.voice_speed {voice_speed}: must be 0, or from 0.01 to 0.5")
        if not 0 <= face_jitter <= 1:
            raise UserError(f"--data.face_jitter {face_jitter}: must be from 0 to 1")
        self.root = root
        self.people, self.voices, self.faces, self.voice_seconds, self.flip = people, voices, faces, voice_seconds, flip
        self.workers, self.start_method, self.evaluation_bundles = workers, start_method, evaluation_bundles
        self.on_error, self.evaluation_on_error = on_error, evaluation_on_error
        self.seed = seed if seed is not None else int(os.environ.get("PL_GLOBAL_SEED", 0))
        self.voice_seconds_max, self.voice_speed = voice_seconds_max, voice_speed
        self.face_jitter, self.same_video = face_jitter, same_video
        self.fixed_crops, self.cache_frozen = fixed_crops, cache_frozen
        self._corpus: Corpus | None = None
        self._checked: dict[str, Index] = {}
        self._loaders: list[Loader] = []

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one that it goes on with."""
        world = self.trainer.world_size if self.trainer is not None else 1
        names = ("people", "voices", "faces", "voice_seconds", "flip", "seed", *OFF)
        return {"root": self.corpus.version, "processes": world, **{name: getattr(self, name) for name in names}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to resume on another corpus, batch, seed or number of processes.

        Raises:
            UserError: Names the first difference, with both values.
        """
        for name, mine in self.state_dict().items():
            saved = state_dict.get(name, OFF.get(name, mine))
            if saved != mine:
                what = "--gpus" if name == "processes" else f"--data.{name}"
                raise UserError(f"--ckpt_path: the run had {what} {saved}, now it is {mine}; resume with what it had")

    def prepare_data(self) -> None:
        """Make the built-in corpus where it is asked for and not there yet."""
        if self.root is None:
            builtin_corpus()

    def setup(self, stage: str) -> None:
        """Before training, refuse `cache_frozen` where nothing is frozen.

        Raises:
            UserError: Nothing is, or the crops of voices that should be fixed have random lengths.
        """
        if stage == "fit" and "voices" in self.sampling().fixed and self.voice_seconds_max is not None:
            raise UserError(
                f"--data.voice_seconds_max {self.voice_seconds_max}: fixed crops of voices (--data.fixed_crops, or "
                "--cache-frozen) have one length; give null"
            )

    @property
    def corpus(self) -> Corpus:
        """The corpus, opened on first use."""
        if self._corpus is None:
            self._corpus = Corpus(self.root or builtin_corpus())
        return self._corpus

    def bundles(self, split: str) -> Index:
        """The bundles of a split, checked to hold both voices and faces of at least two people.

        Raises:
            UserError: The split is missing, or has no faces, no voices or one identity only.
        """
        if split in self._checked:
            return self._checked[split]
        bundles = self.corpus.index(split)
        for kind, clips in (("voices", bundles.voices), ("faces", bundles.faces)):
            if not clips.any():
                raise UserError(f"--data {self.corpus.root}: the {split} split has no {kind}; nothing can be matched")
        heard, seen = (np.bincount(bundles.identity, clips) > 0 for clips in (bundles.voices, bundles.faces))
        if (both := int((heard & seen).sum())) < 2:
            raise UserError(
                f"--data {self.corpus.root}: the {split} split has {both} identity with both "
                "voices and faces; matching needs two or more"
            )
        self._checked[split] = bundles
        return bundles

    def training_people(self) -> list[dict[str, str]]:
        """What the corpus knows of each training identity (gender, nationality, ...), by its number in the batches."""
        return [self.corpus.identities.get(name, {}) for name in self.bundles("train").paired().names]

    def sampling(self) -> Sampling:
        """Batch composition and crops, with the face size and margin of the method's encoder.

        Without a trainer faces come as they are stored.
        """
        size, margin = self.corpus.face_size, self.corpus.face_margin
        fixed: tuple[str, ...] = ("voices", "faces") if self.fixed_crops else ()
        if self.trainer is not None:
            check_features(self.corpus, self.trainer.lightning_module, vars(self))
            fixed += self._frozen_kinds()
            encoder = self.trainer.lightning_module.face_encoder
            size, margin = int(encoder.size), float(encoder.margin)  # type: ignore[arg-type, union-attr]
        if margin > self.corpus.face_margin:
            raise UserError(
                f"--data {self.corpus.root}: stores faces with margin {self.corpus.face_margin}, the face "
                f"encoder wants {margin}; give --model.face_margin {self.corpus.face_margin}, or a corpus of pictures "
                f"that show {margin} times the face box (`prepare folder --margin {margin}` says that they do)"
            )
        return Sampling(
            self.people,
            self.voices,
            self.faces,
            self.voice_seconds,
            size,
            margin,
            self.flip,
            self.seed,
            self.voice_seconds_max,
            self.voice_speed,
            self.face_jitter,
            self.same_video,
            fixed,
        )

    def _workers(self) -> int:
        if self.workers is not None:
            return self.workers
        ranks = self.trainer.num_devices if self.trainer is not None else 1
        return max(1, min(cores() // ranks, MOST_WORKERS))

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _loader(self, batches: TrainingBatches | EvaluationBatches) -> Loader:
        rank, world = self._place()
        pin = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        loader = Loader(batches, self._workers(), self.start_method, pin, rank, world)
        self._loaders.append(loader)
        return loader

    def teardown(self, stage: str) -> None:
        """End all workers."""
        self._give(())
        while self._loaders:
            self._loaders.pop().close()

    def train_dataloader(self) -> Loader:
        """Endless deterministic identity batches; one pass is an epoch."""
        rank, world = self._place()
        paired = self.bundles("train").paired()
        batches = TrainingBatches(self.corpus, "train", paired, self.sampling(), self.on_error, rank, world)
        if batches.steps == 0:
            people = len(paired.names)
            raise UserError(
                f"--data.people {self.people}: the train split has {people} people for {world} x "
                f"{self.people} in a batch; ask for fewer"
            )
        batches.cached = self._cached(batches, crops=True)
        return self._loader(batches)

    def _evaluation(self, split: str) -> EvaluationBatches:
        bundles, sampling = self.bundles(split), self.sampling()
        return EvaluationBatches(
            self.corpus, split, bundles, sampling, self.evaluation_on_error, self.evaluation_bundles
        )

    def _frozen_kinds(self) -> tuple[str, ...]:
        if not self.cache_frozen or self.trainer is None:
            return ()
        return frozen_kinds(self.trainer.lightning_module)  # type: ignore[arg-type]

    def _cached(self, batches: TrainingBatches | EvaluationBatches, crops: bool) -> dict[str, FeatureRows]:
        """The outputs of frozen networks for the clips of these batches."""
        if not self._frozen_kinds():
            return {}
        method: Any = self.trainer.lightning_module  # type: ignore[union-attr]
        return cached_rows(method, batches, crops, self._workers(), self.start_method, self._place()[0])

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Send the tensors; Lightning's own way looks at each of the hundreds of keys beside them."""
        return {
            name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in batch.items()
        }

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Tell the encoders whether their outputs come in."""
        self._give(batch.get("given", ()))
        return batch

    def _give(self, kinds: Sequence[str]) -> None:
        for kind in self._frozen_kinds():
            encoder_of(self.trainer.lightning_module, kind).precomputed = kind in kinds  # type: ignore[arg-type, union-attr]

    def val_dataloader(self) -> Loader:
        """Every clip of the val split once."""
        batches = self._evaluation("val")
        batches.cached = self._cached(batches, crops=False)
        return self._loader(batches)

    def test_dataloader(self) -> Loader:
        """Every clip of the test split once."""
        return self._loader(self._evaluation(self.test_split))

    def predict_dataloader(self) -> Loader:
        """Every clip of `predict_split` once."""
        return self._loader(self._evaluation(self.predict_split))
