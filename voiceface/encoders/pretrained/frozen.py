"""Frozen networks: from a checkpoint or from weight files, and the features that they give of a batch."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from voiceface.encoders import FaceEncoder, VoiceEncoder, face_encoder, voice_encoder
from voiceface.encoders.passes import CPU_BYTES, by_length, embed_in_passes
from voiceface.encoders.pretrained.header import read_header
from voiceface.encoders.weights import load_into
from voiceface.utils.audio import SAMPLE_RATE
from voiceface.utils.errors import UserError
from voiceface.utils.npy import encode_feature

LONG = 10 * SAMPLE_RATE  # a batch of longer voices holds fewer


@dataclass(frozen=True)
class Frozen:
    """Two networks in eval mode, and what a corpus of their features says of each.

    Args:
        voice: Voice network.
        face: Face network; its margin says what box it is given.
        about: For `voices` and `faces`: `encoder`, `options`, `weights` (sha256 of its tensors as one safetensors
            file), `dim`; for faces `size` and `margin` too; and `checkpoint` (sha256, recipe) where they are of one.
    """

    voice: VoiceEncoder
    face: FaceEncoder
    about: Mapping[str, Mapping[str, Any]]


def of_weights(
    voice: str | None, face: str | None, voice_weights: Path | None, face_weights: Path | None, face_margin: float = 1.0
) -> Frozen:
    """Two networks with pretrained weights.

    Args:
        voice: Name of the voice network; None: the one that the weights' file is for.
        face: Name of the face network; None: likewise.
        voice_weights: Safetensors file; where `voiceface import-weights` wrote it, it says the network's options.
        face_weights: Likewise.
        face_margin: Face box scale that the face network is given.

    Raises:
        UserError: A name or file is missing or unknown, or they do not fit.
    """
    heard = _network("voice", voice, voice_weights)
    seen = _network("face", face, face_weights)
    of_voice, of_face = voice_encoder(heard[0], **heard[1]), face_encoder(seen[0], **seen[1])
    load_into(of_voice, heard[2], "--voice-weights")
    load_into(of_face, seen[2], "--face-weights")
    of_face.margin = face_margin
    return frozen(of_voice, of_face, {"voice": heard[0], "face": seen[0]}, {"voice": heard[1], "face": seen[1]}, {})


def _network(kind: str, name: str | None, file: Path | None) -> tuple[str, dict[str, Any], Path]:
    """Name and options of a network, and the file of its weights."""
    if file is None:
        raise UserError(
            f"--{kind}-weights is missing: features of a network without weights say nothing; give a safetensors "
            "file, or --checkpoint"
        )
    about = None
    with contextlib.suppress(UserError):  # no header of ours: then its tensors must fit
        about = read_header(str(file))
    if name is None and not (about and about.encoder):
        raise UserError(f"--{kind}-encoder is missing: {file} does not say which network it is for; name it")
    if about is None:
        return str(name), {}, file
    if name not in (None, about.encoder):
        raise UserError(
            f"--{kind}-weights {file}: weights of {about.encoder or about.method}, not of {name}; give others, or "
            f"another --{kind}-encoder"
        )
    return about.encoder, about.options, file


def frozen(
    voice: VoiceEncoder,
    face: FaceEncoder,
    names: Mapping[str, str | None],
    options: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> Frozen:
    """Two networks, frozen.

    Args:
        voice: Voice network with its weights.
        face: Face network with its weights.
        names: Of the `voice` and the `face` network.
        options: Likewise.
        origin: What else is said of both, such as their checkpoint.
    """
    voice.crops = None  # whole utterances, as eval mode says
    about: dict[str, dict[str, Any]] = {}
    for kind, encoder in (("voice", voice), ("face", face)):
        encoder.eval().requires_grad_(False)
        digest = weights_hash(encoder)
        about[f"{kind}s"] = {"encoder": names[kind], "options": options[kind], "weights": digest, "dim": encoder.dim}
        about[f"{kind}s"] |= origin
    about["faces"] |= {"size": int(face.size), "margin": float(face.margin)}
    return Frozen(voice, face, about)


def weights_hash(encoder: nn.Module) -> str:
    """sha256 of a network's tensors as one safetensors file."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    return hashlib.sha256(save(tensors)).hexdigest()


class FeatureExtractor:
    """Features of batches as the stream gives them; those of a clip do not depend on its neighbours.

    Args:
        frozen: The networks.
        dtype: Type that features are stored in, `float32` or `float16`.
        batch: Clips per pass at most; voices longer than ten seconds count for more.
        device: `cpu` or `cuda`.
        seconds: Seconds of voices in one pass, padding included; None: ten for each clip of the batch, and on a CPU
            what fits into 1.5 GiB.
    """

    def __init__(self, frozen: Frozen, dtype: str, batch: int, device: str, seconds: float | None = None) -> None:
        self.voice, self.face = frozen.voice.to(device), frozen.face.to(device)
        self.dtype, self.batch, self.device = dtype, batch, device
        self.samples = batch * LONG if seconds is None else max(int(seconds * SAMPLE_RATE), 1)
        if seconds is None and device == "cpu":  # fixed, so that a run that is resumed makes the same passes
            self.samples = min(self.samples, CPU_BYTES // max(self.voice.bytes_per_second, 1) * SAMPLE_RATE)

    def __call__(self, batch: Mapping[str, Any]) -> Iterator[dict[str, bytes]]:
        """For voices, then for faces: the stored feature of each clip by its key, in the batch's order.

        Raises:
            UserError: A feature is NaN or infinite, or becomes so in the type that is stored.
        """
        for kind, found in zip(("voice", "face"), self.features(batch), strict=True):
            with np.errstate(over="ignore"):  # refused below
                stored = found.numpy().astype(self.dtype)
            broken = not_finite(stored)
            if broken is not None:
                raise UserError(
                    f"{batch[f'{kind}_keys'][broken]}: its {kind} feature holds a value that is no finite "
                    f"{self.dtype}; give other weights, or --dtype float32"
                )
            yield dict(zip(batch[f"{kind}_keys"], map(encode_feature, stored), strict=True))

    @torch.inference_mode()
    def features(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """The features of a batch's voices and of its faces, float32 (n, dim), on the CPU."""
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            voices = self._voices(batch["voices"], batch["voice_lengths"])
            faces = [self.face(part.to(self.device)) for part in batch["faces"].split(self.batch) if len(part)]
        return voices.float(), torch.cat(faces).float().cpu() if faces else torch.empty(0, self.face.dim)

    def _voices(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Embed voices of like length together, so that little is padded."""
        out = torch.empty(len(waveforms), self.voice.dim)
        for rows in by_length(lengths.tolist(), self.batch, self.samples):
            longest = int(lengths[rows[-1]])
            part, own = waveforms[rows, :longest].to(self.device), lengths[rows].to(self.device)
            out[rows] = embed_in_passes(self.voice, part, own, self.samples).float().cpu()
        return out


def not_finite(features: NDArray[Any]) -> int | None:
    """The first row with a value that is NaN or infinite; None where there is none."""
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
    return int(broken[0]) if len(broken) else None
