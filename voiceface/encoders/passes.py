"""Evaluation in bounded memory: voices go through a network in groups of like length."""

import ctypes
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from voiceface.encoders.base import VoiceEncoder
from voiceface.utils.audio import SAMPLE_RATE
from voiceface.utils.errors import UserError

CPU_BYTES = 2**31 * 3 // 4  # of one pass on the CPU
CUDA_SHARE = 0.5  # of a GPU's free memory


def samples_per_pass(encoder: nn.Module, device: torch.device, seconds: float | None = None) -> int | None:
    """How many samples of voices, padding included, may go through a network at once without gradients.

    Args:
        encoder: The network; it says what a second takes.
        device: Where it runs.
        seconds: The user's choice; None: by the memory, 1.5 GiB on a CPU and half of what is free on a GPU.

    Returns:
        Samples at 16 kHz; None: there is no bound, as the input is no waveform or the network is no `VoiceEncoder`.
    """
    if not isinstance(encoder, VoiceEncoder) or encoder.precomputed or not encoder.bytes_per_second:
        return None
    if seconds is None:
        room = CPU_BYTES
        if device.type == "cuda":
            kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            room = int(CUDA_SHARE * (torch.cuda.mem_get_info(device)[0] + kept))
        seconds = max(room / encoder.bytes_per_second, 1.0)
    return max(int(seconds * SAMPLE_RATE), 1)


def by_length(lengths: Sequence[int], clips: int, samples: int) -> Iterator[list[int]]:
    """Group voices of similar length into passes.

    Args:
        lengths: Samples of each voice.
        clips: Maximum number of voices in a pass.
        samples: Maximum number of samples in a pass, padding included, unless a single voice has more.

    Yields:
        Places of the voices in a pass.
    """
    group: list[int] = []
    for place in np.argsort(lengths, kind="stable").tolist():
        if group and (len(group) == clips or (len(group) + 1) * lengths[place] > samples):
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def embed_in_passes(
    embed: Callable[[Tensor, Tensor], Tensor], waveforms: Tensor, lengths: Tensor, samples: int | None
) -> Tensor:
    """Embed voices in as few passes as fit; where memory runs out all the same, in halves.

    Args:
        embed: Maps waveforms and lengths to embeddings (n, D); that of a voice does not depend on its neighbours.
        waveforms: (B, T), zero-padded.
        lengths: Samples of each, (B,).
        samples: Samples per pass, from `samples_per_pass`; None: all at once.

    Returns:
        Embeddings (B, D), in the order of the waveforms.

    Raises:
        UserError: A single voice does not fit into the memory.
    """
    if samples is None or waveforms.shape[0] * waveforms.shape[1] <= samples or len(waveforms) == 1:
        try:
            return embed(waveforms, lengths)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            if len(waveforms) == 1:
                seconds = int(lengths[0]) / SAMPLE_RATE
                raise UserError(
                    f"a voice of {seconds:.0f} s does not fit into the memory of {waveforms.device}"
                ) from None
        if waveforms.is_cuda:
            torch.cuda.empty_cache()
        samples = waveforms.shape[0] * waveforms.shape[1] // 2
    out: Tensor | None = None
    for places in by_length(lengths.tolist(), len(lengths), samples):
        longest = int(lengths[places[-1]])
        rows = torch.tensor(places, device=waveforms.device)
        part = embed_in_passes(embed, waveforms[rows, :longest], lengths[rows.to(lengths.device)], len(rows) * longest)
        out = part.new_empty(len(waveforms), *part.shape[1:]) if out is None else out
        out[rows.to(out.device)] = part
        if waveforms.device.type == "cpu":
            _return_memory()
    assert out is not None
    return out


def _return_memory() -> None:
    """Give what is free back to the system: passes of ever other sizes leave gaps that only grow. Needs glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether an error is one of memory; that of a CPU has no type of its own."""
    said = ("can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in said)
