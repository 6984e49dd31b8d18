"""Which bundles stand in which batch of an epoch, for all ranks: distinct people in a step, no bundle twice."""

import numpy as np
from numpy.typing import NDArray

from voiceface.utils.seeds import seeded


def steps_per_epoch(identities: NDArray[np.int64], people: int) -> int:
    """Largest number of batches of `people` distinct identities that one pass over the bundles can fill.

    Args:
        identities: Identity of each bundle, int64 of shape (bundles,).
        people: Identities in a batch over all ranks.

    Returns:
        Largest s with sum over identities of min(bundles of the identity, s) >= people * s; 0 where none.
    """
    counts = np.bincount(identities)
    low, high = 0, len(identities) // people
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(counts, middle).sum() >= people * middle:
            low = middle
        else:
            high = middle - 1
    return low


def epoch_plan(identities: NDArray[np.int64], people: int, world: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Deal the bundles of one epoch to steps and ranks.

    People stand in random order, each with their bundles one after another, and are dealt to the steps like cards:
    nobody has more bundles than there are steps, so no step holds a person twice, and no bundle is used twice.

    Args:
        identities: Identity of each bundle, int64 of shape (bundles,).
        people: Identities per batch and rank.
        world: Number of ranks.
        seed: Seed of the order.
        epoch: Number of the epoch, from 0.

    Returns:
        Bundle numbers, int64 of shape (steps, world, people).
    """
    rng = np.random.default_rng(seeded(seed, "epoch", epoch))
    per_step = people * world
    steps = steps_per_epoch(identities, per_step)
    place = rng.permutation(int(identities.max()) + 1)[identities]
    order = rng.permutation(len(identities))
    order = order[np.argsort(place[order], kind="stable")]
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    nth_of_person = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    kept = order[nth_of_person < steps]
    plan = kept[: per_step * steps].reshape(per_step, steps).T
    return plan[rng.permutation(steps)].reshape(steps, world, people)
