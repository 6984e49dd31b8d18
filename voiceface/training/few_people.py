"""Corpora with fewer people than the demo preset has in a batch."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from voiceface.data.corpus.shards import Corpus


def fewer_people(data: Mapping[str, Any], trainer: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return how many identities a batch can have if the training split has too few for the requested number.

    Args:
        data: Options of the data module: `root`, `people`.
        trainer: Options of Lightning's Trainer: `accelerator`, `devices`, `num_nodes`.

    Returns:
        Identities per batch and process, at least 2, and the reason; None if there are enough, or too few for any
        batch.
    """
    there, world = len(Corpus(data["root"]).index("train").paired().names), processes(trainer)
    people = there // world
    if not 2 <= people < data["people"]:
        return None
    return people, f"the train split has {there} people" + (f" for {world} processes" if world > 1 else "")


def processes(trainer: Mapping[str, Any]) -> int:
    """Return how many processes a run will have, as far as this is known before it starts."""
    if "WORLD_SIZE" in os.environ:  # started by torchrun or a similar launcher
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
