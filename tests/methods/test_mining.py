"""Mined and drawn negatives against plain loops, by hand, and by their frequencies."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from tests_support import examples

from voiceface.methods.mining import curriculum_negatives, draw_galleries, draw_triplets, hardest_negatives
from voiceface.utils.errors import UserError

identities = st.lists(st.integers(0, 4), min_size=1, max_size=8)


def even(counts):
    """Drawn as often as each other, by a chi-square test whose seed is fixed."""
    return chisquare(counts).pvalue > 1e-3


@given(identities, identities, st.integers(0, 99), st.sampled_from([torch.float32, torch.bfloat16]))
@settings(max_examples=examples(60), deadline=None)
def test_hardest_negatives_are_the_nearest_of_other_people(anchor_identity, other_identity, seed, dtype):
    torch.manual_seed(seed)
    distance = torch.randint(4, (len(anchor_identity), len(other_identity))).to(dtype)
    found = hardest_negatives(distance, torch.tensor(anchor_identity), torch.tensor(other_identity))
    assert found.dtype == torch.int64
    for i, own in enumerate(anchor_identity):
        others = [(float(distance[i, j]), j) for j, y in enumerate(other_identity) if y != own]
        assert int(found[i]) == (min(others)[1] if others else -1)


def plain_curriculum(distance, anchor_identity, other_identity, positive, tau, all_up_to):
    """Step by step from the farthest negative, until the rank or until the next is nearer than the positive."""
    pairs = []
    for i, own in enumerate(anchor_identity):
        easy_first = sorted((j for j, y in enumerate(other_identity) if y != own), key=lambda j: -distance[i][j])
        if not easy_first:
            continue
        wanted = min(math.floor(tau * len(easy_first)), len(easy_first) - 1)
        at = 0
        while at < wanted and distance[i][easy_first[at + 1]] >= positive[i]:
            at += 1
        pairs += [(i, j) for j in (easy_first[: at + 1] if all_up_to else easy_first[at : at + 1])]
    return sorted(pairs)


@given(identities, identities, st.integers(0, 99), st.sampled_from([0, 0.25, 0.5, 0.75, 1]), st.booleans())
@settings(max_examples=examples(120), deadline=None)
def test_curriculum_negatives_are_those_of_plain_loops(anchor_identity, other_identity, seed, tau, all_up_to):
    torch.manual_seed(seed)
    distance = torch.randint(6, (len(anchor_identity), len(other_identity))).float()
    positive = torch.randint(6, (len(anchor_identity),)).float()
    row, column = curriculum_negatives(
        distance, torch.tensor(anchor_identity), torch.tensor(other_identity), positive, tau, all_up_to
    )
    wanted = plain_curriculum(
        distance.tolist(), anchor_identity, other_identity, positive.tolist(), tau, all_up_to=all_up_to
    )
    assert sorted(zip(row.tolist(), column.tolist(), strict=True)) == wanted


def of_ten(tau, positive=0.0, all_up_to=False):
    """Negatives 1..10 of distance 10, 9, ..., 1 in shuffled columns, as their distances; the own item is farthest."""
    own_first = torch.tensor([[99.0, 3, 10, 1, 7, 5, 9, 2, 8, 6, 4]])
    who = torch.tensor([7]), torch.tensor([7, *range(8, 18)])
    row, column = curriculum_negatives(own_first, *who, torch.tensor([positive]), tau, all_up_to)
    assert torch.all(row == 0)
    return own_first[0, column].tolist()


def test_curriculum_ranks_by_hand():
    assert [of_ten(tau) for tau in (0, 0.3, 0.8, 1)] == [[10], [7], [2], [1]]
    assert of_ten(0.3, all_up_to=True) == [10, 9, 8, 7]
    assert of_ten(0, all_up_to=True) == [10]
    assert of_ten(1, all_up_to=True) == list(range(10, 0, -1))
    # Never nearer than the positive; as near is allowed; the farthest where all are nearer.
    assert [of_ten(0.8, positive) for positive in (1.5, 2, 2.5, 6, 10, 50)] == [[2], [2], [3], [6], [10], [10]]
    assert of_ten(1, 7.5, all_up_to=True) == [10, 9, 8]
    assert of_ten(1, 50, all_up_to=True) == [10]
    # Raised from 0.3 in steps of 0.1, tau becomes 0.7999999999999999.
    assert of_ten(0.3 + 0.1 + 0.1 + 0.1 + 0.1 + 0.1) == of_ten(0.8)


@pytest.mark.parametrize("tau", [-0.1, 1.1, math.nan])
def test_curriculum_refuses_other_difficulties(tau):
    with pytest.raises(UserError, match="tau is"):
        of_ten(tau)


@given(identities, identities, st.integers(0, 99))
@settings(max_examples=examples(60), deadline=None)
def test_drawn_triplets_hold_one_own_item_and_one_of_another(anchor_identity, other_identity, seed):
    torch.manual_seed(seed)
    ai, oi = torch.tensor(anchor_identity), torch.tensor(other_identity)
    anchor, positive, negative = draw_triplets(ai, oi)
    complete = [i for i, y in enumerate(anchor_identity) if y in other_identity and len({*other_identity, y}) > 1]
    assert anchor.tolist() == complete
    assert torch.equal(ai[anchor], oi[positive])
    assert torch.all(ai[anchor] != oi[negative])


def test_triplets_are_drawn_evenly_and_positives_apart_from_negatives():
    torch.manual_seed(0)
    other = torch.tensor([0, 1, 0, 2, 2, 0, 1])
    anchor, positive, negative = draw_triplets(torch.zeros(6000, dtype=torch.int64), other)
    assert anchor.tolist() == list(range(6000))
    drawn = torch.stack([positive, negative]).tolist()
    pairs = [sum(1 for pair in zip(*drawn, strict=True) if pair == (p, n)) for p in (0, 2, 5) for n in (1, 3, 4, 6)]
    assert sum(pairs) == 6000
    assert even(pairs)


def test_draws_follow_the_global_seed():
    who = torch.arange(6).repeat(3)

    def draw(seed):
        torch.manual_seed(seed)
        return torch.cat([x.flatten() for x in (*draw_triplets(who, who), *draw_galleries(who, who, 4))])

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


@given(identities, identities, st.integers(2, 5), st.integers(0, 99))
@settings(max_examples=examples(80), deadline=None)
def test_a_gallery_holds_the_own_person_among_others_once_each(query_identity, item_identity, n, seed):
    torch.manual_seed(seed)
    qi, ii = torch.tensor(query_identity), torch.tensor(item_identity)
    if len(set(item_identity)) < n:
        with pytest.raises(UserError, match=f"gallery of {n} people"):
            draw_galleries(qi, ii, n)
        return
    query, gallery, target = draw_galleries(qi, ii, n)
    assert query.tolist() == [i for i, y in enumerate(query_identity) if y in item_identity]
    assert gallery.shape == (len(query), n)
    assert target.shape == query.shape
    for q, items, at in zip(query.tolist(), gallery.tolist(), target.tolist(), strict=True):
        people = [item_identity[item] for item in items]
        assert len(set(people)) == n
        assert people[at] == query_identity[q]


def test_a_gallery_of_one_is_refused():
    with pytest.raises(UserError, match="gallery of 1"):
        draw_galleries(torch.arange(3), torch.arange(3), 1)


def test_galleries_are_drawn_evenly():
    """Identities in no order and with unequal clips: 5 has one, 3 two, 9 three, 4 two."""
    torch.manual_seed(0)
    item = torch.tensor([9, 3, 5, 9, 4, 3, 9, 4])
    query, gallery, target = draw_galleries(torch.full((6000,), 9), item, 3)
    assert len(query) == 6000
    assert even(target.bincount(minlength=3))
    own = gallery.gather(1, target[:, None])[:, 0]
    assert even([int((own == i).sum()) for i in (0, 3, 6)])
    people = item[gallery]
    others = [3, 4, 5]
    assert even([int((people == y).sum()) for y in others])
    for clips in ((1, 5), (4, 7)):
        assert even([int((gallery == i).sum()) for i in clips])
    # Every arrangement of the own person and two others, in every order.
    arranged = [
        int(((people == torch.tensor(order)).all(1)).sum())
        for a, b in ((3, 4), (4, 3), (3, 5), (5, 3), (4, 5), (5, 4))
        for order in ((9, a, b), (a, 9, b), (a, b, 9))
    ]
    assert sum(arranged) == 6000
    assert even(arranged)
