"""Faster training with the same results: precision, memory format, compilation."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from voiceface.methods.base import Method
from voiceface.utils.errors import UserError

# Lightning's names: of float32, and of networks in half precision whose weights stay float32.
FULL, MIXED = ("32-true", "32"), ("bf16-mixed", "bf16", "16-mixed", "16")


def check_precision(trainer: Mapping[str, Any]) -> None:
    """Refuse a precision that would not do what it says.

    Args:
        trainer: `precision` and `accelerator`, as they are given to Lightning's Trainer.

    Raises:
        UserError: Weights are to be of another type than float32, or fp16 is to run on a CPU.
    """
    precision = str(trainer["precision"] or "32-true")
    if precision not in FULL + MIXED:
        raise UserError(
            f"--trainer.precision {precision}: weights, spectrograms and losses are float32; give 32-true, bf16-mixed "
            "or 16-mixed"
        )
    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    if precision in ("16-mixed", "16") and (trainer["accelerator"] == "cpu" or not gpu):
        raise UserError(f"--trainer.precision {precision}: fp16 needs a GPU; give bf16-mixed or 32-true")


def keep_channels_last(method: Method) -> None:
    """Keep the face network's weights, and the images that it is given, in `torch.channels_last`.

    Args:
        method: Changed in place; the values of its weights stay the same.
    """

    def last(network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        faces, *rest = inputs
        if isinstance(faces, Tensor) and faces.ndim == 4:
            faces = faces.contiguous(memory_format=torch.channels_last)
        return (faces, *rest)

    # `to` is typed for positional devices and types alone together with a memory format.
    method.face_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    method.face_encoder.register_forward_pre_hook(last)


def compile_encoders(method: Method, device: torch.device, backend: str = "inductor") -> None:
    """Compile both networks in place, when they are first used; names of weights and checkpoints stay the same.

    A shape that changes is compiled once more, for all sizes: evaluation brings voices of many lengths.

    Args:
        method: Changed in place.
        device: Where it will run.
        backend: Backend of `torch.compile`.

    Raises:
        UserError: This machine cannot compile.
    """
    try:
        # Not from the cache: what was compiled before says nothing of today's machine.
        options: Any = {"fx_graph_cache": False} if backend == "inductor" else None
        torch.compile(_probe, backend=backend, options=options)(torch.ones(8, device=device))
    except (RuntimeError, OSError) as error:
        lines = [line.removeprefix("backend='inductor' raised:").strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if line), type(error).__name__)
        raise UserError(
            f"--compile: this machine cannot compile ({reason:.200}); install a C++ compiler (g++), or leave --compile "
            "out"
        ) from None
    for encoder in (method.face_encoder, method.voice_encoder):
        if any(True for _ in encoder.parameters()):
            encoder.compile(backend=backend)


def _probe(x: Tensor) -> Tensor:
    return (2 * x + 1).sin()
