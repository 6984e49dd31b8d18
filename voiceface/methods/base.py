"""Method: what every voice-face association method has, and nothing else."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from voiceface import encoders
from voiceface.encoders import FaceEncoder, VoiceEncoder
from voiceface.encoders.passes import embed_in_passes, samples_per_pass
from voiceface.encoders.weights import load_into, misfit
from voiceface.methods.losses import pairwise_distances
from voiceface.utils.distributed import gather, processes
from voiceface.utils.errors import UserError
from voiceface.utils.lightning_private import logs_this_step, trainer_of
from voiceface.utils.seeds import seeded

Direction = Literal["v2f", "f2v"]


class Method(pl.LightningModule, ABC):
    """Base class: two encoders, embeddings of both modalities, and a loss.

    A method hands the options of the encoders to `super().__init__`, which saves the arguments of both constructors, so
    that a checkpoint can build it again (they are plain values), and writes `embed_voice`, `embed_face`, `loss` and
    `configure_optimizers`. One whose score is not a distance of two embeddings says so by `space`, and writes
    `similarity` or `choose`. Pretrained weights are read when training starts, not when a checkpoint is loaded.

    Args:
        face_encoder: Face network: a name that `voiceface list` shows, `timm/NAME`, or a class of your own.
        voice_encoder: Voice network: a name that `voiceface list` shows, or a class of your own.
        face_options: Options of the face network.
        voice_options: Options of the voice network.
        face_weights: Pretrained weights of the face network, a safetensors file.
        voice_weights: Pretrained weights of the voice network, a safetensors file.
        freeze_face: Keep the face network as it is.
        freeze_voice: Keep the voice network as it is.
        face_margin: Face box scale that the face network is given.

    Raises:
        UserError: No such encoder or option.
    """

    face_encoder: FaceEncoder
    voice_encoder: VoiceEncoder
    space: Literal["cosine", "euclidean", "pairwise", "relative"] = "cosine"
    """How embeddings compare: cosine, minus the Euclidean distance, `similarity` of each pair by a network, or not at
    all: `relative` methods only `choose` among candidates."""
    directions: tuple[Direction, ...] = ("v2f", "f2v")
    """Directions of matching that a method is trained for: validation chooses the best step by these, and a relative
    method is evaluated in no other."""
    gallery_sizes: tuple[int, ...] = (2,)
    """Numbers of candidates that a relative method is evaluated with."""
    loads_whole_method: bool = False
    """All weights come from one file, so that frozen encoders need none of their own."""
    training_only: tuple[str, ...] = ()
    """Beginnings of the names of weights that only training needs, such as classifiers of the training people; the
    checkpoint folder leaves them out."""
    negatives: Literal["batch", "rank"] = "batch"
    """Of several processes, a loss compares the clips of the whole batch, or each its own."""
    rng_state: Tensor | None = None
    """State of torch's generator once the networks stood. Lightning seeds several processes anew after that: without it
    what `build_training_heads` draws would not be what one process draws."""
    evaluation_seconds: float | None = None
    """Seconds of voices, padding included, in one pass of an evaluation; None: by the memory at hand."""
    fall_steps: int | None = None
    """Length of a schedule over the whole training, once it is known."""
    checkpoint_hash: str | None = None
    """sha256 of the weights file, once there is one."""
    training_data: Mapping[str, Any] | None = None
    """Corpus, hash and split that the weights were trained on."""
    training_identities: frozenset[str] | None = None
    """Who the weights were trained on (`voiceface.data.corpus.leaks.person_names`), where that is known."""
    calibration: Mapping[str, Mapping[str, Any]] | None = None
    """Of 1:2 matching (`voiceface.evaluation.calibration.fit_calibration`), once it is fitted."""

    logs: Mapping[str, Tensor]
    """What the loss of the newest training step gave to log."""
    _pretrained: Sequence[tuple[str, nn.Module, str | None, bool]]
    """Of each encoder its kind, itself, its weights and whether it is frozen: no gradients, and eval mode for good,
    batch norms included."""

    def __init__(
        self,
        face_encoder: str = "face_lresnet50_ir",
        voice_encoder: str = "voice_thin_resnet34",
        face_options: dict[str, Any] | None = None,
        voice_options: dict[str, Any] | None = None,
        face_weights: str | None = None,
        voice_weights: str | None = None,
        freeze_face: bool = False,
        freeze_voice: bool = False,
        face_margin: float = 1.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.face_encoder = encoders.face_encoder(face_encoder, **(face_options or {}))
        self.voice_encoder = encoders.voice_encoder(voice_encoder, **(voice_options or {}))
        self.face_encoder.margin = face_margin
        self._pretrained = [
            ("face", self.face_encoder, face_weights, freeze_face),
            ("voice", self.voice_encoder, voice_weights, freeze_voice),
        ]
        for _, encoder, _, frozen in self._pretrained:
            encoder.requires_grad_(not frozen)
            encoder.train(not frozen)

    @abstractmethod
    def embed_voice(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embed voices.

        Args:
            waveforms: int16, or float in [-1, 1], of shape (B, T), 16 kHz, zero-padded.
            lengths: Samples of each, int64 of shape (B,). None: all are T long.

        Returns:
            float32 of shape (B, D).
        """

    @abstractmethod
    def embed_face(self, faces: Tensor) -> Tensor:
        """Embed faces.

        Args:
            faces: uint8 of shape (B, 3, size, size), RGB, with the face encoder's size and margin.

        Returns:
            float32 of shape (B, D).
        """

    @abstractmethod
    def loss(
        self, voices: Tensor, faces: Tensor, voice_identity: Tensor, face_identity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The training loss of a batch.

        Args:
            voices: Voice embeddings of shape (Nv, D).
            faces: Face embeddings of shape (Nf, D).
            voice_identity: int64 of shape (Nv,).
            face_identity: int64 of shape (Nf,).

        Returns:
            The loss to minimise, a scalar, and detached values to log.
        """

    def similarity(self, voices: Tensor, faces: Tensor) -> Tensor:
        """How alike voices and faces are; larger is more alike.

        Args:
            voices: Embeddings of shape (Nv, D).
            faces: Embeddings of shape (Nf, D).

        Returns:
            float32 of shape (Nv, Nf): cosine in [-1, 1], or minus the Euclidean distance.
        """
        with torch.autocast(voices.device.type, enabled=False):
            if self.space == "cosine":
                return F.normalize(voices.float(), dim=1) @ F.normalize(faces.float(), dim=1).T
            return -pairwise_distances(voices, faces)

    def choose(self, queries: Tensor, candidates: Tensor, direction: Direction) -> Tensor:
        """Score candidates of the other modality against each other.

        Args:
            queries: Embeddings of shape (B, D): voices where the direction is v2f, else faces.
            candidates: Embeddings of shape (B, N, D) of the other modality.
            direction: v2f or f2v.

        Returns:
            float32 of shape (B, N); the largest is the choice.
        """
        pair = self.similarity if direction == "v2f" else (lambda faces, voices: self.similarity(voices, faces).T)
        return torch.stack([pair(q[None], c)[0] for q, c in zip(queries, candidates, strict=True)])

    def count_parameters(self) -> int:
        """Parameters of the deployed model, without what only training needs."""
        return sum(p.numel() for n, p in self.named_parameters() if not n.startswith(self.training_only))

    def build_training_heads(self, people: Sequence[Mapping[str, str]]) -> None:
        """Build what only training needs, such as a classifier of the training people, before training starts.

        Args:
            people: What is known of each training identity (gender, nationality, ...), by its number in the batches.

        Raises:
            UserError: The method cannot train on these people.
        """

    def param_groups(self, rates: Mapping[str, tuple[nn.Module, float]]) -> list[dict[str, Any]]:
        """Optimiser groups, one per part of the network that is trained.

        Args:
            rates: Name of the part: the module and its learning rate.

        Returns:
            Groups with `name`, `params` and `lr`; parts without trainable parameters are left out.
        """
        trained = {name: [p for p in module.parameters() if p.requires_grad] for name, (module, _) in rates.items()}
        return [{"name": name, "params": params, "lr": rates[name][1]} for name, params in trained.items() if params]

    def layer_groups(self, name: str, layers: Sequence[nn.Module], rates: Sequence[float]) -> list[dict[str, Any]]:
        """Optimiser groups of a method's own layers and of both networks; see `param_groups`.

        Args:
            name: Name of the layers' group; the networks' are `face` and `voice`.
            layers: What the method adds to the networks.
            rates: Learning rates of the layers, of the face network and of the voice network.
        """
        own, face, voice = rates
        networks = {"face": (self.face_encoder, face), "voice": (self.voice_encoder, voice)}
        return self.param_groups({name: (nn.ModuleList(layers), own), **networks})

    def with_schedule(
        self, optimizer: torch.optim.Optimizer, factor: Callable[[int], float], constant: Sequence[str] = ()
    ) -> dict[str, Any]:
        """An optimiser with a learning rate schedule over steps, as `configure_optimizers` returns it.

        Args:
            optimizer: The optimiser.
            factor: Maps steps taken, from 0, to the factor on the first rate.
            constant: Names of groups whose rate stays.
        """
        factors = [(lambda step: 1.0) if g.get("name") in constant else factor for g in optimizer.param_groups]
        schedule = LambdaLR(optimizer, factors)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def exponential_decay(self, first: float, last: float, stages: int) -> Callable[[int], float]:
        """A rate that falls from `first` to `last` in equal ratios, over as many equal stages of the whole training.

        Args:
            first: Rate of the first stage.
            last: Rate of the last stage.
            stages: Number of stages; the papers' epochs.

        Returns:
            Maps steps taken to the factor on `first`.

        Raises:
            UserError: The training has no end.
        """
        if self.fall_steps is None:
            steps = self.trainer.estimated_stepping_batches
            if steps == float("inf"):
                raise UserError("--trainer.max_steps: the learning rate falls over the whole training; give its length")
            self.fall_steps = int(steps)
        total, ratio = self.fall_steps, (last / first) ** (1 / max(stages - 1, 1))
        return lambda step: ratio ** min(step * stages // total, stages - 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the length of the schedule: a run that is resumed for more steps stays at the last rate."""
        checkpoint["fall_steps"] = self.fall_steps

    def setup(self, stage: str) -> None:
        """Before training, read pretrained weights and build the heads for the training people.

        Raises:
            UserError: The file is missing or does not fit, or an encoder is frozen and has none; or what
                `build_training_heads` raises.
        """
        if stage != "fit":
            return
        for part, encoder, weights, frozen in self._pretrained:
            if weights is not None:
                load_into(encoder, Path(weights), f"--model.{part}_weights")
            elif frozen and not self.loads_whole_method:
                raise UserError(
                    f"--model.{part}_weights: the {part} network is frozen and has no pretrained weights; "
                    f"give a safetensors file; or train it: --model.freeze_{part} false, or --preset demo"
                )
        if self.rng_state is not None:
            torch.set_rng_state(self.rng_state)
        self.build_training_heads(self.trainer.datamodule.training_people())  # type: ignore[attr-defined]

    def train(self, mode: bool = True) -> "Method":
        """Set training mode; frozen encoders stay in eval mode, but are given the crops of training."""
        super().train(mode)
        self.voice_encoder.crops = mode
        for _, encoder, _, frozen in self._pretrained:
            if frozen:
                encoder.eval()
        return self

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the step's own randomness (dropout), so that a resumed run draws the same as an uninterrupted one."""
        self._seed(batch_idx, self.global_rank)

    def _seed(self, batch_idx: int, rank: int) -> None:
        seed = seeded(os.environ.get("PL_GLOBAL_SEED", 0), self.current_epoch, batch_idx, rank) % 2**63
        # Not torch.manual_seed: it turns to every kind of device there is, which takes half a millisecond.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def joined_processes(self) -> int:
        """How many processes' clips the loss sees together."""
        return processes() if self.negatives == "batch" else 1

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Embed a batch of voices and faces, take the loss, log it.

        Of several processes each embeds its own clips and takes the loss of all, unless `negatives` says otherwise.
        """
        voices = self.embed_voice(batch["voices"], batch["voice_lengths"])
        faces = self.embed_face(batch["faces"])
        voice_identity, face_identity = batch["voice_identity"], batch["face_identity"]
        if self.joined_processes() > 1:
            voices, faces = gather(voices.float()), gather(faces.float())
            voice_identity, face_identity = gather(voice_identity), gather(face_identity)
            self._seed(batch_idx, 0)  # all processes, and one alone, draw the same triplets
        loss, self.logs = self.loss(voices, faces, voice_identity, face_identity)
        # Lightning keeps every value of every step, and throws all but those of logging steps away.
        if logs_this_step(trainer_of(self)):
            self.log_dict({f"train/{name}": value for name, value in self.logs.items()}, batch_size=len(voices))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Embed a batch; the metrics callback does the rest."""
        voices, faces, lengths = batch["voices"], batch["faces"], batch["voice_lengths"]
        samples = samples_per_pass(self.voice_encoder, voices.device, self.evaluation_seconds)
        return {
            "voices": embed_in_passes(self.embed_voice, voices, lengths, samples) if len(voices) else torch.empty(0),
            "faces": self.embed_face(faces) if len(faces) else torch.empty(0),
        }

    test_step = predict_step = validation_step

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another model or of other settings.

        Raises:
            UserError: Names the first difference, with both values.
        """
        saved = checkpoint.get("hyper_parameters", {})
        for name, value in self.hparams.items():
            if name in saved and not name.startswith("_") and saved[name] != value:
                raise UserError(
                    f"--ckpt_path: the checkpoint was trained with --model.{name} {saved[name]}, this run "
                    f"has {value}; set it to the checkpoint's value"
                )
        self.fall_steps = checkpoint.get("fall_steps")
        problem = misfit(self.state_dict(), checkpoint["state_dict"])
        if problem:
            raise UserError(f"--ckpt_path: the checkpoint does not fit {type(self).__name__}: {problem}")


def to_width(inputs: int, width: int) -> nn.Module:
    """A linear layer to a width, or nothing where the inputs have it already."""
    return nn.Identity() if inputs == width else nn.Linear(inputs, width)
