"""Mining: which positives and negatives of a batch a loss sees, as indices.

Negatives are always of another identity: two clips of one person are never each other's negative. What is drawn at
random comes from torch's global generator, which the training step seeds; nothing here has gradients.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from voiceface.utils.errors import UserError


def hardest_negatives(distance: Tensor, anchor_identity: Tensor, other_identity: Tensor) -> Tensor:
    """The nearest item of another identity for every anchor.

    Args:
        distance: Distances of shape (A, B).
        anchor_identity: int64 of shape (A,).
        other_identity: int64 of shape (B,).

    Returns:
        Index of the item, int64 of shape (A,); the first of equally near ones; -1 where all items are the anchor's own.
    """
    same = anchor_identity[:, None] == other_identity[None, :]
    candidates = distance.detach().masked_fill(same, torch.inf)
    return F.pad(candidates, (1, 0), value=torch.inf).argmin(1) - 1


def curriculum_negatives(
    distance: Tensor,
    anchor_identity: Tensor,
    other_identity: Tensor,
    positive: Tensor,
    tau: float,
    all_up_to: bool = False,
) -> tuple[Tensor, Tensor]:
    """Negatives of a chosen difficulty, one row per positive pair (Learnable PINs' curriculum).

    A row's negatives are sorted from far (easy) to near (hard); of n negatives the one at rank floor(tau * n) is taken,
    the nearest at most. One that is nearer than the row's positive is never taken: the last one before it is, or the
    farthest where all are nearer.

    Nagrani et al. 2018, "Learnable PINs", recalled and partly read in a re-implementation: unverified, in particular
    whether one negative or all up to the rank enter the loss.

    An anchor with several positives has several rows: for pairs `(anchor, item)` call with `distance[anchor]`,
    `anchor_identity[anchor]`, and `distance[anchor, item]` as `positive`.

    Args:
        distance: Distances of the anchor of each positive pair to all items, shape (P, B).
        anchor_identity: int64 of shape (P,).
        other_identity: int64 of shape (B,).
        positive: Distance of each positive pair, shape (P,).
        tau: Difficulty in [0, 1]: 0 takes the farthest negative, 1 the nearest.
        all_up_to: Take every negative up to that rank, not only the one at it.

    Returns:
        Rows and columns of `distance`, int64 of shape (pairs,) each. A row without another identity gives none.

    Raises:
        UserError: `tau` is outside [0, 1].
    """
    if not 0 <= tau <= 1:
        raise UserError(f"tau is {tau}: the difficulty of negatives lies between 0 and 1")
    distance = distance.detach()
    other = anchor_identity[:, None] != other_identity[None, :]
    order = distance.masked_fill(~other, -torch.inf).argsort(dim=1, descending=True, stable=True)
    count = other.sum(1)
    allowed = (other & (distance >= positive.detach()[:, None])).sum(1)
    # A tau raised in steps of 0.1 must not miss a whole rank by its rounding.
    rank = (tau * count.double() + 1e-6).long().minimum(count - 1).minimum((allowed - 1).clamp_min(0))[:, None]
    place = torch.arange(distance.shape[1], device=distance.device)
    taken = (place <= rank) if all_up_to else (place == rank)
    row, column = taken.nonzero(as_tuple=True)
    return row, order[row, column]


def draw_triplets(anchor_identity: Tensor, other_identity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One random triplet per anchor: an item of its identity, and an item of another, both uniformly.

    Args:
        anchor_identity: int64 of shape (A,).
        other_identity: int64 of shape (B,).

    Returns:
        Indices of anchor, positive and negative, int64 of shape (T,) each. An anchor without a positive or without a
        negative is left out.
    """
    same = anchor_identity[:, None] == other_identity[None, :]
    positive, negative = _pick(same), _pick(~same)
    anchor = ((positive >= 0) & (negative >= 0)).nonzero()[:, 0]
    return anchor, positive[anchor], negative[anchor]


def draw_galleries(query_identity: Tensor, item_identity: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """One random gallery per query: an item of its identity among items of n - 1 other people, at a random position.

    The people of a gallery are drawn uniformly, then one item of each uniformly.

    Args:
        query_identity: int64 of shape (Q,).
        item_identity: int64 of shape (B,).
        n: People in a gallery, 2 or more.

    Returns:
        Index of the query, int64 of shape (G,); indices of its items, (G, n); position of its own item, (G,). A query
        without an item of its identity is left out.

    Raises:
        UserError: The items are of fewer than n people, or n is less than 2.
    """
    people, person = torch.unique(item_identity, return_inverse=True)
    if not 2 <= n <= len(people):
        raise UserError(
            f"a gallery of {n} people cannot be drawn from a batch of {len(people)}: give from 2 up to that number, or "
            "more people per batch with --data.people"
        )
    own = query_identity[:, None] == people[None, :]
    query, device = own.any(1).nonzero()[:, 0], item_identity.device
    own = own[query]
    # The own person's score is above all random ones, so that it comes first; then all change places.
    chosen = torch.rand(own.shape, device=device).masked_fill(own, 2).topk(n, dim=1).indices
    place = torch.rand(chosen.shape, device=device).argsort(1)
    chosen = chosen.gather(1, place)
    count = person.bincount()
    items, first = person.argsort(stable=True), count.cumsum(0) - count
    drawn = torch.randint(2**62, chosen.shape, device=device) % count[chosen]
    return query, items[first[chosen] + drawn], place.argmin(1)


def _pick(allowed: Tensor) -> Tensor:
    """A random column of every row among those allowed; -1 where there is none."""
    scores = torch.rand(allowed.shape, device=allowed.device).masked_fill(~allowed, -1)
    return F.pad(scores, (1, 0), value=-0.5).argmax(1) - 1
