"""The ranking loss term by term: points on a circle with known hardest negatives, and plain loops in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples
from torch.nn import functional as F

from voiceface.methods.losses import ranking_loss

identities = st.lists(st.integers(0, 3), min_size=1, max_size=6)
NAMES = ("face_to_voice", "voice_voice", "voice_to_face", "face_face")
ODD = {"alpha1": 0.7, "alpha2": 0.5, "beta1": 1.1, "beta2": 1.6, "lambda3": 0.3, "lambda4": 0.2}


def plain_distance(x, y):
    squares = ((x - y) ** 2).sum()
    return squares.sqrt() if squares > 0 else squares


def plain_terms(f, v, fi, vi, alpha1, alpha2, beta1, beta2, intra_negative):
    """Each term of every pair, from the equation and with a loop per letter."""
    rows = {name: [] for name in NAMES}

    def nearest(x, items, own, whose):
        others = [(float(plain_distance(x, items[j])), j) for j in range(len(items)) if whose[j] != own]
        return min(others)[1] if others else None

    def hinge(x):
        return x if x > 0 else x * 0

    for i in range(len(f)):
        for k in range(len(v)):
            if fi[i] != vi[k]:
                continue
            y, near, nothing = fi[i], plain_distance(f[i], v[k]), (f.sum() + v.sum()) * 0
            o, a = nearest(f[i], v, y, vi), nearest(v[k], f, y, fi)
            rows["face_to_voice"].append(nothing if o is None else hinge(alpha1 + near - plain_distance(f[i], v[o])))
            rows["voice_to_face"].append(nothing if a is None else hinge(alpha2 + near - plain_distance(v[k], f[a])))
            if intra_negative == "hardest":
                o, a = nearest(v[k], v, y, vi), nearest(f[i], f, y, fi)
            rows["voice_voice"].append(nothing if o is None else hinge(beta1 - plain_distance(v[k], v[o])))
            rows["face_face"].append(nothing if a is None else hinge(beta2 - plain_distance(f[i], f[a])))
    return {name: sum(x) / len(x) if x else (f.sum() + v.sum()) * 0 for name, x in rows.items()}


@given(identities, identities, st.integers(0, 99), st.booleans(), st.sampled_from(["hardest", "shared"]))
@settings(max_examples=examples(80), deadline=None)
def test_terms_and_gradients_are_those_of_plain_loops(face_identity, voice_identity, seed, copies, intra_negative):
    torch.manual_seed(seed)
    f, v = (F.normalize(torch.randn(len(x), 3), dim=1) for x in (face_identity, voice_identity))
    if copies:
        f[-1], v[0] = f[0], f[0]
    f, v = f.requires_grad_(), v.requires_grad_()
    options = {**ODD, "intra_negative": intra_negative}
    found, terms = ranking_loss(f, v, torch.tensor(face_identity), torch.tensor(voice_identity), **options)
    x, y = (z.detach().double().requires_grad_() for z in (f, v))
    l3, l4 = options.pop("lambda3"), options.pop("lambda4")
    wanted = plain_terms(x, y, face_identity, voice_identity, **options)
    for name in NAMES:
        assert not terms[name].requires_grad
        assert float(terms[name]) == pytest.approx(float(wanted[name].detach()), abs=1e-5)
    total = wanted["face_to_voice"] + l3 * wanted["voice_voice"] + wanted["voice_to_face"] + l4 * wanted["face_face"]
    assert float(found.detach()) == pytest.approx(float(total.detach()), abs=1e-5)
    found.backward()
    total.backward()
    assert torch.allclose(f.grad.double(), x.grad, atol=1e-4)
    assert torch.allclose(v.grad.double(), y.grad, atol=1e-4)


def on_circle(*degrees):
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], 1)


def chord(degrees):
    return 2 * math.sin(math.radians(degrees) / 2)


def mean_hinge(*values):
    return sum(max(value, 0.0) for value in values) / len(values)


# Faces at 0, 180 and 270 degrees, voices of the same three people at 60, 90 and 200. Angles between pairs: 60, 90, 70.
# Nearest other voice: of face 0 voice 1 (90), of face 1 voice 2 (20), of face 2 voice 0 (150).
# Nearest other face: of voice 0 face 1 (120), of voice 1 face 0 (90), of voice 2 face 1 (20).
CIRCLE = on_circle(0, 180, 270), on_circle(60, 90, 200), torch.arange(3), torch.arange(3)
FACE_TO_VOICE = [(60, 90), (90, 20), (70, 150)]
VOICE_TO_FACE = [(60, 120), (90, 90), (70, 20)]
INTRA = {
    # The voices' nearest others, then the faces'.
    "hardest": ([30, 30, 110], [90, 90, 90]),
    # Voice 0 against the voice mined for face 0, and so on: 0-1, 1-2, 2-0; faces 0-1, 1-0, 2-1.
    "shared": ([30, 110, 140], [180, 180, 90]),
}


@pytest.mark.parametrize("intra_negative", ["hardest", "shared"])
def test_each_term_of_the_equation_on_a_circle(intra_negative):
    total, terms = ranking_loss(*CIRCLE, **ODD, intra_negative=intra_negative)
    voices, faces = INTRA[intra_negative]
    wanted = {
        "face_to_voice": mean_hinge(*(0.7 + chord(p) - chord(n) for p, n in FACE_TO_VOICE)),
        "voice_voice": mean_hinge(*(1.1 - chord(d) for d in voices)),
        "voice_to_face": mean_hinge(*(0.5 + chord(p) - chord(n) for p, n in VOICE_TO_FACE)),
        "face_face": mean_hinge(*(1.6 - chord(d) for d in faces)),
    }
    assert list(terms) == list(NAMES)
    assert all(value > 0 for value in wanted.values())
    for name, value in wanted.items():
        assert float(terms[name]) == pytest.approx(value, abs=1e-6)
    weighted = sum(value * {"voice_voice": 0.3, "face_face": 0.2}.get(name, 1) for name, value in wanted.items())
    assert float(total) == pytest.approx(weighted, abs=1e-6)


def test_the_two_readings_differ_in_the_intra_modal_terms_alone():
    hardest, mined = ranking_loss(*CIRCLE, **ODD, intra_negative="hardest")
    shared, reused = ranking_loss(*CIRCLE, **ODD, intra_negative="shared")
    assert mined["face_to_voice"] == reused["face_to_voice"]
    assert mined["voice_to_face"] == reused["voice_to_face"]
    # Voice 1 is pushed from voice 0 or, farther away than beta1, from voice 2; faces 0 and 1 from face 2 or each other.
    voices, faces = (1.1 - chord(30)) / 3, 2 * (1.6 - chord(90)) / 3
    assert float(hardest - shared) == pytest.approx(0.3 * voices + 0.2 * faces, abs=1e-6)


def test_two_clips_of_one_person_are_never_negatives():
    """Two people a quarter circle apart; a person's clips lie closer than every margin."""
    faces, voices = on_circle(0, 1, 90, 91), on_circle(0.5, 2, 90.5)
    who = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1])
    small = {name: 1.0 if name.startswith(("alpha", "beta")) else 1 for name in ODD}
    for which in ("hardest", "shared"):
        total, terms = ranking_loss(faces, voices, *who, **small, intra_negative=which)
        assert float(total) == 0
        assert all(float(term) == 0 for term in terms.values())
        assert float(ranking_loss(faces, voices, *who, **{**small, "beta1": 2.0}, intra_negative=which)[0]) > 0


def test_a_pair_counts_as_often_as_its_people_have_clips():
    """A clip twice in the batch is two pairs of the mean."""
    f, v, fi, vi = CIRCLE
    twice = torch.tensor([0, 1, 2, 1])
    found = ranking_loss(f, v[twice], fi, vi[twice], **ODD, intra_negative="hardest")[1]["face_to_voice"]
    wanted = mean_hinge(*(0.7 + chord(p) - chord(n) for p, n in [*FACE_TO_VOICE, FACE_TO_VOICE[1]]))
    assert float(found) == pytest.approx(wanted, abs=1e-6)
