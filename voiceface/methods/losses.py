"""Losses: pure functions of embeddings and identities, computed in float32 whatever the precision of the networks."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from voiceface.methods.mining import hardest_negatives


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
        distance = pairwise_distances(anchors, others)
        same = anchor_identity[:, None] == other_identity[None, :]
        anchor, positive = same.nonzero(as_tuple=True)
        hinge = (distance[anchor, positive, None] - take_rows(distance, anchor) + margin).clamp_min(0)
        hinge = hinge[~same[anchor]]
        return hinge.sum(), hinge


def take_rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table, which may repeat; the same as `table[index]`, but the gradient has the same bits in every run.

    Several threads add the gradient of `table[index]` in whatever order they come.

    Args:
        table: Shape (R, D).
        index: int64 of any shape (...).

    Returns:
        Shape (..., D).
    """
    return F.embedding(index, table)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of each row of one tensor to the same row of another.

    Args:
        a: Shape (T, D).
        b: Shape (T, D).

    Returns:
        float32 of shape (T,). Its gradient is zero where two rows are equal.
    """
    apart: Tensor = torch.linalg.vector_norm(a.float() - b.float(), dim=1)
    return apart


def mean_or_zero(terms: Tensor) -> Tensor:
    """Mean of a loss's terms, and 0 where there are none (`Tensor.mean` gives NaN).

    Args:
        terms: Any shape.

    Returns:
        A float32 scalar; the gradients behind an empty tensor are zero.
    """
    return terms.float().sum() / max(terms.numel(), 1)


def softmax_ratio_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Squared error of the softmax of two distances against (0, 1), one term per triplet.

    2 * sigmoid(d+ - d-)^2, which is ||softmax([d+, d-]) - [0, 1]||^2 (Kim et al. 2018, "On learning associations of
    faces and voices"). There is no margin; a term lies between 0 and 2.

    Args:
        positive: Distance to the positive, any shape.
        negative: Distance to the negative, the same shape.

    Returns:
        float32 of that shape.
    """
    return 2 * torch.sigmoid(positive.float() - negative.float()).square()


def contrastive_loss(distance: Tensor, same: Tensor, margin: float) -> Tensor:
    """Contrastive loss, one term per pair: d^2 of one person, max(0, margin - d)^2 of two.

    Hadsell et al. 2006, "Dimensionality reduction by learning an invariant mapping", without its factor 1/2. Learnable
    PINs has a margin of 0.6 (read in a re-implementation; the squares are recalled, unverified). Kim et al. 2018 do
    not give the margin of their Siamese network.

    Args:
        distance: Distances, any shape.
        same: Whether a pair is of one person, bool or 0 and 1, the same shape.
        margin: Distance from which two people cost nothing.

    Returns:
        float32 of that shape.
    """
    distance = distance.float()
    return torch.where(same.bool(), distance.square(), torch.relu(margin - distance).square())


