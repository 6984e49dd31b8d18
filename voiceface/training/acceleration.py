"""Faster training with the same results: precision, memory format, compilation."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from voiceface.methods.base import Method
from voiceface.utils.errors import UserError

# Lightning's names: float32, and mixed precision with float32 weights.
FULL, MIXED = ("32-true", "32"), ("bf16-mixed", "bf16", "16-mixed", "16")


def check_precision(trainer: Mapping[str, Any]) -> None:
    """Reject a precision that voiceface does not support.

    Args:
        trainer: `precision` and `accelerator`, as for Lightning's Trainer.

    Raises:
        UserError: The weights would not be float32, or fp16 would run on a CPU.
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
    """Keep the face network's weights and input images in `torch.channels_last`.

    Args:
        method: Modified in place; the values of its weights do not change.
    """

    def last(network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        faces, *rest = inputs
        if isinstance(faces, Tensor) and faces.ndim == 4:
            faces = faces.contiguous(memory_format=torch.channels_last)
        return (faces, *rest)

    # With a memory format, `to` is only typed for a positional device and type.
    method.face_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    method.face_encoder.register_forward_pre_hook(last)


def compile_encoders(method: Method, device: torch.device, backend: str = "inductor") -> None:
    """Compile both networks in place, on first use; names of weights and checkpoints stay the same.

    A shape that changes is compiled once more with dynamic sizes: evaluation has voices of many lengths.

    Args:
        method: Modified in place.
        device: Device that it will run on.
        backend: Backend of `torch.compile`.

    Raises:
        UserError: This machine cannot compile.
    """
    try:
        # Not from the cache: earlier compilations say nothing about this machine today.
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
