"""Method: what every voice-face association method has, and nothing else."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voiceface.data.shards import seeded
from voiceface.errors import UserError
from voiceface.weights import load_into, misfit


class Method(pl.LightningModule, ABC):
    """Base class: two encoders, embeddings of both modalities, and a loss.

    A method sets `face_encoder` and `voice_encoder`, writes `embed_voice`, `embed_face`, `loss` and
    `configure_optimizers`, and calls
    `self.save_hyperparameters()` first, so that a checkpoint can build it again. Its hyper-parameters are plain values.
    """

    face_encoder: nn.Module
    voice_encoder: nn.Module
    space: Literal["cosine", "euclidean"] = "cosine"
    """How embeddings compare: cosine, or minus the Euclidean distance."""
    checkpoint_hash: str | None = None
    """sha256 of the weights file, once there is one."""
    training_data: Mapping[str, Any] | None = None
    """Corpus, hash and split that the weights were trained on."""

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
        if self.space == "cosine":
            return F.normalize(voices.float(), dim=1) @ F.normalize(faces.float(), dim=1).T
        return -torch.cdist(voices.float(), faces.float())

    def rate_groups(self, rates: Mapping[str, tuple[nn.Module, float]]) -> list[dict[str, Any]]:
        """Optimiser groups, one per part of the network that is trained.

        Args:
            rates: Name of the part: the module and its learning rate.

        Returns:
            Groups with `name`, `params` and `lr`; parts without trainable parameters are left out.
        """
        groups = []
        for name, (module, rate) in rates.items():
            trainable = [p for p in module.parameters() if p.requires_grad]
            if trainable:
                groups.append({"name": name, "params": trainable, "lr": rate})
        return groups

    def start_from(self, part: str, encoder: nn.Module, weights: str | None, frozen: bool) -> None:
        """Say where an encoder starts from. The weights are read when training starts, not when a checkpoint is loaded.

        Args:
            part: `face` or `voice`, for messages.
            encoder: The encoder.
            weights: Safetensors file of pretrained weights.
            frozen: No gradients, and eval mode for good, batch norms included.
        """
        self._starts = [*getattr(self, "_starts", []), (part, encoder, weights, frozen)]
        encoder.requires_grad_(not frozen)
        encoder.train(not frozen)

    def setup(self, stage: str) -> None:
        """Read pretrained weights before training.

        Raises:
            UserError: The file is missing or does not fit, or an encoder is frozen and has none.
        """
        if stage != "fit":
            return
        for part, encoder, weights, frozen in getattr(self, "_starts", []):
            if weights is not None:
                load_into(encoder, Path(weights), f"--model.{part}_weights")
            elif frozen:
                raise UserError(
                    f"--model.{part}_weights: the {part} network is frozen and has no pretrained weights; "
                    f"give a safetensors file, or train it: --model.freeze_{part} false"
                )

    def train(self, mode: bool = True) -> "Method":
        """Set training mode; frozen encoders stay in eval mode."""
        super().train(mode)
        for _, encoder, _, frozen in getattr(self, "_starts", []):
            if frozen:
                encoder.eval()
        return self

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the step's own randomness (dropout), so that a resumed run draws the same as an uninterrupted one."""
        seed = os.environ.get("PL_GLOBAL_SEED", 0)
        torch.manual_seed(seeded(seed, self.current_epoch, batch_idx, self.global_rank) % 2**63)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Embed a batch of voices and faces, take the loss, log it."""
        voices = self.embed_voice(batch["voices"], batch["voice_lengths"])
        faces = self.embed_face(batch["faces"])
        loss, logs = self.loss(voices, faces, batch["voice_identity"], batch["face_identity"])
        self.log_dict({f"train/{name}": value for name, value in logs.items()}, batch_size=len(voices), prog_bar=True)
        return loss

    def _embed(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        voices, faces = batch["voices"], batch["faces"]
        return {
            "voices": self.embed_voice(voices, batch["voice_lengths"]) if len(voices) else torch.empty(0),
            "faces": self.embed_face(faces) if len(faces) else torch.empty(0),
        }

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Embed a batch; the metrics callback does the rest."""
        return self._embed(batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Embed a batch; the metrics callback does the rest."""
        return self._embed(batch)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Embed a batch."""
        return self._embed(batch)

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
        problem = misfit(self.state_dict(), checkpoint["state_dict"])
        if problem:
            raise UserError(f"--ckpt_path: the checkpoint does not fit {type(self).__name__}: {problem}")
