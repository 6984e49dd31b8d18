"""How much memory does an hour of speech take, embedded without gradients by each network at paper size?

    python -m benchmarks.inference.memory evaluation_memory
    python -m benchmarks.inference.memory evaluation_memory --networks voice_thin_resnet34 --longest 145

Utterances last from 4 s to --longest (exponential beyond the first 4 s, 8 s on average, as VoxCeleb's; seeded) and come
in batches of 63, as `voiceface test` reads eight bundles. They are embedded as the package does, in groups of like
length, by each network in a process of its own: `peak_gib` is the process's, libraries and the batch included;
`whole_batch_gib` is computed, what one pass of the whole batch would take.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import answer, memory_mib, python
from voiceface.encoders import voice_encoder
from voiceface.encoders.passes import embed_in_passes, samples_per_pass

NETWORKS = "voice_thin_resnet34,voice_vggvox,voice_soundnet8,voice_dimnet,voice_small"


def hour(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Peak memory of each network."""
    words = (options.seconds, options.longest)
    made = {
        name: python("-m", "benchmarks.inference.memory", "--one", name, *words) for name in options.networks.split(",")
    }
    return {"longest_seconds": options.longest, "networks": {name: json.loads(said) for name, said in made.items()}}


def one(name: str, seconds: float, longest: float) -> dict[str, float]:
    """Embed so many seconds of utterances; the peak in GiB."""
    encoder, generator = voice_encoder(name).eval(), torch.Generator().manual_seed(0)
    samples = samples_per_pass(encoder, torch.device("cpu"))
    done, widest = 0.0, 0.0
    with torch.no_grad():
        while done < seconds:
            lengths = (4 + torch.empty(63).exponential_(1 / 4.2, generator=generator)).clamp(max=longest)
            lengths[0] = longest
            own = (16_000 * lengths).long()
            waves = torch.randint(-2000, 2000, (63, int(own.max())), dtype=torch.int16, generator=generator)
            embed_in_passes(encoder, waves, own, samples)
            done, widest = done + float(lengths.sum()), max(widest, 63 * float(lengths.max()))
    return {
        "seconds": round(done),
        "peak_gib": round(memory_mib() / 1024, 2),
        "whole_batch_gib": round(widest * encoder.bytes_per_second / 2**30, 1),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))))
    else:
        options = {"networks": NETWORKS, "seconds": 3600.0, "longest": 40.0}
        answer(__doc__, {"evaluation_memory": hour}, **options)
