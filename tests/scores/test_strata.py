"""Masks over identity pairs against a loop."""

import numpy as np
import pytest

from voiceface.scores.strata import default_strata, stratum_mask
from voiceface.utils.errors import UserError

PEOPLE = [
    {"gender": "m", "nationality": "Ireland", "age": "31", "ethnicity": "x", "first_language": "en"},
    {"gender": "male", "nationality": "ireland ", "age": "39", "ethnicity": "x", "first_language": "en"},
    {"gender": "f", "nationality": "Ireland", "age": "40", "ethnicity": "y", "first_language": "en"},
    {"gender": "F", "nationality": "", "age": "30-39", "ethnicity": "x"},
    {"gender": "", "nationality": "Peru", "age": "30-39", "first_language": ""},
    {},
]


def pairs(stratum):
    return {(int(a), int(b)) for a, b in np.argwhere(stratum_mask(stratum, PEOPLE))}


def both(*unordered):
    return {pair for a, b in unordered for pair in ((a, b), (b, a))}


def test_u_holds_all_pairs_but_the_diagonal():
    assert pairs("U") == {(a, b) for a in range(6) for b in range(6) if a != b}


@pytest.mark.parametrize(
    ("stratum", "expected"),
    [
        ("G", both((0, 1), (2, 3))),
        ("N", both((0, 1), (0, 2), (1, 2))),
        ("A", both((0, 1), (3, 4))),
        ("E", both((0, 1), (0, 3), (1, 3))),
        ("F", both((0, 1), (0, 2), (1, 2))),
        ("GN", both((0, 1))),
        ("NG", both((0, 1))),
        ("GEFA", both((0, 1))),
        ("GA", both((0, 1))),
        ("NA", both((0, 1))),
        ("male", both((0, 1))),
        ("female", both((2, 3))),
    ],
)
def test_a_stratum_holds_the_pairs_that_agree_and_never_the_unknown(stratum, expected):
    assert pairs(stratum) == expected


def test_male_and_female_split_gender():
    assert pairs("male") | pairs("female") == pairs("G")
    assert not pairs("male") & pairs("female")


def test_default_strata_are_those_with_known_attributes():
    assert default_strata([{}, {"gender": ""}]) == ["U"]
    assert default_strata([{"gender": "m"}, {}]) == ["U", "G", "male", "female"]
    assert default_strata([{"gender": "m"}, {"nationality": "Peru"}]) == ["U", "G", "N", "GN", "male", "female"]
    assert default_strata(PEOPLE) == ["U", "G", "N", "A", "E", "F", "GN", "GE", "GNA", "GEFA", "male", "female"]


@pytest.mark.parametrize("stratum", ["", "X", "GG", "UG", "Male"])
def test_an_unknown_stratum_is_refused(stratum):
    with pytest.raises(UserError, match="is not a stratum"):
        stratum_mask(stratum, PEOPLE)
