"""A corpus with fewer people than the demo preset puts into a batch."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from voiceface.data.corpus.shards import Corpus


def fewer_people(data: Mapping[str, Any], trainer: Mapping[str, Any]) -> tuple[int, str] | None:
    """How many identities a batch can have where the training split has not enough for it.

    Args:
        data: Options of the data module: `root`, `people`.
        trainer: Options of Lightning's Trainer: `accelerator`, `devices`, `num_nodes`.

    Returns:
        Identities per batch and process, 2 or more, and why; None where there are enough, or too few for any batch.
    """
    there, world = len(Corpus(data["root"]).index("train").paired().names), processes(trainer)
    people = there // world
    if not 2 <= people < data["people"]:
        return None
    return people, f"the train split has {there} people" + (f" for {world} processes" if world > 1 else "")


def processes(trainer: Mapping[str, Any]) -> int:
    """How many processes a run will have, as far as it can be known before it starts."""
    if "WORLD_SIZE" in os.environ:  # torchrun and its like have started them
        return int(os.environ["WORLD_SIZE"])
    devices = trainer["devices"]
    if isinstance(devices, str) and "," in devices:
        devices = [device for device in devices.split(",") if device]
    if isinstance(devices, list):
        count = len(devices)
    elif str(devices).isdigit():
        count = int(devices)
    else:
        count = torch.cuda.device_count() if trainer["accelerator"] != "cpu" else 1
    return max(1, count) * int(trainer["num_nodes"])