def n_pair_loss(anchors: Tensor, others: Tensor, anchor_identity: Tensor, other_identity: Tensor) -> Tensor:
    """Multi-class N-pair loss: log(1 + sum over other people n of exp(a.n - a.p)), mean over all positive pairs (a, p).

    Sohn 2016, "Improved deep metric learning with multi-class N-pair loss objective", without its penalty on the
    length of embeddings. With one clip per person and modality it is the cross entropy of the similarity rows. A
    person's further clips are positives of their own and are left out of the sum.

    Args:
        anchors: Embeddings of shape (A, D).
        others: Embeddings of shape (B, D).
        anchor_identity: int64 of shape (A,).
        other_identity: int64 of shape (B,).

    Returns:
        A float32 scalar; 0 without positive pairs.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        similarity = anchors.float() @ others.float().T
        same = anchor_identity[:, None] == other_identity[None, :]
        # The lowest number, not minus infinity: a row without negatives would have NaN gradients.
        negatives = similarity.masked_fill(same, torch.finfo(torch.float32).min).logsumexp(1)
        anchor, positive = same.nonzero(as_tuple=True)
        return mean_or_zero(F.softplus(negatives[anchor] - similarity[anchor, positive]))


def ranking_loss(
    faces: Tensor,
    voices: Tensor,
    face_identity: Tensor,
    voice_identity: Tensor,
    *,
    alpha1: float,
    alpha2: float,
    beta1: float,
    beta2: float,
    lambda3: float,
    lambda4: float,
    intra_negative: Literal["hardest", "shared"],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Bidirectional ranking loss with the hardest negatives of the batch and intra-modal terms.

    For every pair (a, o) of a face and a voice of one person, with d the Euclidean distance, o' the nearest voice and
    a' the nearest face of another person:

        [alpha1 + d(a, o) - d(a, o')]+ + lambda3 [beta1 - d(o, o')]+
        + [alpha2 + d(o, a) - d(o, a')]+ + lambda4 [beta2 - d(a, a')]+

    Wang et al. 2020 (SIGIR), "Learning discriminative joint embeddings for efficient face and voice association",
    equation 1. The paper's printed equation leaves two things open. Which o' and a' stand in the intra-modal terms:
    `intra_negative`. Sum or mean over the pairs: the mean here. A hinge without another person in the batch is 0.

    Args:
        faces: L2-normalised embeddings of shape (Nf, D).
        voices: L2-normalised embeddings of shape (Nv, D).
        face_identity: int64 of shape (Nf,).
        voice_identity: int64 of shape (Nv,).
        alpha1: Margin of the face's hinge (paper: 0.6).
        alpha2: Margin of the voice's hinge (paper: 0.6).
        beta1: Distance that voices of two people should keep (paper: 0.2).
        beta2: Distance that faces of two people should keep (paper: 0.2).
        lambda3: Weight of the voice-voice term (paper: 0.1).
        lambda4: Weight of the face-face term (paper: 0.1).
        intra_negative: In the intra-modal terms, `hardest`: o' is the voice of another person nearest to o, and a' the
            face nearest to a; `shared`: o' is the voice mined for a, and a' the face mined for o.

    Returns:
        The loss, a float32 scalar, and the detached mean of each term before its weight: `face_to_voice`,
        `voice_voice`, `voice_to_face`, `face_face`.
    """
    with torch.autocast(faces.device.type, enabled=False):
        across, face_face, voice_voice = (
            pairwise_distances(faces, voices),
            pairwise_distances(faces, faces),
            pairwise_distances(voices, voices),
        )
        face, voice = (face_identity[:, None] == voice_identity[None, :]).nonzero(as_tuple=True)
        hard_voice = hardest_negatives(across, face_identity, voice_identity)[face]
        hard_face = hardest_negatives(across.T, voice_identity, face_identity)[voice]
        intra_voice, intra_face = hard_voice, hard_face
        if intra_negative == "hardest":
            intra_voice = hardest_negatives(voice_voice, voice_identity, voice_identity)[voice]
            intra_face = hardest_negatives(face_face, face_identity, face_identity)[face]
        paired = across[face, voice]
        terms = {
            "face_to_voice": _hinge(alpha1 + paired - across[face, hard_voice], hard_voice),
            "voice_voice": _hinge(beta1 - voice_voice[voice, intra_voice], intra_voice),
            "voice_to_face": _hinge(alpha2 + paired - across[hard_face, voice], hard_face),
            "face_face": _hinge(beta2 - face_face[face, intra_face], intra_face),
        }
        face_half = terms["face_to_voice"] + lambda3 * terms["voice_voice"]
        voice_half = terms["voice_to_face"] + lambda4 * terms["face_face"]
        return face_half + voice_half, {name: term.detach() for name, term in terms.items()}


def centre_loss(embeddings: Tensor, identity: Tensor, centres: Tensor) -> Tensor:
    """Half the mean squared distance of embeddings to the centres of their identities.

    Wen et al. 2016, "A discriminative feature learning approach for deep face recognition". The papers write the sum
    over the batch; the mean over its vectors here does not grow with the batch. Both arguments receive gradients: the
    caller detaches what should stay.

    Args:
        embeddings: Shape (N, D), faces and voices together or either.
        identity: int64 of shape (N,), rows of `centres`.
        centres: Shape (identities, D).

    Returns:
        A float32 scalar.

    Raises:
        IndexError: An identity is not a row of `centres` (on the CPU).
    """
    apart = embeddings.float() - F.embedding(identity, centres.float())
    return 0.5 * mean_or_zero(apart.square().sum(1))


def pairwise_distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances of all pairs, float32 of shape (A, B), of embeddings (A, D) and (B, D)."""
    # The shortcut by matrix products is off by up to 1e-3 where two rows of length 1 are near each other.
    return torch.cdist(a.float(), b.float(), compute_mode="donot_use_mm_for_euclid_dist")


def _hinge(values: Tensor, negative: Tensor) -> Tensor:
    return mean_or_zero(torch.relu(values).masked_fill(negative < 0, 0))
