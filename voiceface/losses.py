"""Losses: pure functions of embeddings and identities, computed in float32 whatever the precision of the networks."""

import torch
from torch import Tensor


def triplet_loss(
    anchors: Tensor, others: Tensor, anchor_identity: Tensor, other_identity: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Hinge over all triplets of a batch, with anchors of one modality and candidates of the other.

    The sum over all (a, p, n) with a, p of one identity and n of another of max(d(a, p) - d(a, n) + margin, 0), d the
    Euclidean distance
    (TriNet, equation 1).

    Args:
        anchors: Embeddings of shape (A, D).
        others: Embeddings of shape (B, D).
        anchor_identity: int64 of shape (A,).
        other_identity: int64 of shape (B,).
        margin: Distance by which a negative should be farther than a positive, 0 or more.

    Returns:
        The sum, a float32 scalar, and the hinge of every triplet, float32 of shape (triplets,).
    """
    with torch.autocast(anchors.device.type, enabled=False):
        distance = torch.cdist(anchors.float(), others.float())
        same = anchor_identity[:, None] == other_identity[None, :]
        anchor, positive = same.nonzero(as_tuple=True)
        hinge = (distance[anchor, positive, None] - distance[anchor] + margin).clamp_min(0)
        hinge = hinge[~same[anchor]]
        return hinge.sum(), hinge
